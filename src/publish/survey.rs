//! Looks up the state of each row in its registries before a run changes anything.

use futures_util::future::try_join_all;
use serde::Serialize;

use super::{Place, PublishError, ReleaseSet, Row, SetImage};
use crate::image::{Digest, Reference, Repository};
use crate::plan::Fingerprint;
use crate::registry::{Manifest, Registries};

/// The state of one row in its registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The image with the fingerprint of the row.
    pub content: Option<Digest>,
    /// Whether this image has passed the current checks of the row.
    pub is_checked: bool,
    /// The state in each repository, in the order of the row's places.
    pub places: Vec<PlaceSurvey>,
}

/// The state of a row in one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlaceSurvey {
    /// The image with the fingerprint of the row.
    pub content: Option<Digest>,
    /// Whether this image has passed the current checks of the row.
    pub is_checked: bool,
    /// The image that the version tag points to.
    pub version: Option<Digest>,
}

/// The image that is looked up for a row, or for a target of a plan.
pub(super) struct Wanted<'a> {
    /// The id of the target.
    pub(super) id: &'a str,
    /// The fingerprint that the image must have; `None` if no image counts.
    pub(super) fingerprint: Option<&'a Fingerprint>,
    /// The digest of the checks that the image must have passed.
    pub(super) checks: Option<&'a Digest>,
    /// The image that is mirrored. It counts wherever it has the version tag.
    pub(super) mirrored: Option<&'a Digest>,
}

impl Survey {
    /// Looks up all rows, in their order. With `forced`, no image counts that was built before. `sets` are the release sets
    /// of this version, which an earlier run may have written.
    pub async fn take(
        registries: &Registries,
        rows: &[Row],
        sets: &[ReleaseSet],
        forced: bool,
    ) -> Result<Vec<Self>, PublishError> {
        let surveys = rows.iter().map(async |row| {
            let mirrored = row.mirror.as_ref().map(|mirror| &mirror.digest);
            let wanted = Wanted {
                id: &row.job.target,
                fingerprint: row.fingerprint.as_ref().filter(|_| !forced || mirrored.is_some()),
                checks: row.checks.as_ref(),
                mirrored,
            };
            Self::look_up(registries, row.places(), &wanted, sets).await
        });
        try_join_all(surveys).await
    }

    /// Looks up the image `wanted` in `places`.
    pub(super) async fn look_up(
        registries: &Registries,
        places: impl Iterator<Item = Place<'_>>,
        wanted: &Wanted<'_>,
        sets: &[ReleaseSet],
    ) -> Result<Self, PublishError> {
        let places = places.map(|place| PlaceSurvey::look_up(registries, place, wanted, sets));
        let places = try_join_all(places).await?;
        Ok(Self::joined(places, wanted.mirrored, wanted.checks.is_some()))
    }

    /// Joins the states in all repositories of a row. An image that has the version tag somewhere comes before those that
    /// are only staged, because that tag stays as it is. The image that is `mirrored` comes before all.
    pub(super) fn joined(
        places: Vec<PlaceSurvey>,
        mirrored: Option<&Digest>,
        has_checks: bool,
    ) -> Self {
        let has_tag = |place: &&PlaceSurvey| place.content.is_some() && place.is_published();
        let known = places.iter().find(has_tag);
        let known = known.or(places.iter().find(|place| place.content.is_some()));
        let content = mirrored.or(known.and_then(|place| place.content.as_ref())).cloned();
        let is_checked = content.is_some()
            && (!has_checks
                || places.iter().any(|place| place.is_checked && place.content == content));
        Self { content, is_checked, places }
    }

    /// Returns true if a repository of the row has the image. One that is mirrored may be elsewhere only.
    pub(super) fn exists(&self) -> bool {
        self.content.is_some() && self.places.iter().any(|place| place.content == self.content)
    }

    /// Returns true if all repositories have the image, or it does not exist.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        self.places.iter().all(|place| place.content == self.content)
    }

    /// Returns true if all version tags point to the image.
    #[must_use]
    pub fn is_published(&self) -> bool {
        self.content.is_some() && self.places.iter().all(|place| place.version == self.content)
    }

    /// Returns the indices of the places whose version tag points to another image, or to any if the image is unknown.
    pub(super) fn conflicts(&self) -> impl Iterator<Item = usize> {
        let is_other =
            |place: &PlaceSurvey| place.version.is_some() && place.version != self.content;
        (0..self.places.len()).filter(move |at| is_other(&self.places[*at]))
    }

    /// Returns the image that the version tag points to in the first repository.
    pub(super) fn version(&self) -> Option<&Digest> {
        self.places.first().and_then(|place| place.version.as_ref())
    }
}

/// Returns the row `id` in the release set of the registry of `place`.
pub(super) fn released<'a>(
    sets: &'a [ReleaseSet],
    place: Place<'_>,
    id: &str,
) -> Option<&'a SetImage> {
    let images = sets.iter().filter_map(|set| set.images.get(id));
    let mut images =
        images.filter(|image| image.reference.repository.registry() == place.registry());
    images.next()
}

impl PlaceSurvey {
    fn is_published(&self) -> bool {
        self.version == self.content
    }

    /// Looks up one image by its version tag and its staging tags.
    async fn look_up(
        registries: &Registries,
        place: Place<'_>,
        wanted: &Wanted<'_>,
        sets: &[ReleaseSet],
    ) -> Result<Self, PublishError> {
        let Wanted { id, fingerprint, checks, mirrored } = *wanted;
        let repository = place.repository();
        let named = digest_of(registries, place.version()).await?;
        let Some(fingerprint) = fingerprint else {
            return Ok(Self { version: named, ..Self::default() });
        };
        let found = |content: Option<Digest>, is_checked| {
            let is_checked = is_checked && content.is_some();
            Ok(Self { content, is_checked, version: named.clone() })
        };
        let released = released(sets, place, id)
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
        let is_same = released.is_some() || named == built || named.as_ref() == mirrored;
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

/// Returns the manifest of an image that was pushed to `repository`, or that is mirrored from there.
pub(super) async fn fetch(
    registries: &Registries,
    repository: &Repository,
    digest: &Digest,
) -> Result<Manifest, PublishError> {
    let found = registries.manifest(repository, digest).await?;
    let (repository, digest) = (repository.clone(), digest.clone());
    found.ok_or(PublishError::Lost { repository, digest })
}
