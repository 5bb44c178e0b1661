//! Compares a release with its registry.

use futures_util::future::try_join_all;
use serde::Serialize;

use super::survey::{OutdatedTag, digest_of, exists, outdated_tags};
use super::{PublishError, ReleaseSet, SetImage};
use crate::image::{Digest, Reference};
use crate::registry::Registries;
use crate::version::Version;

/// The state of an image of a release set in its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// The tag points to the image.
    Ok,
    /// The tag points to a different image.
    Moved,
    /// The image exists, but not its tag.
    Untagged,
    /// The image does not exist.
    Lost,
}

impl Finding {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Moved => "moved",
            Self::Untagged => "untagged",
            Self::Lost => "lost",
        }
    }
}

/// An image of a release set and its state.
#[derive(Debug, Clone, Serialize)]
pub struct Audited {
    /// The id of the target.
    pub id: String,
    pub finding: Finding,
    /// The entry of the release set.
    #[serde(flatten)]
    pub image: SetImage,
    /// The different image that the tag points to, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Digest>,
}

/// Returns the aliases that do not point to the images of `set`. Returns none if `newest`, the newest release set, is of
/// a newer release or lists this one as withdrawn.
pub async fn stray_aliases(
    registries: &Registries,
    set: &ReleaseSet,
    newest: &Reference,
) -> Result<Vec<OutdatedTag>, PublishError> {
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
    outdated_tags(registries, set.aliases()).await
}

/// Compares every image of `set` with its registry.
pub async fn audit(
    registries: &Registries,
    set: &ReleaseSet,
) -> Result<Vec<Audited>, PublishError> {
    let audited = set.images.iter().map(async |(id, image)| {
        let reference = &image.reference;
        let found = digest_of(registries, reference).await?;
        let finding = if !exists(registries, &reference.repository, &image.digest).await? {
            Finding::Lost
        } else if found.is_none() {
            Finding::Untagged
        } else if found.as_ref() == Some(&image.digest) {
            Finding::Ok
        } else {
            Finding::Moved
        };
        let found = found.filter(|digest| *digest != image.digest);
        Ok(Audited { id: id.clone(), finding, image: image.clone(), found })
    });
    try_join_all(audited).await
}
