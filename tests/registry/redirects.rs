//! Redirects, uploads and token servers on other hosts.

use basegen::registry::{Blob, RegistryErrorKind};

use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::harness::registry_client::{
    authenticated_client, bearer_access, format_error, image_manifest, sample_bytes, tag,
};

/// URLs that no registry may refer the client to.
const FORBIDDEN_TARGETS: [&str; 7] = [
    "https://169.254.169.254/latest/meta-data/?token=canary",
    "https://[fe80::1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://0.0.0.0/",
    "http://10.0.0.1/",
    "http://registry.example/",
    "file:///etc/passwd",
];

#[tokio::test]
async fn rejects_redirects_to_forbidden_targets() {
    for target in FORBIDDEN_TARGETS {
        let registry = FakeRegistry::start_with(bearer_access()).await;
        let digest = registry.add_blob("acme/base", "blob");
        registry.fail(Rule::every("GET", "*/blobs/*", Fault::header(307, "location", target)));
        let (client, repository) =
            (authenticated_client(&registry), registry.repository("acme/base"));
        let result = client.blob(&repository, &digest, 10).await;
        let error = result.expect_err("refused");
        assert!(
            matches!(error.kind(), RegistryErrorKind::ForbiddenTarget { .. }),
            "{target}: {error:?}"
        );
        assert!(!format_error(error, &registry).contains("canary"));
    }
}

#[tokio::test]
async fn rejects_uploads_to_forbidden_targets() {
    for target in FORBIDDEN_TARGETS {
        let registry = FakeRegistry::start_with(bearer_access()).await;
        let location = Fault::Headers(vec![("location", target.to_owned())]);
        registry.fail(Rule::every("POST", "*", location));
        let repository = registry.repository("acme/base");
        let pushed = authenticated_client(&registry)
            .push_blob(&repository, &Blob::new(sample_bytes(10)))
            .await;
        let error = pushed.expect_err("refused");
        assert!(matches!(error.kind(), RegistryErrorKind::ForbiddenTarget { .. }), "{target}");
        assert_eq!(registry.uploaded_bytes(), 0);
    }
}

#[tokio::test]
async fn rejects_token_servers_at_forbidden_targets() {
    for target in FORBIDDEN_TARGETS {
        let registry = FakeRegistry::start_with(bearer_access()).await;
        let challenge = format!("Bearer realm=\"{target}\",service=\"fake\"");
        registry.fail(Rule::every("*", "*", Fault::header(401, "www-authenticate", challenge)));
        let result = authenticated_client(&registry)
            .head(&registry.repository("acme/base"), &tag("v1"))
            .await;
        let error = result.expect_err("refused");
        assert!(matches!(error.kind(), RegistryErrorKind::ForbiddenTarget { .. }), "{target}");
    }
}

#[tokio::test]
async fn the_error_for_a_forbidden_target_names_it() {
    let registry = FakeRegistry::start().await;
    let location = Fault::Headers(vec![("location", FORBIDDEN_TARGETS[0].to_owned())]);
    registry.fail(Rule::every("POST", "*", location));
    let repository = registry.repository("acme/base");
    let pushed =
        authenticated_client(&registry).push_blob(&repository, &Blob::new(sample_bytes(10))).await;
    insta::assert_snapshot!(format_error(pushed.expect_err("refused"), &registry), @r"
    error: failed to push a blob to `registry/acme/base`
      caused by: `registry` redirects to `https://169.254.169.254/latest/meta-data/`, which is not a public address
    ");
}

#[tokio::test]
async fn redirects_to_other_hosts_are_followed_without_credentials() {
    let (registry, storage) =
        (FakeRegistry::start_with(bearer_access()).await, FakeRegistry::start().await);
    let digest = storage.add_blob("acme/base", "blob");
    let target = format!("{}/v2/acme/base/blobs/{digest}?signature=x", storage.origin());
    registry.fail(Rule::every("GET", "*/blobs/*", Fault::header(307, "location", target)));
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/base"));
    // This request gets a token, which the other host must not receive.
    client.head(&repository, &tag("v1")).await.expect("a response");
    let blob = client.blob(&repository, &digest, 10).await.expect("a response");
    assert_eq!(blob.as_deref(), Some(b"blob".as_slice()));
    assert_eq!(storage.count("GET", "*"), 1);
    assert!(storage.requests().iter().all(|request| request.authorization.is_none()));
}

#[tokio::test]
async fn a_redirect_back_from_another_host_is_followed_without_credentials() {
    let (registry, storage) =
        (FakeRegistry::start_with(bearer_access()).await, FakeRegistry::start().await);
    let digest = registry.add_blob("acme/base", "blob");
    let (to_storage, to_registry) =
        (format!("{}/there", storage.origin()), format!("{}/back", registry.origin()));
    registry.fail(Rule::every("GET", "*/blobs/*", Fault::header(307, "location", to_storage)));
    storage.fail(Rule::every("*", "*", Fault::header(302, "location", to_registry)));
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/base"));
    client.head(&repository, &tag("v1")).await.expect("a response");
    client.blob(&repository, &digest, 10).await.expect_err("no blob");
    let returned: Vec<_> =
        registry.requests().into_iter().filter(|request| request.path == "/back").collect();
    assert!(!returned.is_empty() && returned.iter().all(|request| request.authorization.is_none()));
}

#[tokio::test]
async fn uploads_to_other_hosts_are_sent_without_credentials() {
    for length in [10, 5_000_000] {
        let (registry, storage) =
            (FakeRegistry::start_with(bearer_access()).await, FakeRegistry::start().await);
        let session = storage.begin_upload("acme/base");
        registry.fail(Rule::every("POST", "*", Fault::Headers(vec![("location", session)])));
        let blob = Blob::new(sample_bytes(length));
        let repository = registry.repository("acme/base");
        authenticated_client(&registry).push_blob(&repository, &blob).await.expect("pushed");
        assert!(storage.blob("acme/base", blob.digest()).is_some());
        assert_eq!(storage.uploaded_bytes(), length as u64);
        assert!(storage.requests().iter().all(|request| request.authorization.is_none()));
        assert_eq!(registry.uploaded_bytes(), 0);
    }
}

#[tokio::test]
async fn redirects_within_a_registry_keep_credentials_and_are_limited() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let manifest = image_manifest(&registry.add_blob("acme/base", "config"), &[]);
    registry.add_manifest("acme/base", "v1", &manifest.media_type, manifest.bytes.clone());
    let redirect = Fault::header(301, "location", "/v2/acme/base/manifests/v1");
    registry.fail(Rule::every("*", "*/manifests/old", redirect));
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/base"));
    let redirected = client.manifest(&repository, &tag("old")).await.expect("a response");
    assert_eq!(redirected, Some(manifest));

    let cycle = Fault::header(302, "location", "/v2/acme/base/manifests/cycle");
    registry.fail(Rule::every("*", "*/manifests/cycle", cycle));
    registry.clear_requests();
    let error = client.manifest(&repository, &tag("cycle")).await.expect_err("a redirect cycle");
    assert!(matches!(error.kind(), RegistryErrorKind::ForbiddenTarget { .. }));
    assert_eq!(registry.count("GET", "*/cycle"), 6);
}
