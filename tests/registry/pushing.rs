//! Pushing blobs and manifests: mounts, missing response headers and immutable tags.

use basegen::registry::{Blob, RegistryErrorKind};

use crate::harness::registry::{Access, FakeRegistry, Fault, Rule};
use crate::harness::registry_client::{
    account, add_image, authenticated_client, bearer_access, client, format_error, image_manifest,
    push_image, sample_bytes, tag,
};

#[tokio::test]
async fn a_second_push_of_an_image_uploads_nothing() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/base"));
    let manifest =
        push_image(&client, &repository, "v1", sample_bytes(5_000_000)).await.expect("pushed");
    assert_eq!(registry.tag("acme/base", "v1"), Some(manifest.digest()));
    assert_eq!(registry.uploaded_bytes(), 5_000_002);
    assert_eq!(registry.open_uploads(), 0);
    let agent = concat!("basegen/", env!("CARGO_PKG_VERSION"));
    assert!(registry.requests().iter().all(|request| request.user_agent.as_deref() == Some(agent)));

    registry.clear_requests();
    let again =
        push_image(&client, &repository, "v1", sample_bytes(5_000_000)).await.expect("pushed");
    assert_eq!(again, manifest);
    assert_eq!(registry.uploaded_bytes(), 0);
    assert_eq!(registry.count("POST", "*"), 0);
}

#[tokio::test]
async fn accepts_responses_without_location_and_digest() {
    let registry = FakeRegistry::start().await;
    let manifest = image_manifest(&registry.add_blob("acme/base", "config"), &[]);
    let empty = vec![("location", String::new()), ("docker-content-digest", String::new())];
    registry.fail(Rule::every("PUT", "*", Fault::Headers(empty)));
    let repository = registry.repository("acme/base");
    client().put_manifest(&repository, &manifest.digest(), &manifest).await.expect("pushed");
    assert_eq!(registry.manifests("acme/base"), [manifest.digest()]);
    assert!(registry.tags("acme/base").is_empty());
    client().push_blob(&repository, &Blob::new(sample_bytes(10))).await.expect("pushed");
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository_of_the_registry() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let content = sample_bytes(1000);
    registry.add_blob("acme/one", content.clone());
    let digest = Blob::new(content.clone()).digest().clone();
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/two"));
    let elsewhere = "ghcr.io/acme/one".parse().expect("a repository");
    assert!(!client.mount_blob(&repository, &digest, &elsewhere).await.expect("a response"));
    assert_eq!(registry.count("*", "*"), 0);

    let from = registry.repository("acme/one");
    assert!(client.mount_blob(&repository, &digest, &from).await.expect("a response"));
    assert_eq!(registry.uploaded_bytes(), 0);
    assert_eq!(registry.blob("acme/two", &digest), Some(content));
    // One token permits reading the source and writing the target.
    let tokens: Vec<_> =
        registry.requests().into_iter().filter(|request| request.path == "/token").collect();
    assert!(tokens.iter().any(|request| {
        request.query.contains("acme%2Fone%3Apull&")
            && request.query.contains("acme%2Ftwo%3Apull%2Cpush")
    }));
}

#[tokio::test]
async fn a_refused_mount_is_not_an_error() {
    for status in [400, 401, 403, 404, 405, 202] {
        let registry = FakeRegistry::start_with(bearer_access()).await;
        let content = sample_bytes(1000);
        registry.add_blob("acme/one", content.clone());
        // The response 202 offers an upload, here without its location.
        registry.fail(Rule::first("POST", "*", Fault::status(status)));
        let blob = Blob::new(content.clone());
        let from = registry.repository("acme/one");
        let (client, repository) =
            (authenticated_client(&registry), registry.repository("acme/two"));
        // With this request the client learns that the registry requires tokens.
        client.tags(&repository).await.expect("a response");
        let mounted = client.mount_blob(&repository, blob.digest(), &from).await;
        assert!(!mounted.expect("a response"), "{status}");
        client.push_blob(&repository, &blob).await.expect("pushed");
        assert_eq!(registry.blob("acme/two", blob.digest()), Some(content));
    }
}

