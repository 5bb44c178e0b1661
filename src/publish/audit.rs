//! Whether a release is still what its set says.

use futures_util::future::try_join_all;
use serde::Serialize;

use super::survey::digest_of;
use super::{PublishError, ReleaseSet, SetImage};
use crate::image::{Digest, Reference};
use crate::registry::Registries;

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
pub struct Audited<'a> {
    /// The variant.
    pub id: &'a str,
    /// What was found.
    pub finding: Finding,
    /// What the set says.
    #[serde(flatten)]
    pub image: &'a SetImage,
    /// What the tag stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Digest>,
}

/// Compares every image of `set` with what its registry has.
pub async fn audit<'a>(
    registries: &Registries,
    set: &'a ReleaseSet,
) -> Result<Vec<Audited<'a>>, PublishError> {
    try_join_all(set.images.iter().map(|(id, image)| one(registries, id, image))).await
}

async fn one<'a>(
    registries: &Registries,
    id: &'a str,
    image: &'a SetImage,
) -> Result<Audited<'a>, PublishError> {
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
    Ok(Audited { id, finding, image, found })
}
