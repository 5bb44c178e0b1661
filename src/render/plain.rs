//! Whether the templates' folder, as it is, could be a Dockerfile's context.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::context::BuildContext;
use super::copied::sources;
use super::dockerfile::{Misuse, parse};
use super::files::{Files, Found};
use crate::matrix::Matrix;

/// How a folder differs from what basegen would send of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPlain {
    /// A file is rendered before it is copied.
    #[error("`{0}` is rendered from a template")]
    Rendered(String),
    /// The folder holds something else.
    #[error("`{0}` would be copied too, which basegen leaves out")]
    More(String),
    /// The folder holds a folder without files.
    #[error("`{0}` is an empty folder, which basegen does not send")]
    Empty(String),
    /// The mode differs.
    #[error("`{path}` has the mode {mode:04o}, and basegen sends {sent:04o}")]
    Mode {
        /// The file or folder.
        path: String,
        /// What it has on disk.
        mode: u32,
        /// What it has in the image.
        sent: u32,
    },
    /// Docker would obey a `.dockerignore`.
    #[error("`.dockerignore` could leave out files that basegen sends")]
    Ignores,
    /// Something cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

/// Makes sure that an engine that is sent the templates' folder of `matrix` builds `context`
/// just as from what basegen sends.
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
    match mode == sent {
        true => Ok(()),
        false => Err(NotPlain::Mode { path: path.display().to_string(), mode, sent }),
    }
}
