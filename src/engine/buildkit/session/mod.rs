//! Serves secrets, registry credentials, contexts and exported blobs to the engine.
//!
//! A [`Session`] is a second gRPC connection inside a stream of the first one. In it, this process is the
//! server.

mod content;
mod io;
mod services;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bollard_buildkit_proto::health::health_server::HealthServer;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::SecretsServer;
use bollard_buildkit_proto::moby::buildkit::v1::BytesMessage;
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bollard_buildkit_proto::moby::filesync::v1::auth_server::AuthServer;
use bollard_buildkit_proto::moby::upload::v1::upload_server::UploadServer;
use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Status};

use self::content::ContentServer;
use self::io::SessionIo;
use self::services::{Auth, Health, Secrets, Upload, Uploads};
use super::layout::OciLayout;
use crate::engine::Secret;
use crate::registry::Credentials;

/// The number of buffered messages to the engine.
const OUTGOING: usize = 16;
/// The flow control window of a stream, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;

/// The content that a session serves.
#[derive(Clone)]
pub(super) struct Offer {
    pub(super) secrets: Arc<[Secret]>,
    pub(super) credentials: Arc<Credentials>,
    /// Archives, by the id in their URL.
    pub(super) uploads: HashMap<String, Bytes>,
    /// The destination of exported blobs.
    pub(super) layout: Option<Arc<OciLayout>>,
}

/// An open session. It ends when this value is dropped.
pub(super) struct Session {
    id: String,
    uploads: Uploads,
    _server: AbortOnDropHandle<()>,
}

impl Session {
    /// Opens a session with the engine behind `channel`.
    pub(super) async fn open(channel: Channel, mut offer: Offer) -> Result<Self, Status> {
        let id = super::random_id();
        let (sender, receiver) = mpsc::channel::<BytesMessage>(OUTGOING);
        let mut request = Request::new(ReceiverStream::new(receiver));
        let metadata = request.metadata_mut();
        metadata.insert("x-docker-expose-session-uuid", ascii(&id)?);
        metadata.insert("x-docker-expose-session-name", ascii("basegen")?);
        for method in methods(offer.layout.is_some()) {
            metadata.append("x-docker-expose-session-grpc-method", ascii(method)?);
        }
        let incoming = ControlClient::new(channel)
            .max_decoding_message_size(super::MAX_MESSAGE)
            .session(request)
            .await?
            .into_inner();
        let io = TokioIo::new(SessionIo::new(incoming, sender));
        let uploads = Arc::new(Mutex::new(std::mem::take(&mut offer.uploads)));
        let service = TowerToHyperService::new(routes(offer, Arc::clone(&uploads)));
        let server = async move {
            // The build reports all faults, so the end of the session is ignored.
            let _ended = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(4 * STREAM_WINDOW)
                .serve_connection(io, service)
                .await;
        };
        Ok(Self { id, uploads, _server: AbortOnDropHandle::new(tokio::spawn(server)) })
    }

    /// Drops the archives after the engine has fetched them. The session may stay open for long.
    pub(super) fn end_uploads(&self) {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

fn ascii(text: &str) -> Result<MetadataValue<Ascii>, Status> {
    text.parse().map_err(|_| Status::internal("session metadata is not ASCII"))
}

/// Returns the methods that the session announces. The engine calls no others.
fn methods(exports: bool) -> impl Iterator<Item = &'static str> {
    let always = [
        "/grpc.health.v1.Health/Check",
        "/moby.filesync.v1.Auth/Credentials",
        "/moby.buildkit.secrets.v1.Secrets/GetSecret",
        "/moby.upload.v1.Upload/Pull",
    ];
    let content = content::METHODS.iter().copied().filter(move |_| exports);
    always.into_iter().chain(content)
}

fn routes(offer: Offer, uploads: Uploads) -> Routes {
    let routes = Routes::new(HealthServer::new(Health))
        .add_service(SecretsServer::new(Secrets(offer.secrets)))
        .add_service(AuthServer::new(Auth(offer.credentials)))
        .add_service(UploadServer::new(Upload(uploads)));
    match offer.layout {
        Some(layout) => routes.add_service(ContentServer(layout)),
        None => routes,
    }
}
