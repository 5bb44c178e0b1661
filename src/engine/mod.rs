//! Building: the engine's door, what goes in and what comes out.

mod address;
mod buildkit;
mod dependencies;
mod discover;
mod docker;
mod docker_context;
mod error;
mod job;
mod scheduler;
mod shared_steps;

use std::future::Future;

pub use address::{Endpoint, EngineAddress, EngineKind, TlsFiles};
pub use buildkit::{BuildKitEngine, BuildOptions, ConnectedEngine};
pub use dependencies::JobDependencies;
pub use discover::{EngineEnvironment, EngineRequest};
pub use docker::StoredImage;
pub use error::EngineError;
pub use job::{BuildJob, BuiltImage, Destination, Secret};
pub use scheduler::{OnFailure, Outcome, RunRequest, run};

use crate::event::{Events, Failure};

/// Something that builds images and takes them where they should be.
pub trait Engine: Send + Sync + 'static {
    /// What it is, for people: `Docker Engine 26.1.5 at unix:///var/run/docker.sock`.
    fn name(&self) -> &str;

    /// How many builds it can be given at a time.
    fn capacity(&self) -> usize {
        usize::MAX
    }

    /// Builds one job, and tells its steps to `events` as they happen. The image is handed on
    /// when its `dependencies` let it have its turn; the build need not wait for that.
    ///
    /// Dropping the future stops the build on the engine.
    fn build(
        &self,
        job: &BuildJob,
        events: &Events,
        dependencies: JobDependencies,
    ) -> impl Future<Output = Result<BuiltImage, Box<Failure>>> + Send;
}
