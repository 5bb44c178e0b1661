//! Locks between the runs of one machine.
//!
//! A [`RunLock`] holds empty files of the user's state folder. Runs on several machines share no lock; the state of a
//! release is in the registry.

use std::fs::TryLockError;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use fs_err::File;

use crate::error::{ExitCode, Explain};

/// A file that a run locks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockFile {
    /// The path; [`RunLock::acquire`] creates the file.
    pub path: PathBuf,
    /// Whether other runs may hold it at the same time, if theirs is shared too.
    pub shared: bool,
}

/// The locks of a run, released when this is dropped or the process ends.
#[derive(Debug)]
pub struct RunLock {
    _files: Vec<File>,
}

/// Why the locks of a run cannot be acquired.
#[derive(Debug, thiserror::Error)]
pub enum RunLockError {
    /// Another run holds the lock.
    #[error("another basegen is publishing these images: it holds `{}`", .0.display())]
    Busy(PathBuf),
    /// The folder for locks belongs to another user.
    #[error("`{}` belongs to another user", .0.display())]
    Foreign(PathBuf),
    /// The lock cannot be created.
    #[error("failed to lock `{}`", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Explain for RunLockError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Busy(_) => "wait until it has ended, then rerun the command".to_owned(),
            Self::Foreign(_) | Self::Io { .. } => {
                "set `XDG_STATE_HOME` to a folder that you can write to".to_owned()
            }
        })
    }
}

impl RunLock {
    /// Acquires all of `locks`, or fails at once.
    pub fn acquire(locks: &[LockFile]) -> Result<Self, RunLockError> {
        let files = locks.iter().map(LockFile::acquire).collect::<Result<_, _>>()?;
        Ok(Self { _files: files })
    }
}

impl LockFile {
    fn acquire(&self) -> Result<File, RunLockError> {
        let io = |source| RunLockError::Io { path: self.path.clone(), source };
        if let Some(folder) = self.path.parent() {
            fs_err::create_dir_all(folder).map_err(io)?;
        }
        let file = File::options().create(true).append(true).open(&self.path).map_err(io)?;
        let locked =
            if self.shared { file.file().try_lock_shared() } else { file.file().try_lock() };
        match locked {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(RunLockError::Busy(self.path.clone())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}

/// Returns the private folder of this user in `temporary`, for the locks of a user without a home. Creates it if it is
/// missing.
pub fn user_folder(temporary: &Path) -> Result<PathBuf, RunLockError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| RunLockError::Io { path, source }
    };
    let own_file = tempfile::tempfile_in(temporary).and_then(|file| file.metadata());
    let user = own_file.map_err(io(temporary))?.uid();
    let folder = temporary.join(format!("basegen-{user}"));
    match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(io(&folder)(error));
        }
        _ => {}
    }
    let found = fs_err::symlink_metadata(&folder).map_err(io(&folder))?;
    // Any user can write to a temporary folder.
    let is_private = found.is_dir() && found.uid() == user && found.mode() & 0o022 == 0;
    if is_private { Ok(folder) } else { Err(RunLockError::Foreign(folder)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_run_holds_an_exclusive_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        let acquire = |shared| {
            let path = folder.path().join("state/releases/a.lock");
            RunLock::acquire(&[LockFile { path, shared }])
        };
        let first = acquire(false).expect("a lock");
        let second = acquire(false).expect_err("busy");
        assert!(matches!(second, RunLockError::Busy(_)), "{second}");
        drop(first);
        let shared = [acquire(true).expect("a shared lock"), acquire(true).expect("a shared lock")];
        assert!(matches!(acquire(false), Err(RunLockError::Busy(_))));
        drop(shared);
    }

    #[test]
    fn the_folder_for_locks_without_a_home_directory_is_private() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = user_folder(temporary.path()).expect("a folder");
        assert_eq!(user_folder(temporary.path()).expect("a folder"), folder);
        let mode = fs_err::metadata(&folder).expect("a folder").mode();
        assert_eq!(mode & 0o777, 0o700);
        fs_err::remove_dir(&folder).expect("removed");
        let elsewhere = tempfile::tempdir().expect("a folder");
        fs_err::os::unix::fs::symlink(elsewhere.path(), &folder).expect("a link");
        let error = user_folder(temporary.path()).expect_err("a link");
        assert!(matches!(error, RunLockError::Foreign(_)), "{error}");
    }
}
