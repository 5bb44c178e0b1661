//! `basegen export bake`: the plan as a file for `docker buildx bake`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::render::report_left_out;
use super::{Context, NameOptions, Recipe, inputs, lookup, selection};
use crate::engine::BuildJob;
use crate::error::{ExitCode, Explain, FileError, Report};
use crate::export::{Bake, BakeImage, CONTEXTS, bake};
use crate::files::Access;
use crate::matrix::Selection;
use crate::render::{self, RenderedFile, familiar};

/// The file that bake reads.
pub const FILE: &str = "docker-bake.json";

/// A plan that bake cannot build.
#[derive(Debug, thiserror::Error)]
#[error("the context of `{0}` contains a `.dockerignore`, which bake applies and basegen does not")]
struct IgnoredFiles(String);

impl Explain for IgnoredFiles {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }

    fn hint(&self) -> Option<String> {
        Some("copy the needed files by name, or rename the file".to_owned())
    }
}

#[derive(Debug, Default)]
pub struct ExportRequest {
    pub selection: Selection,
    /// The parts of their names that the matrix does not set.
    pub naming: NameOptions,
    /// Whether to leave base images unpinned that the lock does not pin.
    pub offline: bool,
    /// The certificates that build steps trust.
    pub certificates: Option<PathBuf>,
    /// The folder to write the file and the contexts to.
    pub output: PathBuf,
}

/// Exports the selected variants. Returns the contexts of earlier exports that are no longer used.
pub async fn run(context: &Context, request: ExportRequest) -> Result<Vec<PathBuf>, Report> {
    let plan = selection::plan(context, &request.selection, &request.naming)?;
    let mut recipe = Recipe::new(&plan)?;
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
            "warning: {} {} not pinned: images based on {} have no fingerprint, and bake builds them to \
             other digests\nhint: run `basegen update`",
            names.join(", "),
            if names.len() == 1 { "is" } else { "are" },
            if names.len() == 1 { "it" } else { "them" },
        ));
    }
    let mut jobs = recipe.jobs();
    let parents: Vec<Vec<(String, String)>> =
        jobs.iter_mut().enumerate().map(|(at, job)| name_parents(&recipe, at, job)).collect();
    let images: Vec<BakeImage<'_>> = jobs
        .iter()
        .zip(&parents)
        .enumerate()
        .map(|(at, (job, parents))| BakeImage {
            id: &job.target,
            context: &job.context,
            parents,
            is_exported: recipe.graph.is_planned(at),
            checks: &job.checks,
            platforms: &job.platforms,
            labels: &job.labels,
            references: &job.references,
            compression: job.compression,
        })
        .collect();
    let secrets = secrets(context, request.certificates)?;
    if let Some(image) = images.iter().find(|image| has_ignore_file(image)) {
        return Err(IgnoredFiles(image.id.to_owned()).into());
    }
    write(&request.output, &bake(&images, &secrets))
}

/// Writes the names of images of the matrix into the Dockerfile of a job. Returns the names and the ids of their variants.
fn name_parents(recipe: &Recipe<'_>, at: usize, job: &mut BuildJob) -> Vec<(String, String)> {
    let parents = recipe.graph.parents(at).iter().map(|at| &recipe.graph.targets[*at]);
    let parents: Vec<(String, String)> =
        parents.map(|target| (target.reference.canonical(), target.id().to_owned())).collect();
    job.context.set_names(&|parent| {
        let named = parents.iter().find(|(_, id)| *id == parent.id)?;
        Some(familiar(&named.0).to_owned())
    });
    parents
}

/// Returns the ids and sources of the secrets that build steps may mount. Leaves out optional secrets without a value.
fn secrets(
    context: &Context,
    certificates: Option<PathBuf>,
) -> Result<Vec<(String, String)>, Report> {
    let matrix = context.matrix()?;
    let mut secrets = Vec::new();
    for (id, table) in &matrix.build.secrets {
        let (source, has_value) = match (&table.env, &table.file) {
            (Some(variable), _) => {
                let variable = variable.get_ref();
                let has_value = context.settings.variables.text(variable).is_some();
                (format!("env={variable}"), has_value)
            }
            (None, Some(file)) => {
                let has_value = matrix.resolve_path(file, Access::Read)?.exists();
                (file_source(matrix.folder().join(file.get_ref())), has_value)
            }
            (None, None) => continue,
        };
        if has_value || !table.optional {
            secrets.push((id.clone(), source));
        } else {
            let note = format!("left out the optional secret `{id}`, which is not set");
            context.messages.note(&note);
        }
    }
    let certificates = certificates.map(file_source);
    secrets.extend(certificates.map(|source| (inputs::CA_CERTIFICATES.to_owned(), source)));
    Ok(secrets)
}

/// Returns the source of a secret in a file, independent of the working directory.
fn file_source(path: PathBuf) -> String {
    format!("src={}", std::path::absolute(&path).unwrap_or(path).display())
}

fn has_ignore_file(image: &BakeImage<'_>) -> bool {
    image.context.files.iter().any(|file| file.path == ".dockerignore")
}

/// Writes the file and the contexts. Returns the contexts of earlier exports that are no longer used.
fn write(folder: &Path, bake: &Bake<'_>) -> Result<Vec<PathBuf>, Report> {
    let mut files: BTreeMap<PathBuf, RenderedFile> = BTreeMap::new();
    for (path, file) in &bake.files {
        files.insert(path.clone(), RenderedFile::from(*file));
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
