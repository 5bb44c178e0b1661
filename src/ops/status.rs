//! `basegen status`: compares a release with its registry.

use std::fmt::Write as _;

use super::{ArgumentError, Context, NameOptions, registries, release_set, selection};
use crate::error::{ExitCode, Explain, Report};
use crate::image::{Digest, Reference};
use crate::matrix::{ReleaseSetForm, Selection};
use crate::publish::{self, Audited, Finding, OutdatedTag, ReleaseSet};

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

/// A version without a release set.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
struct Unpublished {
    version: Option<String>,
    /// The number of images of the matrix.
    total: usize,
    /// The version tags that do not exist.
    missing: Vec<Reference>,
}

impl Unpublished {
    /// The number of missing tags that the message lists.
    const LISTED: usize = 12;

    fn found(&self) -> usize {
        self.total - self.missing.len()
    }

    fn message(&self) -> String {
        let Self { version, total, missing } = self;
        let Some(version) = version else { return "the matrix is not published".to_owned() };
        if missing.is_empty() {
            return format!(
                "{version} has no release set, although every image has its tag: the images were \
                 published in parts"
            );
        }
        if self.found() == 0 {
            return format!("{version} is not published");
        }
        let found = self.found();
        let mut message = format!(
            "{version} is not published completely: {found} of {total} images have its tag. Missing:"
        );
        for reference in missing.iter().take(Self::LISTED) {
            let _ = write!(message, "\n  {reference}");
        }
        if missing.len() > Self::LISTED {
            let _ = write!(message, "\n  and {} more", missing.len() - Self::LISTED);
        }
        message
    }
}

impl Explain for Unpublished {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Drift
    }

    fn hint(&self) -> Option<String> {
        let hint = if self.missing.is_empty() {
            "`basegen --push` of the whole matrix writes the release set, and builds nothing"
        } else if self.found() == 0 {
            "`basegen --push` publishes the version of the matrix"
        } else {
            "`basegen --push` of the whole matrix publishes the missing images only"
        };
        Some(hint.to_owned())
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
        self.images.iter().filter(|image| image.finding == Finding::Ok).count()
    }
}

/// Compares a release with its registry.
pub async fn run(context: &Context, request: StatusRequest) -> Result<StatusOutcome, Report> {
    if context.matrix()?.publish.release_set == ReleaseSetForm::Off {
        return Err(NoReleaseSets.into());
    }
    let registries = context.registries()?;
    let mut unpublished: Option<Unpublished> = None;
    for naming in spellings(request)? {
        let plan = selection::plan(context, &Selection::default(), &naming)?;
        let newest = release_set::newest(&plan);
        let reference = release_set::of_version(&plan)?.unwrap_or_else(|| newest.clone());
        let Some((set, digest)) = ReleaseSet::read(&registries, &reference).await? else {
            let targets = plan.targets.iter().map(|target| &target.reference);
            let found = registries::digests(&registries, targets.clone()).await;
            let mut missing = Vec::new();
            for (reference, found) in targets.zip(found) {
                if found?.is_none() {
                    missing.push(reference.clone());
                }
            }
            let version = plan.version.as_ref().map(ToString::to_string);
            let spelled = Unpublished { version, total: plan.targets.len(), missing };
            if unpublished.as_ref().is_none_or(|other| spelled.found() > other.found()) {
                unpublished = Some(spelled);
            }
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
    Err(unpublished.expect("at least one spelling").into())
}

/// Returns the requested name with its version as given, and with or without a leading `v`.
fn spellings(request: StatusRequest) -> Result<Vec<NameOptions>, ArgumentError> {
    let StatusRequest { version, naming } = request;
    let Some(version) = version else { return Ok(vec![naming]) };
    let other = version.strip_prefix('v').map_or_else(|| format!("v{version}"), str::to_owned);
    [version, other].iter().map(|text| naming.clone().with_custom_version(text)).collect()
}
