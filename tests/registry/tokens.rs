//! Expiring tokens and refused requests.

use std::time::Duration;

use basegen::registry::{
    Authentication, Blob, Credentials, Manifest, RegistryError, RegistryErrorKind,
};
use futures_util::future::join_all;

use crate::harness::registry::{Access, FakeRegistry, Fault, Rule};
use crate::harness::registry_client::{
    PASSWORD, account, add_image, authenticated_client, bearer_access, client, client_with,
    format_error, identity_token_credentials, options, password_credentials, push_image,
    sample_bytes, tag,
};

#[tokio::test]
async fn a_token_is_asked_for_once_by_all() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    add_image(&registry, "acme/base", "v1");
    let (client, repository, name) =
        (authenticated_client(&registry), registry.repository("acme/base"), tag("v1"));
    let found = join_all((0..8).map(|_| client.head(&repository, &name))).await;
    assert!(found.into_iter().all(|found| found.is_ok_and(|found| found.is_some())));
    client.manifest(&repository, &name).await.expect("an answer");
    assert_eq!(registry.count("GET", "/token"), 1);
}

#[tokio::test]
async fn a_token_that_ends_during_a_push_is_renewed_once() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/base"));
    push_image(&client, &repository, "v1", sample_bytes(10)).await.expect("pushed");
    registry.clear_requests();
    registry.revoke_tokens();
    push_image(&client, &repository, "v2", sample_bytes(5_000_000)).await.expect("pushed");
    assert_eq!(registry.count("GET", "/token"), 1);
}

/// Pushes a blob. Its token ends while it is sent, and `meanwhile` happens.
async fn push_beyond_a_token(
    registry: &FakeRegistry,
    meanwhile: impl FnOnce(&FakeRegistry),
) -> Result<Manifest, RegistryError> {
    let (client, repository) = (authenticated_client(registry), registry.repository("acme/base"));
    let hanging = registry.fail(Rule::first("PUT", "*/blobs/uploads/*", Fault::Hang));
    let pushing = tokio::spawn(async move {
        push_image(&client, &repository, "v1", sample_bytes(5_000_000)).await
    });
    hanging.wait_until_used().await;
    registry.revoke_tokens();
    registry.clear_requests();
    meanwhile(registry);
    hanging.release();
    pushing.await.expect("no panic")
}

