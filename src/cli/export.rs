//! `basegen export`: the plan for other tools.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::engine::Destination;
use crate::error::{ExitCode, Explain, FileError, Report};
use crate::export::{Bake, BakeImage, BakeSecret, Folders, SecretSource, bake};
use crate::files::Access;
use crate::matrix::{Matrix, SourceError};
use crate::plan::Plan;
use crate::render::{self, NotPlain, RenderedFile, familiar, plain};
use crate::report::{Printer, escape_json};

use super::args::{ExportBakeArgs, ExportCommand, PlanFormat};
use super::{Session, fan_out, inputs, planned, selection};
use crate::ops::{Recipe, lookup};

/// What bake looks for in a folder.
const FILE: &str = "docker-bake.json";

/// Why a plan cannot be exported.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("the context of `{variant}` is not `{}` as it is", .folder.display())]
    NotPlain { variant: String, folder: PathBuf, source: NotPlain },
    #[error(
        "the context of `{0}` holds a `.dockerignore`, which bake would obey and basegen does not"
    )]
    Ignored(String),
}

impl Explain for ExportError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotPlain { .. } => {
                "`basegen export bake -o DIR` writes the contexts beside the file".to_owned()
            }
            Self::Ignored(_) => {
                "copy what is meant by name, or call that file otherwise".to_owned()
            }
        })
    }
}

pub(super) fn run(command: &ExportCommand, session: &Session) -> Result<ExitCode, Report> {
    match command {
        ExportCommand::Bake(args) => for_bake(args, session),
        ExportCommand::Github(args) => fan_out::run(&args.planned, &args.jobs, session),
        ExportCommand::Json(args) => planned::show(args, PlanFormat::Json, session),
    }
}

fn for_bake(args: &ExportBakeArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let matrix = context.matrix()?;
    let plan = selection::plan(context, &args.selection, &args.naming)?;
    let mut recipe = Recipe::of(&plan)?;
    super::render::report_left_out(&recipe.left_out, printer);
    if !args.offline && !recipe.unpinned().is_empty() {
        for problem in context.block_on(lookup::resolve(context, &mut recipe))? {
            printer.message(&format!("warning: {problem}"));
        }
    }
    let unpinned = recipe.unpinned();
    if !unpinned.is_empty() {
        let names: Vec<String> =
            unpinned.keys().map(|name| format!("`{}`", familiar(&name.to_string()))).collect();
        let names = names.join(", ");
        printer.message(&format!(
            "warning: no digest pins {names}: what bake builds on it has no fingerprint, and other \
             digests than basegen's\nhint: `basegen update` pins it in basegen.lock"
        ));
    }
    let jobs = recipe.jobs(&Destination::Registry);
    let images = jobs.iter().map(|job| BakeImage {
        id: &job.target,
        context: &job.context,
        checks: &job.checks,
        platforms: &job.platforms,
        labels: &job.labels,
        references: &job.references,
        compression: job.compression,
    });
    let images: Vec<BakeImage<'_>> = images.collect();
    let secrets = secrets(&plan, session)?;
    if let Some(folder) = &args.output {
        if let Some(image) = images.iter().find(|image| has_ignore_file(image)) {
            return Err(ExportError::Ignored(image.id.to_owned()).into());
        }
        let secrets: Vec<_> = secrets.into_iter().map(anywhere).collect();
        write(folder, &bake(&images, &secrets, Folders::Written), printer)?;
    } else {
        check_plain(matrix, &images)?;
        let own = matrix.templates();
        printer.result(&escape_json(&bake(&images, &secrets, Folders::Own(&own)).text));
    }
    Ok(ExitCode::Success)
}

/// The secrets that the steps of `plan` may mount, by where their values are: bake reads these.
/// Of those that may be missing, the ones that are there now.
fn secrets(plan: &Plan<'_>, session: &Session) -> Result<Vec<BakeSecret>, SourceError> {
    let Session { context, printer, .. } = session;
    let matrix = plan.matrix;
    let mut secrets = Vec::new();
    for (id, table) in &matrix.build.secrets {
        let (source, is_there) = match (&table.env, &table.file) {
            (Some(variable), _) => {
                let variable = variable.get_ref();
                let is_there = context.settings.variables.text(variable).is_some();
                (SecretSource::Variable(variable.clone()), is_there)
            }
            (None, Some(file)) => {
                let is_there = matrix.resolve_path(file, Access::Read)?.exists();
                (SecretSource::File(matrix.folder().join(file.get_ref())), is_there)
            }
            (None, None) => continue,
        };
        if is_there || !table.optional {
            secrets.push(BakeSecret { id: id.clone(), source });
        } else {
            printer.note(&format!("the optional secret `{id}` is not there, and left out"));
        }
    }
    let certificates = inputs::ca_certificates(matrix, None, context)?;
    secrets.extend(certificates.map(|path| BakeSecret {
        id: inputs::CA_CERTIFICATES.to_owned(),
        source: SecretSource::File(path),
    }));
    Ok(secrets)
}

/// The same secret, for a file that is read in another folder.
fn anywhere(secret: BakeSecret) -> BakeSecret {
    let source = match secret.source {
        SecretSource::File(path) => SecretSource::File(std::path::absolute(&path).unwrap_or(path)),
        variable @ SecretSource::Variable(_) => variable,
    };
    BakeSecret { source, ..secret }
}

fn check_plain(matrix: &Matrix, images: &[BakeImage<'_>]) -> Result<(), ExportError> {
    for image in images {
        plain(matrix, image.context).map_err(|source| ExportError::NotPlain {
            variant: image.id.to_owned(),
            folder: matrix.templates(),
            source,
        })?;
    }
    Ok(())
}

fn has_ignore_file(image: &BakeImage<'_>) -> bool {
    image.context.files.iter().any(|file| file.path == ".dockerignore")
}

fn write(folder: &Path, bake: &Bake<'_>, printer: &Printer) -> Result<(), Report> {
    let mut files: BTreeMap<PathBuf, RenderedFile> = BTreeMap::new();
    let contexts = bake.files.iter().map(|(path, file)| {
        let content = file.content.to_vec();
        (path.clone(), RenderedFile { content, executable: file.executable })
    });
    files.extend(contexts);
    files.insert(PathBuf::from(FILE), RenderedFile::plain(bake.text.as_bytes()));
    render::write(folder, &files)?;
    printer.note(&format!(
        "wrote {FILE} to {folder}; build it there: cd {folder} && docker buildx bake",
        folder = folder.display()
    ));
    let comparing = format!("compare the files in `{}`", folder.display());
    let stale = stale(folder, bake).map_err(FileError::failed_to(comparing))?;
    for context in stale {
        let context = context.display();
        printer.message(&format!("what {FILE} uses no more stays until you remove it: {context}"));
    }
    Ok(())
}

/// The contexts of earlier exports that `bake` does not use.
fn stale(folder: &Path, bake: &Bake<'_>) -> std::io::Result<Vec<PathBuf>> {
    let used = |path: &Path| bake.files.keys().any(|file| file.starts_with(path));
    let contexts = folder.join(crate::export::CONTEXTS);
    if !contexts.is_dir() {
        return Ok(Vec::new());
    }
    let mut stale = Vec::new();
    for entry in fs_err::read_dir(contexts)? {
        let path = Path::new(crate::export::CONTEXTS).join(entry?.file_name());
        if !used(&path) {
            stale.push(folder.join(path));
        }
    }
    stale.sort();
    Ok(stale)
}
