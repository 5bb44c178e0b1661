//! Determines the publication status of each candidate, with reasons.

use super::image::inputs;
use super::survey::{Survey, Wanted, digest_of};
use super::{PublishError, ReleaseSet, SetImage};
use crate::image::{Digest, Reference};
use crate::plan::{Inputs, PublicationStatus, PublishedState as State};
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
    let tag = &candidate.version.tag;
    let (state, mut reasons) = match (&survey.content, &survey.version) {
        (Some(content), Some(version)) if content == version => (State::Published, Vec::new()),
        (Some(_), None) => {
            (State::Retag, vec![format!("already built; only the tag `{tag}` will be set")])
        }
        (Some(_), Some(_)) => {
            (State::Changed, vec![format!("the tag `{tag}` points to a different image")])
        }
        (None, version) => match previous(registries, candidate, version.as_ref(), released).await?
        {
            Some(previous) => (State::Changed, reasons(registries, candidate, &previous).await?),
            None => (State::New, Vec::new()),
        },
    };
    if matches!(state, State::Published | State::Retag) && !survey.is_checked {
        reasons.insert(0, "its checks have not run on its image".to_owned());
    }
    let has_conflicting_tag =
        state == State::Changed && survey.version.is_some() && fingerprint.is_some();
    Ok(PublicationStatus { state, is_checked: survey.is_checked, reasons, has_conflicting_tag })
}

/// Returns the image to compare the candidate with: the one under its version tag, else the last released one, else the
/// one under its first alias.
async fn previous(
    registries: &Registries,
    candidate: &Candidate<'_>,
    version: Option<&Digest>,
    released: Option<&SetImage>,
) -> Result<Option<Digest>, PublishError> {
    // A set may list any repository, but only the candidate's own is read.
    let own = &candidate.version.repository;
    let released = released.filter(|image| image.reference.repository == *own);
    let known = version.or(released.map(|image| &image.digest));
    match (known, candidate.aliases.first()) {
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
