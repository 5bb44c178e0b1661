use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use tempfile::NamedTempFile;

/// Writes a file atomically: a reader finds the old content or the new one. Creates missing folders.
pub(crate) fn replace(path: &Path, content: &[u8], executable: bool) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let mut temporary = create_beside(path)?;
    temporary.write_all(content)?;
    temporary.as_file().set_permissions(Permissions::from_mode(mode(executable)))?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes a file that does not exist, in a folder that does. If it exists by now, replaces it.
///
/// This takes a third of the time of [`replace`]. A reader can find a part of the content.
pub(crate) fn create(path: &Path, content: &[u8], executable: bool) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let created = options.write(true).create_new(true).mode(mode(executable)).open(path);
    let mut file = match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return replace(path, content, executable);
        }
        created => created?,
    };
    // The umask has limited the mode.
    let written = file
        .set_permissions(Permissions::from_mode(mode(executable)))
        .and_then(|()| file.write_all(content));
    if written.is_err() {
        // Nobody else writes this file, and a part of it is worse than none.
        let _ = std::fs::remove_file(path);
    }
    written
}

/// Creates a symbolic link atomically, and replaces a file or another link.
pub(crate) fn link(path: &Path, target: &OsStr) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let temporary = tempfile::Builder::new()
        .make_in(folder.unwrap_or(Path::new(".")), |temporary| symlink(target, temporary))?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn mode(executable: bool) -> u32 {
    if executable { 0o755 } else { 0o644 }
}

/// Creates a temporary file in the folder of `path`.
pub(crate) fn create_beside(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
}
