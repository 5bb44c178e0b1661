//! Connections to a Docker Engine and to buildkitd, over Unix sockets and TCP, with and without TLS.
//!
//! Proxies in front of the test bed's engine accept these connections.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use basegen::engine::{
    BuildOptions, BuiltImage, ConnectedEngine, Destination, Engine, EngineAddress, EngineError,
    JobDependencies, TlsFiles,
};
use basegen::event::{Failure, FailureKind};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::harness::testbed;

/// The API that a proxy serves.
#[derive(Clone, Copy)]
pub(crate) enum Api {
    /// The API of the Docker Engine.
    Docker,
    /// The API of the engine's `BuildKit`, as `buildkitd` serves it.
    BuildKit,
}

/// Forwards a connection to the test bed's engine.
async fn forward(mut client: impl AsyncRead + AsyncWrite + Unpin, api: Api) {
    let mut engine = UnixStream::connect(testbed::socket()).await.expect("the engine");
    if matches!(api, Api::BuildKit) {
        let upgrade =
            "POST /grpc HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
        engine.write_all(upgrade.as_bytes()).await.expect("a request");
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            response.push(engine.read_u8().await.expect("a response"));
        }
    }
    // Either side can close the connection.
    let _ended = copy_bidirectional(&mut client, &mut engine).await;
}

/// Starts a proxy on a TCP port, and returns the port.
pub(crate) async fn tcp_proxy(api: Api, tls: Option<TlsAcceptor>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                match tls {
                    None => forward(stream, api).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            forward(stream, api).await;
                        }
                    }
                }
            });
        }
    });
    port
}

/// Starts a proxy on a Unix socket. A notification of `cut` closes its connections.
fn unix_proxy(path: &Path, cut: &Arc<Notify>) {
    let listener = UnixListener::bind(path).expect("a socket");
    let cut = Arc::clone(cut);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let cut = Arc::clone(&cut);
            tokio::spawn(async move {
                tokio::select! {
                    () = forward(stream, Api::BuildKit) => {}
                    () = cut.notified() => {}
                }
            });
        }
    });
}

/// Writes the certificates of a client to `folder`. Returns them and a server that accepts only this client.
fn certificates(folder: &Path, protocol: &[u8]) -> (TlsFiles, TlsAcceptor) {
    let key = || KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, key()).expect("an authority");
    let signed = |name: &str, key: &KeyPair| {
        let parameters = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        parameters.signed_by(key, &authority).expect("a certificate")
    };
    let (server_key, client_key) = (key(), key());
    let server = signed("localhost", &server_key);
    let client = signed("client", &client_key);
    let files = TlsFiles::in_folder(folder);
    std::fs::write(&files.ca, authority.pem()).expect("a file");
    std::fs::write(&files.cert, client.pem()).expect("a file");
    std::fs::write(&files.key, client_key.serialize_pem()).expect("a file");

    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_file(&files.ca).expect("a certificate");
    roots.add(root).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = Arc::new(roots);
    let clients = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
    let private = PrivateKeyDer::from_pem_slice(server_key.serialize_pem().as_bytes());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(clients.build().expect("a verifier"))
        .with_single_cert(vec![server.der().clone()], private.expect("a key"))
        .expect("a configuration");
    config.alpn_protocols = vec![protocol.to_vec()];
    (files, TlsAcceptor::from(Arc::new(config)))
}

async fn assert_pushes(address: EngineAddress, name: &str) {
    let engine = ConnectedEngine::at(address).await.expect("an engine");
    let builder = engine.builder(BuildOptions::to(Destination::Registry));
    let builder = builder.expect("a builder");
    let is_docker = engine.name().starts_with("Docker");
    let job = testbed::job(name, "FROM scratch\nCOPY a /a\n", &[("a", &testbed::unique())]);
    let built = testbed::build(&builder, &job).await;
    if !is_docker && testbed::has_graph_driver().await {
        assert_export_refused(built);
        return;
    }
    let image = built.expect("an image");
    assert_eq!(testbed::pushed_manifest(&job, &image).await["schemaVersion"], 2);
}

