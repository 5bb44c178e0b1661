use std::path::{Component, Path, PathBuf};

/// Returns the first part of `path` in `folder` that is a symbolic link. `folder` itself can be one.
///
/// A link could lead to files outside of the folder.
#[must_use]
pub fn first_link(folder: &Path, path: &Path) -> Option<PathBuf> {
    let mut below = PathBuf::new();
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_)));
    parts.into_iter().find_map(|part| {
        below.push(part);
        folder.join(&below).is_symlink().then(|| below.clone())
    })
}
