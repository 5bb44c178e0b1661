//! Errors contain no secrets, even if the registry repeats them.

use basegen::error::{Report, one_line};
use basegen::registry::{Blob, RegistryError};

use crate::harness::registry::{Access, FakeRegistry, Fault, Rule};
use crate::harness::registry_client::{
    PASSWORD, account, authenticated_client, bearer_access, client_with,
    identity_token_credentials, options, password_credentials, sample_bytes, tag,
};

/// Formats the error in every way.
fn format_all(error: &RegistryError) -> String {
    format!("{error} {error:?} {error:#?} {} {}", one_line(error), Report::from(error.clone()))
}

/// Returns true if `text` contains neither a token nor the password, also in its encodings.
fn has_no_secret(text: &str) -> bool {
    let secrets = ["canary", PASSWORD, "Y2FuYXJ5", "JG9hdXRo", "cGFzcyR3b3Jk"];
    secrets.iter().all(|secret| !text.contains(secret))
}

/// The secrets that requests contain, for each kind of access, as a response may repeat them.
const SENT_SECRETS: [&str; 3] = [
    "canary:pass$word JG9hdXRodG9rZW46Y2FuYXJ5OnBhc3Mkd29yZA==",
    "canary:pass$word JG9hdXRodG9rZW46Y2FuYXJ5OnBhc3Mkd29yZA== canary-token-2",
    "canary-identity canary-token-2",
];

#[test]
fn secrets_are_detected() {
    assert!(!has_no_secret("Basic JG9hdXRodG9rZW46Y2FuYXJ5OnBhc3Mkd29yZA=="));
    assert!(!has_no_secret(PASSWORD));
    assert!(has_no_secret("failed to look up `registry/acme/base:v1`"));
}

#[tokio::test]
async fn errors_contain_no_passwords_and_no_tokens() {
    let identity_access = {
        let mut account = account();
        account.identity_token = Some("canary-identity".to_owned());
        Access::Bearer(account)
    };
    for (access, secrets) in
        [Access::Basic(account()), bearer_access(), identity_access].into_iter().zip(SENT_SECRETS)
    {
        let (is_basic, uses_identity_token) =
            (matches!(access, Access::Basic(_)), secrets.contains("identity"));
        let echo = |status| Fault::error(status, "DENIED", &format!("no: {secrets}"));
        let echo_early = |status| {
            let message = secrets.trim_end_matches(" canary-token-2");
            Fault::error(status, "DENIED", &format!("no: {message}"))
        };
        for (method, path, fault) in [
            ("*", "/v2/*", echo(403)),
            ("*", "/v2/*", echo(500)),
            ("*", "/token", echo_early(401)),
            ("*", "/token", echo_early(503)),
            ("*", "/token", Fault::Drop),
            ("PUT", "*", echo(400)),
            ("*", "*", Fault::Drop),
        ] {
            if is_basic && path == "/token" {
                continue;
            }
            let registry = FakeRegistry::start_with(access.clone()).await;
            let host = registry.host();
            let client = if uses_identity_token {
                client_with(&options(identity_token_credentials(&host, "canary-identity")))
            } else {
                authenticated_client(&registry)
            };
            let repository = registry.repository("acme/base");
            // This request gets a token, so that the error has something to repeat.
            if path != "/token" {
                client.head(&repository, &tag("v1")).await.expect("a response");
            }
            registry.fail(Rule::every(method, path, fault.clone()));
            let pushed = client.push_blob(&repository, &Blob::new(sample_bytes(10))).await;
            let text = format_all(&pushed.expect_err("refused"));
            assert!(has_no_secret(&text), "{access:?} {path} {fault:?}:\n{text}");
        }
    }
}

#[tokio::test]
async fn errors_do_not_contain_a_wrong_password_that_a_token_server_repeats() {
    // The fake token server repeats the credentials in its refusal.
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let wrong = password_credentials(&registry.host(), "$oauthtoken", "canary:pass$word2");
    let client = client_with(&options(wrong));
    let result = client.head(&registry.repository("acme/base"), &tag("v1")).await;
    let text = format_all(&result.expect_err("refused"));
    assert!(text.contains("wrong: Basic …") && has_no_secret(&text), "{text}");

    let client =
        client_with(&options(identity_token_credentials(&registry.host(), "canary-identity")));
    let result = client.head(&registry.repository("acme/base"), &tag("v1")).await;
    let text = text.clone() + &format_all(&result.expect_err("refused"));
    assert!(has_no_secret(&text), "{text}");
}

#[tokio::test]
async fn errors_do_not_contain_the_state_of_an_upload() {
    let registry = FakeRegistry::start().await;
    for fault in [Fault::status(404), Fault::Drop, Fault::status(400)] {
        registry.fail(Rule::every("PUT", "*", fault));
        let repository = registry.repository("acme/base");
        let pushed = authenticated_client(&registry)
            .push_blob(&repository, &Blob::new(sample_bytes(10)))
            .await;
        let text = format_all(&pushed.expect_err("refused"));
        assert!(has_no_secret(&text), "{text}");
        registry.clear_faults();
    }
}
