//! What a published image says of itself.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::PublishError;
use crate::image::{Digest, Repository};
use crate::registry::Registries;

/// The largest image configuration that is read, in bytes.
pub(super) const MAX_CONFIG: u64 = 4 << 20;

#[derive(Default, Deserialize)]
struct Config {
    #[serde(default)]
    config: Labelled,
}

#[derive(Default, Deserialize)]
struct Labelled {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

/// The labels of an image; those of its first platform where it has several. None where there
/// is no such image, or where it is something else.
pub(super) async fn labels(
    registries: &Registries,
    repository: &Repository,
    digest: &Digest,
) -> Result<BTreeMap<String, String>, PublishError> {
    let mut digest = digest.clone();
    // An index of an index is nothing that engines make.
    for _ in 0..2 {
        let Some(manifest) = registries.manifest(repository, &digest).await? else { break };
        if let Some(config) = manifest.config() {
            let config = registries.blob(repository, &config.digest, MAX_CONFIG).await?;
            let config = config.and_then(|bytes| serde_json::from_slice::<Config>(&bytes).ok());
            return Ok(config.unwrap_or_default().config.labels.unwrap_or_default());
        }
        let Some((_, first)) = manifest.platforms().into_iter().next() else { break };
        digest = first.digest;
    }
    Ok(BTreeMap::new())
}