#[tokio::test]
async fn a_token_that_ends_during_an_upload_is_renewed_too() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    push_beyond_a_token(&registry, |_| ()).await.expect("pushed");
    assert_eq!(registry.count("GET", "/token"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_its_end() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    add_image(&registry, "acme/base", "v1");
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/base"));
    client.head(&repository, &tag("v1")).await.expect("an answer");
    tokio::time::advance(Duration::from_secs(260)).await;
    client.head(&repository, &tag("v1")).await.expect("an answer");
    assert_eq!(registry.count("GET", "/token"), 1);
    tokio::time::advance(Duration::from_secs(15)).await;
    client.head(&repository, &tag("v1")).await.expect("an answer");
    assert_eq!(registry.count("GET", "/token"), 2);
}

#[tokio::test]
async fn an_identity_token_is_exchanged() {
    let mut account = account();
    account.identity_token = Some("canary-identity".to_owned());
    let registry = FakeRegistry::start_with(Access::Bearer(account)).await;
    let client =
        client_with(&options(identity_token_credentials(&registry.host(), "canary-identity")));
    push_image(&client, &registry.repository("acme/base"), "v1", sample_bytes(10))
        .await
        .expect("pushed");
    assert!(registry.count("POST", "/token") > 0);
    assert_eq!(registry.count("GET", "/token"), 0);
}

#[tokio::test]
async fn a_password_is_sent_where_there_are_no_tokens() {
    let registry = FakeRegistry::start_with(Access::Basic(account())).await;
    let client = authenticated_client(&registry);
    push_image(&client, &registry.repository("acme/base"), "v1", sample_bytes(10))
        .await
        .expect("pushed");
    assert_eq!(registry.count("*", "/token"), 0);
    let refused = registry.requests().iter().filter(|seen| seen.authorization.is_none()).count();
    assert_eq!(refused, 1);
}

#[tokio::test]
async fn a_wrong_password_is_sent_once() {
    for access in [Access::Basic(account()), bearer_access()] {
        let registry = FakeRegistry::start_with(access).await;
        let client =
            client_with(&options(password_credentials(&registry.host(), "someone", "wrong")));
        let found = client.head(&registry.repository("acme/base"), &tag("v1")).await;
        let error = found.expect_err("refused");
        assert!(matches!(
            error.kind(),
            RegistryErrorKind::Denied { authentication: Authentication::Credential, .. }
        ));
        let with_password = |seen: &crate::harness::registry::RecordedRequest| {
            seen.authorization.as_ref().is_some_and(|value| value.starts_with("Basic"))
        };
        assert_eq!(registry.requests().iter().filter(|seen| with_password(seen)).count(), 1);
    }
}

#[tokio::test]
async fn an_identity_token_is_not_for_a_registry_without_a_token_server() {
    let registry = FakeRegistry::start_with(Access::Basic(account())).await;
    let manifest = add_image(&registry, "acme/base", "v1");
    let client =
        client_with(&options(identity_token_credentials(&registry.host(), "canary-identity")));
    let repository = registry.repository("acme/base");
    let pushed = client.put_manifest(&repository, &tag("v2"), &manifest).await;
    let first = format_error(pushed.expect_err("refused"), &registry);
    insta::assert_snapshot!(first, @r"
    error: failed to push the manifest of `registry/acme/base:v2`
      caused by: `registry` refused `repository:acme/base:pull,push` with 401 Unauthorized: UNAUTHORIZED: authentication required; the configured identity token requires a token server, and this registry has none

    hint: log in with a username and a password: `docker login registry`
    ");
    // The next knows beforehand how it will be asked.
    let pushed = client.put_manifest(&repository, &tag("v2"), &manifest).await;
    assert_eq!(format_error(pushed.expect_err("refused"), &registry), first);
    let access = client.check_access(&repository).await.expect("an answer");
    assert!(access.pull.is_err() && access.push.is_err());
    // One that asks nobody, and hides what it has.
    let client =
        client_with(&options(identity_token_credentials(&registry.host(), "canary-identity")));
    registry.fail(Rule::every("HEAD", "*", Fault::error(403, "DENIED", "no")));
    let error = client.head(&repository, &tag("v1")).await.expect_err("refused");
    assert!(matches!(
        error.kind(),
        RegistryErrorKind::Denied { status: 403, authentication: Authentication::UnusedToken, .. }
    ));
    assert!(registry.requests().iter().all(|seen| seen.authorization.is_none()));
}

#[tokio::test]
async fn an_identity_token_does_not_keep_from_what_is_public() {
    let registry = FakeRegistry::start_with(Access::Basic(account())).await;
    let client =
        client_with(&options(identity_token_credentials(&registry.host(), "canary-identity")));
    let repository = registry.repository("acme/base");
    client.tags(&repository).await.expect_err("refused");
    registry.set_access(Access::Open);
    assert_eq!(client.tags(&repository).await.expect("an answer"), None);
}

#[tokio::test]
async fn nobody_may_pull_where_that_is_allowed() {
    let mut account = account();
    account.allows_anonymous_pull = true;
    let registry = FakeRegistry::start_with(Access::Bearer(account)).await;
    let manifest = add_image(&registry, "acme/base", "v1");
    let (client, repository) = (client(), registry.repository("acme/base"));
    assert!(client.head(&repository, &tag("v1")).await.expect("an answer").is_some());
    let pushed = client.put_manifest(&repository, &tag("v2"), &manifest).await;
    insta::assert_snapshot!(format_error(pushed.expect_err("refused"), &registry), @r"
    error: failed to push the manifest of `registry/acme/base:v2`
      caused by: `registry` refused `repository:acme/base:pull,push` without credentials, with 401 Unauthorized: UNAUTHORIZED: wrong:

    hint: no credentials were found; run `docker login registry`
    ");
}

#[tokio::test]
async fn who_may_only_pull_is_told_what_is_missing() {
    let mut account = account();
    account.grants = vec!["repository:acme/base:pull".to_owned()];
    let registry = FakeRegistry::start_with(Access::Bearer(account)).await;
    let manifest = add_image(&registry, "acme/base", "v1");
    let client = authenticated_client(&registry);
    let repository = registry.repository("acme/base");
    client.head(&repository, &tag("v1")).await.expect("an answer");
    let pushed = client.put_manifest(&repository, &tag("v2"), &manifest).await;
    insta::assert_snapshot!(format_error(pushed.expect_err("refused"), &registry), @r"
    error: failed to push the manifest of `registry/acme/base:v2`
      caused by: `registry` refused `repository:acme/base:pull,push` with 401 Unauthorized: UNAUTHORIZED: authentication required

    hint: run `basegen auth check` to see which credentials are used for `registry` and what they allow
    ");
    assert_eq!(registry.count("PUT", "*"), 1);
}

#[tokio::test]
async fn forbidden_is_not_asked_again() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let manifest = add_image(&registry, "acme/base", "v1");
    registry.fail(Rule::every("PUT", "*", Fault::error(403, "DENIED", "quota of 5 GB exceeded")));
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/base"));
    client.head(&repository, &tag("v1")).await.expect("an answer");
    let pushed = client.put_manifest(&repository, &tag("v2"), &manifest).await;
    insta::assert_snapshot!(format_error(pushed.expect_err("refused"), &registry), @r"
    error: failed to push the manifest of `registry/acme/base:v2`
      caused by: `registry` refused `repository:acme/base:pull,push` with 403 Forbidden: DENIED: quota of 5 GB exceeded

    hint: run `basegen auth check` to see which credentials are used for `registry` and what they allow
    ");
    assert_eq!(registry.count("PUT", "*"), 1);
}

#[tokio::test]
async fn a_token_that_is_said_to_have_expired_is_renewed() {
    // Amazon's registry says so with 403.
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let manifest = add_image(&registry, "acme/base", "v1");
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/base"));
    client.head(&repository, &tag("v1")).await.expect("an answer");
    let fault = Fault::error(403, "DENIED", "Your authorization token has expired.");
    registry.fail(Rule::first("GET", "*/manifests/*", fault));
    let found = client.manifest(&repository, &tag("v1")).await.expect("an answer");
    assert_eq!(found, Some(manifest));
    assert_eq!(registry.count("GET", "/token"), 2);
}

#[tokio::test]
async fn names_that_are_refused_are_not_asked_for_again() {
    // Where nobody was asked who they are, that is asked for once before a no is believed.
    for (status, code, requests) in [
        (400, "NAME_INVALID", 1),
        (404, "NAME_UNKNOWN", 3),
        (403, "DENIED", 2),
        (405, "UNSUPPORTED", 1),
    ] {
        let registry = FakeRegistry::start().await;
        registry.fail(Rule::every("*", "*", Fault::error(status, code, "no")));
        let repository = registry.repository("acme/base");
        let pushed = client().push_blob(&repository, &Blob::new(sample_bytes(1))).await;
        assert!(!pushed.expect_err("refused").is_transient());
        assert_eq!(registry.count("*", "*"), requests, "{code}");
    }
}

#[tokio::test]
async fn what_is_hidden_from_nobody_is_seen_by_who_says_who_they_are() {
    // The registry does not ask: to nobody, the repository is not there.
    for hidden in [404, 403] {
        let registry = FakeRegistry::start_with(bearer_access()).await;
        let manifest = add_image(&registry, "acme/base", "v1");
        registry.fail(Rule::every("HEAD", "*", Fault::status(hidden)).times(3));
        let (client, repository, name) =
            (authenticated_client(&registry), registry.repository("acme/base"), tag("v1"));
        let found = join_all((0..3).map(|_| client.head(&repository, &name))).await;
        for found in found {
            assert_eq!(found.expect("an answer"), Some(manifest.descriptor()));
        }
        assert_eq!(registry.count("GET", "/v2/"), 1);
    }
}

#[tokio::test]
async fn a_token_server_that_is_busy_is_asked_again() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    add_image(&registry, "acme/base", "v1");
    registry.fail(Rule::every("GET", "/token", Fault::status(503)).times(2));
    let found =
        authenticated_client(&registry).head(&registry.repository("acme/base"), &tag("v1")).await;
    assert!(found.expect("an answer").is_some());
    assert_eq!(registry.count("GET", "/token"), 3);
}

#[tokio::test]
async fn a_token_server_that_is_down_is_asked_as_often_as_a_registry_is() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    registry.fail(Rule::every("GET", "/token", Fault::status(503)));
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/base"));
    let manifest = add_image(&registry, "acme/base", "v1");
    let (blob, name) = (Blob::new(sample_bytes(10)), tag("v1"));
    for (what, error) in [
        ("HEAD", client.head(&repository, &name).await.expect_err("down")),
        ("PUT", client.put_manifest(&repository, &name, &manifest).await.expect_err("down")),
        ("DELETE", client.delete(&repository, &name).await.expect_err("down")),
        ("POST", client.push_blob(&repository, &blob).await.expect_err("down")),
    ] {
        assert!(error.is_transient(), "{what}: {}", format_error(error, &registry));
    }
    assert_eq!(registry.count("GET", "/token"), 4 * 6);
    // The first was asked who it is; the others knew that they would be.
    assert_eq!(registry.count("*", "/v2/*"), 1);
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_ends_an_upload() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let pushed = push_beyond_a_token(&registry, |registry| {
        registry.fail(Rule::every("GET", "/token", Fault::status(503)));
    });
    assert!(pushed.await.expect_err("down").is_transient());
    assert_eq!(registry.count("GET", "/token"), 6);
    assert_eq!(registry.count("*", "/v2/*"), 0);
}

#[tokio::test]
async fn what_is_no_token_is_told() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let body = format!("<html>{PASSWORD}");
    registry.fail(Rule::every(
        "GET",
        "/token",
        Fault::Response { status: 200, headers: vec![], body: body.into() },
    ));
    let found =
        authenticated_client(&registry).head(&registry.repository("acme/base"), &tag("v1")).await;
    insta::assert_snapshot!(format_error(found.expect_err("no token"), &registry), @r"
    error: failed to look up `registry/acme/base:v1`
      caused by: `registry` returned an invalid token: it is not valid JSON
    ");
}

#[tokio::test]
async fn credentials_that_cannot_be_had_are_told() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = serde_json::json!({ "auths": { registry.host(): { "auth": "canary" } } });
    fs_err::write(folder.path().join("config.json"), config.to_string()).expect("written");
    let docker = basegen::registry::DockerConfig {
        folder: Some(folder.path().to_owned()),
        search_path: None,
    };
    let client = client_with(&options(Credentials::load(&docker).expect("a configuration")));
    let found = client.head(&registry.repository("acme/base"), &tag("v1")).await;
    let error = found.expect_err("no credentials");
    assert!(matches!(error.kind(), RegistryErrorKind::Credentials { .. }));
    assert!(!format_error(error, &registry).contains("canary"));
}