#[tokio::test]
async fn an_upload_that_a_mount_started_is_cancelled() {
    let registry = FakeRegistry::start().await;
    let (digest, from) =
        (Blob::new(sample_bytes(10)).digest().clone(), registry.repository("acme/none"));
    let (client, repository) = (client(), registry.repository("acme/two"));
    assert!(!client.mount_blob(&repository, &digest, &from).await.expect("a response"));
    assert_eq!((registry.count("DELETE", "*"), registry.open_uploads()), (1, 0));
    // A failed cancellation is not repeated.
    registry.clear_requests();
    registry.fail(Rule::every("DELETE", "*", Fault::status(503)));
    assert!(!client.mount_blob(&repository, &digest, &from).await.expect("a response"));
    assert_eq!(registry.count("DELETE", "*"), 1);
}

#[tokio::test]
async fn a_blob_is_not_mounted_without_a_token_for_both_repositories() {
    let mut account = account();
    account.rejects_multiple_scopes = true;
    let registry = FakeRegistry::start_with(Access::Bearer(account)).await;
    let content = sample_bytes(1000);
    registry.add_blob("acme/one", content.clone());
    let (blob, from) = (Blob::new(content), registry.repository("acme/one"));
    let (client, repository) = (authenticated_client(&registry), registry.repository("acme/two"));
    let mounted = client.mount_blob(&repository, blob.digest(), &from).await;
    assert!(!mounted.expect("a response"));
    assert!(client.push_blob(&repository, &blob).await.expect("pushed"));
}

#[tokio::test]
async fn accepts_an_immutable_tag_with_the_same_manifest() {
    let registry = FakeRegistry::start().await;
    let manifest = add_image(&registry, "acme/base", "v1");
    registry.set_immutable_tags(true);
    let repository = registry.repository("acme/base");
    client().put_manifest(&repository, &tag("v1"), &manifest).await.expect("unchanged");
    assert_eq!(registry.count("PUT", "*"), 1);
}

#[tokio::test]
async fn rejects_an_immutable_tag_with_another_manifest() {
    let refusals = [
        Fault::error(400, "TAG_INVALID", "The image tag 'v1' already exists"),
        Fault::error(403, "DENIED", "tag v1 is immutable"),
        Fault::error(412, "PRECONDITION", "'v1' configured as immutable"),
        Fault::status(409),
    ];
    for refusal in refusals {
        let registry = FakeRegistry::start().await;
        add_image(&registry, "acme/base", "v1");
        let manifest = image_manifest(&registry.add_blob("acme/base", "new"), &[]);
        registry.fail(Rule::every("PUT", "*", refusal));
        let repository = registry.repository("acme/base");
        let pushed = client().put_manifest(&repository, &tag("v1"), &manifest).await;
        let error = pushed.expect_err("immutable");
        assert!(matches!(error.kind(), RegistryErrorKind::TagImmutable { .. }));
        assert_eq!(registry.count("PUT", "*"), 1);
    }
}

#[tokio::test]
async fn the_error_for_an_immutable_tag_has_a_hint() {
    let registry = FakeRegistry::start().await;
    add_image(&registry, "acme/base", "v1");
    registry.set_immutable_tags(true);
    let manifest = image_manifest(&registry.add_blob("acme/base", "new"), &[]);
    let repository = registry.repository("acme/base");
    let pushed = client().put_manifest(&repository, &tag("v1"), &manifest).await;
    insta::assert_snapshot!(format_error(pushed.expect_err("immutable"), &registry), @r"
    error: failed to push the manifest of `registry/acme/base:v1`
      caused by: `registry` does not allow tag `v1` to move from sha256:cf8e5e4c05ba17233065d516cc13085c38db50c7812fbd014af4795f5b2153cb to sha256:738734385b1de3161dc33aa302dc7b3305e521fdb2f3c346939986b8dbfae1e3

    hint: tags of this repository are immutable: publish under a new version
    ");
}
