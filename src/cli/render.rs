//! `basegen render`: each variant's Dockerfile and context, on disk or on stdout.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{ExitCode, Explain, Report};
use crate::render::{BuildContext, Renderer};
use crate::report::Printer;

use super::args::{GlobalArgs, RenderArgs};
use super::{check, selection};

/// A rendered file that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing} the rendered files")]
struct FilesError {
    doing: &'static str,
    #[source]
    source: std::io::Error,
}

impl Explain for FilesError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }
}

impl FilesError {
    fn when(doing: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self { doing, source }
    }
}

pub(super) fn run(
    args: &RenderArgs,
    global: &GlobalArgs,
    printer: &Printer,
) -> Result<ExitCode, Report> {
    let matrix = selection::load(&global.file)?;
    let selected = matrix.select(&args.selection.selection()?)?;
    let contexts = Renderer::new(&matrix)?.render_all(&selected.variants)?;
    let named = selected.variants.iter().map(|variant| variant.id.as_str()).zip(&contexts);
    if let Some(folder) = &args.check {
        let compared = check::compare(folder, &files(named));
        compared.map_err(FilesError::when("compare"))??;
        printer.message(&format!("{} holds what the matrix renders to", folder.display()));
    } else if let Some(folder) = &args.output {
        write(folder, &files(named)).map_err(FilesError::when("write"))?;
        let (count, folder) = (contexts.len(), folder.display());
        printer.message(&format!("wrote {count} variants to {folder}"));
    } else {
        for (id, context) in named {
            if contexts.len() > 1 {
                printer.result(&format!("# {id}"));
            }
            printer.result(&context.dockerfile);
        }
    }
    Ok(ExitCode::Success)
}

/// Every file of every variant: `<variant>/Dockerfile` and what it copies beside it.
fn files<'a>(
    contexts: impl Iterator<Item = (&'a str, &'a BuildContext)>,
) -> BTreeMap<PathBuf, (bool, Vec<u8>)> {
    let mut files = BTreeMap::new();
    for (id, context) in contexts {
        let folder = Path::new(id);
        let dockerfile = context.dockerfile.clone().into_bytes();
        files.insert(folder.join("Dockerfile"), (false, dockerfile));
        for file in &context.files {
            files.insert(folder.join(&file.path), (file.executable, file.content.to_vec()));
        }
    }
    files
}

/// Whether the file at `path` may be executed, and its bytes, if it is there.
pub(super) fn read(path: &Path) -> std::io::Result<Option<(bool, Vec<u8>)>> {
    match fs_err::metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            let executable = metadata.permissions().mode() & 0o100 != 0;
            Ok(Some((executable, fs_err::read(path)?)))
        }
        Ok(_) => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(folder: &Path, files: &BTreeMap<PathBuf, (bool, Vec<u8>)>) -> std::io::Result<()> {
    for (path, (executable, content)) in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        // A file that is the same already keeps its time.
        if read(&path)? == Some((*executable, content.clone())) {
            continue;
        }
        fs_err::write(&path, content)?;
        let mode = if *executable { 0o755 } else { 0o644 };
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}
