//! Looks up the digests of upstream images through the engine. Its mirrors, credentials and policies
//! determine which images it pulls, and a client cannot see them all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use futures_util::StreamExt as _;
use futures_util::stream;
use tonic::Status;

use super::export::Exporter;
use super::gateway::Gateway;
use super::retry::{Attempts, is_network_fault};
use super::session::{Offer, Session};
use super::text::one_line_name;
use super::{ConnectedEngine, solve};
use crate::engine::EngineError;
use crate::image::{Digest, Platform, Reference};
use crate::registry::{Credentials, RetryPolicy};

/// The maximum number of concurrent lookups.
const MAX_LOOKUPS: usize = 16;

impl ConnectedEngine {
    /// Looks up the digests of `images` as the engine would pull them, and returns them in order. Each
    /// image has the platforms for which it is needed. The digest is that of the index, if there is one.
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

    /// Looks up all images in one open build.
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
                Ok(_) => Err(Status::aborted("the engine ended the build")),
                Err(status) => Err(status),
            },
        }
    }
}

/// Looks up one image, for each platform in turn. The image may exist for only some of them: a frontend
/// runs on the engine's own platform, and `FROM --platform=` may name any.
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
        let retry = is_network_fault(status.message()).then(|| attempts.next_wait());
        let Some(wait) = retry.flatten() else { return Err(status) };
        tokio::time::sleep(wait).await;
    }
}

fn lacks_platform(message: &str) -> bool {
    message.contains("no match for platform")
}

#[cfg(test)]
mod tests {
    use bollard_buildkit_proto::moby::buildkit::v1::frontend::{
        ResolveImageConfigRequest, ResolveImageConfigResponse, ResolveSourceImageResponse,
        ResolveSourceMetaRequest, ResolveSourceMetaResponse,
    };
    use bytes::{BufMut as _, Bytes, BytesMut};
    use http_body_util::combinators::BoxBody;
    use http_body_util::{BodyExt, Empty, StreamBody};
    use hyper::body::{Frame, Incoming};
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use prost::Message;
    use tokio::net::UnixListener;

    use super::super::export::Abilities;
    use super::super::{Connected, transport};
    use super::*;
    use crate::engine::EngineAddress;
    use crate::error::one_line;

    type GrpcResponse = http::Response<BoxBody<Bytes, std::convert::Infallible>>;

