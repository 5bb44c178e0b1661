//! Checks whether the folder of the templates can be used as a build context without changes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::context::BuildContext;
use super::copied::sources;
use super::dockerfile::{Misuse, parse};
use super::files::{Files, Found};
use crate::matrix::Matrix;

/// A difference between the folder of the templates and the context that basegen sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPlain {
    #[error("`{0}` is rendered from a template")]
    Rendered(String),
    #[error("`{0}` would be copied too, but basegen leaves it out")]
    More(String),
    #[error("`{0}` is an empty folder, which basegen does not send")]
    Empty(String),
    /// The mode on disk differs from the mode in the image.
    #[error("`{path}` has the mode {mode:04o}, but basegen sends {sent:04o}")]
    Mode { path: String, mode: u32, sent: u32 },
    #[error("`.dockerignore` could exclude files that basegen sends")]
    Ignores,
    #[error("{0}")]
    Unreadable(String),
}

/// Returns an error unless a build of `context` with the folder of the templates has the same result.
pub fn plain(matrix: &Matrix, context: &BuildContext) -> Result<(), NotPlain> {
    let unreadable = |misuse: Misuse| NotPlain::Unreadable(misuse.what);
    let instructions = parse(&context.dockerfile).map_err(unreadable)?;
    let sources = sources(&instructions).map_err(unreadable)?;
    if sources.is_empty() {
        return Ok(());
    }
    let folder = matrix.templates();
    if folder.join(".dockerignore").symlink_metadata().is_ok() {
        return Err(NotPlain::Ignores);
    }
    for file in &context.files {
        let on_disk = folder.join(&file.path);
        if !on_disk.is_file() {
            return Err(NotPlain::Rendered(file.path.clone()));
        }
        check_mode(&folder, Path::new(&file.path), if file.executable { 0o755 } else { 0o644 })?;
        for above in Path::new(&file.path).ancestors().skip(1).filter(|path| *path != Path::new(""))
        {
            check_mode(&folder, above, 0o755)?;
        }
    }
    let everything = Files::new(&folder, std::iter::empty()).with_everything();
    for source in sources {
        let found = everything.all(&source).map_err(unreadable)?;
        let is_sent = |path: &str| context.files.iter().any(|file| file.path == path);
        if let Some(more) = found.files.iter().map(Found::on_disk).find(|path| !is_sent(path)) {
            return Err(NotPlain::More(more.to_owned()));
        }
        if let Some(empty) = found.empty.into_iter().next() {
            return Err(NotPlain::Empty(empty));
        }
    }
    Ok(())
}

fn check_mode(folder: &Path, path: &Path, sent: u32) -> Result<(), NotPlain> {
    let metadata = fs_err::metadata(folder.join(path));
    let metadata = metadata.map_err(|error| NotPlain::Unreadable(error.to_string()))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode != sent {
        return Err(NotPlain::Mode { path: path.display().to_string(), mode, sent });
    }
    Ok(())
}
