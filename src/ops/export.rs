//! `basegen export bake`: the plan as a file for `docker buildx bake`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::render::report_left_out;
use super::{Context, NameOptions, Recipe, inputs, lookup, selection};
use crate::engine::Destination;
use crate::error::{ExitCode, Explain, FileError, Report};
use crate::export::{Bake, BakeImage, BakeSecret, CONTEXTS, Folders, SecretSource, bake};
use crate::files::Access;
use crate::matrix::{Matrix, Selection};
use crate::render::{self, NotPlain, RenderedFile, familiar, plain};

/// The file that bake reads.
pub const FILE: &str = "docker-bake.json";

/// A plan that bake cannot build.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("the context of `{variant}` differs from `{}`", .folder.display())]
    NotPlain { variant: String, folder: PathBuf, source: NotPlain },
    #[error(
        "the context of `{0}` contains a `.dockerignore`, which bake applies and basegen does not"
    )]
    Ignored(String),
}

impl Explain for ExportError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotPlain { .. } => "`basegen export bake -o DIR` writes the contexts too",
            Self::Ignored(_) => "copy the needed files by name, or rename the file",
        };
        Some(hint.to_owned())
    }
}

/// The plan to export.
#[derive(Debug, Default)]
pub struct ExportRequest {
    pub selection: Selection,
    /// The parts of their names that the matrix does not set.
    pub naming: NameOptions,
    /// Whether to leave base images unpinned that the lock does not pin.
    pub offline: bool,
    /// The certificates that build steps trust.
    pub certificates: Option<PathBuf>,
    /// The folder to write the file and the contexts to; `None` to return the file.
    pub output: Option<PathBuf>,
}

/// The exported plan.
#[derive(Debug)]
pub enum ExportOutcome {
    /// The text of the file.
    File(String),
    Written {
        folder: PathBuf,
        /// The contexts of earlier exports that are no longer used.
        stale: Vec<PathBuf>,
    },
}

/// Exports the selected variants.
pub async fn run(context: &Context, request: ExportRequest) -> Result<ExportOutcome, Report> {
    let plan = selection::plan(context, &request.selection, &request.naming)?;
    let mut recipe = Recipe::of(&plan)?;
    report_left_out(context, &recipe.left_out);
    if !request.offline {
        for problem in lookup::resolve(context, &mut recipe).await? {
            context.messages.message(&format!("warning: {problem}"));
        }
    }
    let unpinned = recipe.unpinned();
    if !unpinned.is_empty() {
        let names: Vec<String> =
            unpinned.keys().map(|name| format!("`{}`", familiar(&name.to_string()))).collect();
        context.messages.message(&format!(
            "warning: {} is not pinned: images based on it have no fingerprint, and bake builds them to \
             other digests\nhint: run `basegen update`",
            names.join(", ")
        ));
    }
    let jobs = recipe.jobs(&Destination::Registry);
    let images: Vec<BakeImage<'_>> = jobs
        .iter()
        .map(|job| BakeImage {
            id: &job.target,
            context: &job.context,
            checks: &job.checks,
            platforms: &job.platforms,
            labels: &job.labels,
            references: &job.references,
            compression: job.compression,
        })
        .collect();
    let secrets = secrets(context, request.certificates)?;
    let Some(folder) = request.output else {
        check_plain(plan.matrix, &images)?;
        let templates = plan.matrix.templates();
        let bake = bake(&images, &secrets, Folders::Own(&templates));
        return Ok(ExportOutcome::File(bake.text));
    };
    if let Some(image) = images.iter().find(|image| has_ignore_file(image)) {
        return Err(ExportError::Ignored(image.id.to_owned()).into());
    }
    let secrets: Vec<_> = secrets.into_iter().map(with_absolute_path).collect();
    let stale = write(&folder, &bake(&images, &secrets, Folders::Written))?;
    Ok(ExportOutcome::Written { folder, stale })
}

/// Returns the sources of the secrets that build steps may mount. Leaves out optional secrets without a value.
fn secrets(context: &Context, certificates: Option<PathBuf>) -> Result<Vec<BakeSecret>, Report> {
    let matrix = context.matrix()?;
    let mut secrets = Vec::new();
    for (id, table) in &matrix.build.secrets {
        let (source, has_value) = match (&table.env, &table.file) {
            (Some(variable), _) => {
                let variable = variable.get_ref();
                let has_value = context.settings.variables.text(variable).is_some();
                (SecretSource::Variable(variable.clone()), has_value)
            }
            (None, Some(file)) => {
                let has_value = matrix.resolve_path(file, Access::Read)?.exists();
                (SecretSource::File(matrix.folder().join(file.get_ref())), has_value)
            }
            (None, None) => continue,
        };
        if has_value || !table.optional {
            secrets.push(BakeSecret { id: id.clone(), source });
        } else {
            let note = format!("left out the optional secret `{id}`, which is not set");
            context.messages.note(&note);
        }
    }
    secrets.extend(certificates.map(|path| BakeSecret {
        id: inputs::CA_CERTIFICATES.to_owned(),
        source: SecretSource::File(path),
    }));
    Ok(secrets)
}

/// Makes the path of a secret independent of the working directory.
fn with_absolute_path(secret: BakeSecret) -> BakeSecret {
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

/// Writes the file and the contexts. Returns the contexts of earlier exports that are no longer used.
fn write(folder: &Path, bake: &Bake<'_>) -> Result<Vec<PathBuf>, Report> {
    let mut files: BTreeMap<PathBuf, RenderedFile> = BTreeMap::new();
    for (path, file) in &bake.files {
        let (content, executable) = (file.content.to_vec(), file.executable);
        files.insert(path.clone(), RenderedFile { content, executable });
    }
    files.insert(PathBuf::from(FILE), RenderedFile::plain(bake.text.as_bytes()));
    render::write(folder, &files)?;
    let action = format!("compare the files in `{}`", folder.display());
    Ok(stale_contexts(folder, bake).map_err(FileError::failed_to(action))?)
}

fn stale_contexts(folder: &Path, bake: &Bake<'_>) -> io::Result<Vec<PathBuf>> {
    let contexts = folder.join(CONTEXTS);
    if !contexts.is_dir() {
        return Ok(Vec::new());
    }
    let mut stale = Vec::new();
    for entry in fs_err::read_dir(contexts)? {
        let path = Path::new(CONTEXTS).join(entry?.file_name());
        if !bake.files.keys().any(|file| file.starts_with(&path)) {
            stale.push(folder.join(path));
        }
    }
    stale.sort();
    Ok(stale)
}
