//! Reads published images: their labels, platforms, blobs and sizes.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use serde::Deserialize;

use super::PublishError;
use crate::engine::BuildJob;
use crate::image::{Digest, Platform, Repository, Tag};
use crate::plan::{GpuFacts, Inputs};
use crate::registry::{Manifest, Registries, RegistryError};

/// The largest image configuration that is read, in bytes.
const MAX_CONFIG: u64 = 4 << 20;

/// The parts of an image's configuration that are read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    os: String,
    architecture: String,
    variant: Option<String>,
    #[serde(rename = "config")]
    container: ContainerConfig,
}

/// How an image starts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    labels: Option<BTreeMap<String, String>>,
    /// The user: a name or a number, with or without a group. Empty for root.
    pub user: String,
    /// The variables, as `NAME=value`.
    pub env: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    /// The ports, such as `8000/tcp`.
    pub exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
}

impl Config {
    fn platform(&self) -> Option<Platform> {
        let variant = self.variant.as_ref().filter(|variant| !variant.is_empty());
        let variant = variant.map(|variant| format!("/{variant}")).unwrap_or_default();
        format!("{}/{}{variant}", self.os, self.architecture).parse().ok()
    }
}

/// Reads the configuration `digest`: `None` if it is missing, the default if it is not JSON.
async fn config(
    registries: &Registries,
    repository: &Repository,
    digest: &Digest,
) -> Result<Option<Config>, PublishError> {
    let bytes = registries.blob(repository, digest, MAX_CONFIG).await?;
    Ok(bytes.map(|bytes| serde_json::from_slice(&bytes).unwrap_or_default()))
}

/// Returns the manifests of an image: itself, and those of its platforms. Returns none if the image does not exist.
pub(super) async fn manifests(
    registries: &Registries,
    repository: &Repository,
    image: &Digest,
) -> Result<Vec<Manifest>, RegistryError> {
    let Some(manifest) = registries.manifest(repository, image).await? else {
        return Ok(Vec::new());
    };
    let mut manifests = vec![manifest];
    for (_, platform) in manifests[0].platforms() {
        manifests.extend(registries.manifest(repository, &platform.digest).await?);
    }
    Ok(manifests)
}

/// Returns the images in an index, with their platforms. There are none if it does not exist or is one image.
pub(super) async fn images(
    registries: &Registries,
    repository: &Repository,
    index: &Digest,
) -> Result<Vec<(Platform, Digest)>, RegistryError> {
    let manifest = registries.manifest(repository, index).await?;
    let images = manifest.map(|manifest| manifest.platforms()).unwrap_or_default();
    Ok(images.into_iter().map(|(platform, image)| (platform, image.digest)).collect())
}

/// Returns the configurations and layers of an image with their compressed sizes in bytes.
pub(super) async fn blobs(
    registries: &Registries,
    repository: &Repository,
    image: &Digest,
) -> Result<BTreeMap<Digest, u64>, PublishError> {
    Ok(blobs_of(&manifests(registries, repository, image).await?))
}

fn blobs_of(manifests: &[Manifest]) -> BTreeMap<Digest, u64> {
    let blobs = manifests
        .iter()
        .flat_map(|manifest| manifest.config().into_iter().chain(manifest.layers()));
    blobs.map(|blob| (blob.digest, blob.size)).collect()
}

/// Returns the compressed size of an image in bytes: the manifests, configurations and layers of all platforms, each
/// once. Returns `None` if the image does not exist.
pub async fn size(
    registries: &Registries,
    repository: &Repository,
    image: &Digest,
) -> Result<Option<u64>, PublishError> {
    let manifests = manifests(registries, repository, image).await?;
    if manifests.is_empty() {
        return Ok(None);
    }
    let of_manifests: u64 = manifests.iter().map(|manifest| manifest.descriptor().size).sum();
    Ok(Some(of_manifests + blobs_of(&manifests).values().sum::<u64>()))
}

/// The labels of an image.
pub(super) struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Reads the labels of an image, or of its first platform. There are none if it does not exist.
    pub(super) async fn read(
        registries: &Registries,
        repository: &Repository,
        image: &Digest,
    ) -> Result<Self, PublishError> {
        let config = container_config(registries, repository, image).await?;
        Ok(Self(config.labels.unwrap_or_default()))
    }

    /// Reads the labels of an image, or of each of its platforms.
    pub(super) async fn of_platforms(
        registries: &Registries,
        repository: &Repository,
        image: &Digest,
    ) -> Result<Vec<Self>, PublishError> {
        let images = images(registries, repository, image).await?.into_iter();
        let mut images: Vec<Digest> = images.map(|(_, image)| image).collect();
        if images.is_empty() {
            images.push(image.clone());
        }
        try_join_all(images.iter().map(|image| Self::read(registries, repository, image))).await
    }

    /// Returns the inputs of the image; `None` if it lists none that this version of basegen reads.
    pub(super) fn inputs(&self) -> Option<Inputs> {
        self.0.get(Inputs::LABEL).and_then(|text| Inputs::from_label(text))
    }

    /// Returns the CUDA libraries of the image; `None` if it lists none.
    pub(super) fn gpu_facts(&self) -> Option<GpuFacts> {
        self.0.get(GpuFacts::LABEL).and_then(|text| GpuFacts::from_label(text))
    }

    /// Returns the outputs of the commands that print aliases of the image; `None` if it lists none.
    pub(super) fn printed_aliases(&self) -> Option<Vec<Tag>> {
        let outputs: Vec<String> =
            serde_json::from_str(self.0.get(BuildJob::ALIASES_LABEL)?).ok()?;
        outputs.iter().map(|output| output.parse().ok()).collect()
    }
}

/// Returns the configuration of an image, or that of its first platform. Returns the default if it does not exist.
pub async fn container_config(
    registries: &Registries,
    repository: &Repository,
    image: &Digest,
) -> Result<ContainerConfig, PublishError> {
    let mut digest = image.clone();
    // No engine makes an index of an index.
    for _ in 0..2 {
        let Some(manifest) = registries.manifest(repository, &digest).await? else { break };
        if let Some(descriptor) = manifest.config() {
            let config = config(registries, repository, &descriptor.digest).await?;
            return Ok(config.map(|config| config.container).unwrap_or_default());
        }
        let Some((_, first)) = manifest.platforms().into_iter().next() else { break };
        digest = first.digest;
    }
    Ok(ContainerConfig::default())
}

/// Returns the platforms of an image whose manifests exist; `None` if the image does not list them.
pub async fn platforms(
    registries: &Registries,
    repository: &Repository,
    image: &Digest,
) -> Result<Option<Vec<Platform>>, PublishError> {
    let Some(manifest) = registries.manifest(repository, image).await? else {
        return Ok(Some(Vec::new()));
    };
    if let Some(descriptor) = manifest.config() {
        return Ok(match config(registries, repository, &descriptor.digest).await? {
            Some(config) => config.platform().map(|platform| vec![platform]),
            // No engine can run an image without a configuration.
            None => Some(Vec::new()),
        });
    }
    let mut platforms = Vec::new();
    for (platform, image) in manifest.platforms() {
        if registries.head(repository, &image.digest).await?.is_some() {
            platforms.push(platform);
        }
    }
    Ok(Some(platforms))
}
