//! Wrong digests, incomplete uploads, oversized bodies and other responses that violate the specification.

use basegen::image::Digest;
use basegen::registry::{Blob, Manifest, RegistryErrorKind};

use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::harness::registry_client::{
    add_image, client, format_error, image_manifest, sample_bytes, tag,
};

fn named(digest: &Digest) -> Fault {
    Fault::Headers(vec![("docker-content-digest", digest.to_string())])
}

#[tokio::test]
async fn another_digest_than_what_was_sent_is_an_error() {
    let registry = FakeRegistry::start().await;
    let manifest = image_manifest(&registry.add_blob("acme/base", "config"), &[]);
    registry.fail(Rule::every("PUT", "*", named(&Digest::of(b"other"))));
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
async fn other_bytes_than_those_asked_for_are_an_error() {
    let registry = FakeRegistry::start().await;
    let (one, other) =
        (add_image(&registry, "acme/base", "v1"), add_image(&registry, "acme/base", "v2"));
    let (client, repository) = (client(), registry.repository("acme/base"));
    let wrong = |error: &RegistryErrorKind| matches!(error, RegistryErrorKind::WrongDigest { .. });

    // It says another digest than the bytes have.
    registry.fail(Rule::every("*", "*/manifests/*", named(&other.digest())));
    let error = client.manifest(&repository, &tag("v1")).await.expect_err("a lie");
    assert!(wrong(error.kind()));
    let error = client.head(&repository, &one.digest()).await.expect_err("a lie");
    assert!(wrong(error.kind()));
    registry.clear_faults();

    // It serves other bytes under a digest.
    let body = Fault::Response {
        status: 200,
        headers: vec![("content-type", Manifest::OCI_IMAGE.to_owned())],
        body: other.bytes.clone(),
    };
    registry.fail(Rule::every("*", "*", body));
    let error = client.manifest(&repository, &one.digest()).await.expect_err("a lie");
    assert!(wrong(error.kind()));
    let error = client.blob(&repository, &Digest::of(b"x"), 10_000).await.expect_err("a lie");
    assert!(wrong(error.kind()));
}

#[tokio::test]
async fn blobs_that_are_missing_are_named() {
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
async fn blobs_that_are_there_are_found_after_a_while() {
    let registry = FakeRegistry::start().await;
    let manifest = image_manifest(&registry.add_blob("acme/base", "config"), &[]);
    let unknown = || Fault::error(400, "MANIFEST_INVALID", "blob unknown to registry");
    let repository = registry.repository("acme/base");
    registry.fail(Rule::every("PUT", "*", unknown()).times(2));
    client().put_manifest(&repository, &tag("v1"), &manifest).await.expect("pushed");
    assert_eq!(registry.count("PUT", "*"), 3);

    // And when they never are, that ends.
    registry.clear_requests();
    registry.fail(Rule::every("PUT", "*", unknown()));
    let pushed = client().put_manifest(&repository, &tag("v2"), &manifest).await;
    let error = pushed.expect_err("never");
    assert!(
        matches!(error.kind(), RegistryErrorKind::BlobUnknown { missing, .. } if missing.is_empty())
    );
    assert_eq!(registry.count("PUT", "*"), 6);
}

#[tokio::test]
async fn a_gigabyte_of_error_is_not_read() {
    let registry = FakeRegistry::start().await;
    let fault = registry.fail(Rule::every("*", "*", Fault::Gigabyte(400)));
    let error = client().tags(&registry.repository("acme/base")).await.expect_err("an error");
    assert!(format_error(error, &registry).len() < 1000);
    assert!((1..100).contains(&fault.sent_megabytes()), "{}", fault.sent_megabytes());
}

#[tokio::test]
async fn a_gigabyte_of_success_is_not_read_either() {
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
async fn a_page_for_people_is_no_manifest() {
    let registry = FakeRegistry::start().await;
    let page = Fault::Response {
        status: 200,
        headers: vec![("content-type", "text/html; charset=utf-8".to_owned())],
        body: "<!DOCTYPE html><title>Please log in</title>".into(),
    };
    registry.fail(Rule::every("*", "*", page));
    let (client, repository) = (client(), registry.repository("acme/base"));
    let error = client.manifest(&repository, &tag("v1")).await.expect_err("a page");
    insta::assert_snapshot!(format_error(error, &registry), @r"
    error: failed to fetch the manifest of `registry/acme/base:v1`
      caused by: `registry` returned an invalid manifest: it is an HTML page
    ");
    let error = client.head(&repository, &tag("v1")).await.expect_err("a page");
    assert!(format_error(error, &registry).contains("invalid manifest: it is an HTML page"));
    let error = client.tags(&repository).await.expect_err("a page");
    assert!(
        format_error(error, &registry)
            .contains("invalid list of tags: its content type is text/html")
    );
    let error = client.blob(&repository, &Digest::of(b"x"), 1000).await.expect_err("a page");
    assert!(format_error(error, &registry).contains("invalid blob: it is an HTML page"));
}

#[tokio::test]
async fn what_a_registry_says_cannot_move_the_cursor() {
    let registry = FakeRegistry::start().await;
    let fault = Fault::error(400, "\u{1b}[31mRED", "one\r\n::error::two\u{202e}\u{7}");
    registry.fail(Rule::every("*", "*", fault));
    let error = client().tags(&registry.repository("acme/base")).await.expect_err("an error");
    insta::assert_snapshot!(format_error(error, &registry), @r"
    error: failed to list the tags of `registry/acme/base`
      caused by: `registry` answered 400 Bad Request: [31mRED: one ::error::two
    ");
}
