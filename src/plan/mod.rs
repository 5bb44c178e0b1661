//! The plan: what is to be built and what it will be called, as data.
//!
//! The same value is printed, exported and executed; nothing walks the matrix a second time.

mod changes;
mod export;
mod find;
mod fingerprint;
mod inputs;
mod lock;
mod names;
mod order;
mod publication_status;
mod readme;
mod shards;
mod since;

pub use changes::{Change, Edit};
pub use export::{columns, json, markdown, names, table};
pub use find::{Meant, meant, similar};
pub use fingerprint::Fingerprint;
pub use inputs::Inputs;
pub use lock::{Lock, LockError, Move};
pub use names::{NameError, Naming};
pub use publication_status::{PublicationStatus, PublishedState};
pub use readme::{ReadmeError, with_readme, with_readme_in};
pub use shards::{MAX_SHARDS, usual_shards};
pub use since::{Affected, Comparison, Effect};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use crate::image::{Compression, Platform, Reference, Repository};
use crate::matrix::{Matrix, Selected, Variant};
use crate::version::Version;

/// Everything that a run is going to make.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The matrix that it was made from.
    pub matrix: &'a Matrix,
    /// The version that the tags follow, if they follow one.
    pub version: Option<Version>,
    /// Whether every variant of the matrix is in it.
    pub whole: bool,
    /// Whether its version was made up for it, and is not the matrix' own.
    pub custom: bool,
    /// The repository of the matrix' first image, be that in the plan or not.
    pub first_repository: Repository,
    /// The images in the matrix' order.
    pub targets: Vec<Target<'a>>,
}

/// One image of a plan.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// The combination that it is made of.
    pub variant: &'a Variant,
    /// What it is called, the tag of its version.
    pub reference: Reference,
    /// The tags that move to it; none in a plan of a part of the matrix or of a custom version,
    /// since they stand for the whole of it as its maintainers release it.
    pub aliases: Vec<Reference>,
    /// The template of its Dockerfile, relative to the templates' folder.
    pub dockerfile: String,
    /// For which platforms.
    pub platforms: Arc<[Platform]>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How its layers are compressed.
    pub compression: Compression,
}

/// What a user may say of a plan beside which variants are in it.
#[derive(Debug, Clone, Default)]
pub struct PlanRequest {
    /// The version that tags follow.
    pub version: Option<Version>,
    /// Whether that version was made up for this plan, and is not the matrix' own.
    pub is_custom: bool,
    /// A registry instead of the matrix' own.
    pub registry: Option<String>,
    /// A repository, with names as in the matrix, instead of the matrix' own.
    pub repository: Option<String>,
    /// Platforms instead of those of the matrix.
    pub platforms: Vec<Platform>,
}

impl<'a> Plan<'a> {
    /// Plans the selected variants.
    pub fn new(
        matrix: &'a Matrix,
        selected: &Selected<'a>,
        request: PlanRequest,
    ) -> Result<Self, NameError> {
        let naming = Naming::new(matrix, &request)?;
        let first_repository = naming.first_repository(&matrix.variants)?;
        let mut targets = naming.targets(&matrix.variants, &selected.variants)?;
        // With other platforms than the matrix' own, not even a whole matrix is all of it.
        let whole = selected.whole && request.platforms.is_empty();
        if !whole || request.is_custom {
            for target in &mut targets {
                target.aliases.clear();
            }
        }
        Ok(Self {
            matrix,
            version: request.version,
            whole,
            custom: request.is_custom,
            first_repository,
            targets,
        })
    }

    /// The repositories of all images, and of the release set.
    #[must_use]
    pub fn repositories(&self) -> BTreeSet<&Repository> {
        let of_targets = self.targets.iter().map(|target| &target.reference.repository);
        of_targets.chain([&self.first_repository]).collect()
    }
}

impl Target<'_> {
    /// All that it is called, the tag of its version first.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        std::iter::once(&self.reference).chain(&self.aliases)
    }

    /// The target's id: its variant's.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.variant.id
    }
}

/// A plan as `plan --format json` writes it.
#[derive(Debug, Serialize)]
struct PlanRecord<'a> {
    schema: u8,
    version: Option<&'a Version>,
    whole: bool,
    targets: Vec<TargetRecord<'a>>,
}

/// A target as `plan --format json` writes it.
#[derive(Debug, Serialize)]
struct TargetRecord<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a PublicationStatus>,
    id: &'a str,
    axes: serde_json::Map<String, serde_json::Value>,
    reference: &'a Reference,
    aliases: &'a [Reference],
    dockerfile: &'a str,
    platforms: &'a [Platform],
    labels: &'a BTreeMap<String, String>,
    compression: Compression,
}
