//! Server errors and lost connections.

use basegen::registry::{Blob, RegistryErrorKind};

use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::harness::registry_client::{
    add_image, client, image_manifest, push_image, sample_bytes, tag,
};

/// A number of bytes that exceeds the buffers of a connection.
const LARGE: usize = 6_000_000;

#[tokio::test]
async fn server_errors_are_retried() {
    for status in [408, 429, 500, 502, 503, 504] {
        let registry = FakeRegistry::start().await;
        let manifest = add_image(&registry, "acme/base", "v1");
        registry.fail(Rule::every("*", "*", Fault::status(status)).times(2));
        let result = client().manifest(&registry.repository("acme/base"), &tag("v1")).await;
        assert_eq!(result.expect("a response"), Some(manifest));
        assert_eq!(registry.count("GET", "*"), 3);
    }
}

#[tokio::test]
async fn retries_are_limited() {
    let registry = FakeRegistry::start().await;
    registry.fail(Rule::every("*", "*", Fault::status(503)));
    let error = client().tags(&registry.repository("acme/base")).await.expect_err("unavailable");
    assert!(error.is_transient());
    assert_eq!(registry.count("*", "*"), 6);
}

#[tokio::test]
async fn a_truncated_response_is_requested_again() {
    let registry = FakeRegistry::start().await;
    let manifest = add_image(&registry, "acme/base", "v1");
    registry.fail(Rule::first("GET", "*", Fault::CutResponse(20)));
    registry.fail(Rule::nth(2, "GET", "*", Fault::Drop));
    let result = client().manifest(&registry.repository("acme/base"), &tag("v1")).await;
    assert_eq!(result.expect("a response"), Some(manifest));
    assert_eq!(registry.count("GET", "*"), 3);
}

#[tokio::test]
async fn a_lost_upload_is_restarted() {
    let registry = FakeRegistry::start().await;
    let content = sample_bytes(LARGE);
    registry.fail(Rule::first("PUT", "*/blobs/uploads/*", Fault::status(404)));
    let blob = Blob::new(content.clone());
    let pushed = client().push_blob(&registry.repository("acme/base"), &blob).await;
    assert!(pushed.expect("pushed"));
    assert_eq!(registry.count("POST", "*"), 2);
    assert_eq!(registry.blob("acme/base", blob.digest()), Some(content));
}

#[tokio::test]
async fn an_upload_that_always_breaks_fails() {
    let registry = FakeRegistry::start().await;
    registry.fail(Rule::every("PUT", "*", Fault::CutRequest(1000)));
    let blob = Blob::new(sample_bytes(LARGE));
    let pushed = client().push_blob(&registry.repository("acme/base"), &blob).await;
    assert!(pushed.expect_err("broken").is_transient());
    assert_eq!(registry.count("PUT", "*"), 6);
}

#[tokio::test]
async fn an_interrupted_upload_is_repeated() {
    let registry = FakeRegistry::start().await;
    registry.fail(Rule::first("PUT", "*/blobs/uploads/*", Fault::CutRequest(10)));
    let blob = Blob::new(sample_bytes(1000));
    let pushed = client().push_blob(&registry.repository("acme/base"), &blob).await;
    assert!(pushed.expect("pushed"));
    assert_eq!(registry.count("POST", "*"), 2);
    assert!(registry.blob("acme/base", blob.digest()).is_some());
}

#[tokio::test]
async fn a_stored_manifest_counts_as_pushed_after_a_lost_response() {
    let registry = FakeRegistry::start().await;
    let config = registry.add_blob("acme/base", "config");
    let manifest = image_manifest(&config, &[]);
    for fault in [Fault::CommitThenDrop, Fault::Headers(vec![("content-length", "5".to_owned())])] {
        registry.clear_requests();
        registry.fail(Rule::first("PUT", "*", fault));
        let repository = registry.repository("acme/base");
        client().put_manifest(&repository, &tag("v1"), &manifest).await.expect("pushed");
        assert_eq!(registry.tag("acme/base", "v1"), Some(manifest.digest()));
        assert_eq!(registry.count("PUT", "*"), 1);
        registry.clear_faults();
    }
}

#[tokio::test]
async fn a_manifest_that_was_not_stored_is_sent_again() {
    let registry = FakeRegistry::start().await;
    let old = add_image(&registry, "acme/base", "v1");
    let manifest = image_manifest(&registry.add_blob("acme/base", "new"), &[]);
    registry.fail(Rule::first("PUT", "*", Fault::Drop));
    let repository = registry.repository("acme/base");
    client().put_manifest(&repository, &tag("v1"), &manifest).await.expect("pushed");
    assert_ne!(old.digest(), manifest.digest());
    assert_eq!(registry.tag("acme/base", "v1"), Some(manifest.digest()));
    assert_eq!(registry.count("PUT", "*"), 2);
}

#[tokio::test]
async fn content_that_the_last_attempt_stored_counts_as_pushed() {
    let registry = FakeRegistry::start().await;
    let (client, repository) = (client(), registry.repository("acme/base"));
    let manifest = image_manifest(&registry.add_blob("acme/base", "config"), &[]);
    registry.fail(Rule::every("PUT", "*", Fault::status(502)).times(5));
    registry.fail(Rule::nth(6, "PUT", "*", Fault::CommitThenDrop));
    client.put_manifest(&repository, &tag("v1"), &manifest).await.expect("pushed");
    assert_eq!(registry.count("PUT", "*"), 6);
    registry.clear_faults();
    registry.clear_requests();
    registry.fail(Rule::every("PUT", "*", Fault::status(502)).times(5));
    registry.fail(Rule::nth(6, "PUT", "*", Fault::CommitThenDrop));
    client.push_blob(&repository, &Blob::new(sample_bytes(10))).await.expect("pushed");
    assert_eq!(registry.count("PUT", "*"), 6);
}

#[tokio::test]
async fn a_deletion_succeeds_after_a_lost_response() {
    let registry = FakeRegistry::start().await;
    add_image(&registry, "acme/base", "v1");
    registry.fail(Rule::first("DELETE", "*", Fault::CommitThenDrop));
    let deleted = client().delete(&registry.repository("acme/base"), &tag("v1")).await;
    assert!(deleted.expect("a response"));
    assert_eq!(registry.count("DELETE", "*"), 2);
}

#[tokio::test]
async fn a_stored_blob_is_not_sent_again() {
    for length in [1000, LARGE] {
        let registry = FakeRegistry::start().await;
        registry.fail(Rule::first("PUT", "*", Fault::CommitThenDrop));
        let blob = Blob::new(sample_bytes(length));
        let pushed = client().push_blob(&registry.repository("acme/base"), &blob).await;
        pushed.expect("pushed");
        assert_eq!(registry.uploaded_bytes(), length as u64);
    }
}

#[tokio::test]
async fn an_unavailable_registry_does_not_delay_another() {
    let up = FakeRegistry::start().await;
    let down = {
        let registry = FakeRegistry::start().await;
        registry.repository("acme/base")
    };
    let client = client();
    let error = client.head(&down, &tag("v1")).await.expect_err("unreachable");
    assert!(matches!(error.kind(), RegistryErrorKind::Unreachable { transient: true, .. }));
    push_image(&client, &up.repository("acme/base"), "v1", sample_bytes(10)).await.expect("pushed");
}
