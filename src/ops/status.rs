//! `basegen status`: compares a release with its registry.

use super::{ArgumentError, Context, NameOptions, release_set, selection};
use crate::error::{ExitCode, Explain, Report};
use crate::image::{Digest, Reference};
use crate::matrix::{ReleaseSetForm, Selection};
use crate::publish::{self, Audited, Finding, OutdatedTag, PublishError, ReleaseSet};

/// A matrix whose releases have no sets.
#[derive(Debug, thiserror::Error)]
#[error("cannot compare a release with its registry: `release_set` is `off`")]
struct NoReleaseSets;

impl Explain for NoReleaseSets {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Matrix
    }

    fn hint(&self) -> Option<String> {
        Some("`basegen check --released` lists missing version tags".to_owned())
    }
}

#[derive(Debug, Clone, Default)]
pub struct StatusRequest {
    /// Its version, with or without a leading `v`; `None` for the version of the matrix.
    pub version: Option<String>,
    /// The parts of its name that the matrix does not set.
    pub naming: NameOptions,
}

/// A release as its registry has it.
#[derive(Debug)]
pub struct StatusOutcome {
    /// The tag of the release set.
    pub reference: Reference,
    /// The digest of the release set.
    pub digest: Digest,
    /// The version of the release.
    pub version: Option<String>,
    pub images: Vec<Audited>,
    /// The aliases that do not point to this release.
    pub stray_aliases: Vec<OutdatedTag>,
}

impl StatusOutcome {
    /// Returns true if all tags and aliases point to the released images.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.stray_aliases.is_empty() && self.intact_images() == self.images.len()
    }

    /// Returns the number of images whose tags point to them.
    #[must_use]
    pub fn intact_images(&self) -> usize {
        self.images.iter().filter(|image| image.finding == Finding::Whole).count()
    }
}

/// Compares a release with its registry.
pub async fn run(context: &Context, request: StatusRequest) -> Result<StatusOutcome, Report> {
    if context.matrix()?.publish.release_set == ReleaseSetForm::Off {
        return Err(NoReleaseSets.into());
    }
    let registries = context.registries()?;
    let mut missing = None;
    for naming in spellings(request)? {
        let plan = selection::plan(context, &Selection::default(), &naming)?;
        let newest = release_set::newest(&plan);
        let reference = release_set::of_version(&plan)?.unwrap_or_else(|| newest.clone());
        let Some((set, digest)) = ReleaseSet::read(&registries, &reference).await? else {
            missing.get_or_insert(reference);
            continue;
        };
        set.check_repositories(&reference, &plan.repositories())?;
        let images = publish::audit(&registries, &set).await?;
        let stray_aliases = publish::stray_aliases(&registries, &set, &newest).await?;
        return Ok(StatusOutcome {
            reference,
            digest,
            version: set.version,
            images,
            stray_aliases,
        });
    }
    Err(PublishError::NoSet(missing.expect("at least one spelling")).into())
}

/// Returns the requested name with its version as given, and with or without a leading `v`.
fn spellings(request: StatusRequest) -> Result<Vec<NameOptions>, ArgumentError> {
    let StatusRequest { version, naming } = request;
    let Some(version) = version else { return Ok(vec![naming]) };
    let other = version.strip_prefix('v').map_or_else(|| format!("v{version}"), str::to_owned);
    [version, other].iter().map(|text| naming.clone().with_custom_version(text)).collect()
}
