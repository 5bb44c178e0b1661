//! A client of `BuildKit`'s API, for Docker Engines and standalone buildkitds.
//!
//! [`ConnectedEngine`] finds and probes an engine. [`BuildKitEngine`] builds jobs on it: start reading at
//! [`build`](mod@build). Each build opens a session, which serves secrets, credentials and contexts to the
//! engine, and a gateway, through which this process steers the build.

mod attempt;
mod build;
mod content;
mod context;
mod docker;
mod early;
mod export;
mod failure;
mod gateway;
mod layout;
mod lease;
mod linked;
mod parents;
mod probe;
mod progress;
mod reported;
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
pub use docker::StoredImage;

use self::export::Abilities;
use super::address::EngineAddress;
use super::discover::{EngineRequest, discover};
use super::{Destination, EngineError};
use crate::image::Platform;

/// The maximum size of a message from the engine, in bytes. The first status of a large build is one.
const MAX_MESSAGE: usize = 64 << 20;

/// The maximum number of concurrent builds. A build uses up to four streams, a lease two, an early export
/// one, and a connection has 250. More builds are not faster: Docker 26 on two cores begins to drop builds at about a hundred.
const MAX_BUILDS: usize = 40;

/// The maximum number of leases at a time.
const MAX_LEASES: usize = 40;

/// The maximum number of concurrent exports of single layers, before those of the images that have them.
const MAX_EARLY_EXPORTS: usize = 8;

/// A connection to an engine, and the properties of the engine.
#[derive(Clone)]
pub struct ConnectedEngine(Arc<Connected>);

struct Connected {
    name: String,
    platforms: Vec<Platform>,
    mirrors: Vec<String>,
    abilities: Abilities,
    docker: Option<bollard::Docker>,
    channel: Channel,
}

impl ConnectedEngine {
    /// Finds the engine for `request`, connects to it and probes its abilities.
    pub async fn connect(request: &EngineRequest) -> Result<Self, EngineError> {
        let address = discover(request).await?;
        Self::at(address).await
    }

    /// Connects to the engine at `address` and probes its abilities.
    pub async fn at(address: EngineAddress) -> Result<Self, EngineError> {
        Ok(Self(Arc::new(probe::probe(&address).await?)))
    }

    /// Returns the display name: `Docker Engine 26.1.5 at unix:///var/run/docker.sock`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the platforms that the engine can build for, its own first.
    #[must_use]
    pub fn platforms(&self) -> &[Platform] {
        &self.0.platforms
    }

    /// Returns the engine's own platform, whose programs need no emulation, if the engine reports one.
    #[must_use]
    pub fn native_platform(&self) -> Option<&Platform> {
        self.0.platforms.first()
    }

    /// Returns the URLs of the engine's mirrors of Docker Hub.
    #[must_use]
    pub fn registry_mirrors(&self) -> &[String] {
        &self.0.mirrors
    }

    /// Returns an error if the engine cannot build for some platforms. Each item of `wanted` contains the
    /// platforms of one image. Other architectures of the engine's own system are accepted: without
    /// emulation, the engine can still build images whose steps run no programs.
    pub fn check_platforms<'a>(
        &self,
        wanted: impl IntoIterator<Item = &'a [Platform]>,
    ) -> Result<(), EngineError> {
        let known = &self.0.platforms;
        for platforms in wanted {
            let is_unknown =
                |wanted: &&Platform| !known.iter().any(|known| known.os() == wanted.os());
            if let Some(unknown) = platforms.iter().find(is_unknown) {
                return Err(EngineError::Platform {
                    engine: self.name().to_owned(),
                    wanted: unknown.clone(),
                    available: known.clone(),
                });
            }
            if platforms.len() > 1 && self.0.abilities.graph_driver {
                return Err(self.unsupported(
                    "build an image for several platforms: it stores images in a graph driver",
                    "choose one with `--platform`, enable Docker's containerd image store \
                     (https://docs.docker.com/engine/storage/containerd/), \
                     or pass a buildkitd with `--builder`",
                ));
            }
        }
        Ok(())
    }

    /// Returns an engine that builds with `options`.
    pub fn builder(&self, options: BuildOptions) -> Result<BuildKitEngine, EngineError> {
        self.check_destination(&options.destination)?;
        BuildKitEngine::new(self.clone(), options)
    }

    fn check_destination(&self, destination: &Destination) -> Result<(), EngineError> {
        let (action, hint) = match destination {
            Destination::Engine if self.0.docker.is_none() => (
                "store images: a buildkitd has no image store",
                "pass `--push`, or `--output oci:DIR` for a folder",
            ),
            Destination::OciLayout(_) if self.0.abilities.graph_driver => (
                "write an OCI layout: it stores images in a graph driver",
                "enable Docker's containerd image store \
                 (https://docs.docker.com/engine/storage/containerd/), \
                 or pass a buildkitd with `--builder`",
            ),
            _ => return Ok(()),
        };
        Err(self.unsupported(action, hint))
    }

    fn unsupported(&self, action: &'static str, hint: &'static str) -> EngineError {
        EngineError::Destination { engine: self.name().to_owned(), action, hint }
    }
}

impl std::fmt::Debug for ConnectedEngine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("ConnectedEngine").field(&self.name()).finish()
    }
}

/// Returns a unique id for a build or a session.
fn random_id() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}
