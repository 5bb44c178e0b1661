//! Determines the publication status of each candidate, with reasons.

use super::image::{gpu_facts, inputs, size};
use super::survey::{Survey, Wanted, digest_of};
use super::{PublishError, ReleaseSet, SetImage};
use crate::image::{Digest, Reference};
use crate::plan::{GpuFacts, Growth, Inputs, Lost, PublicationStatus, PublishedState as State};
use crate::registry::Registries;
use futures_util::future::try_join_all;

/// A target whose status is looked up.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// The id of its variant.
    pub id: &'a str,
    pub version: &'a Reference,
    pub aliases: &'a [Reference],
    pub inputs: &'a Inputs,
    /// The digest of its checks, if it has any.
    pub checks: Option<Digest>,
    /// Its CUDA libraries, if it has any.
    pub gpu: Option<&'a GpuFacts>,
    /// Whether its size is limited, and its growth therefore of interest.
    pub has_max_size: bool,
}

/// Returns the publication status of each of `candidates`. The image published before is the one
/// listed by `known`, the release set of the version, else by `newest`, the newest release set,
/// else the one that the version tag or an alias points to.
pub async fn publication_status(
    registries: &Registries,
    candidates: &[Candidate<'_>],
    newest: &Reference,
    known: Option<&Reference>,
) -> Result<Vec<PublicationStatus>, PublishError> {
    let mut sets = Vec::new();
    for reference in known.into_iter().chain([newest]) {
        sets.extend(ReleaseSet::read(registries, reference).await?.map(|(set, _)| set));
    }
    let statuses = candidates.iter().map(|candidate| {
        let mut released = sets.iter().filter_map(|set| set.images.get(candidate.id));
        candidate_status(registries, candidate, released.next())
    });
    try_join_all(statuses).await
}

async fn candidate_status(
    registries: &Registries,
    candidate: &Candidate<'_>,
    released: Option<&SetImage>,
) -> Result<PublicationStatus, PublishError> {
    let fingerprint = candidate.inputs.fingerprint();
    let wanted = Wanted {
        version: candidate.version,
        fingerprint: fingerprint.as_ref(),
        checks: candidate.checks.as_ref(),
        released,
    };
    let survey = Survey::of(registries, wanted).await?;
    let is_published = survey.content.is_some() && survey.content == survey.version;
    let has_limits = candidate.gpu.is_some() || candidate.has_max_size;
    let before = if survey.content.is_none() || (has_limits && !is_published) {
        let Candidate { version, aliases, .. } = candidate;
        previous(registries, version, aliases, survey.version.as_ref(), released).await?
    } else {
        None
    };
    let tag = &candidate.version.tag;
    let (state, mut reasons) = match (&survey.content, &survey.version) {
        (Some(_), Some(_)) if is_published => (State::Published, Vec::new()),
        (Some(_), None) => {
            (State::Retag, vec![format!("already built; only the tag `{tag}` will be set")])
        }
        (Some(_), Some(_)) => {
            (State::Changed, vec![format!("the tag `{tag}` points to a different image")])
        }
        (None, _) => match &before {
            Some(before) => (State::Changed, reasons(registries, candidate, before).await?),
            None => (State::New, Vec::new()),
        },
    };
    let mut growth = None;
    if has_limits && let Some(before) = &before {
        let lost;
        (lost, growth) = comparison(registries, candidate, survey.content.as_ref(), before).await?;
        if !lost.is_empty() {
            let lost = Lost::list(&lost);
            reasons.insert(0, format!("{lost}: refused unless `drop_sm` permits it"));
        }
    }
    if matches!(state, State::Published | State::Retag) && !survey.is_checked {
        reasons.insert(0, "its checks have not run on its image".to_owned());
    }
    let has_conflicting_tag =
        state == State::Changed && survey.version.is_some() && fingerprint.is_some();
    Ok(PublicationStatus {
        state,
        is_checked: survey.is_checked,
        reasons,
        growth,
        has_conflicting_tag,
    })
}

/// Returns the losses and the growth of the candidate since the image `before`. `now` is its image, if that exists.
async fn comparison(
    registries: &Registries,
    candidate: &Candidate<'_>,
    now: Option<&Digest>,
    before: &Digest,
) -> Result<(Vec<Lost>, Option<Growth>), PublishError> {
    let repository = &candidate.version.repository;
    let (mut lost, mut growth) = (Vec::new(), None);
    if let Some(gpu) = candidate.gpu
        && let Some(earlier) = gpu_facts(registries, repository, before).await?
    {
        lost = gpu.lost_since(&earlier);
        growth = Some(Growth { of: "CUDA libraries", now: gpu.size(), before: earlier.size() });
    }
    if let Some(now) = now
        && let Some(now) = size(registries, repository, now).await?
        && let Some(before) = size(registries, repository, before).await?
    {
        growth = Some(Growth { of: "compressed image", now, before });
    }
    Ok((lost, growth.filter(|growth| growth.now != growth.before)))
}

/// Returns the image to compare one with: the one `named` by its version tag, else the last released one, else the one
/// under its first alias.
pub(super) async fn previous(
    registries: &Registries,
    version: &Reference,
    aliases: &[Reference],
    named: Option<&Digest>,
    released: Option<&SetImage>,
) -> Result<Option<Digest>, PublishError> {
    // A set may list any repository, but only the image's own is read.
    let released = released.filter(|image| image.reference.repository == version.repository);
    let known = named.or(released.map(|image| &image.digest));
    match (known, aliases.first()) {
        (Some(digest), _) => Ok(Some(digest.clone())),
        (None, Some(alias)) => digest_of(registries, alias).await,
        (None, None) => Ok(None),
    }
}

/// Returns the reasons why the current image differs from the `previous` one.
async fn reasons(
    registries: &Registries,
    candidate: &Candidate<'_>,
    previous: &Digest,
) -> Result<Vec<String>, PublishError> {
    let Some(before) = inputs(registries, &candidate.version.repository, previous).await? else {
        return Ok(vec![
            "the published image lists no inputs that this basegen can read".to_owned(),
        ]);
    };
    let changes = candidate.inputs.changes_since(&before);
    if !changes.is_empty() {
        return Ok(changes.iter().map(ToString::to_string).collect());
    }
    let reason = if candidate.inputs.fingerprint().is_none() {
        "a base image is not pinned; pin it with `basegen update`"
    } else {
        "its staged image is no longer in the registry"
    };
    Ok(vec![reason.to_owned()])
}
