//! The plan: the images to build, with their names, as data.
//!
//! A [`Plan`] has one [`Target`] for each selected variant. Commands print, export and execute the same plan. `names`
//! computes image names, [`Inputs`] and [`Fingerprint`] identify the content of an image, [`Lock`] pins upstream
//! images, and `shards` divides a plan among CI jobs. Start reading at [`Plan::new`].

mod changes;
mod context_inputs;
mod export;
mod find;
mod fingerprint;
mod gpu;
mod graph;
mod inputs;
mod listing;
mod lock;
mod names;
mod own_images;
mod publication_status;
mod readme;
mod shards;
mod since;
mod table;

pub use changes::{Change, Edit};
pub use export::{all_names, json, markdown, names};
pub use find::{NameMatches, find_by_name, similar_name};
pub use fingerprint::Fingerprint;
pub use gpu::{GpuFacts, Library, Lost};
pub use graph::{Edge, Graph, GraphError, name_parents, needed};
pub use inputs::Inputs;
pub use lock::{Lock, LockError, Move};
pub use names::{ImageNames, NameError, PrintedTag};
pub use own_images::{OwnImage, own_images};
pub use publication_status::{Growth, PublicationStatus, PublishedState};
pub use readme::{ReadmeError, with_readme};
pub use shards::{MAX_SHARDS, usual_shards};
pub use since::{Affected, Comparison};
pub use table::{columns, table};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::image::{Compression, Platform, Reference, Repository};
use crate::matrix::{Matrix, Selected, Variant};
use crate::version::Version;

/// The images that a run builds.
#[derive(Debug)]
pub struct Plan<'a> {
    pub matrix: &'a Matrix,
    /// The version in the tags, if any.
    pub version: Option<Version>,
    /// Whether the plan contains every variant of the matrix.
    pub whole: bool,
    /// Whether the version was passed by the user and is not that of the matrix.
    pub custom: bool,
    /// The repository of the first image of the matrix in each registry, even if that image is not in the plan.
    pub first_repositories: Vec<Repository>,
    /// The images in the order of the matrix.
    pub targets: Vec<Target<'a>>,
    request: PlanRequest,
}

/// An image of a plan.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    pub variant: &'a Variant,
    /// The image with its version tag, in its first registry.
    pub reference: Reference,
    /// The image with the aliases that the plan moves. A plan for a part of the matrix has none, because aliases belong to
    /// releases of the whole matrix.
    pub aliases: Vec<Reference>,
    /// The repositories of the image in its other registries, where it has the same tags.
    pub replicas: Vec<Repository>,
    /// The path of the Dockerfile template in the folder of the templates; `None` for a generated Dockerfile and a mirrored
    /// image.
    pub dockerfile: Option<String>,
    /// The platforms to build for. Empty for a mirrored image, which has those of its source.
    pub platforms: Arc<[Platform]>,
    pub labels: BTreeMap<String, String>,
    pub compression: Compression,
    /// The commands that print aliases of the image, each once.
    pub alias_commands: Vec<String>,
    /// The aliases with the output of these commands that the plan moves.
    pub printed_tags: Vec<PrintedTag>,
    /// Whether the image is a copy of the one in its Dockerfile, byte for byte, and is not built.
    pub is_mirror: bool,
}

/// The options of a plan.
#[derive(Debug, Clone, Default)]
pub struct PlanRequest {
    /// The version in the tags.
    pub version: Option<Version>,
    /// Whether the user passed the version, so that it is not that of the matrix.
    pub is_custom: bool,
    /// The registries instead of those of the matrix.
    pub registries: Vec<String>,
    /// The repository, a pattern, instead of that of the matrix.
    pub repository: Option<String>,
    /// The version tag, a pattern, instead of that of the matrix.
    pub tag: Option<String>,
    /// The id of the git commit, for `{{git.sha}}` in tags.
    pub commit: Option<String>,
    /// The date, for `{{date}}` in tags: `2026-11-29`.
    pub date: Option<String>,
    /// Platforms instead of those of the matrix.
    pub platforms: Vec<Platform>,
    /// The engine's own platform, for images that stay in the engine. An image for this platform and others is then built only
    /// for this one.
    pub native: Option<Platform>,
}

impl<'a> Plan<'a> {
    pub fn new(
        matrix: &'a Matrix,
        selected: &Selected<'a>,
        request: PlanRequest,
    ) -> Result<Self, NameError> {
        let naming = ImageNames::new(matrix, &request)?;
        let (mut targets, first_repositories) =
            naming.targets(&matrix.variants, &selected.variants)?;
        // A plan with other platforms or tags than those of the matrix is never a whole release.
        let whole = selected.whole && request.platforms.is_empty() && request.tag.is_none();
        if !whole {
            for target in &mut targets {
                target.clear_aliases();
            }
        }
        Ok(Self {
            matrix,
            version: request.version.clone(),
            whole,
            custom: request.is_custom,
            first_repositories,
            targets,
            request,
        })
    }

    /// Returns the targets of other variants, in the order of the matrix, with the names that they have in this plan.
    /// They get no aliases.
    fn named(&self, variants: &[&'a Variant]) -> Result<Vec<Target<'a>>, NameError> {
        let naming = ImageNames::new(self.matrix, &self.request)?;
        let (mut targets, _) = naming.targets(&self.matrix.variants, variants)?;
        for target in &mut targets {
            target.clear_aliases();
        }
        Ok(targets)
    }

    /// Returns the repositories of all images and of the release sets.
    #[must_use]
    pub fn repositories(&self) -> BTreeSet<&Repository> {
        let of_targets = self.targets.iter().flat_map(Target::repositories);
        of_targets.chain(&self.first_repositories).collect()
    }

    /// Returns true if the plan moves aliases: it is a release of the whole matrix under its own version.
    #[must_use]
    pub fn moves_aliases(&self) -> bool {
        self.whole && !self.custom
    }

    /// Returns all references of all images in all registries.
    pub fn references(&self) -> impl Iterator<Item = Reference> {
        self.targets.iter().flat_map(Target::references)
    }

    /// Returns the version tags of all images in all registries.
    pub fn version_tags(&self) -> impl Iterator<Item = Reference> {
        self.targets.iter().flat_map(Target::version_tags)
    }
}

impl Target<'_> {
    fn clear_aliases(&mut self) {
        self.aliases.clear();
        self.printed_tags.clear();
    }

    /// Returns true if the plan moves aliases of the image.
    #[must_use]
    pub fn has_aliases(&self) -> bool {
        !self.aliases.is_empty() || !self.printed_tags.is_empty()
    }

    /// Returns all references of the image: the version tag and the aliases in its first registry, then those in each
    /// other one.
    pub fn references(&self) -> impl Iterator<Item = Reference> {
        self.repositories().flat_map(|repository| {
            let names = std::iter::once(&self.reference).chain(&self.aliases);
            names.map(|name| Reference { repository: repository.clone(), tag: name.tag.clone() })
        })
    }

    /// Returns the version tag of the image in each registry.
    pub fn version_tags(&self) -> impl Iterator<Item = Reference> {
        let tag = &self.reference.tag;
        self.repositories()
            .map(|repository| Reference { repository: repository.clone(), tag: tag.clone() })
    }

    /// Returns the repositories of the image, one in each of its registries.
    pub fn repositories(&self) -> impl Iterator<Item = &Repository> {
        std::iter::once(&self.reference.repository).chain(&self.replicas)
    }

    /// Returns the id of the variant.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.variant.id
    }
}
