//! Assembles the files of a new repository, and renders them once to make sure that they work.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use super::error::{Cause, InitError};
use super::import::Import;
use super::{NewFile, Project, matrix_file};
use crate::error::Report;
use crate::matrix;
use crate::render::{self, RenderedFile, Renderer};

/// Returns the files of a repository with the images of `imports`, by path.
pub(crate) fn assemble(
    project: &Project,
    imports: &[Import],
) -> Result<BTreeMap<PathBuf, RenderedFile>, Report> {
    let generated = matrix_file::compose(project, imports)?;
    let generated = generated.into_iter().map(|file| ("basegen", file));
    let copied = imports
        .iter()
        .flat_map(|one| one.files.iter().map(|file| (one.origin.as_str(), file.clone())));
    let mut files: BTreeMap<PathBuf, (&str, RenderedFile)> = BTreeMap::new();
    for (origin, NewFile { path, content, executable }) in generated.chain(copied) {
        if let Some((first, known)) = files.get(Path::new(&path))
            && *known.content != *content
        {
            let (first, second) = ((*first).to_owned(), origin.to_owned());
            return Err(InitError::Clash { first, second, path }.into());
        }
        let content = content.into();
        files.insert(path.into(), (origin, RenderedFile { content, executable }));
    }
    let files = files.into_iter().map(|(path, (_, file))| (path, file)).collect();
    check(&files)?;
    Ok(files)
}

/// Writes `files` to a temporary folder, loads the matrix from there and renders all of its variants.
fn check(files: &BTreeMap<PathBuf, RenderedFile>) -> Result<(), InitError> {
    let temporary = tempfile::tempdir().map_err(InitError::Temporary)?;
    let folder = temporary.path();
    render::write(folder, files).map_err(|error| InitError::Trial(Cause::new(&error, folder)))?;
    let unsound = |error: &dyn Error| InitError::Unsound(Cause::new(error, folder));
    let matrix = matrix::load(&folder.join("matrix.toml")).map_err(|error| unsound(&error))?;
    let variants: Vec<_> = matrix.variants.iter().collect();
    let mut renderer = Renderer::new(&matrix).map_err(|error| unsound(&error))?;
    renderer.render_all(&variants).map_err(|error| unsound(&error))?;
    Ok(())
}
