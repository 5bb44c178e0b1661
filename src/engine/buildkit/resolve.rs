//! Looks up the digests of upstream images through the engine that builds on them: its mirrors,
//! credentials and policies decide what it pulls, and clients cannot see them all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use futures_util::StreamExt as _;
use futures_util::stream;
use tonic::Status;

use super::export::Exporter;
use super::gateway::Gateway;
use super::retry::Attempts;
use super::session::{Offer, Session};
use super::text::one_line_name;
use super::{ConnectedEngine, solve};
use crate::engine::EngineError;
use crate::image::{Digest, Platform, Reference};
use crate::registry::{Credentials, RetryPolicy};

/// How many images are looked up at a time.
const MAX_LOOKUPS: usize = 16;

impl ConnectedEngine {
    /// Looks up the digests of `images` as the engine would pull them, in their order. The digest
    /// is that of the image index where there is one. Each image comes with the platforms that it
    /// is needed for.
    pub async fn resolve(
        &self,
        images: &BTreeMap<Reference, BTreeSet<Platform>>,
        credentials: &Arc<Credentials>,
        retry: RetryPolicy,
    ) -> Vec<Result<Digest, EngineError>> {
        let answers = match self.lookups(images, credentials, retry).await {
            Ok(answers) => answers,
            Err(status) => vec![Err(status); images.len()],
        };
        let answers = images.keys().zip(answers).map(|(image, answer)| {
            let problem = |problem| EngineError::Resolve { image: image.clone(), problem };
            let digest = answer.map_err(|status| problem(one_line_name(status.message())))?;
            digest.parse().map_err(|_| problem("the engine returned no digest".to_owned()))
        });
        answers.collect()
    }

    /// Opens one build for all images, in which nothing is built.
    async fn lookups(
        &self,
        images: &BTreeMap<Reference, BTreeSet<Platform>>,
        credentials: &Arc<Credentials>,
        retry: RetryPolicy,
    ) -> Result<Vec<Result<String, Status>>, Status> {
        let channel = &self.0.channel;
        let offer = Offer {
            secrets: Arc::default(),
            credentials: Arc::clone(credentials),
            uploads: HashMap::new(),
            layout: None,
        };
        let session = Session::open(channel.clone(), offer).await?;
        let request = solve::request(&session, HashMap::new(), Exporter::none());
        let gateway = Gateway::new(channel.clone(), &request.r#ref);
        let lookups = images.iter().map(|image| lookup(&gateway, image, retry));
        let lookups = stream::iter(lookups).buffered(MAX_LOOKUPS).collect();
        let mut control = ControlClient::new(channel.clone());
        // The build is open until its future is dropped.
        tokio::select! {
            answers = lookups => Ok(answers),
            ended = control.solve(request) => match ended {
                Ok(_) => Err(Status::aborted("the engine has ended the build")),
                Err(status) => Err(status),
            },
        }
    }
}

/// Looks up one image. One that the engine cannot look up for one platform may be there for
/// another: a frontend runs on the engine's own, and `FROM --platform=` names any.
async fn lookup(
    gateway: &Gateway,
    (image, platforms): (&Reference, &BTreeSet<Platform>),
    retry: RetryPolicy,
) -> Result<String, Status> {
    let mut first = None;
    for platform in platforms.iter().map(Some).chain([None]) {
        match attempt(gateway, image, platform, retry).await {
            Err(status) if lacks_platform(status.message()) => drop(first.get_or_insert(status)),
            answer => return answer,
        }
    }
    Err(first.unwrap_or_else(|| Status::not_found("no platform")))
}

async fn attempt(
    gateway: &Gateway,
    image: &Reference,
    platform: Option<&Platform>,
    retry: RetryPolicy,
) -> Result<String, Status> {
    let mut attempts = Attempts::new(retry);
    loop {
        let status = match gateway.resolve(image, platform).await {
            Ok(digest) => return Ok(digest),
            Err(status) => status,
        };
        let Some(wait) = attempts.after(status.message()) else { return Err(status) };
        tokio::time::sleep(wait).await;
    }
}

fn lacks_platform(message: &str) -> bool {
    message.contains("no match for platform")
}
