//! An in-process registry that stores blobs, manifests and tags, with authentication and fault injection.

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
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub use access::{Access, Account};
pub use faults::{Fault, FaultHandle, Rule};
use store::Store;
pub use vendor::Vendor;

type Body = BoxBody<Bytes, io::Error>;

#[derive(Debug, Clone)]
pub struct RecordedRequest {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub authorization: Option<String>,
    pub proxy_authorization: Option<String>,
    pub content_range: Option<String>,
    pub user_agent: Option<String>,
}

/// The state that all connections share.
struct Shared {
    /// `http://127.0.0.1:1234`
    origin: String,
    access: Mutex<access::Accounts>,
    vendor: Mutex<Vendor>,
    store: Mutex<Store>,
    faults: faults::Table,
    requests: Mutex<Vec<RecordedRequest>>,
    uploaded: Mutex<u64>,
}

/// A registry on a free local port. Dropping it stops the server.
pub struct FakeRegistry {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
    /// Its own runtime, unless the test has one.
    runtime: Option<Runtime>,
}

impl FakeRegistry {
    /// Starts a registry without authentication.
    pub async fn start() -> Self {
        Self::start_with(Access::Open).await
    }

    /// Starts a registry that requires credentials.
    pub async fn start_with(access: Access) -> Self {
        Self::serve(access, None).await
    }

    /// Starts a registry without authentication for a test that is not asynchronous.
    pub fn start_blocking() -> Self {
        Self::start_blocking_with(Access::Open)
    }

