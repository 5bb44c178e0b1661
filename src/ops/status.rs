//! `basegen status`: compares a release with its registries.

use super::{ArgumentError, Context, NameOptions, registries, release_set, selection};
use crate::error::{ExitCode, Explain, Report, list};
use crate::image::{Digest, Reference};
use crate::matrix::{ReleaseSetForm, Selection};
use crate::plan::Plan;
use crate::publish::{self, Audited, Finding, OutdatedTag, PublishError, ReleaseSet};
use crate::registry::Registries;

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
    /// The number of version tags of the matrix.
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
        let missing = list(Self::LISTED, missing);
        format!(
            "{version} is not published completely: {found} of {total} images have its tag. Missing:{missing}"
        )
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

/// A release as its registries have it.
#[derive(Debug)]
pub struct StatusOutcome {
    /// The tags of the release sets with their digests, one in each registry.
    pub sets: Vec<(Reference, Digest)>,
    /// The version of the release.
    pub version: Option<String>,
    /// The images in each registry.
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
        let of_version = release_set::of_version(&plan)?;
        let references = if of_version.is_empty() { &newest } else { &of_version };
        let Some(outcome) = audit(&registries, &plan, references, &newest).await? else {
            let tags: Vec<Reference> = plan.version_tags().collect();
            let found = registries::digests(&registries, &tags).await;
            let (total, mut missing) = (tags.len(), Vec::new());
            for (reference, found) in tags.into_iter().zip(found) {
                if found?.is_none() {
                    missing.push(reference);
                }
            }
            let version = plan.version.as_ref().map(ToString::to_string);
            let spelled = Unpublished { version, total, missing };
            if unpublished.as_ref().is_none_or(|other| spelled.found() > other.found()) {
                unpublished = Some(spelled);
            }
            continue;
        };
        return Ok(outcome);
    }
    Err(unpublished.expect("at least one spelling").into())
}

/// Compares the release sets under `references` with their registries. Returns `None` unless all of them exist.
async fn audit(
    registries: &Registries,
    plan: &Plan<'_>,
    references: &[Reference],
    newest: &[Reference],
) -> Result<Option<StatusOutcome>, PublishError> {
    let (mut sets, mut version) = (Vec::new(), None);
    let (mut images, mut stray_aliases) = (Vec::new(), Vec::new());
    for (reference, newest) in references.iter().zip(newest) {
        let Some((set, digest)) = ReleaseSet::read(registries, reference).await? else {
            return Ok(None);
        };
        set.check_repositories(reference, &plan.repositories())?;
        set.check_matrix(reference, plan.references(), plan.version.as_ref())?;
        images.extend(publish::audit(registries, &set).await?);
        stray_aliases.extend(publish::stray_aliases(registries, &set, newest).await?);
        sets.push((reference.clone(), digest));
        version = version.or(set.version);
    }
    Ok(Some(StatusOutcome { sets, version, images, stray_aliases }))
}

/// Returns the requested name with its version as given, and with or without a leading `v`.
fn spellings(request: StatusRequest) -> Result<Vec<NameOptions>, ArgumentError> {
    let StatusRequest { version, naming } = request;
    let Some(version) = version else { return Ok(vec![naming]) };
    let other = version.strip_prefix('v').map_or_else(|| format!("v{version}"), str::to_owned);
    [version, other].iter().map(|text| naming.clone().with_custom_version(text)).collect()
}
