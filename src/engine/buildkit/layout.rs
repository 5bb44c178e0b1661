//! An [OCI image layout][spec] on disk that many builds, and several runs, write to at once.
//!
//! [spec]: https://github.com/opencontainers/image-spec/blob/main/image-layout.md

use std::collections::HashSet;
use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::engine::EngineError;
use crate::image::{Digest, Reference};

/// The annotation that names an image within the layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The same for containerd's tools.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// How it is told that a layout cannot be written to.
pub(super) const WRITING: &str = "failed to write to the OCI layout";

/// A folder of blobs, each there once, and an index of images.
pub(super) struct OciLayout {
    root: PathBuf,
    /// The blobs that are being written now; no two builds write the same one.
    writing: Mutex<HashSet<Digest>>,
    /// Held by the build whose turn it is to ask for [`OciLayout::lock`]: the others of this run
    /// wait without a thread each.
    index: tokio::sync::Mutex<()>,
}

/// Why a blob cannot be written now.
pub(super) enum Refusal {
    /// It is there already.
    Exists,
    /// Another build is writing it.
    Busy,
    /// The disk refused.
    Io(io::Error),
}

impl OciLayout {
    /// Opens the layout in `root`, or begins one there.
    pub(super) fn open(root: &Path) -> Result<Self, EngineError> {
        let layout = Self {
            root: root.to_owned(),
            writing: Mutex::default(),
            index: tokio::sync::Mutex::default(),
        };
        match layout.prepare() {
            Ok(()) => Ok(layout),
            Err(source) => {
                Err(EngineError::Layout { path: root.to_owned(), source: source.into() })
            }
        }
    }

    fn prepare(&self) -> io::Result<()> {
        fs_err::create_dir_all(self.blobs())?;
        self.create(&self.marker_path(), &json!({"imageLayoutVersion": "1.0.0"}))?;
        let empty = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [],
        });
        self.create(&self.index_path(), &empty)?;
        self.read_index()?;
        // Where files cannot be locked, that is told now and not after the first build.
        match self.lock_file()?.file().try_lock() {
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(()),
        }
    }

    /// Begins to write the blob `digest`, of `size` bytes where that is known.
    pub(super) fn begin(
        self: &Arc<Self>,
        digest: &Digest,
        size: Option<u64>,
    ) -> Result<BlobWriter, Refusal> {
        let path = self.blob_path(digest);
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if writing.contains(digest) {
            return Err(Refusal::Busy);
        }
        // A blob has its name only once it is whole; the size is looked at all the same,
        // since a machine that lost its power may keep the name and lose the bytes.
        if path.metadata().is_ok_and(|blob| size.is_none_or(|size| size == blob.len())) {
            return Err(Refusal::Exists);
        }
        let temporary = NamedTempFile::new_in(self.blobs()).map_err(Refusal::Io)?;
        let (file, temporary) = temporary.into_parts();
        writing.insert(digest.clone());
        Ok(BlobWriter {
            layout: Arc::clone(self),
            digest: digest.clone(),
            file: File::from_std(file),
            temporary: Some(temporary),
            hasher: Sha256::new(),
            written: 0,
        })
    }

    /// The size of a blob that is there.
    pub(super) fn size(&self, digest: &Digest) -> Option<u64> {
        let metadata = self.blob_path(digest).metadata();
        metadata.ok().map(|metadata| metadata.len())
    }

    /// Gives the image behind `descriptor` its names, taking them from whatever had them before.
    pub(super) async fn name(
        &self,
        descriptor: &Value,
        references: &[Reference],
    ) -> io::Result<()> {
        let _one_at_a_time = self.index.lock().await;
        let _alone = self.lock().await?;
        let mut index = self.read_index()?;
        let names: Vec<String> = references.iter().map(Reference::canonical).collect();
        let manifests = index["manifests"].as_array_mut();
        let manifests = manifests.ok_or_else(|| invalid("`manifests` is not a list"))?;
        manifests.retain(|entry| {
            let name = entry["annotations"][REF_NAME].as_str();
            !name.is_some_and(|name| names.iter().any(|ours| ours == name))
        });
        manifests.extend(names.iter().map(|name| named(descriptor, name)));
        self.replace(&self.index_path(), &index)
    }

    /// Waits until no other run changes the index, and keeps them from it while the file is open.
    async fn lock(&self) -> io::Result<fs_err::File> {
        let file = self.lock_file()?;
        let locking = tokio::task::spawn_blocking(move || file.file().lock().map(|()| file));
        locking.await.map_err(io::Error::other)?
    }

    /// The file that stands for the index when that is locked: every layout has it, and unlike
    /// the index it is never replaced by another.
    fn lock_file(&self) -> io::Result<fs_err::File> {
        let path = self.marker_path();
        // NFS locks only what may be written to; elsewhere it may be somebody else's, too.
        match fs_err::File::options().append(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                fs_err::File::open(&path)
            }
            opened => opened,
        }
    }

    fn read_index(&self) -> io::Result<Value> {
        let index: Value = serde_json::from_slice(&fs_err::read(self.index_path())?)?;
        if index["manifests"].is_array() {
            Ok(index)
        } else {
            Err(invalid("`index.json` is not an OCI image index"))
        }
    }

    /// Puts `value` at `path` if nothing is there.
    fn create(&self, path: &Path, value: &Value) -> io::Result<()> {
        if path.exists() {
            return Ok(());
        }
        match self.temporary(value)?.persist_noclobber(path) {
            // Another run was faster.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            created => created.map_err(io::Error::from),
        }
    }

    /// Puts `value` at `path` so that a reader sees the old file or the new, never a part.
    fn replace(&self, path: &Path, value: &Value) -> io::Result<()> {
        self.temporary(value)?.persist(path).map_err(io::Error::from)
    }

    fn temporary(&self, value: &Value) -> io::Result<TempPath> {
        let mut temporary = NamedTempFile::new_in(&self.root)?;
        serde_json::to_writer_pretty(&mut temporary, value)?;
        readable(temporary.into_temp_path())
    }

    fn marker_path(&self) -> PathBuf {
        self.root.join("oci-layout")
    }

    fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs").join("sha256")
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }
}

