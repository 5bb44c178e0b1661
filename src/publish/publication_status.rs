//! Determines the publication status of each candidate, with reasons.

use super::image::labels;
use super::survey::{Survey, Wanted, digest_of};
use super::{PublishError, ReleaseSet, SetImage};
use crate::image::{Digest, Reference, Repository};
use crate::plan::{Fingerprint, Inputs, PublicationStatus, PublishedState as State};
use crate::registry::Registries;
use futures_util::future::try_join_all;

/// A row to be asked about.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Its id.
    pub id: &'a str,
    /// The tag of the version.
    pub version: &'a Reference,
    /// The tags that move.
    pub aliases: &'a [Reference],
    /// What makes it.
    pub inputs: &'a Inputs,
    /// The digest of its checks, if it has any.
    pub checks: Option<Digest>,
}

/// Returns the publication status of each of `candidates`. The image published before is the one
/// listed by `known`, the release set of the version, else by `newest`, the newest release set,
/// else the one that the row's tags point to.
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
            (State::Changed, vec![format!("the tag `{tag}` stands for another image")])
        }
        (None, Some(version)) => {
            let own = &candidate.version.repository;
            (State::Changed, reasons(registries, candidate, own, version).await?)
        }
        (None, None) => unnamed(registries, candidate, released).await?,
    };
    if matches!(state, State::Published | State::Retag) && !survey.is_checked {
        reasons.insert(0, "its checks have not run on its image".to_owned());
    }
    let has_conflicting_tag =
        state == State::Changed && survey.version.is_some() && fingerprint.is_some();
    Ok(PublicationStatus { state, is_checked: survey.is_checked, reasons, has_conflicting_tag })
}

/// How a row stands of which there is nothing under this version: to what was released last, or to
/// what an alias stands for.
async fn unnamed(
    registries: &Registries,
    candidate: &Candidate<'_>,
    released: Option<&SetImage>,
) -> Result<(State, Vec<String>), PublishError> {
    let own = &candidate.version.repository;
    // A set may list any repository; only the candidate's own is asked.
    if let Some(SetImage { digest, .. }) =
        released.filter(|image| image.reference.repository == *own)
    {
        let reasons = reasons(registries, candidate, own, digest).await?;
        return Ok((State::Changed, reasons));
    }
    match first_alias(registries, candidate.aliases).await? {
        Some(digest) => Ok((State::Changed, reasons(registries, candidate, own, &digest).await?)),
        None => Ok((State::New, Vec::new())),
    }
}

async fn first_alias(
    registries: &Registries,
    aliases: &[Reference],
) -> Result<Option<Digest>, PublishError> {
    match aliases.first() {
        Some(alias) => digest_of(registries, alias).await,
        None => Ok(None),
    }
}

/// Why the image of today is not the one that was published.
async fn reasons(
    registries: &Registries,
    candidate: &Candidate<'_>,
    repository: &Repository,
    before: &Digest,
) -> Result<Vec<String>, PublishError> {
    let labels = labels(registries, repository, before).await?;
    let reason = |text: &str| Ok(vec![text.to_owned()]);
    let Some(before) = labels.get(Inputs::LABEL).and_then(|text| Inputs::from_label(text)) else {
        return match labels.contains_key(Fingerprint::LABEL) {
            true => reason("another basegen made the one that is there"),
            false => reason("the one that is there does not say what made it"),
        };
    };
    let changes = candidate.inputs.changes_since(&before);
    if changes.is_empty() {
        return match candidate.inputs.fingerprint() {
            None => reason("what it is built on is not pinned"),
            Some(_) => reason("what was built is no longer staged in the registry"),
        };
    }
    Ok(changes.iter().map(ToString::to_string).collect())
}
