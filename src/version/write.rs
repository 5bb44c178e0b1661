//! Writes edits atomically: each file as a whole, and all files or none.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{FileEdit, VersionError};
use crate::files::{Access, Checkout};

/// Writes `edits` of files of `checkout`. Each file keeps its mode, and symbolic links are followed.
/// If a file cannot be written, the files before it are restored.
pub fn write(checkout: &Checkout, edits: &[FileEdit]) -> Result<(), VersionError> {
    let folder = checkout.folder();
    let failed = |path: &Path, restored| {
        let path = path.to_owned();
        move |source| VersionError::Write { path, source, restored }
    };
    let mut staged: Vec<(PathBuf, NamedTempFile)> = Vec::new();
    for edit in edits {
        let named = folder.join(&edit.path);
        let path = checkout.resolve(&edit.path, Access::Write)?;
        if fs_err::read(&path).map_err(failed(&named, true))? != edit.before.as_bytes() {
            return Err(VersionError::Changed(named));
        }
        // The later edit would undo the earlier one.
        if let Some(first) = staged.iter().position(|(other, _)| *other == path) {
            let first = folder.join(&edits[first].path);
            return Err(VersionError::OneFile { first, second: named });
        }
        let file = stage(&path, &edit.after).map_err(failed(&named, true))?;
        staged.push((path, file));
    }
    let mut written: Vec<(PathBuf, &FileEdit)> = Vec::new();
    for ((path, file), edit) in staged.into_iter().zip(edits) {
        if let Err(error) = file.persist(&path) {
            let restored = restore(&written);
            return Err(failed(&folder.join(&edit.path), restored)(error.error));
        }
        written.push((path, edit));
    }
    Ok(())
}

/// Restores files. Returns true if all of them are restored.
fn restore(written: &[(PathBuf, &FileEdit)]) -> bool {
    let back = |(path, edit): &(PathBuf, &FileEdit)| {
        let file = stage(path, &edit.before)?;
        file.persist(path).map_err(|error| error.error)?;
        io::Result::Ok(())
    };
    // A failure does not keep the others from being restored.
    written.iter().filter(|one| back(one).is_err()).count() == 0
}

/// Creates a new file beside the one at `path`, with its mode.
fn stage(path: &Path, text: &str) -> io::Result<NamedTempFile> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(fs_err::metadata(path)?.permissions())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::error::Report;

    fn edit(path: &str) -> FileEdit {
        FileEdit { path: path.into(), before: "old\r\n".to_owned(), after: "new\r\n".to_owned() }
    }

    #[test]
    fn modes_and_links_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs_err::write(at("real"), "old\r\n").expect("written");
        fs_err::set_permissions(at("real"), std::fs::Permissions::from_mode(0o755))
            .expect("a mode");
        std::os::unix::fs::symlink("real", at("link")).expect("a link");
        write(&Checkout::within(folder.path(), folder.path()), &[edit("link")]).expect("written");
        assert!(at("link").is_symlink());
        assert_eq!(fs_err::read_to_string(at("real")).expect("read"), "new\r\n");
        assert_eq!(
            fs_err::metadata(at("real")).expect("there").permissions().mode() & 0o777,
            0o755
        );
        assert_eq!(fs_err::read_dir(folder.path()).expect("read").count(), 2);
    }

    #[test]
    fn a_failed_edit_writes_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["one", "two"] {
            fs_err::write(at(name), "old\r\n").expect("written");
        }
        let gone =
            write(&Checkout::within(folder.path(), folder.path()), &[edit("one"), edit("gone")])
                .expect_err("it is gone");
        let message = |error: VersionError| {
            let folder = format!("{}/", folder.path().display());
            Report::from(error).to_string().replace(&folder, "")
        };
        insta::assert_snapshot!(message(gone));
        fs_err::write(at("two"), "other").expect("written");
        let changed =
            write(&Checkout::within(folder.path(), folder.path()), &[edit("one"), edit("two")])
                .expect_err("it changed");
        insta::assert_snapshot!(message(changed));
        assert_eq!(fs_err::read_to_string(at("one")).expect("read"), "old\r\n");
    }

    #[test]
    fn a_file_with_two_edits_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs_err::write(at("one"), "old\r\n").expect("written");
        std::os::unix::fs::symlink("one", at("link")).expect("a link");
        for name in ["link", "./one"] {
            let error =
                write(&Checkout::within(folder.path(), folder.path()), &[edit("one"), edit(name)])
                    .expect_err("it is one");
            assert!(matches!(error, VersionError::OneFile { .. }), "{error}");
        }
        assert_eq!(fs_err::read_to_string(at("one")).expect("read"), "old\r\n");
        assert_eq!(fs_err::read_dir(folder.path()).expect("read").count(), 2);
    }

    #[test]
    fn files_are_restored_after_a_failure() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("one");
        fs_err::write(&path, "new\r\n").expect("written");
        assert!(restore(&[(path.clone(), &edit("one"))]));
        assert_eq!(fs_err::read_to_string(&path).expect("read"), "old\r\n");
        let gone = folder.path().join("gone");
        assert!(!restore(&[(gone, &edit("gone")), (path, &edit("one"))]));
    }
}
