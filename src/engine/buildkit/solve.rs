//! One build: the call that runs it, the one that tells how it goes, and the gateway that leads it.

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

/// How long the last news may take once the build is over. An engine that refuses a build
/// outright never has news of it, and would let us wait for six seconds.
const LAST_NEWS: Duration = Duration::from_millis(500);

/// A build without a frontend: it is led through its gateway, and ends with `exporter`.
pub(super) fn request(
    session: &Session,
    attributes: HashMap<String, String>,
    exporter: Exporter,
) -> SolveRequest {
    SolveRequest {
        r#ref: super::random_id(),
        session: session.id().to_owned(),
        frontend_attrs: attributes,
        // The newer list of exporters is unknown to engines before Docker 26; with one exporter
        // the older field means the same everywhere.
        exporter_deprecated: exporter.kind.to_owned(),
        exporter_attrs_deprecated: exporter.attributes,
        // BuildKit before 0.12 does not expect it to be missing.
        cache: Some(CacheOptions::default()),
        // Not for the engine's history of builds: writing that took a quarter of the time of a
        // small build, and an engine whose disk is busy gives up over it after 20 seconds and
        // fails the build. The run's own logs say more.
        internal: true,
        ..SolveRequest::default()
    }
}

/// Opens the build of `request` and runs it to its end, as `steer` says through its gateway;
/// tells `progress` meanwhile.
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
    let mut news = News::Waiting(Box::pin(status(control.clone(), request.r#ref.clone())));
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
                Some(response) = news.next(), if !news.is_over() => progress.update(&response),
            }
        }
    };
    while let Ok(Some(response)) = tokio::time::timeout(LAST_NEWS, news.next()).await {
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

/// The news of a build, which the engine begins to tell a little after the build began.
enum News<F> {
    Waiting(std::pin::Pin<Box<F>>),
    Open(Box<Streaming<StatusResponse>>),
    /// The stream is over. Its faults are left to the build's own answer, which has the cause.
    Over,
}

impl<F: Future<Output = Result<Streaming<StatusResponse>, Status>>> News<F> {
    fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    async fn next(&mut self) -> Option<StatusResponse> {
        loop {
            match self {
                Self::Waiting(opening) => {
                    let opened = opening.await;
                    *self = opened.map_or(Self::Over, |stream| Self::Open(Box::new(stream)));
                }
                Self::Open(stream) => match stream.message().await {
                    Ok(Some(response)) => return Some(response),
                    Ok(None) | Err(_) => *self = Self::Over,
                },
                Self::Over => return None,
            }
        }
    }
}
