use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use secrecy::SecretSlice;

use crate::event::Event;
use crate::image::{Compression, Digest, Platform, Reference, Repository, Tag};
use crate::matrix::Check;
use crate::registry::Manifest;
use crate::render::{BuildContext, Step, layers_of_variant};

/// A target with all inputs of its build.
#[derive(Debug, Clone)]
pub struct BuildJob {
    /// The target's id, as in events.
    pub target: String,
    /// The Dockerfile and its files.
    pub context: BuildContext,
    /// The images of the same matrix that the Dockerfile names, by their placeholders.
    pub parents: Vec<ParentImage>,
    /// Whether other jobs are based on the image.
    pub is_parent: bool,
    /// The checks that the image must pass before its export.
    pub checks: Vec<Check>,
    /// The commands that print aliases of the image. Their output is stored in its label
    /// [`ALIASES_LABEL`](Self::ALIASES_LABEL).
    pub alias_commands: Vec<String>,
    /// An image from an earlier build. The job then only runs the checks in it and exports nothing. The
    /// Dockerfile of its context is `FROM` this image.
    pub existing: Option<Digest>,
    /// The platforms. One gives an image manifest, several give an image index.
    pub platforms: Vec<Platform>,
    pub labels: BTreeMap<String, String>,
    /// The tags of the image: the version tag and the aliases in one repository, then the same in each of its other
    /// repositories. Never empty.
    pub references: Vec<Reference>,
    /// The tag for pushes of engines that cannot push by digest.
    pub staging: Tag,
    /// The compression of new layers.
    pub compression: Compression,
}

/// An image of the same matrix that a job is based on, or copies from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentImage {
    /// Its name in the Dockerfile of the job's context.
    pub placeholder: String,
    /// The target that it is the image of.
    pub target: String,
    pub repository: Repository,
    /// The tag of the image in an engine without a registry.
    pub staging: Tag,
    /// The image; `None` until the target's job has built it.
    pub digest: Option<Digest>,
}

/// The identity of a layer. The same layer for other platforms is a different one.
pub type Layer = (Step, Vec<Platform>);

impl BuildJob {
    /// The label of images with the aliases that their commands have printed, as an array in JSON.
    pub const ALIASES_LABEL: &str = "dev.basegen.aliases";

    /// Returns the tags of the image in each of its repositories, the version tag first.
    pub fn places(&self) -> impl Iterator<Item = &[Reference]> {
        Reference::by_repository(&self.references)
    }

    /// Returns the repositories of the image, one in each registry.
    pub fn repositories(&self) -> impl Iterator<Item = &Repository> {
        self.places().map(|references| &references[0].repository)
    }

    /// Returns the layers of the image.
    #[must_use]
    pub fn layers(&self) -> BTreeSet<Layer> {
        // Images based on this one have all of its layers, but their Dockerfiles do not list them.
        let all = self.is_parent.then(|| layers_of_variant(&self.target));
        let layers = self.context.layers().into_iter().chain(all);
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
        let (existing, labels) = (Some(digest.clone()), BTreeMap::new());
        Self { context, parents: Vec::new(), existing, labels, ..self.clone() }
    }

    /// Returns the job that builds the image for one of its platforms, to be pushed under `staging` by engines that cannot
    /// push by digest.
    #[must_use]
    pub fn for_platform(&self, platform: &Platform, staging: Tag) -> Self {
        let context = self.context.on(platform).clone();
        let context = BuildContext { platforms: BTreeMap::new(), ..context };
        Self { context, platforms: vec![platform.clone()], staging, ..self.clone() }
    }

    /// Returns the names of the image in the store of an engine. Images that are based on it find it by its staging tag.
    #[must_use]
    pub fn local_names(&self) -> Vec<Reference> {
        let staged = self.staged().filter(|_| self.is_parent);
        self.references.iter().cloned().chain(staged).collect()
    }

    /// Returns the reference with the staging tag.
    #[must_use]
    pub fn staged(&self) -> Option<Reference> {
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
            parents: Vec::new(),
            is_parent: false,
            checks: Vec::new(),
            alias_commands: Vec::new(),
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
