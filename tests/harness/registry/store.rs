//! What a registry has.

use std::collections::{BTreeMap, HashMap};

use basegen::image::Digest;
use bytes::Bytes;

#[derive(Default)]
pub(super) struct Store {
    repositories: BTreeMap<String, Stored>,
    pub(super) uploads: HashMap<String, Upload>,
    pub(super) immutable_tags: bool,
    begun: usize,
    nothing: Stored,
}

#[derive(Default)]
pub(super) struct Stored {
    pub(super) blobs: BTreeMap<Digest, Bytes>,
    /// Each with its media type.
    pub(super) manifests: BTreeMap<Digest, (String, Bytes)>,
    pub(super) tags: BTreeMap<String, Digest>,
}

pub(super) struct Upload {
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
}

impl Store {
    /// What a repository has, which is nothing where there is none.
    pub(super) fn of(&self, path: &str) -> &Stored {
        self.repositories.get(path).unwrap_or(&self.nothing)
    }

    /// A repository to put something into; it begins to exist with that.
    pub(super) fn repository(&mut self, path: &str) -> &mut Stored {
        self.repositories.entry(path.to_owned()).or_default()
    }

    pub(super) fn knows(&self, path: &str) -> bool {
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

    pub(super) fn begin(&mut self, path: &str) -> String {
        self.begun += 1;
        let id = format!("upload-{}", self.begun);
        self.uploads.insert(id.clone(), Upload { path: path.to_owned(), bytes: Vec::new() });
        id
    }
}

impl Stored {
    /// The digest of what is named by tag or digest.
    pub(super) fn resolve(&self, name: &str) -> Option<Digest> {
        match name.parse() {
            Ok(digest) => self.manifests.contains_key(&digest).then_some(digest),
            Err(_) => self.tags.get(name).cloned(),
        }
    }
}
