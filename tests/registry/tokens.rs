//! Token servers, expired tokens and refused requests.

use std::time::Duration;

use basegen::registry::{
    Authentication, Blob, Credentials, Manifest, RegistryError, RegistryErrorKind,
};
use futures_util::future::join_all;

use crate::harness::registry::{Access, FakeRegistry, Fault, RecordedRequest, Rule};
use crate::harness::registry_client::{
    PASSWORD, account, add_image, authenticated_client, bearer_access, client, client_with,
    format_error, identity_token_credentials, options, password_credentials, push_image,
    sample_bytes, tag,
};

#[tokio::test]
async fn concurrent_requests_share_one_token() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    add_image(&registry, "acme/base", "v1");
    let (client, repository, name) =
        (authenticated_client(&registry), registry.repository("acme/base"), tag("v1"));
    let results = join_all((0..8).map(|_| client.head(&repository, &name))).await;
    assert!(results.into_iter().all(|result| result.is_ok_and(|manifest| manifest.is_some())));
    client.manifest(&repository, &name).await.expect("a response");
    assert_eq!(registry.count("GET", "/token"), 1);
}

#[tokio::test]
async fn a_revoked_token_is_renewed_once() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/base"));
    push_image(&client, &repository, "v1", sample_bytes(10)).await.expect("pushed");
    registry.clear_requests();
    registry.revoke_tokens();
    push_image(&client, &repository, "v2", sample_bytes(5_000_000)).await.expect("pushed");
    assert_eq!(registry.count("GET", "/token"), 1);
}

/// Pushes an image. Its token is revoked during the upload of a blob; `meanwhile` runs before the upload continues.
async fn push_with_revoked_token(
    registry: &FakeRegistry,
    meanwhile: impl FnOnce(&FakeRegistry),
) -> Result<Manifest, RegistryError> {
    let (client, repository) = (authenticated_client(registry), registry.repository("acme/base"));
    let hang = registry.fail(Rule::first("PUT", "*/blobs/uploads/*", Fault::Hang));
    let push = tokio::spawn(async move {
        push_image(&client, &repository, "v1", sample_bytes(5_000_000)).await
    });
    hang.wait_until_used().await;
    registry.revoke_tokens();
    registry.clear_requests();
    meanwhile(registry);
    hang.release();
    push.await.expect("no panic")
}

