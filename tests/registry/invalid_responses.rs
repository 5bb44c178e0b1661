//! Wrong digests, incomplete uploads, oversized bodies and other responses that violate the specification.

use basegen::image::Digest;
use basegen::registry::{Blob, Manifest, RegistryErrorKind};

use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::harness::registry_client::{
    add_image, client, format_error, image_manifest, sample_bytes, tag,
};

fn digest_header(digest: &Digest) -> Fault {
    Fault::Headers(vec![("docker-content-digest", digest.to_string())])
}

#[tokio::test]
async fn rejects_a_push_response_with_another_digest() {
    let registry = FakeRegistry::start().await;
    let manifest = image_manifest(&registry.add_blob("acme/base", "config"), &[]);
    registry.fail(Rule::every("PUT", "*", digest_header(&Digest::of(b"other"))));
    let repository = registry.repository("acme/base");
    let pushed = client().put_manifest(&repository, &tag("v1"), &manifest).await;
    let error = pushed.expect_err("another digest");
    assert!(matches!(error.kind(), RegistryErrorKind::WrongDigest { .. }));
    assert_eq!(registry.count("PUT", "*"), 1);

    let pushed = client().push_blob(&repository, &Blob::new(sample_bytes(10))).await;
    let error = pushed.expect_err("another digest");
    assert!(matches!(error.kind(), RegistryErrorKind::WrongDigest { .. }));
}

#[tokio::test]
async fn rejects_content_with_another_digest() {
    let registry = FakeRegistry::start().await;
    let (one, other) =
        (add_image(&registry, "acme/base", "v1"), add_image(&registry, "acme/base", "v2"));
    let (client, repository) = (client(), registry.repository("acme/base"));
    let is_wrong_digest =
        |error: &RegistryErrorKind| matches!(error, RegistryErrorKind::WrongDigest { .. });

    // The header has another digest than the content.
    registry.fail(Rule::every("*", "*/manifests/*", digest_header(&other.digest())));
    let error = client.manifest(&repository, &tag("v1")).await.expect_err("a wrong digest");
    assert!(is_wrong_digest(error.kind()));
    let error = client.head(&repository, &one.digest()).await.expect_err("a wrong digest");
    assert!(is_wrong_digest(error.kind()));
    registry.clear_faults();

    // The registry serves other content under the digest.
    let content = Fault::Response {
        status: 200,
        headers: vec![("content-type", Manifest::OCI_IMAGE.to_owned())],
        body: other.bytes.clone(),
    };
    registry.fail(Rule::every("*", "*", content));
    let error = client.manifest(&repository, &one.digest()).await.expect_err("a wrong digest");
    assert!(is_wrong_digest(error.kind()));
    let error =
        client.blob(&repository, &Digest::of(b"x"), 10_000).await.expect_err("a wrong digest");
    assert!(is_wrong_digest(error.kind()));
}

#[tokio::test]
async fn the_error_for_missing_blobs_names_them() {
    let registry = FakeRegistry::start().await;
    let (config, missing) = (registry.add_blob("acme/base", "config"), Digest::of(b"missing"));
    let manifest = image_manifest(&config, std::slice::from_ref(&missing));
    let repository = registry.repository("acme/base");
    let pushed = client().put_manifest(&repository, &tag("v1"), &manifest).await;
    let error = pushed.expect_err("a blob is missing");
    let named = match error.kind() {
        RegistryErrorKind::BlobUnknown { missing, .. } => missing.clone(),
        other => panic!("{other}"),
    };
    assert_eq!(named, [missing.to_string()]);
    assert_eq!(registry.count("PUT", "*"), 1);
    assert!(registry.tags("acme/base").is_empty());
}

