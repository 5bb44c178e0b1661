//! An [OCI image layout][spec] on disk, with concurrent writes by many builds and runs.
//!
//! [spec]: https://github.com/opencontainers/image-spec/blob/main/image-layout.md

use std::collections::HashSet;
use std::fs::{Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
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
/// The annotation that names an image for containerd's tools.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// The beginning of the message about a failed write.
pub(super) const WRITE_ERROR: &str = "failed to write to the OCI layout";

/// A folder of blobs and an index of images.
pub(super) struct OciLayout {
    root: PathBuf,
    /// The blobs that builds are writing. Two builds never write the same blob.
    writing: Mutex<HashSet<Digest>>,
    /// Serializes the builds of this run in front of [`OciLayout::lock`], which blocks a thread.
    index: tokio::sync::Mutex<()>,
}

/// The reason why a blob cannot be written.
pub(super) enum Refusal {
    /// The layout contains the blob.
    Exists,
    /// Another build is writing it.
    Busy,
    Io(io::Error),
}

impl OciLayout {
    /// Opens the layout in `root`, or creates it.
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
        // Reports a file system without locks now, not after the first build.
        match self.lock_file()?.file().try_lock() {
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(()),
        }
    }

    /// Starts to write the blob `digest`. `size` is its size in bytes, if known.
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
        // Only complete blobs get their name. The size is compared all the same: after a power failure
        // a file may have its name but not its content.
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

    /// Returns the size of a blob in bytes, if the layout contains it.
    pub(super) fn size(&self, digest: &Digest) -> Option<u64> {
        let metadata = self.blob_path(digest).metadata();
        metadata.ok().map(|metadata| metadata.len())
    }

    /// Opens a blob for reading.
    pub(super) async fn read(&self, digest: &Digest) -> io::Result<File> {
        File::open(self.blob_path(digest)).await
    }

    /// Sets the names of the image with `descriptor`, and removes them from other images.
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

    /// Locks the index against other runs, until the returned file is closed.
    async fn lock(&self) -> io::Result<fs_err::File> {
        let file = self.lock_file()?;
        let locking = tokio::task::spawn_blocking(move || file.file().lock().map(|()| file));
        locking.await.map_err(io::Error::other)?
    }

    /// Opens the file that is locked in place of the index: every layout has it, and it is never
    /// replaced.
    fn lock_file(&self) -> io::Result<fs_err::File> {
        let path = self.marker_path();
        // NFS locks only writable files. Elsewhere the file may belong to another user.
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

    /// Creates `path` with `value` unless the file exists.
    fn create(&self, path: &Path, value: &Value) -> io::Result<()> {
        if path.exists() {
            return Ok(());
        }
        match self.temporary(value)?.persist_noclobber(path) {
            // Another run has created it.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            created => created.map_err(io::Error::from),
        }
    }

    /// Replaces the content of `path` atomically.
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

/// Makes a temporary file readable for all users.
fn readable(temporary: TempPath) -> io::Result<TempPath> {
    fs_err::set_permissions(&temporary, Permissions::from_mode(0o644))?;
    Ok(temporary)
}

/// A blob that is being written. If it is dropped before [`Self::commit`], its file is deleted.
pub(super) struct BlobWriter {
    layout: Arc<OciLayout>,
    digest: Digest,
    file: File,
    temporary: Option<TempPath>,
    hasher: Sha256,
    written: u64,
}

impl BlobWriter {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).await?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Returns the number of bytes written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Verifies the digest and moves the blob to its place.
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
    async fn a_blob_is_written_once_and_completely() {
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
    async fn content_with_another_digest_is_rejected() {
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
    async fn names_move_between_images() {
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
    fn concurrent_runs_keep_all_names() {
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
        let mut remaining: Vec<_> = fs_err::read_dir(folder.path())
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        remaining.sort();
        assert_eq!(remaining, ["blobs", "index.json", "oci-layout"]);
    }

    #[tokio::test]
    async fn opening_a_layout_changes_nothing() {
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
    fn a_folder_without_a_layout_is_rejected() {
        let folder = tempfile::tempdir().expect("a folder");
        fs_err::write(folder.path().join("index.json"), "{}").expect("a file");
        assert!(OciLayout::open(folder.path()).is_err());
        let text = fs_err::read_to_string(folder.path().join("index.json")).expect("the file");
        assert_eq!(text, "{}");
    }
}
