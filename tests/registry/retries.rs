//! Server errors and lost connections.

use basegen::registry::{Blob, RegistryErrorKind};

use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::harness::registry_client::{
    add_image, client, image_manifest, push_image, sample_bytes, tag,
};

/// More than a connection buffers.
const LARGE: usize = 6_000_000;

#[tokio::test]
async fn what_fails_twice_is_asked_a_third_time() {
    for status in [408, 429, 500, 502, 503, 504] {
        let registry = FakeRegistry::start().await;
        let manifest = add_image(&registry, "acme/base", "v1");
        registry.fail(Rule::every("*", "*", Fault::status(status)).times(2));
        let found = client().manifest(&registry.repository("acme/base"), &tag("v1")).await;
        assert_eq!(found.expect("an answer"), Some(manifest));
        assert_eq!(registry.count("GET", "*"), 3);
    }
}

#[tokio::test]
async fn attempts_have_an_end() {
    let registry = FakeRegistry::start().await;
    registry.fail(Rule::every("*", "*", Fault::status(503)));
    let error = client().tags(&registry.repository("acme/base")).await.expect_err("down");
    assert!(error.is_transient());
    assert_eq!(registry.count("*", "*"), 6);
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_asked_for_again() {
    let registry = FakeRegistry::start().await;
    let manifest = add_image(&registry, "acme/base", "v1");
    registry.fail(Rule::first("GET", "*", Fault::CutResponse(20)));
    registry.fail(Rule::nth(2, "GET", "*", Fault::Drop));
    let found = client().manifest(&registry.repository("acme/base"), &tag("v1")).await;
    assert_eq!(found.expect("an answer"), Some(manifest));
    assert_eq!(registry.count("GET", "*"), 3);
}

#[tokio::test]
async fn an_upload_that_is_gone_is_started_again() {
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
async fn an_upload_that_always_breaks_at_the_same_byte_ends() {
    let registry = FakeRegistry::start().await;
    registry.fail(Rule::every("PUT", "*", Fault::CutRequest(1000)));
    let blob = Blob::new(sample_bytes(LARGE));
    let pushed = client().push_blob(&registry.repository("acme/base"), &blob).await;
    assert!(pushed.expect_err("broken").is_transient());
    assert_eq!(registry.count("PUT", "*"), 6);
}

#[tokio::test]
async fn a_blob_whose_upload_breaks_is_sent_again() {
    let registry = FakeRegistry::start().await;
    registry.fail(Rule::first("PUT", "*/blobs/uploads/*", Fault::CutRequest(10)));
    let blob = Blob::new(sample_bytes(1000));
    let pushed = client().push_blob(&registry.repository("acme/base"), &blob).await;
    assert!(pushed.expect("pushed"));
    assert_eq!(registry.count("POST", "*"), 2);
    assert!(registry.blob("acme/base", blob.digest()).is_some());
}

#[tokio::test]
async fn a_manifest_that_arrived_is_pushed_even_if_the_answer_is_lost() {
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
async fn a_manifest_that_did_not_arrive_is_sent_again() {
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
async fn what_is_done_at_the_last_attempt_is_done() {
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
async fn what_was_deleted_when_the_answer_was_lost_is_deleted() {
    let registry = FakeRegistry::start().await;
    add_image(&registry, "acme/base", "v1");
    registry.fail(Rule::first("DELETE", "*", Fault::CommitThenDrop));
    let deleted = client().delete(&registry.repository("acme/base"), &tag("v1")).await;
    assert!(deleted.expect("an answer"));
    assert_eq!(registry.count("DELETE", "*"), 2);
}

#[tokio::test]
async fn a_blob_that_arrived_is_not_sent_again() {
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
async fn a_registry_that_is_down_does_not_hold_up_another() {
    let up = FakeRegistry::start().await;
    let down = {
        let registry = FakeRegistry::start().await;
        registry.repository("acme/base")
    };
    let client = client();
    let error = client.head(&down, &tag("v1")).await.expect_err("nobody is there");
    assert!(matches!(error.kind(), RegistryErrorKind::Unreachable { transient: true, .. }));
    push_image(&client, &up.repository("acme/base"), "v1", sample_bytes(10)).await.expect("pushed");
}
