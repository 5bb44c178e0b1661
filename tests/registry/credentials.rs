//! Each source of credentials, with a registry that accepts only these credentials.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use basegen::error::{Explain as _, Report};
use basegen::image::Repository;
use basegen::registry::{
    Credentials, HostOptions, Network, Registries, RegistryErrorKind, RegistryOptions,
};

use crate::harness::auth::credential_cases::{
    CANARY, CredentialCase, CredentialInputs, ECR, KEY_ID, aws_iam, aws_keys, credential_cases,
    proxies,
};
use crate::harness::auth::ecr::EcrApi;
use crate::harness::auth::proxy::{AuthScheme, ProtectedRegistry, RegistryProxy};

/// Returns a client that connects to `hosts` through the proxy.
fn client(proxy: &RegistryProxy, hosts: &[&str], credentials: Credentials) -> Registries {
    let plain = HostOptions { plain_http: Some(true), ..HostOptions::default() };
    let hosts: BTreeMap<_, _> =
        hosts.iter().map(|host| ((*host).to_owned(), plain.clone())).collect();
    let options = RegistryOptions {
        hosts,
        network: Network { proxies: proxies(proxy), ..Network::default() },
        ..RegistryOptions::new(Arc::new(credentials))
    };
    Registries::new(&options).expect("a client")
}

fn repository(host: &str) -> Repository {
    Repository::new(host, "acme/base").expect("a repository")
}

#[tokio::test]
async fn each_source_sends_exactly_its_credentials() {
    for CredentialCase { host, api, registry, inputs } in credential_cases() {
        let folder = tempfile::tempdir().expect("a folder");
        let proxy = RegistryProxy::start().await;
        proxy.add_registry(api, registry.clone());
        proxy.set_ecr_api(EcrApi::new(KEY_ID, CANARY));
        let credentials = Credentials::load(inputs.sources(&proxy, folder.path()));
        let client = client(&proxy, &[host], credentials.expect("credentials"));
        let access = client.check_access(&repository(host)).await;
        let access =
            access.unwrap_or_else(|error| panic!("{host}: {}", Report::from(error.clone())));
        assert!(access.pull.is_ok() && access.push.is_ok(), "{host}: {access:?}");
        let expected = match (registry.scheme, registry.secret.as_str()) {
            (AuthScheme::IdentityToken, secret) => secret.to_owned(),
            (_, "none yet") => "AWS:ecr-password-1".to_owned(),
            (_, secret) => format!("{}:{secret}", registry.user),
        };
        assert_eq!(proxy.presented_credentials(api), [expected], "{host}");
    }
}

#[tokio::test]
async fn wrong_credentials_are_refused_and_not_shown() {
    for CredentialCase { host, api, mut registry, inputs } in credential_cases() {
        let folder = tempfile::tempdir().expect("a folder");
        let proxy = RegistryProxy::start().await;
        registry.secret += "x";
        proxy.add_registry(api, registry);
        proxy.set_ecr_api(EcrApi::new(KEY_ID, "another"));
        let sources = inputs.sources(&proxy, folder.path());
        let debug = format!("{sources:?}");
        assert!(!debug.contains(CANARY), "{debug}");
        let client = client(&proxy, &[host], Credentials::load(sources).expect("credentials"));
        let access = client.check_access(&repository(host)).await;
        let message = match access {
            Ok(access) => {
                assert!(access.pull.is_err(), "{host}: {access:?}");
                format!("{access:?} {}", access.push.as_ref().expect_err("a reason"))
            }
            Err(error) => format!("{error:?} {}", Report::from(error.clone())),
        };
        assert!(
            message.contains("401") || message.contains("InvalidSignature"),
            "{host}: {message}"
        );
        for secret in [CANARY.to_owned(), STANDARD.encode(CANARY)] {
            assert!(!message.contains(&secret), "{host}: {message}");
        }
    }
}

#[tokio::test]
async fn errors_do_not_contain_secrets_that_the_registry_repeats() {
    for CredentialCase { host, api, registry, inputs } in credential_cases() {
        for is_known in [true, false] {
            let folder = tempfile::tempdir().expect("a folder");
            let proxy = RegistryProxy::start().await;
            let mut registry = ProtectedRegistry {
                allowed_actions: &[],
                echoes_requests: true,
                ..registry.clone()
            };
            if !is_known {
                registry.secret += "x";
            }
            proxy.add_registry(api, registry);
            proxy.set_ecr_api(EcrApi::new(KEY_ID, CANARY));
            let credentials = Credentials::load(inputs.sources(&proxy, folder.path()));
            let client = client(&proxy, &[host], credentials.expect("credentials"));
            let access = client.check_access(&repository(host)).await.expect(host);
            let refusals = [access.pull.clone().err(), access.push.clone().err()];
            let messages: Vec<String> =
                refusals.iter().flatten().map(|kind| format!("{kind} {:?}", kind.hint())).collect();
            assert!(!messages.is_empty(), "{host}: {access:?}");
            let message = format!("{messages:?} {access:?}");
            assert!(message.contains("DENIED"), "{host}: {message}");
            let password = "ecr-password";
            assert!(!message.contains(CANARY) && !message.contains(password), "{host}: {message}");
        }
    }
}

