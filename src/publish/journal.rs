//! What has been done of a release, so that whoever is stopped half way can go on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::TryLockError;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fs_err::File;
use serde::{Deserialize, Serialize};

use crate::error::{ExitCode, Explain};
use crate::image::{Digest, Reference};
use crate::plan::Fingerprint;

/// The version of the file's format.
const SCHEMA: u32 = 1;

/// A file that tells how far a release has come, and that only one run holds at a time.
///
/// Every change is on disk, whole, before the next step is taken: the file is written beside
/// itself, synced and renamed.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    state: Mutex<Numbered>,
    /// The number of the state that was written last.
    written: tokio::sync::Mutex<u64>,
    /// Held for as long as the journal is open.
    _locks: Vec<File>,
}

#[derive(Debug, Default)]
struct Numbered {
    state: State,
    number: u64,
}

/// How far a release has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    schema: u32,
    /// The rows that have come somewhere, by their ids.
    pub rows: BTreeMap<String, RowState>,
}

impl Default for State {
    fn default() -> Self {
        Self { schema: SCHEMA, rows: BTreeMap::new() }
    }
}

/// How far one row has come: its image was checked and is in the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowState {
    /// What it was made of, be that certain or not.
    pub recipe: Fingerprint,
    /// Whether it was built although there was such an image.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// What was pushed.
    pub digest: Digest,
    /// The tags that stand for it, in full.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
}

impl RowState {
    fn new(recipe: &Fingerprint, digest: &Digest) -> Self {
        let (recipe, digest) = (recipe.clone(), digest.clone());
        Self { recipe, forced: false, digest, tags: BTreeSet::new() }
    }
}

/// A file that is locked while a journal is open.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockFile {
    /// Where it is; an empty file is made where there is none.
    pub path: PathBuf,
    /// Whether others may share it, and only one that does not is kept out.
    pub shared: bool,
}

/// Why there is no journal, and so no release.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another run holds it.
    #[error("another basegen is publishing these images: it holds `{}`", .0.display())]
    Busy(PathBuf),
    /// It is no journal.
    #[error("`{}` is not a journal of basegen", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Another version of basegen wrote it.
    #[error("`{}` was written by another basegen: its format is {found}, and this one knows {SCHEMA}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It cannot be read or written.
    #[error("failed to keep the journal `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
}

impl Explain for JournalError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Busy(_) => Some("wait until it has ended, and run again".to_owned()),
            Self::Corrupt { path, .. } | Self::Schema { path, .. } => Some(format!(
                "remove it (`rm {}`): what is in the registry already is found there too",
                path.display()
            )),
            Self::Io { .. } => None,
        }
    }
}

impl Journal {
    /// Opens the journal at `path`; one that is not there is empty. As long as it is open, no
    /// other can be that has one of the same `locks`: releases into the same repository share
    /// aliases.
    pub fn open(path: &Path, locks: &[LockFile]) -> Result<Self, JournalError> {
        let io = |source| JournalError::Io { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            fs_err::create_dir_all(folder).map_err(io)?;
        }
        let locks = locks.iter().map(LockFile::hold).collect::<Result<_, _>>()?;
        let state = match fs_err::read(path) {
            Ok(bytes) => read(path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(io(error)),
        };
        let state = Mutex::new(Numbered { state, number: 0 });
        Ok(Self {
            path: path.to_owned(),
            state,
            written: tokio::sync::Mutex::new(0),
            _locks: locks,
        })
    }

    /// How far the release has come.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).state.clone()
    }

    /// Notes that the image of row `id` was checked and is in the registry.
    pub async fn pushed(
        &self,
        id: &str,
        recipe: &Fingerprint,
        forced: bool,
        digest: &Digest,
    ) -> Result<(), JournalError> {
        let row = RowState { forced, ..RowState::new(recipe, digest) };
        self.note(|state| drop(state.rows.insert(id.to_owned(), row))).await
    }

    /// Notes that `reference` stands for the image of row `id`, which is `digest`.
    pub async fn tagged(
        &self,
        id: &str,
        recipe: &Fingerprint,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<(), JournalError> {
        let new = || RowState::new(recipe, digest);
        self.note(|state| {
            let row = state.rows.entry(id.to_owned()).or_insert_with(new);
            // What another image was called is not what this one is.
            if row.digest != *digest {
                *row = new();
            }
            row.tags.insert(reference.canonical());
        })
        .await
    }

    /// Removes the journal of a release that is whole.
    pub async fn complete(&self) -> Result<(), JournalError> {
        let _written = self.written.lock().await;
        match fs_err::remove_file(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(JournalError::Io { path: self.path.clone(), source })
            }
            _ => Ok(()),
        }
    }

