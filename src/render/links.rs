use std::path::{Component, Path, PathBuf};

/// The first part of `path` that is a symbolic link; `folder`, which it is below, may be one.
///
/// Who follows a link reads or writes outside of the folder that was named.
#[must_use]
pub fn first_link(folder: &Path, path: &Path) -> Option<PathBuf> {
    let mut below = PathBuf::new();
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_)));
    parts.into_iter().find_map(|part| {
        below.push(part);
        folder.join(&below).is_symlink().then(|| below.clone())
    })
}
