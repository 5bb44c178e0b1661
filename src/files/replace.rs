use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

/// Writes a file atomically: a reader finds the old content or the new one. Creates missing folders.
pub(crate) fn replace(path: &Path, content: &[u8], executable: bool) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let mut temporary = create_beside(path)?;
    temporary.write_all(content)?;
    let mode = if executable { 0o755 } else { 0o644 };
    temporary.as_file().set_permissions(Permissions::from_mode(mode))?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Creates a temporary file in the folder of `path`.
pub(crate) fn create_beside(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
}