    /// Changes the state, and returns when the change is on disk. Changes that come while
    /// another is written share the next writing.
    async fn note(&self, change: impl FnOnce(&mut State)) -> Result<(), JournalError> {
        let number = {
            let mut numbered = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut numbered.state);
            numbered.number += 1;
            numbered.number
        };
        let mut written = self.written.lock().await;
        if *written >= number {
            return Ok(());
        }
        let (text, number) = {
            let numbered = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let text = serde_json::to_string_pretty(&numbered.state).expect("a state is JSON");
            (text, numbered.number)
        };
        let path = self.path.clone();
        let writing = tokio::task::spawn_blocking(move || write(&path, &text));
        let result = writing.await.map_err(io::Error::other).and_then(|result| result);
        result.map_err(|source| JournalError::Io { path: self.path.clone(), source })?;
        *written = number;
        Ok(())
    }
}

impl LockFile {
    /// Locks it for as long as the file is open. The file stays: it is empty, and whoever removed
    /// it would take it away from somebody who has just opened it.
    fn hold(&self) -> Result<File, JournalError> {
        let io = |source| JournalError::Io { path: self.path.clone(), source };
        // NFS shares a lock among those alone who may read.
        let mut options = File::options();
        let file = options.create(true).read(true).append(true).open(&self.path).map_err(io)?;
        let locked = match self.shared {
            true => file.file().try_lock_shared(),
            false => file.file().try_lock(),
        };
        match locked {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(JournalError::Busy(self.path.clone())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}

fn read(path: &Path, bytes: &[u8]) -> Result<State, JournalError> {
    /// What every format of a journal has.
    #[derive(Deserialize)]
    struct AnySchema {
        schema: u32,
    }
    let corrupt = |source| JournalError::Corrupt { path: path.to_owned(), source };
    let AnySchema { schema } = serde_json::from_slice(bytes).map_err(corrupt)?;
    if schema != SCHEMA {
        return Err(JournalError::Schema { path: path.to_owned(), found: schema });
    }
    serde_json::from_slice(bytes).map_err(corrupt)
}

/// Writes `path` so that after a crash it holds either all of `text` or what it held before.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The rename itself is on disk only when its folder is.
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Report;

    fn open(path: &Path) -> Result<Journal, JournalError> {
        Journal::open(path, &[LockFile { path: path.with_extension("lock"), shared: false }])
    }

    fn digest() -> Digest {
        Digest::of(b"image")
    }

    fn recipe() -> Fingerprint {
        Digest::of(b"recipe").to_string().parse().expect("a fingerprint")
    }

    #[tokio::test]
    async fn what_was_noted_is_there_for_the_next_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state/release.json");
        let journal = open(&path).expect("a journal");
        let reference = "acme/a:1".parse().expect("a reference");
        journal.pushed("a", &recipe(), true, &digest()).await.expect("noted");
        journal.tagged("a", &recipe(), &reference, &digest()).await.expect("noted");
        let state = journal.state();
        drop(journal);
        let again = open(&path).expect("a journal");
        assert_eq!(again.state(), state);
        assert!(state.rows["a"].tags.contains("docker.io/acme/a:1"));
        let other = Digest::of(b"another image");
        again.tagged("a", &recipe(), &reference, &other).await.expect("noted");
        assert_eq!(again.state().rows["a"].digest, other);
        again.complete().await.expect("removed");
        again.complete().await.expect("removed before");
        drop(again);
        assert_eq!(open(&path).expect("a journal").state(), State::default());
    }

    #[tokio::test]
    async fn changes_at_the_same_time_are_all_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("release.json");
        let journal = open(&path).expect("a journal");
        let ids: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let (recipe, digest) = (recipe(), digest());
        let noting = ids.iter().map(|id| journal.pushed(id, &recipe, false, &digest));
        futures_util::future::try_join_all(noting).await.expect("noted");
        let bytes = fs_err::read(&path).expect("the file");
        assert_eq!(read(&path, &bytes).expect("a state").rows.len(), 100);
    }

    #[test]
    fn only_one_run_holds_a_journal() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("release.json");
        let first = open(&path).expect("a journal");
        let second = open(&path).expect_err("taken");
        assert!(matches!(second, JournalError::Busy(_)), "{second}");
        drop(first);
        open(&path).expect("free again");
        let sharing = |name: &str, shared: bool| {
            let lock = LockFile { path: folder.path().join("both.lock"), shared };
            Journal::open(&folder.path().join(name), &[lock])
        };
        let (first, _second) = (sharing("a", true), sharing("b", true));
        assert!(matches!(sharing("c", false), Err(JournalError::Busy(_))));
        assert!(first.is_ok());
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("release.json");
        let cut = "{\"schema\":1,\"rows\":{";
        let newer = "{\"schema\":2,\"more\":1}";
        let refused: Vec<String> = ["", cut, newer, "{\"schema\":1,\"rows\":{},\"x\":1}"]
            .into_iter()
            .map(|text| {
                fs_err::write(&path, text).expect("a file");
                let error = open(&path).expect_err("refused");
                let report = Report::from(error).to_string();
                report.replace(&folder.path().display().to_string(), "FOLDER")
            })
            .collect();
        insta::assert_snapshot!(refused.join("\n\n"));
    }
}