    /// Starts a registry that requires credentials for a test that is not asynchronous.
    pub fn start_blocking_with(access: Access) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let mut registry = runtime.block_on(Self::start_with(access));
        registry.runtime = Some(runtime);
        registry
    }

    /// Starts a registry that uses TLS.
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
            requests: Mutex::default(),
            uploaded: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, tls, Arc::clone(&shared)));
        Self { shared, address, accepting, runtime: None }
    }

    /// `127.0.0.1:port`
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:port`
    pub fn origin(&self) -> &str {
        &self.shared.origin
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the reference of a repository in this registry.
    pub fn repository(&self, path: &str) -> Repository {
        Repository::new(&self.host(), path).expect("a repository")
    }

    /// Adds a rule for requests that fail. The first rule that applies to a request determines its fault.
    pub fn fail(&self, rule: Rule) -> FaultHandle {
        self.shared.faults.add(rule)
    }

    /// Removes all rules, and releases suspended requests.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Returns every request since the last [`Self::clear_requests`], in order.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.shared.requests).clone()
    }

    /// Returns the number of recorded requests of a method (`*` for all) whose path matches a glob.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let path = Pattern::new(path).expect("a glob");
        let matches = |request: &&RecordedRequest| {
            (method == "*" || request.method == method) && path.matches(&request.path)
        };
        lock(&self.shared.requests).iter().filter(matches).count()
    }

    /// Returns the number of uploaded bytes of blobs since the last [`Self::clear_requests`].
    pub fn uploaded_bytes(&self) -> u64 {
        *lock(&self.shared.uploaded)
    }

    /// Clears the recorded requests and the number of uploaded bytes.
    pub fn clear_requests(&self) {
        lock(&self.shared.requests).clear();
        *lock(&self.shared.uploaded) = 0;
    }

    /// Invalidates all issued tokens.
    pub fn revoke_tokens(&self) {
        lock(&self.shared.access).revoke();
    }

    /// Replaces the access rules, and invalidates all issued tokens.
    pub fn set_access(&self, access: Access) {
        *lock(&self.shared.access) = access::Accounts::new(access);
    }

    /// Makes the registry deviate from the specification like that of `vendor`.
    pub fn set_vendor(&self, vendor: Vendor) {
        *lock(&self.shared.vendor) = vendor;
    }

    /// Sets whether the registry rejects moves of existing tags.
    pub fn set_immutable_tags(&self, immutable: bool) {
        lock(&self.shared.store).immutable_tags = immutable;
    }

    pub fn create_repository(&self, path: &str) {
        lock(&self.shared.store).repository(path);
    }

    pub fn add_blob(&self, path: &str, bytes: impl Into<Bytes>) -> Digest {
        lock(&self.shared.store).add_blob(path, bytes.into())
    }

    pub fn add_manifest(&self, path: &str, tag: &str, media_type: &str, bytes: impl Into<Bytes>) {
        let mut store = lock(&self.shared.store);
        let digest = store.add_manifest(path, media_type, bytes.into());
        store.tag(path, tag, digest);
    }

    /// Adds an image without layers, with this configuration.
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

    pub fn remove_blob(&self, path: &str, digest: &Digest) {
        lock(&self.shared.store).repository(path).blobs.remove(digest);
    }

    /// Starts an upload session and returns its URL.
    pub fn begin_upload(&self, path: &str) -> String {
        let id = lock(&self.shared.store).start_upload(path);
        format!("{}{}", self.origin(), api::session_path(path, &id))
    }

    /// Returns the content of a blob.
    pub fn blob(&self, path: &str, digest: &Digest) -> Option<Bytes> {
        lock(&self.shared.store).content(path).blobs.get(digest).cloned()
    }

    /// Returns the blobs of a repository with their sizes, in bytes.
    pub fn blobs(&self, path: &str) -> Vec<(Digest, u64)> {
        let mut store = lock(&self.shared.store);
        let blobs = store.repository(path).blobs.iter();
        blobs.map(|(digest, bytes)| (digest.clone(), bytes.len() as u64)).collect()
    }

    /// Returns the tags of a repository with their digests.
    pub fn tags(&self, path: &str) -> Vec<(String, Digest)> {
        let store = lock(&self.shared.store);
        let tags = store.content(path).tags.iter();
        tags.map(|(tag, digest)| (tag.clone(), digest.clone())).collect()
    }

    /// Returns the digest of a tag.
    pub fn tag(&self, path: &str, tag: &str) -> Option<Digest> {
        self.tags(path).into_iter().find_map(|(name, digest)| (name == tag).then_some(digest))
    }

    /// Removes a tag, but not its manifest.
    pub fn remove_tag(&self, path: &str, tag: &str) {
        lock(&self.shared.store).repository(path).tags.remove(tag);
    }

    /// Returns the manifest with a tag or digest.
    pub fn manifest(&self, path: &str, reference: &str) -> Option<Bytes> {
        let store = lock(&self.shared.store);
        let repository = store.content(path);
        let digest = repository.resolve(reference)?;
        repository.manifests.get(&digest).map(|(_, bytes)| bytes.clone())
    }

    /// Returns the digests of all manifests of a repository.
    pub fn manifests(&self, path: &str) -> Vec<Digest> {
        lock(&self.shared.store).content(path).manifests.keys().cloned().collect()
    }

    /// Returns the number of upload sessions that are neither completed nor cancelled.
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
    // Aborting this task also closes all connections, like killing the process.
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
    let serve = service_fn(move |request| respond(request, Arc::clone(&shared)));
    // A fault that closes the connection causes an error here.
    let _dropped = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), serve)
        .await;
}

/// Responds to one request. An error closes the connection.
async fn respond(request: Request<Incoming>, shared: Arc<Shared>) -> io::Result<Response<Body>> {
    let header = |name: &str| {
        let value = request.headers().get(name);
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let recorded = RecordedRequest {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        authorization: header("authorization"),
        proxy_authorization: header("proxy-authorization"),
        content_range: header("content-range"),
        user_agent: header("user-agent"),
    };
    lock(&shared.requests).push(recorded.clone());
    let fault = shared.faults.matching(&recorded.method, &recorded.path);
    faults::respond_with(fault, request, recorded, &shared).await
}

fn full(bytes: impl Into<Bytes>) -> Body {
    use http_body_util::BodyExt as _;
    http_body_util::Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed()
}
