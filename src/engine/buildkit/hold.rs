//! Holding what steps have made, beyond the build that ran them.

use std::sync::Arc;

use bollard_buildkit_proto::moby::buildkit::v1::SolveRequest;
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;

use super::MAX_HOLDS;
use super::gateway::{DockerfileRequest, Gateway};
use super::session::Session;

/// The room for the holds of a run.
pub(super) struct Holds(Arc<Semaphore>);

/// A build that stays open, without an end of its own, until this is dropped.
pub(super) struct Hold {
    _build: AbortOnDropHandle<()>,
    /// Whoever joins a step is asked for credentials through any session that has it; the engine
    /// waits for one that has ended.
    _session: Arc<Session>,
    _room: OwnedSemaphorePermit,
}

impl Default for Holds {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_HOLDS)))
    }
}

impl Holds {
    /// Opens `build` and solves `image` in it as another open build has done, so that nothing
    /// runs. `None` where there is no room, the engine does not open it, or the image cannot be
    /// made: what has failed would be held too, and fail all who share it without being tried
    /// again. Then steps may run twice.
    pub(super) async fn open(
        &self,
        channel: &Channel,
        session: &Arc<Session>,
        build: SolveRequest,
        image: &DockerfileRequest,
    ) -> Option<Hold> {
        let room = Arc::clone(&self.0).try_acquire_owned().ok()?;
        let gateway = Gateway::new(channel.clone(), &build.r#ref);
        let mut control = ControlClient::new(channel.clone());
        let mut build = AbortOnDropHandle::new(tokio::spawn(async move {
            let _ = control.solve(build).await;
        }));
        let solved = tokio::select! {
            solved = gateway.solve(image) => solved.is_ok(),
            _ = &mut build => false,
        };
        let held = Hold { _build: build, _session: Arc::clone(session), _room: room };
        solved.then_some(held)
    }
}
