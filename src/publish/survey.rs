//! What the registries have of each row, before anything is done.

use futures_util::future::try_join_all;

use super::labels::fingerprint_of;
use super::{PublishError, Row, State};
use crate::image::{Digest, Reference, Repository};
use crate::plan::Fingerprint;
use crate::registry::Registries;

/// What the registries have of one row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The image that has the row's fingerprint.
    pub content: Option<Digest>,
    /// What the tag of the version stands for.
    pub version: Option<Digest>,
}

impl Survey {
    /// Looks every row up, in their order; `journal` is that of a run that did not end.
    pub async fn take(
        registries: &Registries,
        rows: &[Row],
        journal: &State,
    ) -> Result<Vec<Self>, PublishError> {
        let surveys = rows.iter().map(|row| {
            let noted = noted(row, journal);
            Self::of(registries, row.version(), row.fingerprint.as_ref(), noted)
        });
        try_join_all(surveys).await
    }

    /// Looks an image up: behind the tag of its version, by its staging tag, and as `noted` of a
    /// run that did not end.
    pub(super) async fn of(
        registries: &Registries,
        version: &Reference,
        fingerprint: Option<&Fingerprint>,
        noted: Option<&Digest>,
    ) -> Result<Self, PublishError> {
        let repository = &version.repository;
        let version = digest_of(registries, version).await?;
        let Some(fingerprint) = fingerprint else {
            return Ok(Self { content: None, version });
        };
        let staging = Reference { repository: repository.clone(), tag: fingerprint.staging_tag() };
        let mut content = digest_of(registries, &staging).await?;
        if let (None, Some(noted)) = (&content, noted) {
            content = registries.head(repository, noted).await?.map(|found| found.digest);
        }
        // Images of one fingerprint are interchangeable, but a tag that was set stays as it is.
        if let Some(version) = &version
            && content.as_ref() != Some(version)
            && has_fingerprint(registries, repository, version, fingerprint).await?
        {
            content = Some(version.clone());
        }
        Ok(Self { content, version })
    }
}

/// What a run that did not end has pushed for `row`, if it was made of the same.
fn noted<'a>(row: &Row, journal: &'a State) -> Option<&'a Digest> {
    let noted = journal.rows.get(&row.job.target)?;
    let fingerprint = row.fingerprint.as_ref()?.to_string();
    (noted.fingerprint.as_ref() == Some(&fingerprint)).then_some(&noted.digest)
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
