//! A registry in this process: it really stores blobs, manifests and tags, asks who one is, and
//! fails where a test tells it to.

mod access;
mod api;
mod faults;
mod store;
mod vendor;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use basegen::image::{Digest, Repository};
use bytes::Bytes;
use glob::Pattern;
use http::{Method, Request, Response};
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub use access::{Access, Account};
pub use faults::{Fault, FaultHandle, Rule};
use store::Store;
pub use vendor::Vendor;

/// The body of an answer.
type Body = BoxBody<Bytes, io::Error>;

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub query: String,
    /// The value of `Authorization`, as it came.
    pub authorization: Option<String>,
    /// The value of `Proxy-Authorization`, as it came.
    pub proxy_authorization: Option<String>,
    /// The value of `Content-Range`.
    pub content_range: Option<String>,
    /// The value of `User-Agent`.
    pub user_agent: Option<String>,
}

/// What the connections share.
struct Shared {
    /// `http://127.0.0.1:1234`
    origin: String,
    access: Mutex<access::Accounts>,
    vendor: Mutex<Vendor>,
    store: Mutex<Store>,
    faults: faults::Table,
    seen: Mutex<Vec<Seen>>,
    uploaded: Mutex<u64>,
}

/// A registry on a free port of this machine. It ends with this value.
pub struct FakeRegistry {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl FakeRegistry {
    /// One that lets everybody do everything.
    pub async fn start() -> Self {
        Self::start_with(Access::Open).await
    }

    /// One that asks who one is.
    pub async fn start_with(access: Access) -> Self {
        Self::serve(access, None).await
    }

