//! Runs one build: the solve call, the stream of status messages, and the gateway that steers it.

use std::collections::HashMap;
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bollard_buildkit_proto::moby::buildkit::v1::{
    CacheOptions, SolveRequest, SolveResponse, StatusRequest, StatusResponse,
};
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

/// Runs the build of `request`, which `steer` controls through the gateway, and reports to `progress`.
///
/// Dropping the future stops the build on the engine.
pub(super) async fn solve<F: Future<Output = Result<(), Status>>>(
    channel: Channel,
    request: SolveRequest,
    progress: &mut Progress,
    steer: impl FnOnce(Gateway) -> F,
) -> Result<SolveResponse, Status> {
    let steering = steer(Gateway::new(channel.clone(), &request.r#ref));
    let mut control = ControlClient::new(channel).max_decoding_message_size(super::MAX_MESSAGE);
    let mut updates =
        StatusStream::Waiting(Box::pin(status(control.clone(), request.r#ref.clone())));
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
                Some(response) = updates.next(), if !updates.has_ended() => progress.update(&response),
            }
        }
    };
    while let Ok(Some(response)) = tokio::time::timeout(LAST_STATUS, updates.next()).await {
        progress.update(&response);
    }
    progress.finish();
    answer.map(tonic::Response::into_inner)
}

async fn status(
    mut control: ControlClient<Channel>,
    build: String,
) -> Result<Streaming<StatusResponse>, Status> {
    let request = StatusRequest { r#ref: build };
    Ok(control.status(request).await?.into_inner())
}

/// The stream of status messages, which the engine opens shortly after the build.
enum StatusStream<F> {
    Waiting(std::pin::Pin<Box<F>>),
    Open(Box<Streaming<StatusResponse>>),
    /// The stream has ended, perhaps with an error. The solve call returns its cause.
    Ended,
}

impl<F: Future<Output = Result<Streaming<StatusResponse>, Status>>> StatusStream<F> {
    fn has_ended(&self) -> bool {
        matches!(self, Self::Ended)
    }

    async fn next(&mut self) -> Option<StatusResponse> {
        loop {
            match self {
                Self::Waiting(opening) => {
                    let opened = opening.await;
                    *self = opened.map_or(Self::Ended, |stream| Self::Open(Box::new(stream)));
                }
                Self::Open(stream) => match stream.message().await {
                    Ok(Some(response)) => return Some(response),
                    Ok(None) | Err(_) => *self = Self::Ended,
                },
                Self::Ended => return None,
            }
        }
    }
}
