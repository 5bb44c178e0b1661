use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use secrecy::SecretSlice;

use crate::event::Event;
use crate::image::{Compression, Digest, Platform, Reference, Tag};
use crate::matrix::Check;
use crate::registry::Manifest;
use crate::render::{BuildContext, Step};

/// A target with all inputs of its build.
#[derive(Debug, Clone)]
pub struct BuildJob {
    /// The target's id, as in events.
    pub target: String,
    /// The Dockerfile and its files.
    pub context: BuildContext,
    /// The checks that the image must pass before its export.
    pub checks: Vec<Check>,
    /// An image from an earlier build. The job then only runs the checks in it and exports nothing. The
    /// Dockerfile of its context is `FROM` this image.
    pub existing: Option<Digest>,
    /// The platforms. One gives an image manifest, several give an image index.
    pub platforms: Vec<Platform>,
    pub labels: BTreeMap<String, String>,
    /// The tags of the image, the version tag first. Never empty; all in one repository.
    pub references: Vec<Reference>,
    /// The tag for pushes of engines that cannot push by digest.
    pub staging: Tag,
    /// The compression of new layers.
    pub compression: Compression,
}

/// The identity of a layer. The same layer for other platforms is a different one.
pub type Layer = (Step, Vec<Platform>);

impl BuildJob {
    /// Returns the layers of the image.
    #[must_use]
    pub fn layers(&self) -> BTreeSet<Layer> {
        let layers = self.context.layers().into_iter();
        layers.map(|layer| (layer, self.platforms.clone())).collect()
    }

    /// Returns the event that the image `digest` is up to date.
    #[must_use]
    pub fn unchanged(&self, digest: &Digest) -> Event {
        Event::TargetKept {
            target: self.target.clone(),
            digest: digest.clone(),
            references: self.references.clone(),
        }
    }

    /// Returns the job that only runs the checks, in the image `digest` that the engine finds as `name`.
    #[must_use]
    pub fn checking(&self, name: &str, digest: &Digest) -> Self {
        let context = BuildContext {
            dockerfile: format!("FROM {name}\n"),
            dockerfile_name: self.context.dockerfile_name.clone(),
            ..BuildContext::default()
        };
        Self { context, existing: Some(digest.clone()), labels: BTreeMap::new(), ..self.clone() }
    }

    /// Returns the reference with the staging tag.
    pub(super) fn staged(&self) -> Option<Reference> {
        let repository = self.references.first()?.repository.clone();
        Some(Reference { repository, tag: self.staging.clone() })
    }
}

#[cfg(test)]
impl BuildJob {
    /// Returns a job with the steps of `dockerfile`, and nothing else.
    pub(in crate::engine) fn of_dockerfile(dockerfile: &str) -> Self {
        Self {
            target: String::new(),
            context: BuildContext { dockerfile: dockerfile.to_owned(), ..BuildContext::default() },
            checks: Vec::new(),
            existing: None,
            platforms: Vec::new(),
            labels: BTreeMap::new(),
            references: Vec::new(),
            staging: "staged".parse().expect("a tag"),
            compression: Compression::default(),
        }
    }
}

/// The destination of the images of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Engine,
    /// The repository of the references. The image is pushed by digest, without tags, and not unpacked.
    Registry,
    /// An OCI image layout in this folder. Variants share its blobs.
    OciLayout(PathBuf),
}

/// A value that build steps can mount. Layers, logs and events never contain it.
#[derive(Debug, Clone)]
pub struct Secret {
    /// The id of `RUN --mount=type=secret,id=…`.
    pub id: String,
    pub value: SecretSlice<u8>,
}

/// The result of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    /// The digest of the manifest, or of the index for several platforms.
    pub digest: Digest,
    /// Whether all steps were cached.
    pub cached: bool,
    /// The pushed manifests, including those of an index. May be incomplete.
    pub manifests: Vec<Manifest>,
}
