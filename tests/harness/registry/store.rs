//! The content of the registry: repositories and open uploads.

use std::collections::{BTreeMap, HashMap};

use basegen::image::Digest;
use bytes::Bytes;

#[derive(Default)]
pub(super) struct Store {
    repositories: BTreeMap<String, Content>,
    pub(super) uploads: HashMap<String, Upload>,
    pub(super) immutable_tags: bool,
    started_uploads: usize,
    empty: Content,
}

/// The content of a repository.
#[derive(Default)]
pub(super) struct Content {
    pub(super) blobs: BTreeMap<Digest, Bytes>,
    /// Media types and contents.
    pub(super) manifests: BTreeMap<Digest, (String, Bytes)>,
    pub(super) tags: BTreeMap<String, Digest>,
}

pub(super) struct Upload {
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
}

impl Store {
    /// Returns the content of a repository, which is empty if the repository does not exist.
    pub(super) fn content(&self, path: &str) -> &Content {
        self.repositories.get(path).unwrap_or(&self.empty)
    }

    /// Returns the content of a repository for changes. Creates the repository if it does not exist.
    pub(super) fn repository(&mut self, path: &str) -> &mut Content {
        self.repositories.entry(path.to_owned()).or_default()
    }

    pub(super) fn has_repository(&self, path: &str) -> bool {
        self.repositories.contains_key(path)
    }

    pub(super) fn add_blob(&mut self, path: &str, bytes: Bytes) -> Digest {
        let digest = Digest::of(&bytes);
        self.repository(path).blobs.insert(digest.clone(), bytes);
        digest
    }

    pub(super) fn add_manifest(&mut self, path: &str, media_type: &str, bytes: Bytes) -> Digest {
        let digest = Digest::of(&bytes);
        let manifest = (media_type.to_owned(), bytes);
        self.repository(path).manifests.insert(digest.clone(), manifest);
        digest
    }

    pub(super) fn tag(&mut self, path: &str, tag: &str, digest: Digest) {
        self.repository(path).tags.insert(tag.to_owned(), digest);
    }

    pub(super) fn start_upload(&mut self, path: &str) -> String {
        self.started_uploads += 1;
        let id = format!("upload-{}", self.started_uploads);
        self.uploads.insert(id.clone(), Upload { path: path.to_owned(), bytes: Vec::new() });
        id
    }
}

impl Content {
    /// Returns the digest of the manifest with a tag or digest.
    pub(super) fn resolve(&self, reference: &str) -> Option<Digest> {
        match reference.parse() {
            Ok(digest) => self.manifests.contains_key(&digest).then_some(digest),
            Err(_) => self.tags.get(reference).cloned(),
        }
    }
}
