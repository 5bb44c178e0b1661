//! No secret shows in any error, whatever a registry says and does.

use basegen::error::{Report, one_line};
use basegen::registry::{Blob, RegistryError};

use crate::harness::registry::{Access, FakeRegistry, Fault, Rule};
use crate::harness::registry_client::{
    PASSWORD, account, authenticated_client, bearer_access, client_with,
    identity_token_credentials, options, sample_bytes, tag,
};

/// Every way in which an error can be written out.
fn told(error: &RegistryError) -> String {
    format!("{error} {error:?} {error:#?} {} {}", one_line(error), Report::from(error.clone()))
}

/// What is secret: the password, what it is sent as, and every token.
fn is_silent(text: &str) -> bool {
    let secrets = ["canary", PASSWORD, "Y2FuYXJ5", "JG9hdXRo", "cGFzcyR3b3Jk"];
    secrets.iter().all(|secret| !text.contains(secret))
}

/// What the requests of ours hold, as an answer may repeat it.
const SENT: [&str; 3] = [
    "canary:pass$word JG9hdXRodG9rZW46Y2FuYXJ5OnBhc3Mkd29yZA==",
    "canary:pass$word JG9hdXRodG9rZW46Y2FuYXJ5OnBhc3Mkd29yZA== canary-token-2",
    "canary-identity canary-token-2",
];

#[test]
fn the_canary_is_found_where_it_is() {
    assert!(!is_silent("Basic JG9hdXRodG9rZW46Y2FuYXJ5OnBhc3Mkd29yZA=="));
    assert!(!is_silent(PASSWORD));
    assert!(is_silent("failed to look up `registry/acme/base:v1`"));
}

#[tokio::test]
async fn passwords_and_tokens_show_nowhere() {
    let identified = {
        let mut account = account();
        account.identity_token = Some("canary-identity".to_owned());
        Access::Bearer(account)
    };
    for (access, sent) in
        [Access::Basic(account()), bearer_access(), identified].into_iter().zip(SENT)
    {
        let (is_basic, by_identity) =
            (matches!(access, Access::Basic(_)), sent.contains("identity"));
        let echo = |status| Fault::error(status, "DENIED", &format!("no: {sent}"));
        let echo_early = |status| {
            let message = sent.trim_end_matches(" canary-token-2");
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
            let client = if by_identity {
                client_with(&options(identity_token_credentials(&host, "canary-identity")))
            } else {
                authenticated_client(&registry)
            };
            let repository = registry.repository("acme/base");
            // The way is asked for before it fails, so that there is something to repeat.
            if path != "/token" {
                client.head(&repository, &tag("v1")).await.expect("an answer");
            }
            registry.fail(Rule::every(method, path, fault.clone()));
            let pushed = client.push_blob(&repository, &Blob::new(sample_bytes(10))).await;
            let told = told(&pushed.expect_err("refused"));
            assert!(is_silent(&told), "{access:?} {path} {fault:?}:\n{told}");
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_not_repeated_by_whom_it_was_sent_to() {
    // The token server of these tests says in its refusal what it was sent.
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let wrong = crate::harness::registry_client::password_credentials(
        &registry.host(),
        "$oauthtoken",
        "canary:pass$word2",
    );
    let client = client_with(&options(wrong));
    let found = client.head(&registry.repository("acme/base"), &tag("v1")).await;
    let told = told(&found.expect_err("refused"));
    assert!(told.contains("wrong: Basic …") && is_silent(&told), "{told}");

    let client =
        client_with(&options(identity_token_credentials(&registry.host(), "canary-identity")));
    let found = client.head(&registry.repository("acme/base"), &tag("v1")).await;
    let told = told.clone() + &self::told(&found.expect_err("refused"));
    assert!(is_silent(&told), "{told}");
}

#[tokio::test]
async fn the_state_of_an_upload_shows_nowhere() {
    let registry = FakeRegistry::start().await;
    for fault in [Fault::status(404), Fault::Drop, Fault::status(400)] {
        registry.fail(Rule::every("PUT", "*", fault));
        let repository = registry.repository("acme/base");
        let pushed = authenticated_client(&registry)
            .push_blob(&repository, &Blob::new(sample_bytes(10)))
            .await;
        let told = told(&pushed.expect_err("refused"));
        assert!(is_silent(&told), "{told}");
        registry.clear_faults();
    }
}