/// Asserts that the export failed: the `BuildKit` of a Docker Engine with a graph driver has no exporters.
fn assert_export_refused(built: Result<BuiltImage, Box<Failure>>) {
    let failure = built.expect_err("no exporter");
    assert_eq!(failure.kind, FailureKind::Export, "{failure:?}");
    let hint = failure.hint.unwrap_or_default();
    assert!(hint.contains("without `--builder`"), "{hint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connects_to_buildkitd_on_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("buildkitd.sock");
    unix_proxy(&path, &Arc::default());
    let address = EngineAddress::buildkit(&format!("unix://{}", path.display()), None);
    let address = address.expect("an address");
    let engine = ConnectedEngine::at(address.clone()).await.expect("an engine");
    assert!(engine.name().starts_with("BuildKit"), "{}", engine.name());
    let error = engine.builder(BuildOptions::to(Destination::Engine));
    let error = error.err().expect("buildkitd has no image store");
    assert!(matches!(error, EngineError::Destination { .. }), "{error}");
    assert_pushes(address, "by-unix").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connects_to_buildkitd_over_tcp() {
    let port = tcp_proxy(Api::BuildKit, None).await;
    let address = EngineAddress::buildkit(&format!("tcp://127.0.0.1:{port}"), None);
    assert_pushes(address.expect("an address"), "by-tcp").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connects_to_buildkitd_with_client_certificates() {
    let folder = tempfile::tempdir().expect("a folder");
    let (files, acceptor) = certificates(folder.path(), b"h2");
    let port = tcp_proxy(Api::BuildKit, Some(acceptor)).await;
    let url = format!("tcp://localhost:{port}");
    let address = EngineAddress::buildkit(&url, Some(files)).expect("an address");
    assert_pushes(address, "by-mtls").await;

    let other = tempfile::tempdir().expect("a folder");
    let (other_files, _) = certificates(other.path(), b"h2");
    let address = EngineAddress::buildkit(&url, Some(other_files)).expect("an address");
    let error = ConnectedEngine::at(address).await.expect_err("an unknown client");
    assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connects_to_a_docker_engine_over_tcp() {
    let port = tcp_proxy(Api::Docker, None).await;
    let address = EngineAddress::docker(&format!("tcp://127.0.0.1:{port}"), None);
    assert_pushes(address.expect("an address"), "docker-by-tcp").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connects_to_a_docker_engine_with_client_certificates() {
    let folder = tempfile::tempdir().expect("a folder");
    let (files, acceptor) = certificates(folder.path(), b"http/1.1");
    let port = tcp_proxy(Api::Docker, Some(acceptor)).await;
    let address = EngineAddress::docker(&format!("tcp://localhost:{port}"), Some(files));
    assert_pushes(address.expect("an address"), "docker-by-mtls").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_fails_the_build_and_the_next_build_reconnects() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("buildkitd.sock");
    let cut = Arc::new(Notify::new());
    unix_proxy(&path, &cut);
    let address = EngineAddress::buildkit(&format!("unix://{}", path.display()), None);
    let engine = ConnectedEngine::at(address.expect("an address")).await;
    let engine = engine.expect("an engine");
    let builder = engine.builder(BuildOptions::to(Destination::Registry));
    let builder = builder.expect("a builder");
    let dockerfile =
        format!("FROM python:3.11-slim-bookworm\nRUN echo {} && sleep 60\n", testbed::unique());
    let job = testbed::job("lost", &dockerfile, &[]);
    if testbed::has_graph_driver().await {
        // The engine refuses the export before it runs a step.
        return assert_export_refused(testbed::build(&builder, &job).await);
    }
    let recorded = Arc::new(testbed::RecordedEvents::default());
    let events = recorded.events();
    let cutting = async {
        while recorded.log_lines().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        cut.notify_waiters();
    };
    let (built, ()) = tokio::join!(builder.build(&job, &events, JobDependencies::none()), cutting);
    let failure = built.expect_err("a failure");
    assert_eq!(failure.kind, FailureKind::Engine, "{failure:?}");
    assert!(failure.hint.is_some(), "{failure:?}");

    let job = testbed::job("found", "FROM scratch\nCOPY a /a\n", &[("a", &testbed::unique())]);
    testbed::build(&builder, &job).await.expect("an image");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_a_missing_certificate() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = TlsFiles::in_folder(folder.path());
    let address = EngineAddress::buildkit("tcp://localhost:1", Some(files)).expect("an address");
    let error = ConnectedEngine::at(address).await.expect_err("no files");
    let text = basegen::error::one_line(&error);
    assert!(text.contains("ca.pem"), "{text}");
}
