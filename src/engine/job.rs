use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretSlice;

use crate::event::Event;
use crate::image::{Compression, Digest, Platform, Reference, Tag};
use crate::matrix::Check;
use crate::registry::Manifest;
use crate::render::BuildContext;

/// One target, ready to be built: nothing is left to look up.
#[derive(Debug, Clone)]
pub struct BuildJob {
    /// The target's id, the name under which events speak of it.
    pub target: String,
    /// What is built.
    pub context: BuildContext,
    /// What must hold of the image before it is handed on.
    pub checks: Vec<Check>,
    /// An image that was built before. The job then only runs its checks, in this image, and
    /// exports nothing. Its context is a Dockerfile that begins with the image.
    pub existing: Option<Digest>,
    /// For which platforms; one gives an image manifest, several an image index.
    pub platforms: Vec<Platform>,
    /// The image's labels.
    pub labels: BTreeMap<String, String>,
    /// What the image is called, the version tag first; never empty, and all in one repository.
    pub references: Vec<Reference>,
    /// The tag under which the image reaches a registry when the engine cannot push without one.
    pub staging: Tag,
    /// How its layers are compressed.
    pub compression: Compression,
    /// The jobs, as indexes into the run's list and before its own, that should be over before
    /// this one's image is handed on: each is the first to upload a blob that this one needs in
    /// another repository.
    pub after: Vec<usize>,
}

impl BuildJob {
    /// The event that its image is there already.
    #[must_use]
    pub fn unchanged(&self, digest: &Digest) -> Event {
        Event::TargetKept {
            target: self.target.clone(),
            digest: digest.clone(),
            references: self.references.clone(),
        }
    }

    /// Returns the job that runs the checks of this one in an image that was built before:
    /// `digest`, which the engine finds as `name`.
    #[must_use]
    pub fn checking(&self, name: &str, digest: &Digest) -> Self {
        let context = BuildContext {
            dockerfile: format!("FROM {name}\n"),
            dockerfile_name: self.context.dockerfile_name.clone(),
            ..BuildContext::default()
        };
        Self { context, existing: Some(digest.clone()), labels: BTreeMap::new(), ..self.clone() }
    }

    /// The image under its staging tag.
    pub(super) fn staged(&self) -> Option<Reference> {
        let repository = self.references.first()?.repository.clone();
        Some(Reference { repository, tag: self.staging.clone() })
    }
}

/// Where the images of a run go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// The engine's own image store, ready to run.
    Engine,
    /// The repository of its references, where it is known by its digest alone: no tag is set.
    /// Nothing is unpacked on the way.
    Registry,
    /// An OCI image layout in this folder, which variants share blobs in.
    OciLayout(PathBuf),
}

/// A value that build steps can mount and that no layer, log or event ever holds.
#[derive(Debug, Clone)]
pub struct Secret {
    /// The id of `RUN --mount=type=secret,id=…`.
    pub id: String,
    /// The value.
    pub value: SecretSlice<u8>,
}

/// What a build made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    /// The digest of the manifest, or of the index when there are several platforms.
    pub digest: Digest,
    /// Whether no step had to run.
    pub cached: bool,
    /// The manifests that were pushed, those of an index too, as far as the engine still has them.
    pub manifests: Vec<Manifest>,
}
