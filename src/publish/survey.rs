//! What the registries have of each row, before anything is done.

use futures_util::future::try_join_all;

use super::labels::fingerprint_of;
use super::{PublishError, Row, State};
use crate::image::{Digest, Reference, Repository};
use crate::plan::Fingerprint;
use crate::registry::Registries;

/// What the registries have of one row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The image that has the row's fingerprint.
    pub content: Option<Digest>,
    /// What the version tag stands for.
    pub version: Option<Digest>,
}

/// Looks every row up: by its staging tag, in the journal of a run that did not end, and behind
/// its version tag.
pub async fn survey(
    registries: &Registries,
    rows: &[Row],
    journal: &State,
) -> Result<Vec<Standing>, PublishError> {
    try_join_all(rows.iter().map(|row| standing(registries, row, journal))).await
}

async fn standing(
    registries: &Registries,
    row: &Row,
    journal: &State,
) -> Result<Standing, PublishError> {
    let version = digest_of(registries, row.version()).await?;
    let Some(fingerprint) = &row.fingerprint else {
        return Ok(Standing { content: None, version });
    };
    let repository = &row.version().repository;
    let staging = Reference { repository: repository.clone(), tag: fingerprint.staging_tag() };
    let mut content = digest_of(registries, &staging).await?;
    if content.is_none() {
        content = from_journal(registries, row, fingerprint, journal).await?;
    }
    if let (None, Some(version)) = (&content, &version)
        && has_fingerprint(registries, repository, version, fingerprint).await?
    {
        content = Some(version.clone());
    }
    Ok(Standing { content, version })
}

/// What a run that did not end has pushed, if it is there.
async fn from_journal(
    registries: &Registries,
    row: &Row,
    fingerprint: &Fingerprint,
    journal: &State,
) -> Result<Option<Digest>, PublishError> {
    let Some(noted) = journal.rows.get(&row.job.target) else { return Ok(None) };
    if noted.fingerprint.as_ref() != Some(&fingerprint.to_string()) {
        return Ok(None);
    }
    let found = registries.head(&row.version().repository, &noted.digest).await?;
    Ok(found.map(|descriptor| descriptor.digest))
}

async fn has_fingerprint(
    registries: &Registries,
    repository: &Repository,
    digest: &Digest,
    fingerprint: &Fingerprint,
) -> Result<bool, PublishError> {
    let found = fingerprint_of(registries, repository, digest).await?;
    Ok(found.as_ref() == Some(fingerprint))
}

/// What a tag stands for.
pub(super) async fn digest_of(
    registries: &Registries,
    reference: &Reference,
) -> Result<Option<Digest>, PublishError> {
    let found = registries.head(&reference.repository, &reference.tag).await?;
    Ok(found.map(|descriptor| descriptor.digest))
}
