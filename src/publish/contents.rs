//! Compares the images of a release with those of the release before it.

use futures_util::future::try_join_all;

use super::image::{Labels, blobs};
use super::{PublishError, ReleaseSet, SetImage};
use crate::image::Digest;
use crate::registry::Registries;

/// The content of an image in its registry.
#[derive(Debug, Clone)]
pub struct ImageContent {
    /// The id of its variant.
    pub id: String,
    /// The configurations and layers of all platforms with their compressed sizes in bytes.
    pub blobs: Vec<(Digest, u64)>,
    /// The change since the release before; `None` if there is no such release.
    pub since: Option<Since>,
}

/// The change of an image since the release before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// The release before has no such image.
    New,
    /// The image is the same.
    Unchanged,
    /// The image differs.
    Changed {
        /// The compressed size of the image in the release before, in bytes.
        size_before: u64,
        /// The reasons, as far as the labels of the images list them, the most important first.
        reasons: Vec<String>,
    },
}

/// Looks up the content of the images of `now`, in the order of their ids, and compares them with those of `before`.
pub async fn contents(
    registries: &Registries,
    now: &ReleaseSet,
    before: Option<&ReleaseSet>,
) -> Result<Vec<ImageContent>, PublishError> {
    let images = now.images.iter().map(|(id, image)| async move {
        let blobs = blobs(registries, &image.reference.repository, &image.digest).await?;
        let since = match before {
            None => None,
            Some(before) => Some(since(registries, image, before.images.get(id)).await?),
        };
        Ok(ImageContent { id: id.clone(), blobs: blobs.into_iter().collect(), since })
    });
    try_join_all(images).await
}

async fn since(
    registries: &Registries,
    now: &SetImage,
    before: Option<&SetImage>,
) -> Result<Since, PublishError> {
    let repository = &now.reference.repository;
    let Some(before) = before.filter(|before| before.reference.repository == *repository) else {
        return Ok(Since::New);
    };
    if now.digest == before.digest {
        return Ok(Since::Unchanged);
    }
    let size_before = blobs(registries, repository, &before.digest).await?.values().sum();
    let before = Labels::read(registries, repository, &before.digest).await?.inputs();
    let now = Labels::read(registries, repository, &now.digest).await?.inputs();
    let reasons = now.zip(before).map(|(now, before)| now.changes_since(&before));
    let reasons = reasons.unwrap_or_default().iter().map(ToString::to_string).collect();
    Ok(Since::Changed { size_before, reasons })
}
