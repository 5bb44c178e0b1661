//! `BuildKit`'s API, spoken to any engine that has it.

mod build;
mod content;
mod context;
mod export;
mod failure;
mod gateway;
mod hold;
mod layout;
mod past;
mod probe;
mod progress;
mod resolve;
mod retry;
mod session;
mod solve;
mod text;
mod tls;
mod transport;

use std::sync::Arc;

use tonic::transport::Channel;

pub use build::{BuildKitEngine, BuildOptions};

use self::export::Abilities;
use super::address::EngineAddress;
use super::discover::{EngineRequest, discover};
use super::docker::{DockerApi, StoredImage};
use super::{Destination, EngineError};
use crate::image::{Digest, Platform, Reference};

/// The longest message that is taken from an engine: the news of a large build come in one.
const MAX_MESSAGE: usize = 64 << 20;

/// How many builds an engine is given at a time. A build has up to four streams, a hold two, and a
/// connection carries 250: one too many would wait for another to end. An engine that is asked for more
/// is no faster; Docker 26 on two cores begins to drop builds at about a hundred.
const MAX_BUILDS: usize = 40;

/// How many more are open at a time to hold what steps have made.
const MAX_HOLDS: usize = 40;

/// An engine that answers, and what is known of it.
#[derive(Clone)]
pub struct ConnectedEngine(Arc<Connected>);

struct Connected {
    name: String,
    platforms: Vec<Platform>,
    mirrors: Vec<String>,
    abilities: Abilities,
    docker: Option<DockerApi>,
    channel: Channel,
}

impl ConnectedEngine {
    /// Finds the engine that `request` means, connects to it and asks what it can do.
    pub async fn connect(request: &EngineRequest) -> Result<Self, EngineError> {
        let address = discover(request).await?;
        Self::at(address).await
    }

    /// Connects to the engine at `address` and asks what it can do.
    pub async fn at(address: EngineAddress) -> Result<Self, EngineError> {
        let probed = probe::probe(&address).await?;
        Ok(Self(Arc::new(Connected {
            name: format!("{} at {address}", probed.product),
            platforms: probed.platforms,
            mirrors: probed.mirrors,
            abilities: probed.abilities,
            docker: probed.docker,
            channel: probed.channel,
        })))
    }

    /// The engine for people: `Docker Engine 26.1.5 at unix:///var/run/docker.sock`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The platforms that it can build for, its own first.
    #[must_use]
    pub fn platforms(&self) -> &[Platform] {
        &self.0.platforms
    }

    /// The URLs of the registries that it asks before Docker Hub.
    #[must_use]
    pub fn registry_mirrors(&self) -> &[String] {
        &self.0.mirrors
    }

    /// Refuses platforms that the engine cannot build for, each of `wanted` being those of one
    /// image. For another architecture of its own system it builds what runs nothing there, even
    /// if it cannot emulate that.
    pub fn check_platforms<'a>(
        &self,
        wanted: impl IntoIterator<Item = &'a [Platform]>,
    ) -> Result<(), EngineError> {
        let engine = self.name();
        let known = &self.0.platforms;
        for platforms in wanted {
            let is_unknown =
                |wanted: &&Platform| !known.iter().any(|known| known.os() == wanted.os());
            if let Some(unknown) = platforms.iter().find(is_unknown) {
                return Err(EngineError::Platform {
                    engine: engine.to_owned(),
                    wanted: unknown.clone(),
                    available: known.clone(),
                });
            }
            if platforms.len() > 1 && self.0.abilities.graph_driver {
                return Err(EngineError::Destination {
                    engine: engine.to_owned(),
                    action: "make one image of several platforms: it keeps images in a graph \
                             driver's store",
                    hint: "choose one with `--platform`, turn on Docker's containerd image store \
                           (https://docs.docker.com/engine/storage/containerd/), \
                           or pass a buildkitd with `--builder`",
                });
            }
        }
        Ok(())
    }

    /// The images of the engine's store that have `label`; a buildkitd has no store.
    pub async fn images_with(&self, label: &str) -> Result<Vec<StoredImage>, EngineError> {
        let Some(docker) = &self.0.docker else { return Ok(Vec::new()) };
        let found = docker.images_with(label).await;
        found.map_err(|error| self.store_error("list its images", error))
    }

    /// Gives an image of the engine's store these names.
    pub async fn tag(&self, image: &Digest, references: &[Reference]) -> Result<(), EngineError> {
        let Some(docker) = &self.0.docker else { return Ok(()) };
        for reference in references {
            let tagged = docker.tag(image, reference).await;
            tagged.map_err(|error| self.store_error("name an image", error))?;
        }
        Ok(())
    }

    /// Removes an image by its names, which are all that it has, from the engine's store.
    pub async fn remove(&self, names: &[Reference]) -> Result<(), EngineError> {
        let Some(docker) = &self.0.docker else { return Ok(()) };
        for name in names {
            let removed = docker.remove_name(name).await;
            removed.map_err(|error| self.store_error("remove an image", error))?;
        }
        Ok(())
    }

    fn store_error(&self, action: &'static str, source: bollard::errors::Error) -> EngineError {
        EngineError::Store { engine: self.name().to_owned(), action, source: source.into() }
    }

    /// The engine set up for builds that all go to one destination.
    pub fn builder(&self, options: BuildOptions) -> Result<BuildKitEngine, EngineError> {
        self.check_destination(&options.destination)?;
        BuildKitEngine::new(self.clone(), options)
    }

    fn check_destination(&self, destination: &Destination) -> Result<(), EngineError> {
        let (action, hint) = match destination {
            Destination::Engine if self.0.docker.is_none() => (
                "keep images: a buildkitd has no image store",
                "pass `--push`, or `--output oci:DIR` for a folder",
            ),
            Destination::OciLayout(_) if self.0.abilities.graph_driver => (
                "write an OCI layout: it keeps images in a graph driver's store",
                "turn on Docker's containerd image store \
                 (https://docs.docker.com/engine/storage/containerd/), \
                 or pass a buildkitd with `--builder`",
            ),
            _ => return Ok(()),
        };
        Err(EngineError::Destination { engine: self.name().to_owned(), action, hint })
    }
}

impl std::fmt::Debug for ConnectedEngine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("ConnectedEngine").field(&self.name()).finish()
    }
}

/// An id that nobody else has, of the letters that ids of builds and sessions may have.
fn random_id() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}
