//! What the registries have of each row, before anything is done.

use futures_util::future::try_join_all;

use super::{PublishError, ReleaseSet, Row};
use crate::image::{Digest, Reference, Repository};
use crate::plan::Fingerprint;
use crate::registry::{Manifest, Registries};

/// What the registries have of one row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The image that is made of what the row is made of.
    pub content: Option<Digest>,
    /// What the tag of the version stands for.
    pub version: Option<Digest>,
}

/// What is remembered of earlier runs.
pub struct Memory<'a> {
    /// The release set of this version, from when it was released before.
    pub set: Option<&'a ReleaseSet>,
    /// Whether nothing counts that was built before.
    pub forced: bool,
}

impl Survey {
    /// Looks every row up, in their order.
    pub async fn take(
        registries: &Registries,
        rows: &[Row],
        memory: &Memory<'_>,
    ) -> Result<Vec<Self>, PublishError> {
        let surveys = rows.iter().map(|row| Self::of_row(registries, row, memory));
        try_join_all(surveys).await
    }

    async fn of_row(
        registries: &Registries,
        row: &Row,
        memory: &Memory<'_>,
    ) -> Result<Self, PublishError> {
        let fingerprint = row.fingerprint.as_ref().filter(|_| !memory.forced);
        let mut found = Self::of(registries, row.version(), fingerprint).await?;
        // Images of one fingerprint are interchangeable, but a tag that was set stays as it is.
        // What the image's own label says is nothing to go by: who builds on it inherits it.
        if let Some(version) = &found.version
            && memory.released(row, version)
        {
            found.content = Some(version.clone());
        }
        Ok(found)
    }

    /// Looks an image up: behind the tag of its version, and by its staging tag.
    pub(super) async fn of(
        registries: &Registries,
        version: &Reference,
        fingerprint: Option<&Fingerprint>,
    ) -> Result<Self, PublishError> {
        let content = match fingerprint {
            Some(fingerprint) => staged(registries, &version.repository, fingerprint).await?,
            None => None,
        };
        let version = digest_of(registries, version).await?;
        Ok(Self { content, version })
    }
}

impl Memory<'_> {
    /// Whether `digest` was released as `row`, made of the same.
    fn released(&self, row: &Row, digest: &Digest) -> bool {
        let image = self.set.and_then(|set| set.images.get(&row.job.target));
        !self.forced && image.is_some_and(|image| image.is(digest, row.fingerprint.as_ref()))
    }
}

/// What is staged in a repository as made of what has `fingerprint`.
pub(super) async fn staged(
    registries: &Registries,
    repository: &Repository,
    fingerprint: &Fingerprint,
) -> Result<Option<Digest>, PublishError> {
    let (repository, tag) = (repository.clone(), fingerprint.staging_tag());
    digest_of(registries, &Reference { repository, tag }).await
}

/// Whether an image is in a repository.
pub(super) async fn is_there(
    registries: &Registries,
    repository: &Repository,
    digest: &Digest,
) -> Result<bool, PublishError> {
    let found = registries.head(repository, digest).await?;
    Ok(found.is_some_and(|found| found.digest == *digest))
}

/// What a tag stands for.
pub(super) async fn digest_of(
    registries: &Registries,
    reference: &Reference,
) -> Result<Option<Digest>, PublishError> {
    let found = registries.head(&reference.repository, &reference.tag).await?;
    Ok(found.map(|descriptor| descriptor.digest))
}

/// The manifest of an image that was pushed as `reference`.
pub(super) async fn manifest_of(
    registries: &Registries,
    reference: &Reference,
    digest: &Digest,
) -> Result<Manifest, PublishError> {
    let found = registries.manifest(&reference.repository, digest).await?;
    let (reference, digest) = (reference.clone(), digest.clone());
    found.ok_or(PublishError::Lost { reference, digest })
}