#[tokio::test]
async fn a_token_that_is_revoked_during_an_upload_is_renewed() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    push_with_revoked_token(&registry, |_| ()).await.expect("pushed");
    assert_eq!(registry.count("GET", "/token"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_expires() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    add_image(&registry, "acme/base", "v1");
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/base"));
    client.head(&repository, &tag("v1")).await.expect("a response");
    tokio::time::advance(Duration::from_secs(260)).await;
    client.head(&repository, &tag("v1")).await.expect("a response");
    assert_eq!(registry.count("GET", "/token"), 1);
    tokio::time::advance(Duration::from_secs(15)).await;
    client.head(&repository, &tag("v1")).await.expect("a response");
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
async fn a_password_is_sent_to_a_registry_without_a_token_server() {
    let registry = FakeRegistry::start_with(Access::Basic(account())).await;
    let client = authenticated_client(&registry);
    push_image(&client, &registry.repository("acme/base"), "v1", sample_bytes(10))
        .await
        .expect("pushed");
    assert_eq!(registry.count("*", "/token"), 0);
    let anonymous =
        registry.requests().iter().filter(|request| request.authorization.is_none()).count();
    assert_eq!(anonymous, 1);
}

#[tokio::test]
async fn a_wrong_password_is_sent_once() {
    for access in [Access::Basic(account()), bearer_access()] {
        let registry = FakeRegistry::start_with(access).await;
        let client =
            client_with(&options(password_credentials(&registry.host(), "someone", "wrong")));
        let result = client.head(&registry.repository("acme/base"), &tag("v1")).await;
        let error = result.expect_err("refused");
        assert!(matches!(
            error.kind(),
            RegistryErrorKind::Denied { authentication: Authentication::Credential, .. }
        ));
        let with_password = |request: &RecordedRequest| {
            request.authorization.as_ref().is_some_and(|value| value.starts_with("Basic"))
        };
        assert_eq!(registry.requests().iter().filter(|request| with_password(request)).count(), 1);
    }
}

#[tokio::test]
async fn an_identity_token_is_not_sent_to_a_registry_without_a_token_server() {
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
    // The second push knows the challenge of the registry.
    let pushed = client.put_manifest(&repository, &tag("v2"), &manifest).await;
    assert_eq!(format_error(pushed.expect_err("refused"), &registry), first);
    let access = client.check_access(&repository).await.expect("a response");
    assert!(access.pull.is_err() && access.push.is_err());
    // The registry sends no challenge and refuses anonymous requests.
    let client =
        client_with(&options(identity_token_credentials(&registry.host(), "canary-identity")));
    registry.fail(Rule::every("HEAD", "*", Fault::error(403, "DENIED", "no")));
    let error = client.head(&repository, &tag("v1")).await.expect_err("refused");
    assert!(matches!(
        error.kind(),
        RegistryErrorKind::Denied { status: 403, authentication: Authentication::UnusedToken, .. }
    ));
    assert!(registry.requests().iter().all(|request| request.authorization.is_none()));
}

#[tokio::test]
async fn an_unused_identity_token_does_not_prevent_anonymous_pulls() {
    let registry = FakeRegistry::start_with(Access::Basic(account())).await;
    let client =
        client_with(&options(identity_token_credentials(&registry.host(), "canary-identity")));
    let repository = registry.repository("acme/base");
    client.tags(&repository).await.expect_err("refused");
    registry.set_access(Access::Open);
    assert_eq!(client.tags(&repository).await.expect("a response"), None);
}

#[tokio::test]
async fn anonymous_requests_can_pull_if_the_registry_allows_it() {
    let mut account = account();
    account.allows_anonymous_pull = true;
    let registry = FakeRegistry::start_with(Access::Bearer(account)).await;
    let manifest = add_image(&registry, "acme/base", "v1");
    let (client, repository) = (client(), registry.repository("acme/base"));
    assert!(client.head(&repository, &tag("v1")).await.expect("a response").is_some());
    let pushed = client.put_manifest(&repository, &tag("v2"), &manifest).await;
    insta::assert_snapshot!(format_error(pushed.expect_err("refused"), &registry), @r"
    error: failed to push the manifest of `registry/acme/base:v2`
      caused by: `registry` refused `repository:acme/base:pull,push` without credentials, with 401 Unauthorized: UNAUTHORIZED: wrong:

    hint: no credentials were found; run `docker login registry`
    ");
}

#[tokio::test]
async fn a_refused_push_names_the_missing_scope() {
    let mut account = account();
    account.grants = vec!["repository:acme/base:pull".to_owned()];
    let registry = FakeRegistry::start_with(Access::Bearer(account)).await;
    let manifest = add_image(&registry, "acme/base", "v1");
    let client = authenticated_client(&registry);
    let repository = registry.repository("acme/base");
    client.head(&repository, &tag("v1")).await.expect("a response");
    let pushed = client.put_manifest(&repository, &tag("v2"), &manifest).await;
    insta::assert_snapshot!(format_error(pushed.expect_err("refused"), &registry), @r"
    error: failed to push the manifest of `registry/acme/base:v2`
      caused by: `registry` refused `repository:acme/base:pull,push` with 401 Unauthorized: UNAUTHORIZED: authentication required

    hint: run `basegen auth check` to see which credentials are used for `registry` and what they allow
    ");
    assert_eq!(registry.count("PUT", "*"), 1);
}

#[tokio::test]
async fn a_forbidden_request_is_not_repeated() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let manifest = add_image(&registry, "acme/base", "v1");
    registry.fail(Rule::every("PUT", "*", Fault::error(403, "DENIED", "quota of 5 GB exceeded")));
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/base"));
    client.head(&repository, &tag("v1")).await.expect("a response");
    let pushed = client.put_manifest(&repository, &tag("v2"), &manifest).await;
    insta::assert_snapshot!(format_error(pushed.expect_err("refused"), &registry), @r"
    error: failed to push the manifest of `registry/acme/base:v2`
      caused by: `registry` refused `repository:acme/base:pull,push` with 403 Forbidden: DENIED: quota of 5 GB exceeded

    hint: run `basegen auth check` to see which credentials are used for `registry` and what they allow
    ");
    assert_eq!(registry.count("PUT", "*"), 1);
}

#[tokio::test]
async fn a_token_that_the_registry_reports_as_expired_is_renewed() {
    // ECR reports an expired token with 403.
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let manifest = add_image(&registry, "acme/base", "v1");
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/base"));
    client.head(&repository, &tag("v1")).await.expect("a response");
    let fault = Fault::error(403, "DENIED", "Your authorization token has expired.");
    registry.fail(Rule::first("GET", "*/manifests/*", fault));
    let result = client.manifest(&repository, &tag("v1")).await.expect("a response");
    assert_eq!(result, Some(manifest));
    assert_eq!(registry.count("GET", "/token"), 2);
}

#[tokio::test]
async fn refused_names_are_not_retried() {
    // After a refusal without a challenge, the client requests the challenge once.
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
async fn authenticates_if_a_registry_hides_a_repository_from_anonymous_requests() {
    // The registry sends no challenge and hides the repository.
    for hidden in [404, 403] {
        let registry = FakeRegistry::start_with(bearer_access()).await;
        let manifest = add_image(&registry, "acme/base", "v1");
        registry.fail(Rule::every("HEAD", "*", Fault::status(hidden)).times(3));
        let (client, repository, name) =
            (authenticated_client(&registry), registry.repository("acme/base"), tag("v1"));
        let results = join_all((0..3).map(|_| client.head(&repository, &name))).await;
        for result in results {
            assert_eq!(result.expect("a response"), Some(manifest.descriptor()));
        }
        assert_eq!(registry.count("GET", "/v2/"), 1);
    }
}

#[tokio::test]
async fn requests_to_a_busy_token_server_are_retried() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    add_image(&registry, "acme/base", "v1");
    registry.fail(Rule::every("GET", "/token", Fault::status(503)).times(2));
    let result =
        authenticated_client(&registry).head(&registry.repository("acme/base"), &tag("v1")).await;
    assert!(result.expect("a response").is_some());
    assert_eq!(registry.count("GET", "/token"), 3);
}

#[tokio::test]
async fn requests_to_a_token_server_are_retried_as_often_as_to_a_registry() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    registry.fail(Rule::every("GET", "/token", Fault::status(503)));
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/base"));
    let manifest = add_image(&registry, "acme/base", "v1");
    let (blob, name) = (Blob::new(sample_bytes(10)), tag("v1"));
    for (method, error) in [
        ("HEAD", client.head(&repository, &name).await.expect_err("unavailable")),
        ("PUT", client.put_manifest(&repository, &name, &manifest).await.expect_err("unavailable")),
        ("DELETE", client.delete(&repository, &name).await.expect_err("unavailable")),
        ("POST", client.push_blob(&repository, &blob).await.expect_err("unavailable")),
    ] {
        assert!(error.is_transient(), "{method}: {}", format_error(error, &registry));
    }
    assert_eq!(registry.count("GET", "/token"), 4 * 6);
    // Only the first request was sent without a token; the others knew the challenge.
    assert_eq!(registry.count("*", "/v2/*"), 1);
}

#[tokio::test]
async fn an_upload_fails_if_its_token_cannot_be_renewed() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let pushed = push_with_revoked_token(&registry, |registry| {
        registry.fail(Rule::every("GET", "/token", Fault::status(503)));
    });
    assert!(pushed.await.expect_err("unavailable").is_transient());
    assert_eq!(registry.count("GET", "/token"), 6);
    assert_eq!(registry.count("*", "/v2/*"), 0);
}

#[tokio::test]
async fn rejects_an_invalid_token_without_showing_it() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let body = format!("<html>{PASSWORD}");
    registry.fail(Rule::every(
        "GET",
        "/token",
        Fault::Response { status: 200, headers: vec![], body: body.into() },
    ));
    let result =
        authenticated_client(&registry).head(&registry.repository("acme/base"), &tag("v1")).await;
    insta::assert_snapshot!(format_error(result.expect_err("an invalid token"), &registry), @r"
    error: failed to look up `registry/acme/base:v1`
      caused by: `registry` returned an invalid token: it is not valid JSON
    ");
}

#[tokio::test]
async fn reports_invalid_credentials_without_showing_them() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = serde_json::json!({ "auths": { registry.host(): { "auth": "canary" } } });
    fs_err::write(folder.path().join("config.json"), config.to_string()).expect("written");
    let docker = basegen::registry::DockerConfig {
        folder: Some(folder.path().to_owned()),
        search_path: None,
    };
    let client = client_with(&options(Credentials::load(&docker).expect("a configuration")));
    let result = client.head(&registry.repository("acme/base"), &tag("v1")).await;
    let error = result.expect_err("no credentials");
    assert!(matches!(error.kind(), RegistryErrorKind::Credentials { .. }));
    assert!(!format_error(error, &registry).contains("canary"));
}