#[tokio::test]
async fn a_manifest_push_is_retried_while_its_blobs_are_unknown() {
    let registry = FakeRegistry::start().await;
    let manifest = image_manifest(&registry.add_blob("acme/base", "config"), &[]);
    let unknown = || Fault::error(400, "MANIFEST_INVALID", "blob unknown to registry");
    let repository = registry.repository("acme/base");
    registry.fail(Rule::every("PUT", "*", unknown()).times(2));
    client().put_manifest(&repository, &tag("v1"), &manifest).await.expect("pushed");
    assert_eq!(registry.count("PUT", "*"), 3);

    // The retries are limited.
    registry.clear_requests();
    registry.fail(Rule::every("PUT", "*", unknown()));
    let pushed = client().put_manifest(&repository, &tag("v2"), &manifest).await;
    let error = pushed.expect_err("unknown blobs");
    assert!(
        matches!(error.kind(), RegistryErrorKind::BlobUnknown { missing, .. } if missing.is_empty())
    );
    assert_eq!(registry.count("PUT", "*"), 6);
}

#[tokio::test]
async fn reads_only_the_start_of_a_large_error() {
    let registry = FakeRegistry::start().await;
    let fault = registry.fail(Rule::every("*", "*", Fault::Gigabyte(400)));
    let error = client().tags(&registry.repository("acme/base")).await.expect_err("an error");
    assert!(format_error(error, &registry).len() < 1000);
    assert!((1..100).contains(&fault.sent_megabytes()), "{}", fault.sent_megabytes());
}

#[tokio::test]
async fn rejects_content_above_the_size_limit() {
    let registry = FakeRegistry::start().await;
    let fault = registry.fail(Rule::every("*", "*", Fault::Gigabyte(200)));
    let (client, repository) = (client(), registry.repository("acme/base"));
    let error = client.manifest(&repository, &tag("v1")).await.expect_err("too large");
    assert!(matches!(error.kind(), RegistryErrorKind::TooLarge { limit: 4_194_304, .. }));
    let error = client.blob(&repository, &Digest::of(b"x"), 77).await.expect_err("too large");
    assert!(matches!(error.kind(), RegistryErrorKind::TooLarge { limit: 77, .. }));
    assert!((2..200).contains(&fault.sent_megabytes()), "{}", fault.sent_megabytes());
}

#[tokio::test]
async fn rejects_html_pages() {
    let registry = FakeRegistry::start().await;
    let page = Fault::Response {
        status: 200,
        headers: vec![("content-type", "text/html; charset=utf-8".to_owned())],
        body: "<!DOCTYPE html><title>Please log in</title>".into(),
    };
    registry.fail(Rule::every("*", "*", page));
    let (client, repository) = (client(), registry.repository("acme/base"));
    let error = client.manifest(&repository, &tag("v1")).await.expect_err("an HTML page");
    insta::assert_snapshot!(format_error(error, &registry), @r"
    error: failed to fetch the manifest of `registry/acme/base:v1`
      caused by: `registry` returned an invalid manifest: it is an HTML page
    ");
    let error = client.head(&repository, &tag("v1")).await.expect_err("an HTML page");
    assert!(format_error(error, &registry).contains("invalid manifest: it is an HTML page"));
    let error = client.tags(&repository).await.expect_err("an HTML page");
    assert!(
        format_error(error, &registry)
            .contains("invalid list of tags: its content type is text/html")
    );
    let error = client.blob(&repository, &Digest::of(b"x"), 1000).await.expect_err("an HTML page");
    assert!(format_error(error, &registry).contains("invalid blob: it is an HTML page"));
}

#[tokio::test]
async fn removes_control_characters_from_error_messages() {
    let registry = FakeRegistry::start().await;
    let fault = Fault::error(400, "\u{1b}[31mRED", "one\r\n::error::two\u{202e}\u{7}");
    registry.fail(Rule::every("*", "*", fault));
    let error = client().tags(&registry.repository("acme/base")).await.expect_err("an error");
    insta::assert_snapshot!(format_error(error, &registry), @r"
    error: failed to list the tags of `registry/acme/base`
      caused by: `registry` answered 400 Bad Request: [31mRED: one ::error::two
    ");
}