    /// One that speaks TLS with this certificate.
    pub async fn start_tls(config: rustls::ServerConfig) -> Self {
        Self::serve(Access::Open, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn serve(access: Access, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared {
            origin: format!("{scheme}://{address}"),
            access: Mutex::new(access::Accounts::new(access)),
            vendor: Mutex::default(),
            store: Mutex::default(),
            faults: faults::Table::default(),
            seen: Mutex::default(),
            uploaded: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, tls, Arc::clone(&shared)));
        Self { shared, address, accepting }
    }

    /// `127.0.0.1:port`
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:port`
    pub fn origin(&self) -> &str {
        &self.shared.origin
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// A repository of this registry.
    pub fn repository(&self, path: &str) -> Repository {
        Repository::new(&self.host(), path).expect("a repository")
    }

    /// Makes requests fail from now on; the first rule that matches and is not used up counts.
    pub fn fail(&self, rule: Rule) -> FaultHandle {
        self.shared.faults.add(rule)
    }

    /// Forgets all rules.
    pub fn mend(&self) {
        self.shared.faults.clear();
    }

    /// Every request since the last [`Self::forget`], in order.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// How many requests there were of a method (`*` for all) whose path matches a glob.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let path = Pattern::new(path).expect("a glob");
        let is_meant =
            |seen: &&Seen| (method == "*" || seen.method == method) && path.matches(&seen.path);
        lock(&self.shared.seen).iter().filter(is_meant).count()
    }

    /// How many bytes of blobs arrived since the last [`Self::forget`].
    pub fn uploaded_bytes(&self) -> u64 {
        *lock(&self.shared.uploaded)
    }

    /// Counts from nothing again.
    pub fn forget(&self) {
        lock(&self.shared.seen).clear();
        *lock(&self.shared.uploaded) = 0;
    }

    /// Takes every token back.
    pub fn revoke_tokens(&self) {
        lock(&self.shared.access).revoke();
    }

    /// Changes who may do what, from now on.
    pub fn set_access(&self, access: Access) {
        *lock(&self.shared.access) = access::Accounts::new(access);
    }

    /// Makes it deviate from the specification as the registry of `vendor` does.
    pub fn behave_as(&self, vendor: Vendor) {
        *lock(&self.shared.vendor) = vendor;
    }

    /// Whether tags may name something else later on.
    pub fn set_immutable_tags(&self, immutable: bool) {
        lock(&self.shared.store).immutable_tags = immutable;
    }

    /// Creates a repository without any request, as one does by hand at ECR.
    pub fn create_repository(&self, path: &str) {
        lock(&self.shared.store).repository(path);
    }

    /// Puts a blob there without any request.
    pub fn add_blob(&self, path: &str, bytes: impl Into<Bytes>) -> Digest {
        lock(&self.shared.store).add_blob(path, bytes.into())
    }

    /// Puts a manifest there without any request.
    pub fn add_manifest(&self, path: &str, tag: &str, media_type: &str, bytes: impl Into<Bytes>) {
        let mut store = lock(&self.shared.store);
        let digest = store.add_manifest(path, media_type, bytes.into());
        store.tag(path, tag, digest);
    }

    /// Puts an image without layers there, with this configuration.
    pub fn add_image(&self, path: &str, tag: &str, config: &serde_json::Value) -> Digest {
        let config = self.add_blob(path, config.to_string());
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config,
                "size": 1,
            },
            "layers": [],
        });
        let manifest = manifest.to_string();
        self.add_manifest(path, tag, media_type, manifest.clone());
        Digest::of(manifest.as_bytes())
    }

    /// Removes a blob without any request.
    pub fn remove_blob(&self, path: &str, digest: &Digest) {
        lock(&self.shared.store).repository(path).blobs.remove(digest);
    }

    /// Begins an upload without any request, and tells its URL.
    pub fn begin_upload(&self, path: &str) -> String {
        let id = lock(&self.shared.store).begin(path);
        format!("{}{}", self.origin(), api::session_path(path, &id))
    }

    /// What a blob holds.
    pub fn blob(&self, path: &str, digest: &Digest) -> Option<Bytes> {
        lock(&self.shared.store).of(path).blobs.get(digest).cloned()
    }

    /// The blobs of a repository with their sizes.
    pub fn blobs(&self, path: &str) -> Vec<(Digest, u64)> {
        let mut store = lock(&self.shared.store);
        let blobs = store.repository(path).blobs.iter();
        blobs.map(|(digest, bytes)| (digest.clone(), bytes.len() as u64)).collect()
    }

    /// What each tag of a repository names.
    pub fn tags(&self, path: &str) -> Vec<(String, Digest)> {
        let store = lock(&self.shared.store);
        let tags = store.of(path).tags.iter();
        tags.map(|(tag, digest)| (tag.clone(), digest.clone())).collect()
    }

    /// What a tag names.
    pub fn tag(&self, path: &str, tag: &str) -> Option<Digest> {
        self.tags(path).into_iter().find_map(|(name, digest)| (name == tag).then_some(digest))
    }

    /// Takes a tag away without any request; what it named stays.
    pub fn remove_tag(&self, path: &str, tag: &str) {
        lock(&self.shared.store).repository(path).tags.remove(tag);
    }

    /// The manifest that a tag or a digest names.
    pub fn manifest(&self, path: &str, reference: &str) -> Option<Bytes> {
        let store = lock(&self.shared.store);
        let repository = store.of(path);
        let digest = repository.resolve(reference)?;
        repository.manifests.get(&digest).map(|(_, bytes)| bytes.clone())
    }

    /// The manifests of a repository.
    pub fn manifests(&self, path: &str) -> Vec<Digest> {
        lock(&self.shared.store).of(path).manifests.keys().cloned().collect()
    }

    /// Uploads that were begun and neither finished nor cancelled.
    pub fn open_uploads(&self) -> usize {
        lock(&self.shared.store).uploads.len()
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // The connections end with the registry, as they do when a process is killed.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        connections.spawn(async move {
            match tls {
                None => connection(stream, shared).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        connection(stream, shared).await;
                    }
                }
            }
        });
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send, shared: Arc<Shared>) {
    let serve = service_fn(move |request| answer(request, Arc::clone(&shared)));
    // A connection that a fault drops ends with an error.
    let _dropped = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), serve)
        .await;
}

/// Answers one request; an error drops its connection.
async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> io::Result<Response<Body>> {
    let header = |name: &str| {
        let value = request.headers().get(name);
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let seen = Seen {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        authorization: header("authorization"),
        proxy_authorization: header("proxy-authorization"),
        content_range: header("content-range"),
        user_agent: header("user-agent"),
    };
    lock(&shared.seen).push(seen.clone());
    let fault = shared.faults.of(&seen.method, &seen.path);
    faults::answer(fault, request, seen, &shared).await
}

/// A body of these bytes.
fn full(bytes: impl Into<Bytes>) -> Body {
    use http_body_util::BodyExt as _;
    http_body_util::Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed()
}
