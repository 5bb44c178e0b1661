//! Redirects, uploads and token servers on other hosts.

use basegen::registry::{Blob, RegistryErrorKind};

use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::harness::registry_client::{
    authenticated_client, bearer_access, format_error, image_manifest, sample_bytes, tag,
};

/// Where nobody may send us.
const NOWHERE: [&str; 7] = [
    "https://169.254.169.254/latest/meta-data/?token=canary",
    "https://[fe80::1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://0.0.0.0/",
    "http://10.0.0.1/",
    "http://registry.example/",
    "file:///etc/passwd",
];

#[tokio::test]
async fn redirects_to_other_machines_are_refused() {
    for place in NOWHERE {
        let registry = FakeRegistry::start_with(bearer_access()).await;
        let digest = registry.add_blob("acme/base", "blob");
        registry.fail(Rule::every("GET", "*/blobs/*", Fault::header(307, "location", place)));
        let (client, repository) =
            (authenticated_client(&registry), registry.repository("acme/base"));
        let found = client.blob(&repository, &digest, 10).await;
        let error = found.expect_err("refused");
        assert!(
            matches!(error.kind(), RegistryErrorKind::ForbiddenTarget { .. }),
            "{place}: {error:?}"
        );
        assert!(!format_error(error, &registry).contains("canary"));
    }
}

#[tokio::test]
async fn uploads_to_other_machines_are_refused() {
    for place in NOWHERE {
        let registry = FakeRegistry::start_with(bearer_access()).await;
        let location = Fault::Headers(vec![("location", place.to_owned())]);
        registry.fail(Rule::every("POST", "*", location));
        let repository = registry.repository("acme/base");
        let pushed = authenticated_client(&registry)
            .push_blob(&repository, &Blob::new(sample_bytes(10)))
            .await;
        let error = pushed.expect_err("refused");
        assert!(matches!(error.kind(), RegistryErrorKind::ForbiddenTarget { .. }), "{place}");
        assert_eq!(registry.uploaded_bytes(), 0);
    }
}

#[tokio::test]
async fn token_servers_on_other_machines_are_refused() {
    for place in NOWHERE {
        let registry = FakeRegistry::start_with(bearer_access()).await;
        let challenge = format!("Bearer realm=\"{place}\",service=\"fake\"");
        registry.fail(Rule::every("*", "*", Fault::header(401, "www-authenticate", challenge)));
        let found = authenticated_client(&registry)
            .head(&registry.repository("acme/base"), &tag("v1"))
            .await;
        let error = found.expect_err("refused");
        assert!(matches!(error.kind(), RegistryErrorKind::ForbiddenTarget { .. }), "{place}");
    }
}

#[tokio::test]
async fn the_refusal_is_explained() {
    let registry = FakeRegistry::start().await;
    let location = Fault::Headers(vec![("location", NOWHERE[0].to_owned())]);
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
async fn other_hosts_are_followed_without_credentials() {
    let (registry, storage) =
        (FakeRegistry::start_with(bearer_access()).await, FakeRegistry::start().await);
    let digest = storage.add_blob("acme/base", "blob");
    let target = format!("{}/v2/acme/base/blobs/{digest}?signature=x", storage.origin());
    registry.fail(Rule::every("GET", "*/blobs/*", Fault::header(307, "location", target)));
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/base"));
    // By then there is a token that could be sent along.
    client.head(&repository, &tag("v1")).await.expect("an answer");
    let found = client.blob(&repository, &digest, 10).await.expect("an answer");
    assert_eq!(found.as_deref(), Some(b"blob".as_slice()));
    assert_eq!(storage.count("GET", "*"), 1);
    assert!(storage.requests().iter().all(|seen| seen.authorization.is_none()));
}

#[tokio::test]
async fn credentials_do_not_come_back_after_another_host() {
    let (registry, storage) =
        (FakeRegistry::start_with(bearer_access()).await, FakeRegistry::start().await);
    let digest = registry.add_blob("acme/base", "blob");
    let (there, back) =
        (format!("{}/there", storage.origin()), format!("{}/back", registry.origin()));
    registry.fail(Rule::every("GET", "*/blobs/*", Fault::header(307, "location", there)));
    storage.fail(Rule::every("*", "*", Fault::header(302, "location", back)));
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/base"));
    client.head(&repository, &tag("v1")).await.expect("an answer");
    client.blob(&repository, &digest, 10).await.expect_err("no blob");
    let back: Vec<_> =
        registry.requests().into_iter().filter(|seen| seen.path == "/back").collect();
    assert!(!back.is_empty() && back.iter().all(|seen| seen.authorization.is_none()));
}

#[tokio::test]
async fn uploads_on_other_hosts_are_sent_without_credentials() {
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
        assert!(storage.requests().iter().all(|seen| seen.authorization.is_none()));
        assert_eq!(registry.uploaded_bytes(), 0);
    }
}

#[tokio::test]
async fn redirects_within_a_registry_keep_credentials_and_end() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let manifest = image_manifest(&registry.add_blob("acme/base", "config"), &[]);
    registry.add_manifest("acme/base", "v1", &manifest.media_type, manifest.bytes.clone());
    let to = Fault::header(301, "location", "/v2/acme/base/manifests/v1");
    registry.fail(Rule::every("*", "*/manifests/old", to));
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/base"));
    let found = client.manifest(&repository, &tag("old")).await.expect("an answer");
    assert_eq!(found, Some(manifest));

    let round = Fault::header(302, "location", "/v2/acme/base/manifests/round");
    registry.fail(Rule::every("*", "*/manifests/round", round));
    registry.clear_requests();
    let error = client.manifest(&repository, &tag("round")).await.expect_err("no end");
    assert!(matches!(error.kind(), RegistryErrorKind::ForbiddenTarget { .. }));
    assert_eq!(registry.count("GET", "*/round"), 6);
}
