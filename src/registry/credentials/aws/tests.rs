use reqsign_aws_v4::Credential as Keys;
use secrecy::ExposeSecret as _;
use std::time::Duration;

use super::ecr::{EcrHost, describe, harmless};
use crate::error::{Explain as _, one_line};
use crate::registry::credentials::cloud::MAX_ANSWER;
use crate::registry::credentials::{Credential, Credentials};
use crate::registry::testing::{EcrApi, advance_clock, aws_iam};

/// A secret that no error and no debug output may contain.
const CANARY: &str = "canary-b7";

const HOST: &str = "registry.acme.example";

const KEYS: [(&str, &str); 2] =
    [("aws_access_key_id", "AKIAIOSFODNN7EXAMPLE"), ("aws_secret_access_key", CANARY)];

async fn ecr_password(credentials: &Credentials) -> String {
    match credentials.get(HOST).await.expect("credentials").expect("a credential") {
        Credential::Password { username, password } => {
            assert_eq!(username, "AWS");
            password.expose_secret().to_owned()
        }
        Credential::IdentityToken(_) => panic!("expected a password"),
    }
}

async fn failure(credentials: &Credentials) -> String {
    let error = credentials.get(HOST).await.expect_err("a failure");
    let text = format!("{} {:?}", one_line(&*error), error.hint());
    assert!(!format!("{text} {error:?} {credentials:?}").contains(CANARY), "{text}");
    text
}

#[tokio::test]
async fn a_password_is_renewed_ten_minutes_before_it_expires() {
    let api = EcrApi::start(12 * 60 * 60).await;
    let credentials = Credentials::load(api.sources(HOST, &KEYS)).expect("credentials");
    let both = tokio::join!(ecr_password(&credentials), ecr_password(&credentials));
    assert_eq!(both, ("ecr-1".to_owned(), "ecr-1".to_owned()));
    advance_clock(Duration::from_secs(12 * 60 * 60 - 11 * 60)).await;
    assert_eq!(ecr_password(&credentials).await, "ecr-1");
    advance_clock(Duration::from_secs(90)).await;
    assert_eq!(ecr_password(&credentials).await, "ecr-2");
    assert_eq!(api.calls(), 2);
}

#[tokio::test]
async fn a_password_that_expires_soon_is_renewed_before_use() {
    let api = EcrApi::start(9 * 60).await;
    let credentials = Credentials::load(api.sources(HOST, &KEYS)).expect("credentials");
    assert_eq!(ecr_password(&credentials).await, "ecr-1");
    assert_eq!(ecr_password(&credentials).await, "ecr-2");
}

#[tokio::test]
async fn the_expiry_is_measured_with_the_clock_of_the_server() {
    // By the clock of this machine, the password would be valid for 13 hours.
    let api = EcrApi::start(12 * 60 * 60).await;
    api.set_clock_offset(60 * 60);
    let credentials = Credentials::load(api.sources(HOST, &KEYS)).expect("credentials");
    assert_eq!(ecr_password(&credentials).await, "ecr-1");
    advance_clock(Duration::from_secs(12 * 60 * 60 - 9 * 60)).await;
    assert_eq!(ecr_password(&credentials).await, "ecr-2");
}

