//! How many bytes an image is.

use std::collections::HashMap;

use super::PublishError;
use crate::image::{Digest, Repository};
use crate::registry::Registries;

/// The bytes of an image as its registry keeps it: its layers, compressed, its configuration and
/// its manifest, for all of its platforms, each blob once. `None` where there is no such image.
pub async fn size(
    registries: &Registries,
    repository: &Repository,
    digest: &Digest,
) -> Result<Option<u64>, PublishError> {
    let Some(image) = registries.manifest(repository, digest).await? else { return Ok(None) };
    let mut parts = HashMap::from([(digest.clone(), image.descriptor().size)]);
    let mut manifests = vec![image];
    while let Some(manifest) = manifests.pop() {
        let blobs = manifest.config().into_iter().chain(manifest.layers());
        parts.extend(blobs.map(|blob| (blob.digest, blob.size)));
        for (_, platform) in manifest.platforms() {
            if parts.insert(platform.digest.clone(), platform.size).is_none() {
                manifests.extend(registries.manifest(repository, &platform.digest).await?);
            }
        }
    }
    Ok(Some(parts.values().sum()))
}
