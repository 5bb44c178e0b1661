//! Every way to credentials, at a registry that asks for exactly them.

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

/// A client whose way to `hosts` leads through the proxy.
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
async fn every_way_is_let_in_with_exactly_what_was_given() {
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
async fn whoever_gives_anything_else_is_refused_and_nothing_of_it_is_shown() {
    for CredentialCase { host, api, mut registry, inputs } in credential_cases() {
        let folder = tempfile::tempdir().expect("a folder");
        let proxy = RegistryProxy::start().await;
        registry.secret += "x";
        proxy.add_registry(api, registry);
        proxy.set_ecr_api(EcrApi::new(KEY_ID, "another"));
        let sources = inputs.sources(&proxy, folder.path());
        let shown = format!("{sources:?}");
        assert!(!shown.contains(CANARY), "{shown}");
        let client = client(&proxy, &[host], Credentials::load(sources).expect("credentials"));
        let access = client.check_access(&repository(host)).await;
        let told = match access {
            Ok(access) => {
                assert!(access.pull.is_err(), "{host}: {access:?}");
                format!("{access:?} {}", access.push.as_ref().expect_err("a reason"))
            }
            Err(error) => format!("{error:?} {}", Report::from(error.clone())),
        };
        assert!(told.contains("401") || told.contains("InvalidSignature"), "{host}: {told}");
        for secret in [CANARY.to_owned(), STANDARD.encode(CANARY)] {
            assert!(!told.contains(&secret), "{host}: {told}");
        }
    }
}

#[tokio::test]
async fn a_registry_that_repeats_a_secret_does_not_make_it_shown() {
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
            let told: Vec<String> =
                refusals.iter().flatten().map(|kind| format!("{kind} {:?}", kind.hint())).collect();
            assert!(!told.is_empty(), "{host}: {access:?}");
            let told = format!("{told:?} {access:?}");
            assert!(told.contains("DENIED"), "{host}: {told}");
            let password = "ecr-password";
            assert!(!told.contains(CANARY) && !told.contains(password), "{host}: {told}");
        }
    }
}

#[tokio::test]
async fn a_user_who_may_only_pull_is_told_apart() {
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
        let access = client.check_access(&repository("ghcr.io")).await.expect("an answer");
        assert!(access.pull.is_ok(), "{scheme:?}: {access:?}");
        let refusal = access.push.expect_err("a reason").to_string();
        assert!(refusal.contains("repository:acme/base"), "the scope is named: {refusal}");
    }
}

/// A client of ECR with keys, and the proxy that it goes through.
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
async fn a_password_of_ecr_that_ended_is_replaced_once() {
    // Long before it said that it would, and told in each of the two ways.
    for expired_secret in ["", "ecr-password-1"] {
        let folder = tempfile::tempdir().expect("a folder");
        let (proxy, client) = ecr(EcrApi::new(KEY_ID, CANARY), aws_keys(), folder.path()).await;
        let at = repository(ECR);
        assert!(client.check_access(&at).await.expect("an answer").push.is_ok());
        proxy.add_registry(
            ECR,
            ProtectedRegistry {
                expired_secret,
                ..ProtectedRegistry::new(AuthScheme::Basic, "AWS", "another")
            },
        );
        assert!(client.check_access(&at).await.expect("an answer").push.is_ok());
        assert_eq!(proxy.presented_credentials(ECR), ["AWS:ecr-password-1", "AWS:ecr-password-2"]);
    }
}

#[tokio::test]
async fn a_password_near_its_end_is_renewed_before_it_is_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = EcrApi { password_lifetime: 9 * 60, ..EcrApi::new(KEY_ID, CANARY) };
    let (proxy, client) = ecr(api, aws_keys(), folder.path()).await;
    let at = repository(ECR);
    assert!(client.check_access(&at).await.expect("an answer").push.is_ok());
    assert!(proxy.presented_credentials(ECR).len() > 1, "{:?}", proxy.presented_credentials(ECR));
}

#[tokio::test]
async fn temporary_keys_are_sent_with_their_token_and_others_without_one() {
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
    let (_door, client) = ecr(api, inputs, folder.path()).await;
    assert!(client.check_access(&repository(ECR)).await.expect("an answer").push.is_ok());
    let api = EcrApi::new(KEY_ID, CANARY);
    let inputs = aws_keys().variable("AWS_SESSION_TOKEN", &session);
    let (_door, client) = ecr(api, inputs, folder.path()).await;
    assert!(client.check_access(&repository(ECR)).await.expect("an answer").push.is_ok());
}

#[tokio::test]
async fn a_wrong_key_and_a_wrong_clock_are_told_apart() {
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
        let told = format!("{error:?} {}", Report::from(error.clone()));
        assert!(told.contains(expected), "{told}");
        assert!(!told.contains(CANARY), "{told}");
        assert!(
            proxy.presented_credentials(ECR).is_empty(),
            "nobody goes to the registry without a password"
        );
    }
}
