//! Looks up the state of each row in its registry before a run changes anything.

use futures_util::future::try_join_all;
use serde::Serialize;

use super::{PublishError, ReleaseSet, Row, SetImage};
use crate::image::{Digest, Reference, Repository};
use crate::plan::Fingerprint;
use crate::registry::{Manifest, Registries};

/// The state of one row in its registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The image with the fingerprint of the row.
    pub content: Option<Digest>,
    /// Whether this image has passed the current checks of the row.
    pub is_checked: bool,
    /// The image that the version tag points to.
    pub version: Option<Digest>,
}

/// The criteria for looking up a row.
pub(super) struct Wanted<'a> {
    /// The tag of the version.
    pub(super) version: &'a Reference,
    /// The fingerprint that the image must have; `None` if no image counts.
    pub(super) fingerprint: Option<&'a Fingerprint>,
    /// The digest of the checks that the image must have passed.
    pub(super) checks: Option<&'a Digest>,
    /// The row in a release set.
    pub(super) released: Option<&'a SetImage>,
}

impl Survey {
    /// Looks up all rows, in their order. With `forced`, no image counts that was built before. `set` is the release set
    /// of this version, which an earlier run may have written.
    pub async fn take(
        registries: &Registries,
        rows: &[Row],
        set: Option<&ReleaseSet>,
        forced: bool,
    ) -> Result<Vec<Self>, PublishError> {
        let surveys = rows.iter().map(|row| {
            let wanted = Wanted {
                version: row.version(),
                fingerprint: row.fingerprint.as_ref().filter(|_| !forced),
                checks: row.checks.as_ref(),
                released: set.and_then(|set| set.images.get(&row.job.target)),
            };
            Self::of(registries, wanted)
        });
        try_join_all(surveys).await
    }

    /// Looks up one image by its version tag and its staging tags.
    pub(super) async fn of(
        registries: &Registries,
        wanted: Wanted<'_>,
    ) -> Result<Self, PublishError> {
        let Wanted { version, fingerprint, checks, released } = wanted;
        let repository = &version.repository;
        let named = digest_of(registries, version).await?;
        let Some(fingerprint) = fingerprint else {
            return Ok(Self { version: named, ..Self::default() });
        };
        let found = |content: Option<Digest>, is_checked| {
            let is_checked = is_checked && content.is_some();
            Ok(Self { content, is_checked, version: named.clone() })
        };
        let released = released
            .filter(|image| named.as_ref().is_some_and(|named| image.is(named, Some(fingerprint))));
        if released.is_some_and(|image| image.checks.as_ref() == checks) {
            return found(named.clone(), true);
        }
        let passed = staged(registries, repository, fingerprint, checks).await?;
        if passed.is_some() && (named.is_none() || named == passed) {
            return found(passed, true);
        }
        let built = match checks {
            Some(_) => staged(registries, repository, fingerprint, None).await?,
            None => passed.clone(),
        };
        // Images of one fingerprint are interchangeable, but a tag that was set stays as it is.
        // The image's own label proves nothing: images that are based on it inherit it.
        let is_same = released.is_some() || named == built;
        let content = named.clone().filter(|_| is_same).or(passed.clone()).or(built);
        let is_checked = checks.is_none() || content == passed;
        found(content, is_checked)
    }
}

/// Returns the digest of the image that is staged in a repository under `fingerprint`; with
/// `checks`, of the one that has passed the checks of that digest.
pub(super) async fn staged(
    registries: &Registries,
    repository: &Repository,
    fingerprint: &Fingerprint,
    checks: Option<&Digest>,
) -> Result<Option<Digest>, PublishError> {
    let tag = match checks {
        Some(checks) => fingerprint.checked_tag(checks),
        None => fingerprint.staging_tag(),
    };
    digest_of(registries, &Reference { repository: repository.clone(), tag }).await
}

/// Returns true if an image is in a repository.
pub(super) async fn exists(
    registries: &Registries,
    repository: &Repository,
    digest: &Digest,
) -> Result<bool, PublishError> {
    let found = registries.head(repository, digest).await?;
    Ok(found.is_some_and(|found| found.digest == *digest))
}

/// Returns the digest that a tag points to.
pub(super) async fn digest_of(
    registries: &Registries,
    reference: &Reference,
) -> Result<Option<Digest>, PublishError> {
    let found = registries.head(&reference.repository, &reference.tag).await?;
    Ok(found.map(|descriptor| descriptor.digest))
}

/// A tag that does not point to its image.
#[derive(Debug, Clone, Serialize)]
pub struct OutdatedTag {
    /// The id of the target.
    pub id: String,
    pub reference: Reference,
    /// The image that it should point to.
    pub digest: Digest,
    /// The image that it points to, if it exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Digest>,
}

/// Returns those of `tags` that do not point to their image. Each has the id of its target.
pub(super) async fn outdated_tags<'a>(
    registries: &Registries,
    tags: impl Iterator<Item = (&'a str, Reference, &'a Digest)>,
) -> Result<Vec<OutdatedTag>, PublishError> {
    let looked_up = tags.map(async |(id, reference, digest)| {
        let found = digest_of(registries, &reference).await?;
        let (id, digest) = (id.to_owned(), digest.clone());
        Ok::<_, PublishError>(OutdatedTag { id, reference, digest, found })
    });
    let mut tags = try_join_all(looked_up).await?;
    tags.retain(|tag| tag.found.as_ref() != Some(&tag.digest));
    Ok(tags)
}

/// Returns the manifest of an image that was pushed as `reference`.
pub(super) async fn manifest_of(
    registries: &Registries,
    reference: &Reference,
    digest: &Digest,
) -> Result<Manifest, PublishError> {
    let found = registries.manifest(&reference.repository, digest).await?;
    let (reference, digest) = (reference.clone(), digest.clone());
    found.ok_or(PublishError::Lost { reference, digest })
}