    /// Returns a response with one message.
    fn message(message: &impl Message) -> GrpcResponse {
        let mut body = BytesMut::new();
        body.put_u8(0);
        body.put_u32(u32::try_from(message.encoded_len()).expect("a short message"));
        message.encode(&mut body).expect("memory");
        let trailers = http::HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            http::HeaderValue::from_static("0"),
        )]);
        let frames = [Frame::data(body.freeze()), Frame::trailers(trailers)];
        let frames = stream::iter(frames.map(Ok));
        response(None).body(BodyExt::boxed(StreamBody::new(frames))).expect("a response")
    }

    fn response(status: Option<(u32, &str)>) -> http::response::Builder {
        let response = http::Response::builder().header("content-type", "application/grpc");
        match status {
            Some((code, message)) => {
                response.header("grpc-status", code).header("grpc-message", message)
            }
            None => response,
        }
    }

    fn refusal(code: u32, message: &str) -> GrpcResponse {
        response(Some((code, message))).body(Empty::new().boxed()).expect("a response")
    }

    fn request<T: Message + Default>(body: &Bytes) -> T {
        T::decode(&body[5..]).expect("a message")
    }

    /// Returns the response of the engine to a call of `path`. All images are for amd64, and the first lookup of `busy:1` fails.
    fn respond(is_old: bool, path: &str, body: &Bytes, calls: usize) -> GrpcResponse {
        let is_arm =
            |architecture: Option<String>| architecture.is_some_and(|name| name == "arm64");
        let digest = |image: &str| match image {
            "docker.io/library/gone:1" => {
                Err(Box::new(refusal(5, "docker.io/library/gone:1: not found")))
            }
            "docker.io/library/busy:1" if calls == 0 => Err(Box::new(refusal(2, "unexpected EOF"))),
            image => Ok(Digest::of(image.as_bytes()).to_string()),
        };
        let no_platform = || refusal(5, "no match for platform in manifest");
        match path {
            "/moby.buildkit.v1.frontend.LLBBridge/ResolveSourceMeta" if !is_old => {
                let lookup: ResolveSourceMetaRequest = request(body);
                assert_eq!(lookup.resolve_mode, "pull");
                if is_arm(lookup.platform.map(|platform| platform.architecture)) {
                    return no_platform();
                }
                let source = lookup.source.unwrap_or_default().identifier;
                let digest = digest(source.strip_prefix("docker-image://").expect("an image"));
                digest.map_or_else(
                    |refusal| *refusal,
                    |digest| {
                        let image = ResolveSourceImageResponse { digest, ..Default::default() };
                        message(&ResolveSourceMetaResponse {
                            image: Some(image),
                            ..Default::default()
                        })
                    },
                )
            }
            "/moby.buildkit.v1.frontend.LLBBridge/ResolveImageConfig" => {
                let lookup: ResolveImageConfigRequest = request(body);
                assert_eq!(lookup.resolve_mode, "pull");
                if is_arm(lookup.platform.map(|platform| platform.architecture)) {
                    return no_platform();
                }
                digest(&lookup.r#ref).map_or_else(
                    |refusal| *refusal,
                    |digest| message(&ResolveImageConfigResponse { digest, ..Default::default() }),
                )
            }
            path => refusal(12, &format!("unknown method {path}")),
        }
    }

    /// Starts an engine that responds like BuildKit 0.26, or like 0.11 if it `is_old`.
    async fn engine(folder: &std::path::Path, is_old: bool) -> ConnectedEngine {
        let path = folder.join("buildkitd.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let busy_calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let busy_calls = Arc::clone(&busy_calls);
                let service = service_fn(move |request: http::Request<Incoming>| {
                    let busy_calls = Arc::clone(&busy_calls);
                    async move {
                        let path = request.uri().path().to_owned();
                        if path.ends_with("/Session") {
                            let open = StreamBody::new(stream::pending());
                            return response(None).body(BodyExt::boxed(open));
                        }
                        let body = request.into_body().collect().await.expect("a body").to_bytes();
                        if path.ends_with("/Solve") {
                            std::future::pending::<()>().await;
                        }
                        let is_busy = body.windows(6).any(|window| window == b"busy:1");
                        let is_known = !(is_old && path.ends_with("SourceMeta"));
                        let calls = if is_busy && is_known {
                            busy_calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst)
                        } else {
                            0
                        };
                        Ok::<_, http::Error>(respond(is_old, &path, &body, calls))
                    }
                });
                let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        let address = EngineAddress::buildkit(&format!("unix://{}", path.display()), None);
        let channel = transport::connect(&address.expect("an address")).await.expect("a channel");
        ConnectedEngine(Arc::new(Connected {
            name: "BuildKit".to_owned(),
            platforms: Vec::new(),
            mirrors: Vec::new(),
            abilities: Abilities { graph_driver: false, is_docker: false },
            docker: None,
            channel,
        }))
    }

    #[tokio::test]
    async fn old_and_new_engines_resolve_images_in_the_same_way() {
        for is_old in [false, true] {
            let folder = tempfile::tempdir().expect("a folder");
            let engine = engine(folder.path(), is_old).await;
            let images = [
                ("busy:1", &["linux/amd64"][..]),
                ("gone:1", &["linux/amd64"]),
                ("none:1", &["linux/arm64"]),
                ("python:3.11", &["linux/amd64", "linux/arm64"]),
            ];
            let images = images.map(|(name, needed)| {
                let image = format!("docker.io/library/{name}").parse().expect(name);
                (image, needed.iter().map(|name| name.parse().expect(name)).collect())
            });
            let retry =
                RetryPolicy { first_wait: std::time::Duration::ZERO, ..RetryPolicy::default() };
            let credentials = Arc::new(Credentials::anonymous());
            let results = engine.resolve(&images.into(), &credentials, retry).await;
            let results = results.iter().map(|result| match result {
                Ok(digest) => digest.to_string(),
                Err(error) => one_line(error),
            });
            let digest_of = |image: &str| Digest::of(image.as_bytes()).to_string();
            assert_eq!(
                results.collect::<Vec<_>>(),
                [
                    digest_of("docker.io/library/busy:1"),
                    "failed to resolve `gone:1`: docker.io/library/gone:1: not found".to_owned(),
                    // The image exists for the platform of the engine.
                    digest_of("docker.io/library/none:1"),
                    digest_of("docker.io/library/python:3.11"),
                ],
                "{is_old}"
            );
        }
    }
}
