//! Pushes with the credentials in Docker's configuration.

use std::sync::{Arc, Mutex};

use basegen::engine::{BuildOptions, Destination};
use basegen::event::FailureKind;
use basegen::registry::{Credentials, DockerConfig};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::harness::testbed;

/// Starts a registry that requires credentials and refuses every push. Returns its address, and the `Authorization`
/// headers that it has received.
async fn refusing_registry() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let headers = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let headers = Arc::clone(&headers);
            let service = service_fn(move |request: http::Request<Incoming>| {
                let headers = Arc::clone(&headers);
                async move { respond(&request, &headers) }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (host, seen)
}

fn respond(
    request: &http::Request<Incoming>,
    seen: &Mutex<Vec<String>>,
) -> http::Result<http::Response<Full<bytes::Bytes>>> {
    let Some(authorization) = request.headers().get("authorization") else {
        return http::Response::builder()
            .status(401)
            .header("www-authenticate", "Basic realm=\"guarded\"")
            .body(Full::default());
    };
    let text = authorization.to_str().expect("text").to_owned();
    seen.lock().expect("headers").push(text);
    let body = r#"{"errors":[{"code":"DENIED","message":"requested access is denied"}]}"#;
    http::Response::builder().status(403).body(Full::from(body))
}

async fn push(config: &str, host: &str) -> Box<basegen::event::Failure> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("config.json"), config).expect("a file");
    let docker = DockerConfig {
        folder: Some(folder.path().to_owned()),
        search_path: std::env::var_os("PATH"),
    };
    let mut options = BuildOptions::to(Destination::Registry);
    options.credentials = Arc::new(Credentials::load(&docker).expect("credentials"));
    let builder = testbed::engine().await.builder(options).expect("a builder");
    let mut job = testbed::job("guarded", "FROM scratch\nCOPY a /a\n", &[("a", "a")]);
    job.references = vec![testbed::reference(&format!("{host}/guarded:1"))];
    testbed::build(&builder, &job).await.expect_err("a refusal")
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_sent_and_a_refusal_has_a_hint() {
    let (host, seen) = refusing_registry().await;
    // base64 of `$oauthtoken:pass:word`.
    let config =
        format!(r#"{{"auths": {{"{host}": {{"auth": "JG9hdXRodG9rZW46cGFzczp3b3Jk"}}}}}}"#);
    let failure = push(&config, &host).await;
    let seen = seen.lock().expect("headers").clone();
    assert!(!seen.is_empty());
    assert!(seen.iter().all(|header| header == "Basic JG9hdXRodG9rZW46cGFzczp3b3Jk"));
    assert_eq!(failure.kind, FailureKind::Export, "{failure:?}");
    let hint = failure.hint.clone().unwrap_or_default();
    assert!(hint.contains(&format!("docker login {host}")), "{failure:?}");
    assert!(!format!("{failure:?}").contains("pass"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_a_missing_credential_helper() {
    let (host, _) = refusing_registry().await;
    let config = format!(r#"{{"credHelpers": {{"{host}": "basegen-test-none"}}}}"#);
    let failure = push(&config, &host).await;
    let is_named = failure.message.contains("docker-credential-basegen-test-none");
    assert!(is_named, "{failure:?}");
}