#[tokio::test]
async fn reports_a_user_who_can_only_pull() {
    for scheme in [AuthScheme::Basic, AuthScheme::Token] {
        let proxy = RegistryProxy::start().await;
        let registry = ProtectedRegistry {
            allowed_actions: &["pull"],
            ..ProtectedRegistry::new(scheme, "me", CANARY)
        };
        proxy.add_registry("ghcr.io", registry);
        let pair = STANDARD.encode(format!("me:{CANARY}"));
        let inputs = CredentialInputs::default().variable("DOCKER_REGISTRY_ghcr.io", &pair);
        let folder = tempfile::tempdir().expect("a folder");
        let credentials = Credentials::load(inputs.sources(&proxy, folder.path()));
        let client = client(&proxy, &["ghcr.io"], credentials.expect("credentials"));
        let access = client.check_access(&repository("ghcr.io")).await.expect("a response");
        assert!(access.pull.is_ok(), "{scheme:?}: {access:?}");
        let refusal = access.push.expect_err("a reason").to_string();
        assert!(refusal.contains("repository:acme/base"), "the scope is named: {refusal}");
    }
}

/// Returns a client of ECR with these credentials, and the proxy that it connects through.
async fn ecr(
    api: EcrApi,
    inputs: CredentialInputs,
    folder: &std::path::Path,
) -> (RegistryProxy, Registries) {
    let proxy = RegistryProxy::start().await;
    proxy.add_registry(ECR, ProtectedRegistry::new(AuthScheme::Basic, "AWS", "none yet"));
    proxy.set_ecr_api(api);
    let inputs = inputs.method(ECR, aws_iam());
    let credentials = Credentials::load(inputs.sources(&proxy, folder)).expect("credentials");
    let client = client(&proxy, &[ECR], credentials);
    (proxy, client)
}

#[tokio::test]
async fn an_expired_password_of_ecr_is_replaced_once() {
    // The password expires early. ECR refuses it without a reason or reports that it has expired.
    for expired_secret in ["", "ecr-password-1"] {
        let folder = tempfile::tempdir().expect("a folder");
        let (proxy, client) = ecr(EcrApi::new(KEY_ID, CANARY), aws_keys(), folder.path()).await;
        let base = repository(ECR);
        assert!(client.check_access(&base).await.expect("a response").push.is_ok());
        proxy.add_registry(
            ECR,
            ProtectedRegistry {
                expired_secret,
                ..ProtectedRegistry::new(AuthScheme::Basic, "AWS", "another")
            },
        );
        assert!(client.check_access(&base).await.expect("a response").push.is_ok());
        assert_eq!(proxy.presented_credentials(ECR), ["AWS:ecr-password-1", "AWS:ecr-password-2"]);
    }
}

#[tokio::test]
async fn a_password_of_ecr_is_renewed_before_it_expires() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = EcrApi { password_lifetime: 9 * 60, ..EcrApi::new(KEY_ID, CANARY) };
    let (proxy, client) = ecr(api, aws_keys(), folder.path()).await;
    let base = repository(ECR);
    assert!(client.check_access(&base).await.expect("a response").push.is_ok());
    assert!(proxy.presented_credentials(ECR).len() > 1, "{:?}", proxy.presented_credentials(ECR));
}

#[tokio::test]
async fn only_temporary_aws_keys_are_sent_with_a_session_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = format!("session-{CANARY}");
    let api = EcrApi {
        session_token: Some(session.clone()),
        ..EcrApi::new("ASIAIOSFODNN7EXAMPLE", CANARY)
    };
    let inputs = CredentialInputs::default()
        .variable("AWS_ACCESS_KEY_ID", "ASIAIOSFODNN7EXAMPLE")
        .variable("AWS_SECRET_ACCESS_KEY", CANARY)
        .variable("AWS_SESSION_TOKEN", &session);
    let (_proxy, client) = ecr(api, inputs, folder.path()).await;
    assert!(client.check_access(&repository(ECR)).await.expect("a response").push.is_ok());
    let api = EcrApi::new(KEY_ID, CANARY);
    let inputs = aws_keys().variable("AWS_SESSION_TOKEN", &session);
    let (_proxy, client) = ecr(api, inputs, folder.path()).await;
    assert!(client.check_access(&repository(ECR)).await.expect("a response").push.is_ok());
}

#[tokio::test]
async fn distinguishes_a_wrong_aws_key_from_a_wrong_clock() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = format!("session-{CANARY}");
    let temporary = CredentialInputs::default()
        .variable("AWS_ACCESS_KEY_ID", "ASIAIOSFODNN7EXAMPLE")
        .variable("AWS_SECRET_ACCESS_KEY", "wrong")
        .variable("AWS_SESSION_TOKEN", &session);
    let strict =
        EcrApi { session_token: Some(session), ..EcrApi::new("ASIAIOSFODNN7EXAMPLE", CANARY) };
    let late = EcrApi { clock_offset: 3725, ..EcrApi::new(KEY_ID, CANARY) };
    let early = EcrApi { clock_offset: -3725, ..EcrApi::new(KEY_ID, CANARY) };
    let unknown = EcrApi::new("AKIAANOTHER", CANARY);
    for (api, inputs, expected) in [
        (strict, temporary, "the secret access key is not the one"),
        (late, aws_keys(), "this machine's clock is 1h 2m behind AWS'"),
        (early, aws_keys(), "this machine's clock is 1h 2m ahead of AWS'"),
        (unknown, aws_keys(), "AWS does not know the access key"),
    ] {
        let (proxy, client) = ecr(api, inputs, folder.path()).await;
        let error = client.check_access(&repository(ECR)).await.expect_err(expected);
        assert!(matches!(error.kind(), RegistryErrorKind::Credentials { .. }), "{error:?}");
        assert_eq!(error.exit_code().number(), 9);
        let message = format!("{error:?} {}", Report::from(error.clone()));
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains(CANARY), "{message}");
        assert!(
            proxy.presented_credentials(ECR).is_empty(),
            "no request reaches the registry without a password"
        );
    }
}
