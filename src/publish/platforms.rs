//! The platforms that a published image is there for.

use serde::Deserialize;

use super::PublishError;
use super::labels::MAX_CONFIG;
use crate::image::{Digest, Platform, Repository};
use crate::registry::Registries;

/// The part of an image's configuration that says what it runs on.
#[derive(Deserialize)]
struct Config {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Config {
    fn platform(&self) -> Option<Platform> {
        let variant = self.variant.as_ref().filter(|variant| !variant.is_empty());
        let variant = variant.map(|variant| format!("/{variant}")).unwrap_or_default();
        format!("{}/{}{variant}", self.os, self.architecture).parse().ok()
    }
}

/// The platforms of the image `digest`, of an index only those whose manifests are there too;
/// `None` where it does not say which they are.
pub async fn platforms(
    registries: &Registries,
    repository: &Repository,
    digest: &Digest,
) -> Result<Option<Vec<Platform>>, PublishError> {
    let Some(manifest) = registries.manifest(repository, digest).await? else {
        return Ok(Some(Vec::new()));
    };
    if let Some(config) = manifest.config() {
        let Some(bytes) = registries.blob(repository, &config.digest, MAX_CONFIG).await? else {
            // Without it, nothing can run the image.
            return Ok(Some(Vec::new()));
        };
        let config = serde_json::from_slice::<Config>(&bytes).ok();
        return Ok(config.and_then(|config| config.platform()).map(|platform| vec![platform]));
    }
    let mut there = Vec::new();
    for (platform, image) in manifest.platforms() {
        if registries.head(repository, &image.digest).await?.is_some() {
            there.push(platform);
        }
    }
    Ok(Some(there))
}
