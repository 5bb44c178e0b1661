//! TLS certificates, proxies and concurrent requests.

use std::sync::Arc;

use basegen::error::{ExitCode, Explain as _};
use basegen::image::Repository;
use basegen::registry::{Credentials, HostOptions, Proxies, Registries, RegistryErrorKind};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::harness::registry_client::{
    add_image, client, client_with, options, push_image, sample_bytes, tag,
};

/// Starts a registry with TLS. Returns it and its certificate.
async fn start_tls() -> (FakeRegistry, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a configuration");
    (FakeRegistry::start_tls(config).await, cert.pem())
}

fn tls_client(registry: &FakeRegistry, certificates: &str) -> Registries {
    let mut options = options(Credentials::anonymous());
    options.network.certificates = certificates.as_bytes().to_vec();
    let https = HostOptions { plain_http: Some(false), ..HostOptions::default() };
    options.hosts.insert(registry.host(), https);
    client_with(&options)
}

#[tokio::test]
async fn a_configured_certificate_is_trusted() {
    let (registry, certificate) = start_tls().await;
    let client = tls_client(&registry, &certificate);
    push_image(&client, &registry.repository("acme/base"), "v1", sample_bytes(10))
        .await
        .expect("pushed");
}

#[tokio::test]
async fn an_unknown_certificate_is_rejected_without_retries() {
    let (registry, _) = start_tls().await;
    let client = tls_client(&registry, "");
    let result = client.head(&registry.repository("acme/base"), &tag("v1")).await;
    let error = result.expect_err("not trusted");
    assert!(
        matches!(error.kind(), RegistryErrorKind::Unreachable { transient: false, .. }),
        "{error:?}"
    );
    assert_eq!(error.exit_code(), ExitCode::Registry);
    assert_eq!(registry.count("*", "*"), 0);
}

#[test]
fn rejects_invalid_certificates() {
    for text in ["nonsense", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        let mut options = options(Credentials::anonymous());
        options.network.certificates = text.as_bytes().to_vec();
        let error = Registries::new(&options).err().expect("invalid certificates");
        assert_eq!(error.exit_code(), ExitCode::Failure);
    }
}

/// Returns a client that uses `proxies`, and a repository of a host that does not exist.
fn client_behind(proxies: Proxies, plain_http: bool) -> (Registries, Repository) {
    let mut options = options(Credentials::anonymous());
    options.network.proxies = proxies;
    options.retry.attempts = 1;
    let host = HostOptions { plain_http: Some(plain_http), ..HostOptions::default() };
    options.hosts.insert("registry.example".to_owned(), host);
    (client_with(&options), "registry.example/acme/base".parse().expect("a repository"))
}

#[tokio::test]
async fn a_proxy_receives_its_password() {
    // A request through a proxy contains the absolute URL, which the fake registry accepts too.
    let proxy = FakeRegistry::start().await;
    let manifest = add_image(&proxy, "acme/base", "v1");
    let url = format!("http://user:canary@{}", proxy.host());
    let proxies = Proxies { http: Some(url), ..Proxies::default() };
    let (client, repository) = client_behind(proxies, true);
    let fetched = client.manifest(&repository, &tag("v1")).await.expect("a response");
    assert_eq!(fetched, Some(manifest));
    let request = &proxy.requests()[0];
    assert_eq!(request.proxy_authorization.as_deref(), Some("Basic dXNlcjpjYW5hcnk="));

    // Errors do not contain the password.
    proxy.fail(Rule::every("*", "*", Fault::Drop));
    let error = client.head(&repository, &tag("v1")).await.expect_err("dropped");
    assert!(!format!("{error:?}").contains("canary"));
    drop(proxy);
    let error = client.head(&repository, &tag("v1")).await.expect_err("gone");
    assert!(!format!("{error:?}").contains("canary"));
}

#[tokio::test]
async fn registries_are_contacted_with_tls_by_default() {
    let proxy = FakeRegistry::start().await;
    let proxies = Proxies { all: Some(proxy.origin().to_owned()), ..Proxies::default() };
    let (client, repository) = client_behind(proxies, false);
    client.head(&repository, &tag("v1")).await.expect_err("no tunnel");
    assert_eq!(proxy.count("CONNECT", "*"), 1);
    assert_eq!(proxy.count("*", "*"), 1);
}

#[tokio::test]
async fn loopback_hosts_and_those_in_no_proxy_are_contacted_directly() {
    let (proxy, registry) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let mut options = options(Credentials::anonymous());
    options.retry.attempts = 1;
    options.network.proxies = Proxies {
        all: Some(proxy.origin().to_owned()),
        no_proxy: Some(".invalid".to_owned()),
        ..Proxies::default()
    };
    let client = client_with(&options);
    // Loopback hosts never use the proxy.
    client.head(&registry.repository("acme/base"), &tag("v1")).await.expect("a response");
    let excluded: Repository = "registry.invalid/acme/base".parse().expect("a repository");
    let error = client.head(&excluded, &tag("v1")).await.expect_err("no such host");
    assert!(matches!(error.kind(), RegistryErrorKind::Unreachable { .. }));
    assert_eq!(proxy.count("*", "*"), 0);
}

#[test]
fn the_error_for_an_invalid_proxy_does_not_contain_it() {
    let mut options = options(Credentials::anonymous());
    options.network.proxies.https = Some("http://user:canary@[".to_owned());
    let error = Registries::new(&options).err().expect("an invalid proxy");
    assert!(!format!("{error:?} {:?}", options.network.proxies).contains("canary"));
}

#[tokio::test]
async fn limits_concurrent_requests_to_a_host() {
    let registry = FakeRegistry::start().await;
    add_image(&registry, "acme/base", "v1");
    let mut options = options(Credentials::anonymous());
    let limited = HostOptions { concurrency: 2, ..HostOptions::default() };
    options.hosts.insert(registry.host(), limited);
    let (client, hang) = (client_with(&options), registry.fail(Rule::every("*", "*", Fault::Hang)));
    let tasks: Vec<_> = (0..5)
        .map(|_| {
            let (client, repository) = (client.clone(), registry.repository("acme/base"));
            tokio::spawn(async move { client.head(&repository, &tag("v1")).await })
        })
        .collect();
    while hang.use_count() < 2 {
        tokio::task::yield_now().await;
    }
    // A third request would have started by now.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(registry.count("*", "*"), 2);
    hang.release();
    for task in tasks {
        assert!(task.await.expect("no panic").expect("a response").is_some());
    }
    assert_eq!(registry.count("*", "*"), 5);
}

#[tokio::test]
async fn many_tasks_can_share_one_client() {
    let registry = FakeRegistry::start().await;
    let client = client();
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let (client, repository) = (client.clone(), registry.repository("acme/base"));
            tokio::spawn(async move {
                push_image(&client, &repository, &format!("v{number}"), sample_bytes(number)).await
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic").expect("pushed");
    }
    assert_eq!(registry.tags("acme/base").len(), 20);
}
