//! Connects to `BuildKit`'s API over unix sockets, TCP, TLS, and Docker's upgrade of `POST /grpc`.
//!
//! [`connect`] returns a gRPC channel, which reconnects when its connection breaks.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::transport::Channel;

use super::tls;
use crate::engine::address::{Endpoint, EngineAddress, EngineKind};
use crate::engine::error::Cause;

/// The flow control windows, in bytes: large enough to receive layers at disk speed.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// The maximum size of response headers, in bytes. The details of an error are a header and contain the
/// whole Dockerfile, often more than the usual 16 KiB.
const MAX_HEADERS: u32 = 8 << 20;

/// The interval of TCP keep-alive probes.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// The timeout of calls that precede a build. A busy engine needs seconds.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The timeout of a connection attempt to one of a host's addresses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The engine responded without an upgrade to `BuildKit`'s API.
#[derive(Debug, thiserror::Error)]
#[error("the engine refused to open its BuildKit API: {0}")]
pub(super) struct UpgradeRefused(pub(super) StatusCode);

/// The engine did not respond in time.
#[derive(Debug, thiserror::Error)]
#[error("no response within {} seconds", RESPONSE_TIMEOUT.as_secs())]
pub(super) struct Silent;

/// Opens a gRPC channel to the `BuildKit` API at `address`.
///
/// A broken channel reconnects on its next call.
// TCP keep-alive instead of HTTP/2 pings: gRPC servers in Go close connections with more than one ping in
// five minutes.
pub(super) async fn connect(address: &EngineAddress) -> Result<Channel, tonic::transport::Error> {
    tonic::transport::Endpoint::from_static("http://engine")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(MAX_HEADERS)
        .connect_with_connector(Connector(address.clone()))
        .await
}

#[derive(Clone)]
struct Connector(EngineAddress);

type Connection = TokioIo<Box<dyn Io>>;

impl tower::Service<Uri> for Connector {
    type Response = Connection;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<Connection, Cause>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let address = self.0.clone();
        Box::pin(async move {
            // The channel calls this for every new connection.
            let opened = tokio::time::timeout(RESPONSE_TIMEOUT, open(&address)).await;
            Ok(TokioIo::new(opened.map_err(|_| Silent)??))
        })
    }
}

async fn open(address: &EngineAddress) -> Result<Box<dyn Io>, Cause> {
    match address.kind {
        EngineKind::BuildKit => dial(address, b"h2").await,
        EngineKind::Docker => upgrade(dial(address, b"http/1.1").await?).await,
    }
}

/// Connects to the first reachable address of `host`.
async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in tokio::net::lookup_host((host, port)).await? {
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}

async fn dial(address: &EngineAddress, alpn: &[u8]) -> Result<Box<dyn Io>, Cause> {
    let (host, port) = match &address.endpoint {
        Endpoint::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
        Endpoint::Tcp { host, port } => (host.clone(), *port),
    };
    let stream = connect_tcp(&host, port).await?;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    let Some(files) = &address.tls else {
        return Ok(Box::new(stream));
    };
    let config = tls::client_config(files, alpn)?;
    let name = ServerName::try_from(host)?;
    Ok(Box::new(TlsConnector::from(config).connect(name, stream).await?))
}

/// Upgrades a connection to a Docker Engine to `BuildKit`'s API.
async fn upgrade(io: Box<dyn Io>) -> Result<Box<dyn Io>, Cause> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    tokio::spawn(connection.with_upgrades());
    let request = Request::post("/grpc")
        .header(header::HOST, "docker")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "h2c")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(UpgradeRefused(response.status()).into());
    }
    Ok(Box::new(TokioIo::new(hyper::upgrade::on(response).await?)))
}

/// Returns true if `error` is about missing permissions for the socket.
pub(super) fn is_forbidden(error: &(dyn Error + 'static)) -> bool {
    let kind = find::<io::Error>(error).map(io::Error::kind);
    kind == Some(io::ErrorKind::PermissionDenied)
}

/// Returns true if a call failed before it was sent, because its connection had ended.
pub(super) fn is_unsent(error: &(dyn Error + 'static)) -> bool {
    find::<hyper::Error>(error).is_some_and(hyper::Error::is_canceled)
}

/// Finds the first `T` among `error` and its causes.
pub(super) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
