//! Whether a release is still what its set says.

use futures_util::future::try_join_all;
use serde::Serialize;

use super::survey::digest_of;
use super::{PublishError, ReleaseSet, SetImage};
use crate::image::{Digest, Reference};
use crate::registry::Registries;
use crate::version::Version;

/// What a registry has of an image of a release set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// The tag stands for the image.
    Whole,
    /// The tag stands for another image.
    Moved,
    /// The image is there, the tag is not.
    Untagged,
    /// The image is not there.
    Lost,
}

impl Finding {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Moved => "moved",
            Self::Untagged => "untagged",
            Self::Lost => "lost",
        }
    }
}

/// An image of a release set, as a registry has it.
#[derive(Debug, Clone, Serialize)]
pub struct Audited {
    /// The id of the target.
    pub id: String,
    /// What was found.
    pub finding: Finding,
    /// What the set says.
    #[serde(flatten)]
    pub image: SetImage,
    /// What the tag stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Digest>,
}

/// An alias that does not point to the image of the newest release.
#[derive(Debug, Clone, Serialize)]
pub struct StrayAlias {
    /// The id of the target.
    pub id: String,
    /// The alias.
    pub reference: Reference,
    /// The image of the newest release.
    pub digest: Digest,
    /// The image that it points to, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Digest>,
}

/// Returns the aliases that do not point to the images of `set`; none if `newest`, the set that moves
/// on, is of a newer release, or says that this one was withdrawn.
pub async fn stray_aliases(
    registries: &Registries,
    set: &ReleaseSet,
    newest: &Reference,
) -> Result<Vec<StrayAlias>, PublishError> {
    let version = set.version.as_ref().filter(|_| set.is_ordered);
    let Some(version) = version else { return Ok(Vec::new()) };
    if let Some((newest, _)) = ReleaseSet::read(registries, newest).await? {
        let own = version.parse::<Version>();
        let is_newer =
            newest.version.is_some_and(|newest| own.is_ok_and(|own| own.is_below(&newest)));
        if is_newer || newest.withdrawn.contains(version) {
            return Ok(Vec::new());
        }
    }
    let aliases = set.images.iter().flat_map(|(id, image)| {
        image.aliases().map(move |reference| (id.as_str(), reference, &image.digest))
    });
    let found = aliases.map(async |(id, reference, digest)| {
        let found = digest_of(registries, &reference).await?;
        let is_stray = found.as_ref() != Some(digest);
        let (id, digest) = (id.to_owned(), digest.clone());
        Ok::<_, PublishError>(is_stray.then_some(StrayAlias { id, reference, digest, found }))
    });
    Ok(try_join_all(found).await?.into_iter().flatten().collect())
}

/// Compares every image of `set` with what its registry has.
pub async fn audit(
    registries: &Registries,
    set: &ReleaseSet,
) -> Result<Vec<Audited>, PublishError> {
    try_join_all(set.images.iter().map(|(id, image)| one(registries, id, image))).await
}

async fn one(registries: &Registries, id: &str, image: &SetImage) -> Result<Audited, PublishError> {
    let reference: &Reference = &image.reference;
    let found = digest_of(registries, reference).await?;
    let there = registries.head(&reference.repository, &image.digest).await?.is_some();
    let finding = match &found {
        _ if !there => Finding::Lost,
        Some(digest) if *digest == image.digest => Finding::Whole,
        Some(_) => Finding::Moved,
        None => Finding::Untagged,
    };
    let found = found.filter(|digest| *digest != image.digest);
    Ok(Audited { id: id.to_owned(), finding, image: image.clone(), found })
}
