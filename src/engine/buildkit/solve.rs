//! Runs one build: the solve call, the stream of status messages, and the gateway that steers it.

use std::collections::HashMap;
use std::future::ready;
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bollard_buildkit_proto::moby::buildkit::v1::{
    CacheOptions, SolveRequest, SolveResponse, StatusRequest, StatusResponse, Vertex,
};
use futures_util::{StreamExt as _, TryFutureExt as _};
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::export::Exporter;
use super::gateway::Gateway;
use super::progress::Progress;
use super::session::Session;

/// The time for the last status messages after the end of a build. For a build that it refuses, an engine
/// sends none and waits for six seconds.
const LAST_STATUS: Duration = Duration::from_millis(500);

/// Returns the request for a build that is steered through a gateway and ends with `exporter`.
pub(super) fn request(
    session: &Session,
    attributes: HashMap<String, String>,
    exporter: Exporter,
) -> SolveRequest {
    SolveRequest {
        r#ref: super::random_id(),
        session: session.id().to_owned(),
        frontend_attrs: attributes,
        // Engines before Docker 26 do not know the list of exporters. All know this field.
        exporter_deprecated: exporter.kind.to_owned(),
        exporter_attrs_deprecated: exporter.attributes,
        // BuildKit before 0.12 requires the field.
        cache: Some(CacheOptions::default()),
        // Excludes the build from the engine's history. Writing the history took a quarter of the time of
        // a small build, and fails the build after 20 seconds if the disk is busy.
        internal: true,
        ..SolveRequest::default()
    }
}

/// Runs the build of `request`, which `steer` controls through the gateway, and reports to `progress`. `steer` also
/// receives the digests of operations that have run.
///
/// Dropping the future stops the build on the engine.
pub(super) async fn solve<F: Future<Output = Result<(), Status>>>(
    channel: Channel,
    request: SolveRequest,
    progress: &mut Progress,
    steer: impl FnOnce(Gateway, mpsc::UnboundedReceiver<String>) -> F,
) -> Result<SolveResponse, Status> {
    let (ended, receiver) = mpsc::unbounded_channel();
    let steering = steer(Gateway::new(channel.clone(), &request.r#ref), receiver);
    let mut control = ControlClient::new(channel).max_decoding_message_size(super::MAX_MESSAGE);
    // An error ends the stream. The solve call returns its cause.
    let updates = status(control.clone(), request.r#ref.clone())
        .try_flatten_stream()
        .take_while(|update| ready(update.is_ok()))
        .fuse();
    tokio::pin!(updates);
    let answer = {
        let build = control.solve(request);
        tokio::pin!(build, steering);
        let mut steered = false;
        loop {
            tokio::select! {
                answer = &mut build => break answer,
                end = &mut steering, if !steered => match end {
                    Ok(()) => steered = true,
                    Err(status) => break Err(status),
                },
                Some(Ok(update)) = updates.next() => {
                    progress.update(&update);
                    for vertex in update.vertexes.into_iter().filter(has_run) {
                        // The receiver may not be interested.
                        let _ = ended.send(vertex.digest);
                    }
                }
            }
        }
    };
    while let Ok(Some(Ok(update))) = tokio::time::timeout(LAST_STATUS, updates.next()).await {
        progress.update(&update);
    }
    progress.finish();
    answer.map(tonic::Response::into_inner)
}

/// Returns true if the operation of `vertex` has run and ended without an error.
fn has_run(vertex: &Vertex) -> bool {
    vertex.completed.is_some() && !vertex.cached && vertex.error.is_empty()
}

async fn status(
    mut control: ControlClient<Channel>,
    build: String,
) -> Result<Streaming<StatusResponse>, Status> {
    let request = StatusRequest { r#ref: build };
    Ok(control.status(request).await?.into_inner())
}