fn named(descriptor: &Value, name: &str) -> Value {
    let mut entry = descriptor.clone();
    if !entry["annotations"].is_object() {
        entry["annotations"] = json!({});
    }
    entry["annotations"][REF_NAME] = name.into();
    entry["annotations"][CONTAINERD_NAME] = name.into();
    entry
}

fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

/// A temporary file that all may read, as other files are.
fn readable(temporary: TempPath) -> io::Result<TempPath> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs_err::set_permissions(&temporary, std::fs::Permissions::from_mode(0o644))?;
    }
    Ok(temporary)
}

/// A blob on its way to the disk; dropped unfinished, it leaves nothing behind.
pub(super) struct BlobWriter {
    layout: Arc<OciLayout>,
    digest: Digest,
    file: File,
    temporary: Option<TempPath>,
    hasher: Sha256,
    written: u64,
}

impl BlobWriter {
    /// Appends `bytes`.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).await?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// How many bytes came so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// The digest that the bytes should have.
    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Gives the blob its name, if its bytes are those that the name promises.
    pub(super) async fn commit(mut self) -> io::Result<()> {
        self.file.flush().await?;
        let actual = format!("sha256:{}", hex::encode(self.hasher.finalize_reset()));
        if actual != self.digest.to_string() {
            let problem = format!("the engine sent {actual} as {}", self.digest);
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        match self.temporary.take() {
            Some(temporary) => {
                let path = self.layout.blob_path(&self.digest);
                readable(temporary)?.persist(path).map_err(io::Error::from)
            }
            None => Ok(()),
        }
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        let writing = self.layout.writing.lock();
        let mut writing = writing.unwrap_or_else(PoisonError::into_inner);
        writing.remove(&self.digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(text: &str) -> Value {
        let digest = Digest::of(text.as_bytes()).to_string();
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": text.len()})
    }

    fn reference(text: &str) -> Reference {
        text.parse().expect("a reference")
    }

    fn index(folder: &Path) -> Value {
        let text = fs_err::read(folder.join("index.json")).expect("an index");
        serde_json::from_slice(&text).expect("JSON")
    }

    fn files(folder: &Path) -> usize {
        let blobs = fs_err::read_dir(folder.join("blobs/sha256")).expect("blobs");
        blobs.count()
    }

    #[tokio::test]
    async fn a_blob_is_written_once_and_only_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Arc::new(OciLayout::open(folder.path()).expect("a layout"));
        let digest = Digest::of(b"layer");
        let mut writer = layout.begin(&digest, Some(5)).ok().expect("a writer");
        writer.write(b"lay").await.expect("a write");
        assert!(matches!(layout.begin(&digest, None), Err(Refusal::Busy)));
        drop(writer);
        assert_eq!(files(folder.path()), 0);

        let mut writer = layout.begin(&digest, Some(5)).ok().expect("a writer");
        writer.write(b"layer").await.expect("a write");
        writer.commit().await.expect("a blob");
        assert!(matches!(layout.begin(&digest, Some(5)), Err(Refusal::Exists)));
        assert_eq!(layout.size(&digest), Some(5));
        assert_eq!(files(folder.path()), 1);
    }

    #[tokio::test]
    async fn bytes_that_are_not_what_they_are_called_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Arc::new(OciLayout::open(folder.path()).expect("a layout"));
        let digest = Digest::of(b"layer");
        let mut writer = layout.begin(&digest, None).ok().expect("a writer");
        writer.write(b"other").await.expect("a write");
        let error = writer.commit().await.expect_err("another digest");
        assert!(error.to_string().contains(&digest.to_string()), "{error}");
        assert_eq!(files(folder.path()), 0);
    }

    #[tokio::test]
    async fn names_move_and_other_images_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        for (text, names) in [("one", ["a:1", "a:2"]), ("two", ["a:2", "b:1"])] {
            let layout = OciLayout::open(folder.path()).expect("a layout");
            let names = names.map(reference);
            layout.name(&descriptor(text), &names).await.expect("an index");
        }
        let index = index(folder.path());
        let entries: Vec<(&str, &str)> = index["manifests"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| {
                let name = entry["annotations"][REF_NAME].as_str().expect("a name");
                (name, entry["digest"].as_str().expect("a digest"))
            })
            .collect();
        let (one, two) = (Digest::of(b"one").to_string(), Digest::of(b"two").to_string());
        let expected =
            [("docker.io/a:1", one.as_str()), ("docker.io/a:2", &two), ("docker.io/b:1", &two)];
        assert_eq!(entries, expected);
        let marker = fs_err::read_to_string(folder.path().join("oci-layout")).expect("a marker");
        assert!(marker.contains("1.0.0"));
    }

