//! Assembles the files of a new repository, and renders them once to make sure that they work.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Component, Path, PathBuf};

use super::error::{Cause, InitError};
use super::import::Import;
use super::reader::escaped;
use super::{Files, ImportedImage, MAX_ORIGIN, Project, matrix_file};
use crate::error::Report;
use crate::files::{self, Access, Allowed, Checkout, Entitlement, read_text};
use crate::matrix;
use crate::render::{self, RenderedFile, Renderer};

/// The folder of files that images copy from outside of the new repository.
const CONTEXTS: &str = "contexts";

/// The name of the file with the patterns of a context.
const IGNORE_FILE: &str = ".dockerignore";

/// Returns the files of a repository in `folder` with the images of `imports`, by path.
pub(crate) fn assemble(
    project: &Project,
    imports: &[Import],
    folder: &Path,
) -> Result<Files, Report> {
    let mut imports = imports.to_vec();
    let mut copied = try_out(project, &mut imports)?;
    let mut files = Files::new();
    for import in &mut imports {
        let own = copied.remove(&import.image.name).unwrap_or_default();
        let in_place = path_from(folder, &import.image.context, Allowed::default());
        let context = match in_place {
            _ if own.is_empty() => {
                // Without its context, the image would copy the files of the new repository.
                import.image.settings.remove("files");
                import.image.settings.remove("dockerignore");
                None
            }
            Some(path) => Some(path),
            None => {
                let path = format!("{CONTEXTS}/{}", import.image.name);
                files.extend(copies(import, own, Path::new(&path)));
                Some(path)
            }
        };
        set_context(import, context);
    }
    files.extend(matrix_file::compose(project, &imports)?);
    Ok(files)
}

/// Writes the generated files to a temporary folder, loads the matrix from there and renders all of its variants with the
/// files of the imported images where they are. Returns the files that each image copies, by the name of the image.
fn try_out(
    project: &Project,
    imports: &mut [Import],
) -> Result<BTreeMap<String, Files>, InitError> {
    let temporary = tempfile::tempdir().map_err(InitError::Temporary)?;
    let folder = fs_err::canonicalize(temporary.path()).map_err(InitError::Temporary)?;
    let everything = [Entitlement::read_all()];
    let mut names = vec![(format!("{}/", folder.display()), String::new())];
    for import in &mut *imports {
        let context = path_from(&folder, &import.image.context, Allowed::new(&everything));
        if let Some(context) = &context {
            names.push((context.clone(), import.image.context.display().to_string()));
        }
        set_context(import, context);
    }
    let files = matrix_file::compose(project, imports)?;
    render::write(&folder, &files).map_err(|error| InitError::Trial(Cause::new(&error, &names)))?;
    let unsound = |error: &dyn Error| InitError::Unsound(Cause::new(error, &names));
    let matrix = matrix::load_with(&folder.join("matrix.toml"), Allowed::new(&everything));
    let matrix = matrix.map_err(|error| unsound(&error))?;
    let variants: Vec<_> = matrix.variants.iter().collect();
    let mut renderer = Renderer::new(&matrix).map_err(|error| unsound(&error))?;
    let contexts = renderer.render_all(&variants).map_err(|error| unsound(&error))?;
    let mut copied: BTreeMap<String, Files> = BTreeMap::new();
    for (variant, context) in variants.iter().zip(contexts) {
        let files = context.files.iter();
        let files = files.map(|file| (PathBuf::from(&file.path), RenderedFile::from(file)));
        let image = matrix.name_part(variant, "image").into_owned();
        copied.entry(image).or_default().extend(files);
    }
    // Some package managers get the packages of a file instead of the file.
    for ImportedImage { name, context, package_files, .. } in imports.iter().map(|one| &one.image) {
        for path in package_files {
            let content = files::read(&context.join(path), MAX_ORIGIN)?;
            let file = RenderedFile::plain(content);
            copied.entry(name.clone()).or_default().insert(path.into(), file);
        }
    }
    Ok(copied)
}

/// Sets the context of an image, unless it is copied and not built.
fn set_context(import: &mut Import, context: Option<String>) {
    let settings = &mut import.image.settings;
    let is_built = !settings.contains_key("mirror");
    match context.filter(|_| is_built) {
        Some(path) => drop(settings.insert("context".to_owned(), escaped(&path).into())),
        None => drop(settings.remove("context")),
    }
}

/// Returns the files that an image copies as files of the context at `path` in the new repository.
fn copies(import: &Import, own: Files, path: &Path) -> Files {
    let mut files: Files =
        own.into_iter().map(|(file, content)| (path.join(file), content)).collect();
    if !import.image.settings.contains_key("dockerignore")
        && let Ok(patterns) = read_text(&import.image.context.join(IGNORE_FILE), MAX_ORIGIN)
    {
        files.insert(path.join(IGNORE_FILE), RenderedFile::plain(patterns.into_bytes()));
    }
    files
}

/// Returns the path of `context` from `folder`, or `None` if it is outside of the repository of `folder` and not `allowed`.
fn path_from(folder: &Path, context: &Path, allowed: Allowed) -> Option<String> {
    let checkout = Checkout::find(folder, allowed);
    let absolute = std::path::absolute(Path::new(".").join(context)).ok()?;
    let context = checkout.resolve(&absolute, Access::Read).ok()?;
    let folder = checkout.resolve(Path::new(""), Access::Read).ok()?;
    let common = folder.components().zip(context.components());
    let common = common.take_while(|(one, other)| one == other).count();
    let up = folder.components().skip(common).map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(context.components().skip(common)).collect();
    let path = path.to_str()?;
    Some(if path.is_empty() { "." } else { path }.to_owned())
}
