//! Holding what steps have made, beyond the build that ran them.

use std::sync::Arc;

use bollard_buildkit_proto::moby::buildkit::v1::SolveRequest;
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;

use super::MAX_HOLDS;
use super::gateway::{DockerfileRequest, Gateway};

/// The room for holds on one connection.
pub(super) struct Holds(Arc<Semaphore>);

/// A build that stays open, without an end of its own, until this is dropped.
pub(super) struct Hold {
    _build: AbortOnDropHandle<()>,
    _room: OwnedSemaphorePermit,
}

impl Default for Holds {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_HOLDS)))
    }
}

impl Holds {
    /// Opens `build` and solves all of `wanted` in it, which another open build has solved, so
    /// that nothing runs. `None` where there is no room, or the engine does not do it: then steps
    /// may run twice.
    pub(super) async fn open(
        &self,
        channel: &Channel,
        build: SolveRequest,
        wanted: Vec<DockerfileRequest>,
    ) -> Option<Hold> {
        let room = Arc::clone(&self.0).try_acquire_owned().ok()?;
        let mut gateway = Gateway::new(channel.clone(), &build.r#ref);
        let mut control = ControlClient::new(channel.clone());
        let mut build = AbortOnDropHandle::new(tokio::spawn(async move {
            let _ = control.solve(build).await;
        }));
        let solving = async {
            for image in wanted {
                gateway.solve(&image).await.ok()?;
            }
            Some(())
        };
        tokio::select! {
            solved = solving => solved?,
            _ = &mut build => return None,
        }
        Some(Hold { _build: build, _room: room })
    }
}
