//! Keeps the results of steps alive in the engine after the build that ran them.
//!
//! `BuildKit` does not find a new step in its cache while another open build still uses one of its
//! inputs for the first time. A [`BuildLease`] is a second, open build of the same image: other builds
//! join its steps until the lease is dropped.

use std::sync::Arc;

use bollard_buildkit_proto::moby::buildkit::v1::SolveRequest;
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;

use super::MAX_LEASES;
use super::gateway::{DockerfileRequest, Gateway};
use super::session::Session;

/// Opens leases, at most [`MAX_LEASES`] at a time.
pub(super) struct LeasePool(Arc<Semaphore>);

/// A build that stays open until this value is dropped.
pub(super) struct BuildLease {
    _build: AbortOnDropHandle<()>,
    /// The engine may ask any session of a shared step for credentials, and waits for one that has
    /// ended.
    _session: Arc<Session>,
    _permit: OwnedSemaphorePermit,
}

impl Default for LeasePool {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_LEASES)))
    }
}

impl LeasePool {
    /// Opens `build` and solves `image` in it. All steps have run in another open build, so none
    /// runs again.
    ///
    /// Returns `None` if the pool is exhausted, the engine refuses the build, or the image fails:
    /// a kept failure would fail every build that shares the step, without a new attempt. Without a
    /// lease, steps may run twice.
    pub(super) async fn open(
        &self,
        channel: &Channel,
        session: &Arc<Session>,
        build: SolveRequest,
        image: &DockerfileRequest,
    ) -> Option<BuildLease> {
        let permit = Arc::clone(&self.0).try_acquire_owned().ok()?;
        let gateway = Gateway::new(channel.clone(), &build.r#ref);
        let mut control = ControlClient::new(channel.clone());
        let mut build = AbortOnDropHandle::new(tokio::spawn(async move {
            let _ = control.solve(build).await;
        }));
        let is_solved = tokio::select! {
            solved = gateway.solve(image) => solved.is_ok(),
            _ = &mut build => false,
        };
        let lease = BuildLease { _build: build, _session: Arc::clone(session), _permit: permit };
        is_solved.then_some(lease)
    }
}
