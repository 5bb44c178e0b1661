//! What a release holds, and how it stands to the one before it.

use futures_util::future::try_join_all;

use super::labels::labels;
use super::{PublishError, ReleaseSet, SetImage};
use crate::image::{Digest, Repository};
use crate::plan::Inputs;
use crate::registry::{Manifest, Registries};

/// An image of a release, as its registry has it.
#[derive(Debug, Clone)]
pub struct ImageContent {
    /// The variant.
    pub id: String,
    /// Its configurations and layers with their sizes in bytes, those of all platforms.
    pub blobs: Vec<(Digest, u64)>,
    /// How it stands to the release before; nothing where there is none to compare with.
    pub since: Option<Since>,
}

/// How an image stands to that of the release before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// There was none.
    New,
    /// It is the same one.
    Unchanged,
    /// It is another one, for these reasons, the most telling first, as far as the two images say.
    Changed(Vec<String>),
}

/// Looks up what the images of `now` hold, in the order of their ids, and compares them with those
/// of `before`.
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
        Ok(ImageContent { id: id.clone(), blobs, since })
    });
    try_join_all(images).await
}

async fn blobs(
    registries: &Registries,
    repository: &Repository,
    digest: &Digest,
) -> Result<Vec<(Digest, u64)>, PublishError> {
    let Some(manifest) = registries.manifest(repository, digest).await? else {
        return Ok(Vec::new());
    };
    let mut manifests = vec![manifest];
    for (_, platform) in manifests[0].platforms() {
        manifests.extend(registries.manifest(repository, &platform.digest).await?);
    }
    let of_one = |manifest: &Manifest| manifest.config().into_iter().chain(manifest.layers());
    let blobs = manifests.iter().flat_map(of_one).map(|blob| (blob.digest, blob.size));
    let mut blobs: Vec<(Digest, u64)> = blobs.collect();
    blobs.sort();
    blobs.dedup();
    Ok(blobs)
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
    let inputs = async |image: &SetImage| -> Result<Option<Inputs>, PublishError> {
        let labels = labels(registries, &image.reference.repository, &image.digest).await?;
        Ok(labels.get(Inputs::LABEL).and_then(|text| Inputs::from_label(text)))
    };
    let reasons = match (inputs(before).await?, inputs(now).await?) {
        (Some(before), Some(now)) => now.changes_since(&before),
        _ => Vec::new(),
    };
    Ok(Since::Changed(reasons.iter().map(ToString::to_string).collect()))
}
