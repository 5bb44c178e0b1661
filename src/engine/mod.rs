//! Builds images on BuildKit.
//!
//! [`ConnectedEngine`] finds an engine and connects to it. [`run`] schedules [`BuildJob`]s on any [`Engine`],
//! and reports their [`Outcome`]s and events. [`BuildKitEngine`] is the implementation for Docker Engines and
//! buildkitds. Steps that several jobs share run once, see [`JobDependencies`].

mod address;
mod buildkit;
mod dependencies;
mod discover;
mod docker_context;
mod error;
mod job;
mod scheduler;
mod shared_steps;
mod uploads;

use std::future::Future;

pub use address::{Endpoint, EngineAddress, EngineKind, TlsFiles};
pub use buildkit::{BuildKitEngine, BuildOptions, ConnectedEngine, StoredImage};
pub use dependencies::JobDependencies;
pub use discover::{EngineEnvironment, EngineRequest};
pub use error::EngineError;
pub use job::{BuildJob, BuiltImage, Destination, Layer, ParentImage, Secret};
pub use scheduler::{OnFailure, Outcome, RunRequest, run};

use crate::event::{Events, Failure};

/// A service that builds images and exports them.
pub trait Engine: Send + Sync + 'static {
    /// Returns the display name: `Docker Engine 26.1.5 at unix:///var/run/docker.sock`.
    fn name(&self) -> &str;

    /// Returns the maximum number of concurrent builds.
    fn capacity(&self) -> usize {
        usize::MAX
    }

    /// Builds one job and emits its events. The image is exported once `dependencies` allow it; the
    /// build itself starts at once.
    ///
    /// Dropping the future stops the build on the engine.
    fn build(
        &self,
        job: &BuildJob,
        events: &Events,
        dependencies: JobDependencies,
    ) -> impl Future<Output = Result<BuiltImage, Box<Failure>>> + Send;
}