    #[test]
    fn runs_at_the_same_time_lose_no_name_of_each_other() {
        const RUNS: usize = 4;
        const NAMES: usize = 50;
        let folder = tempfile::tempdir().expect("a folder");
        let name_all = |run: usize| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                for number in 0..NAMES {
                    let layout = OciLayout::open(folder.path()).expect("a layout");
                    let name = format!("run-{run}:{number}");
                    let named = layout.name(&descriptor(&name), &[reference(&name)]).await;
                    named.expect("an index");
                }
            });
        };
        std::thread::scope(|scope| {
            for run in 0..RUNS {
                scope.spawn(move || name_all(run));
            }
        });
        let entries = index(folder.path())["manifests"].as_array().map_or(0, Vec::len);
        assert_eq!(entries, RUNS * NAMES);
        let mut left: Vec<_> = fs_err::read_dir(folder.path())
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["blobs", "index.json", "oci-layout"]);
    }

    #[tokio::test]
    async fn a_layout_that_is_opened_stays_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        OciLayout::open(folder.path()).expect("a layout");
        let path = folder.path().join("index.json");
        let written = "{\"manifests\":[],\"annotations\":{\"a\":\"b\"}}";
        fs_err::write(&path, written).expect("a file");
        let layout = OciLayout::open(folder.path()).expect("a layout");
        assert_eq!(fs_err::read_to_string(&path).expect("the file"), written);
        layout.name(&descriptor("one"), &[reference("a:1")]).await.expect("an index");
        assert_eq!(index(folder.path())["annotations"]["a"], "b");
    }

    #[test]
    fn a_folder_of_something_else_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        fs_err::write(folder.path().join("index.json"), "{}").expect("a file");
        assert!(OciLayout::open(folder.path()).is_err());
        let text = fs_err::read_to_string(folder.path().join("index.json")).expect("the file");
        assert_eq!(text, "{}");
    }
}
