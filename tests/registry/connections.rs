//! Certificates, proxies and how much is on its way at once.

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

/// A registry with TLS, and the certificate that it shows.
async fn with_tls() -> (FakeRegistry, String) {
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
    let with_tls = HostOptions { plain_http: Some(false), ..HostOptions::default() };
    options.hosts.insert(registry.host(), with_tls);
    client_with(&options)
}

#[tokio::test]
async fn an_extra_certificate_is_trusted() {
    let (registry, certificate) = with_tls().await;
    let client = tls_client(&registry, &certificate);
    push_image(&client, &registry.repository("acme/base"), "v1", sample_bytes(10))
        .await
        .expect("pushed");
}

#[tokio::test]
async fn an_unknown_certificate_is_refused_at_once() {
    let (registry, _) = with_tls().await;
    let client = tls_client(&registry, "");
    let found = client.head(&registry.repository("acme/base"), &tag("v1")).await;
    let error = found.expect_err("not trusted");
    assert!(
        matches!(error.kind(), RegistryErrorKind::Unreachable { transient: false, .. }),
        "{error:?}"
    );
    assert_eq!(error.exit_code(), ExitCode::Registry);
    assert_eq!(registry.count("*", "*"), 0);
}

#[test]
fn certificates_that_are_none_are_told() {
    for text in ["nonsense", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        let mut options = options(Credentials::anonymous());
        options.network.certificates = text.as_bytes().to_vec();
        let error = Registries::new(&options).err().expect("no certificates");
        assert_eq!(error.exit_code(), ExitCode::Failure);
    }
}

/// A client for a registry that only the proxy knows.
fn behind(proxies: Proxies, plain_http: bool) -> (Registries, Repository) {
    let mut options = options(Credentials::anonymous());
    options.network.proxies = proxies;
    options.retry.attempts = 1;
    let host = HostOptions { plain_http: Some(plain_http), ..HostOptions::default() };
    options.hosts.insert("registry.example".to_owned(), host);
    (client_with(&options), "registry.example/acme/base".parse().expect("a repository"))
}

#[tokio::test]
async fn a_proxy_is_asked_with_its_password() {
    // To a proxy a request is written with the whole URL, which a registry understands too.
    let proxy = FakeRegistry::start().await;
    let manifest = add_image(&proxy, "acme/base", "v1");
    let url = format!("http://user:canary@{}", proxy.host());
    let proxies = Proxies { http: Some(url), ..Proxies::default() };
    let (client, repository) = behind(proxies, true);
    let found = client.manifest(&repository, &tag("v1")).await.expect("an answer");
    assert_eq!(found, Some(manifest));
    let seen = &proxy.requests()[0];
    assert_eq!(seen.proxy_authorization.as_deref(), Some("Basic dXNlcjpjYW5hcnk="));

    // And the password shows nowhere when that fails.
    proxy.fail(Rule::every("*", "*", Fault::Drop));
    let error = client.head(&repository, &tag("v1")).await.expect_err("dropped");
    assert!(!format!("{error:?}").contains("canary"));
    drop(proxy);
    let error = client.head(&repository, &tag("v1")).await.expect_err("gone");
    assert!(!format!("{error:?}").contains("canary"));
}

#[tokio::test]
async fn registries_are_reached_with_tls_unless_said_otherwise() {
    let proxy = FakeRegistry::start().await;
    let proxies = Proxies { all: Some(proxy.origin().to_owned()), ..Proxies::default() };
    let (client, repository) = behind(proxies, false);
    client.head(&repository, &tag("v1")).await.expect_err("no tunnel");
    assert_eq!(proxy.count("CONNECT", "*"), 1);
    assert_eq!(proxy.count("*", "*"), 1);
}

#[tokio::test]
async fn some_hosts_are_beside_the_proxy() {
    let (proxy, registry) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let mut options = options(Credentials::anonymous());
    options.retry.attempts = 1;
    options.network.proxies = Proxies {
        all: Some(proxy.origin().to_owned()),
        no_proxy: Some(".invalid".to_owned()),
        ..Proxies::default()
    };
    let client = client_with(&options);
    // This machine always is.
    client.head(&registry.repository("acme/base"), &tag("v1")).await.expect("an answer");
    let beside: Repository = "registry.invalid/acme/base".parse().expect("a repository");
    let error = client.head(&beside, &tag("v1")).await.expect_err("no such host");
    assert!(matches!(error.kind(), RegistryErrorKind::Unreachable { .. }));
    assert_eq!(proxy.count("*", "*"), 0);
}

#[test]
fn a_proxy_that_is_no_url_is_told_without_it() {
    let mut options = options(Credentials::anonymous());
    options.network.proxies.https = Some("http://user:canary@[".to_owned());
    let error = Registries::new(&options).err().expect("no proxy");
    assert!(!format!("{error:?} {:?}", options.network.proxies).contains("canary"));
}

#[tokio::test]
async fn only_so_many_requests_are_on_their_way() {
    let registry = FakeRegistry::start().await;
    add_image(&registry, "acme/base", "v1");
    let mut options = options(Credentials::anonymous());
    let two = HostOptions { concurrency: 2, ..HostOptions::default() };
    options.hosts.insert(registry.host(), two);
    let (client, hanging) =
        (client_with(&options), registry.fail(Rule::every("*", "*", Fault::Hang)));
    let tasks: Vec<_> = (0..5)
        .map(|_| {
            let (client, repository) = (client.clone(), registry.repository("acme/base"));
            tokio::spawn(async move { client.head(&repository, &tag("v1")).await })
        })
        .collect();
    while hanging.use_count() < 2 {
        tokio::task::yield_now().await;
    }
    // Were there room for a third, it would be on its way by now.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(registry.count("*", "*"), 2);
    hanging.release();
    for task in tasks {
        assert!(task.await.expect("no panic").expect("an answer").is_some());
    }
    assert_eq!(registry.count("*", "*"), 5);
}

#[tokio::test]
async fn a_client_is_shared_by_many_tasks() {
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
