//! `basegen render`: each variant's Dockerfile and context, on disk or on stdout.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::ops::Bound;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{ExitCode, Explain, Report};
use crate::matrix::Selected;
use crate::plan::Lock;
use crate::render::{BuildContext, Renderer, first_link};
use crate::report::Printer;

use super::args::{GlobalArgs, RenderArgs};
use super::{compare, selection};

/// How many of the files that contexts have left out are reported by name.
const MAX_LEFT_OUT: usize = 10;

/// A rendered file that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilesError {
    #[error("cannot compare `{}`", .0.display())]
    Compare(PathBuf, #[source] io::Error),
    #[error("cannot write `{}`", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error("`{}` is a symbolic link; rendered files are not written through one", .0.display())]
    Link(PathBuf),
}

impl Explain for FilesError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }

    fn hint(&self) -> Option<String> {
        let remove = "remove the link, or render into another folder";
        matches!(self, Self::Link(_)).then(|| remove.to_owned())
    }
}

/// Variants as files of a folder.
pub(super) struct Rendered<'a> {
    /// By path: `<variant>/Dockerfile`, and what it copies beside it.
    pub(super) files: BTreeMap<PathBuf, RenderedFile>,
    pub(super) variants: Vec<&'a str>,
    /// Whether these are all variants of the matrix.
    pub(super) is_whole: bool,
}

/// What such a file holds, and whether it may be executed.
pub(super) struct RenderedFile {
    pub(super) executable: bool,
    pub(super) content: Vec<u8>,
}

impl<'a> Rendered<'a> {
    pub(super) fn new(selected: &Selected<'a>, contexts: &[BuildContext]) -> Self {
        let variants = selected.variants.iter().map(|variant| variant.id.as_str()).collect();
        let mut rendered = Self { files: BTreeMap::new(), variants, is_whole: selected.whole };
        for (variant, context) in rendered.variants.iter().zip(contexts) {
            let folder = Path::new(variant);
            let content = context.dockerfile.clone().into_bytes();
            let dockerfile = RenderedFile { executable: false, content };
            rendered.files.insert(folder.join("Dockerfile"), dockerfile);
            for file in &context.files {
                let content = file.content.to_vec();
                let copied = RenderedFile { executable: file.executable, content };
                rendered.files.insert(folder.join(&file.path), copied);
            }
        }
        rendered
    }

    /// Whether there is a file at `path`, or below it.
    pub(super) fn has(&self, path: &Path) -> bool {
        let mut from = self.files.range::<Path, _>((Bound::Included(path), Bound::Unbounded));
        from.next().is_some_and(|(first, _)| first.starts_with(path))
    }
}

pub(super) fn run(
    args: &RenderArgs,
    global: &GlobalArgs,
    printer: &Printer,
) -> Result<ExitCode, Report> {
    let matrix = selection::load(global)?;
    let selected = matrix.select(&args.selection.selection()?)?;
    let pins = Lock::of(&matrix)?.pins;
    let mut renderer = Renderer::new(&matrix)?.pinned(pins);
    let contexts = renderer.render_all(&selected.variants)?;
    report_left_out(&renderer.left_out(), printer);
    if let Some(folder) = &args.check {
        let compared = compare::compare(folder, &Rendered::new(&selected, &contexts));
        compared.map_err(|error| FilesError::Compare(folder.clone(), error))??;
        printer.note(&format!("{} holds what the matrix renders to", folder.display()));
    } else if let Some(folder) = &args.output {
        let rendered = Rendered::new(&selected, &contexts);
        write(folder, &rendered.files)?;
        let count = contexts.len();
        printer.note(&format!("wrote {count} variants to {}", folder.display()));
        let extra = compare::extra(folder, &rendered);
        let extra = extra.map_err(|error| FilesError::Compare(folder.clone(), error))?;
        if !extra.is_empty() {
            let told = compare::told(&extra);
            printer.message(&format!("what is rendered no more stays until you remove it:{told}"));
        }
    } else {
        for (variant, context) in selected.variants.iter().zip(&contexts) {
            if contexts.len() > 1 {
                printer.result(&format!("# {}", variant.id));
            }
            printer.file(&context.dockerfile);
        }
    }
    Ok(ExitCode::Success)
}

/// Reports the files that contexts have left out.
pub(super) fn report_left_out(files: &BTreeSet<String>, printer: &Printer) {
    if files.is_empty() {
        return;
    }
    let shown: Vec<String> =
        files.iter().take(MAX_LEFT_OUT).map(|file| format!("`{file}`")).collect();
    let more = files.len().saturating_sub(MAX_LEFT_OUT);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    printer.note(&format!(
        "note: images do not get {}{more}: `.git`, `.env` and the like may hold credentials",
        shown.join(", ")
    ));
}

/// Writes what differs; a file that is the same already keeps its time. Nothing is written
/// when a link is in the way: what it leads to belongs to somebody else.
pub(super) fn write(
    folder: &Path,
    files: &BTreeMap<PathBuf, RenderedFile>,
) -> Result<(), FilesError> {
    if let Some(link) = files.keys().find_map(|path| first_link(folder, path)) {
        return Err(FilesError::Link(folder.join(link)));
    }
    for (path, file) in files {
        let on_disk = folder.join(path);
        let written = compare::difference(folder, path, file).and_then(|found| match found {
            Some(_) => replace(&on_disk, file),
            None => Ok(()),
        });
        written.map_err(|error| FilesError::Write(on_disk, error))?;
    }
    Ok(())
}

/// Puts a file in its place whole: who reads it meanwhile sees the old one or the new one.
pub(super) fn replace(path: &Path, file: &RenderedFile) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    fs_err::create_dir_all(folder)?;
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(&file.content)?;
    let mode = if file.executable { 0o755 } else { 0o644 };
    temporary.as_file().set_permissions(Permissions::from_mode(mode))?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}