#[tokio::test]
async fn a_password_that_cannot_be_renewed_is_used_until_it_expires() {
    let api = EcrApi::start(60 * 60).await;
    let credentials = Credentials::load(api.sources(HOST, &KEYS)).expect("credentials");
    assert_eq!(ecr_password(&credentials).await, "ecr-1");
    api.fail(Some((400, r#"{"__type": "AccessDeniedException", "message": "not now"}"#)));
    advance_clock(Duration::from_secs(51 * 60)).await;
    assert_eq!(ecr_password(&credentials).await, "ecr-1");
    assert_eq!(ecr_password(&credentials).await, "ecr-1");
    assert_eq!(api.calls(), 2, "requests do not repeat a failed renewal");
    advance_clock(Duration::from_secs(10 * 60)).await;
    let text = failure(&credentials).await;
    assert!(text.contains("AccessDeniedException (status 400): not now"), "{text}");
}

#[tokio::test]
async fn temporary_failures_are_retried() {
    let api = EcrApi::start(60 * 60).await;
    api.fail(Some((503, r#"{"__type": "ServerException"}"#)));
    let credentials = Credentials::load(api.sources(HOST, &KEYS)).expect("credentials");
    assert!(failure(&credentials).await.contains("ServerException (status 503)"));
    assert_eq!(api.calls(), 3);
    api.fail(None);
    assert!(failure(&credentials).await.contains("503"), "requests do not repeat a failed lookup");
    advance_clock(RETRY_INTERVAL).await;
    assert_eq!(ecr_password(&credentials).await, "ecr-4");
}

/// Longer than a temporary failure is cached.
const RETRY_INTERVAL: Duration = Duration::from_secs(31);

#[tokio::test]
async fn refusals_have_a_hint_and_contain_no_key() {
    let cases = [
        (403, "UnrecognizedClientException", "The security token is invalid.", "may be deleted"),
        (400, "ExpiredTokenException", "The token is expired.", "new temporary keys"),
        (400, "AccessDeniedException", "User: arn is not authorized", "ecr:GetAuthorizationToken"),
        (403, "InvalidSignatureException", CANARY, "not the one that belongs"),
        (400, "OtherException", "a canary-b7 b", "OtherException (status 400)"),
    ];
    for (status, code, message, expected) in cases {
        let api = EcrApi::start(60).await;
        let body = format!(r#"{{"__type": "com.amazon#{code}", "message": "{message}"}}"#);
        api.fail(Some((status, &body)));
        let credentials = Credentials::load(api.sources(HOST, &KEYS)).expect("credentials");
        let text = failure(&credentials).await;
        assert!(text.contains(expected) && text.contains(code), "{text}");
        assert_eq!(api.calls(), 1, "{code} is not retried");
    }
}

#[tokio::test]
async fn a_wrong_clock_is_reported_with_its_offset() {
    let api = EcrApi::start(60).await;
    api.set_clock_offset(62 * 60 + 5);
    let message = "Signature expired: 20260101T000000Z is now earlier than 20260101T005700Z";
    let body = format!(r#"{{"__type": "InvalidSignatureException", "message": "{message}"}}"#);
    api.fail(Some((403, &body)));
    let credentials = Credentials::load(api.sources(HOST, &KEYS)).expect("credentials");
    let text = failure(&credentials).await;
    assert!(text.contains("this machine's clock is 1h 2m behind AWS'"), "{text}");
    assert!(text.contains("set the clock"), "{text}");
}

#[tokio::test]
async fn responses_of_other_servers_are_rejected() {
    for (status, body) in
        [(200, "<html>canary-b7</html>"), (200, r#"{"authorizationData": []}"#), (404, "canary-b7")]
    {
        let api = EcrApi::start(60).await;
        api.fail(Some((status, body)));
        let credentials = Credentials::load(api.sources(HOST, &KEYS)).expect("credentials");
        let text = failure(&credentials).await;
        assert!(text.contains("but not as the API of a cloud does"), "{text}");
    }
    let api = EcrApi::start(60).await;
    api.fail(Some((200, &"x".repeat(MAX_ANSWER + 1))));
    let credentials = Credentials::load(api.sources(HOST, &KEYS)).expect("credentials");
    assert!(failure(&credentials).await.contains("not as the API of a cloud does"));
}

#[tokio::test]
async fn missing_settings_are_reported_before_any_request() {
    let api = EcrApi::start(60).await;
    let load = |variables: &[(&str, &str)]| {
        Credentials::load(api.sources(HOST, variables)).expect("credentials")
    };
    let text = failure(&load(&KEYS[..1])).await;
    assert!(text.contains("`aws_secret_access_key` or `AWS_SECRET_ACCESS_KEY`"), "{text}");
    assert!(text.contains("is not set"), "{text}");
    let temporary =
        [("AWS_ACCESS_KEY_ID", "ASIAIOSFODNN7EXAMPLE"), ("AWS_SECRET_ACCESS_KEY", CANARY)];
    let text = failure(&load(&temporary)).await;
    assert!(text.contains("the access key is a temporary one"), "{text}");
    let mut sources = api.sources(HOST, &KEYS);
    sources.variables = [("AWS_ENDPOINT_URL".to_owned(), Some(CANARY.into()))]
        .into_iter()
        .chain(KEYS.map(|(name, value)| (name.to_owned(), Some(value.into()))))
        .collect();
    let text = failure(&Credentials::load(sources).expect("credentials")).await;
    assert!(text.contains("`AWS_ENDPOINT_URL` is not the URL of an endpoint"), "{text}");
    let mut sources = api.sources(HOST, &KEYS);
    sources.methods.insert(HOST.to_owned(), aws_iam(None));
    let text = failure(&Credentials::load(sources).expect("credentials")).await;
    assert!(text.contains("not that of a private ECR registry"), "{text}");
    assert!(text.contains("aws_region"), "{text}");
    assert_eq!(api.calls(), 0);
}

#[test]
fn the_host_contains_region_and_endpoint() {
    for (host, region, endpoint) in [
        (
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "eu-west-1",
            "https://api.ecr.eu-west-1.amazonaws.com/",
        ),
        (
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
            "cn-north-1",
            "https://api.ecr.cn-north-1.amazonaws.com.cn/",
        ),
        (
            "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
            "us-gov-west-1",
            "https://ecr-fips.us-gov-west-1.amazonaws.com/",
        ),
        ("123456789012.dkr-ecr.us-east-2.on.aws", "us-east-2", "https://ecr.us-east-2.api.aws/"),
        (
            "123456789012.dkr-ecr-fips.us-east-2.on.aws",
            "us-east-2",
            "https://ecr-fips.us-east-2.api.aws/",
        ),
        (
            "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
            "cn-north-1",
            "https://ecr.cn-north-1.api.amazonwebservices.com.cn/",
        ),
    ] {
        let account = "123456789012";
        let expected = EcrHost { account, region, endpoint: endpoint.to_owned() };
        assert_eq!(EcrHost::parse(host), Some(expected), "{host}");
    }
}

#[test]
fn similar_hosts_are_not_ecr_registries() {
    // No request may be signed for an endpoint that a host of another owner determines.
    for host in [
        "public.ecr.aws",
        "ghcr.io",
        "12345.dkr.ecr.eu-west-1.amazonaws.com",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com.example.org",
        "123456789012.dkr.ecr.eu-west-1.example.org",
        "123456789012.dkr.ecr.eu/west.amazonaws.com",
        "123456789012.dkr.ecr..amazonaws.com",
        "123456789012.dkr.ecr.eu-west-1.on.aws",
        "123456789012.dkr-ecr.eu-west-1.amazonaws.com",
        "123456789012.dkr.ecrx.eu-west-1.amazonaws.com",
    ] {
        assert_eq!(EcrHost::parse(host), None, "{host}");
    }
}

#[test]
fn offsets_use_the_two_largest_units() {
    assert_eq!(describe(3720), "1h 2m ahead of AWS'");
    assert_eq!(describe(-300), "5m behind AWS'");
    assert_eq!(describe(-90_000), "1d 1h behind AWS'");
}

#[test]
fn messages_with_a_key_are_hidden() {
    let keys = Keys {
        access_key_id: "ASIAEXAMPLE".into(),
        secret_access_key: "secret-canary".into(),
        session_token: Some("token-canary".into()),
        expires_in: None,
    };
    for text in ["is ASIAEXAMPLE", "x secret-canary", "token-canary\n"] {
        assert_eq!(harmless(text, &keys), None);
    }
    assert_eq!(harmless("not\nallowed", &keys).as_deref(), Some("not allowed"));
}
