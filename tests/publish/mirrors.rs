//! Mirrored images: they are copied and not built.

use basegen::error::{ExitCode, Report};
use basegen::image::{Digest, Platform};
use basegen::publish::PinnedImage;
use basegen::registry::Manifest;
use bytes::Bytes;
use serde_json::json;

use crate::harness::machine::{Machine, RELEASE_TAGS, Release, job_file, published_tags, release};
use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::{count_writes, kill_at_request};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// Stores an image in the repository `path`. Its manifest has whitespace and unknown fields. Returns its descriptor.
fn add_image(registry: &FakeRegistry, path: &str, name: &str) -> serde_json::Value {
    let blob = |media_type: &str, text: String| {
        let (digest, size) = (registry.add_blob(path, text.clone()), text.len());
        json!({ "mediaType": media_type, "digest": digest, "size": size })
    };
    let foreign = Digest::of(b"windows");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": Manifest::OCI_IMAGE,
        "config": blob("application/vnd.oci.image.config.v1+json", format!("{{\"of\": \"{name}\"}}")),
        "layers": [
            blob(LAYER, "shared by all".repeat(1000)),
            blob(LAYER, format!("the layer of {name}").repeat(100)),
            { "mediaType": FOREIGN, "digest": foreign, "size": 7, "urls": ["https://elsewhere.example/a"] },
        ],
        "x-vendor": { "unknown": [1, 2] },
    });
    add_manifest(registry, path, Manifest::OCI_IMAGE, &manifest)
}

/// Stores a manifest under a tag of its own. Returns its descriptor.
fn add_manifest(
    registry: &FakeRegistry,
    path: &str,
    media_type: &str,
    manifest: &serde_json::Value,
) -> serde_json::Value {
    let bytes = Bytes::from(serde_json::to_string_pretty(manifest).expect("JSON"));
    let (digest, size) = (Digest::of(&bytes), bytes.len());
    registry.add_manifest(path, &format!("t{}", &digest.hex()[..8]), media_type, bytes);
    json!({ "mediaType": media_type, "digest": digest, "size": size })
}

/// Stores an index of two platforms and an attestation. Returns its digest.
fn add_index(registry: &FakeRegistry, path: &str, name: &str) -> Digest {
    let platforms = ["amd64", "arm64"].map(|architecture| {
        let mut image = add_image(registry, path, &format!("{name} for {architecture}"));
        image["platform"] = json!({ "os": "linux", "architecture": architecture });
        image
    });
    let mut attestation = add_image(registry, path, &format!("the attestation of {name}"));
    attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    let manifests: Vec<_> = platforms.into_iter().chain([attestation]).collect();
    let index =
        json!({ "schemaVersion": 2, "mediaType": Manifest::OCI_INDEX, "manifests": manifests });
    let descriptor = add_manifest(registry, path, Manifest::OCI_INDEX, &index);
    descriptor["digest"].as_str().expect("a digest").parse().expect("a digest")
}

/// Returns the release `v1`, whose images mirror two images of the repository `path` of `source`, and their digests.
fn mirrored(source: &FakeRegistry, path: &str, registry: &FakeRegistry) -> (Release, Vec<Digest>) {
    let mut v1 = release(registry, "v1", "x");
    let digests: Vec<Digest> = ["a", "b"].map(|name| add_index(source, path, name)).into();
    for (row, digest) in v1.rows.iter_mut().zip(&digests) {
        let repository = source.repository(path);
        row.mirror = Some(PinnedImage { repository, digest: digest.clone() });
        row.fingerprint = Some(digest.to_string().parse().expect("a fingerprint"));
        row.job.platforms = Vec::<Platform>::new();
    }
    (v1, digests)
}

/// Asserts that the manifest of each version tag in `registry` has the bytes of the manifest in `source`.
fn assert_same(source: &FakeRegistry, registry: &FakeRegistry, digests: &[Digest]) {
    for (name, digest) in ["a", "b"].iter().zip(digests) {
        let (path, tag) = (format!("acme/{name}"), format!("{name}-v1"));
        let original = source.manifest("vendor/server", &digest.to_string());
        assert!(original.is_some());
        assert_eq!(registry.manifest(&path, &tag), original);
        assert_eq!(registry.tag(&path, &tag).as_ref(), Some(digest));
    }
}

#[tokio::test]
async fn an_index_is_copied_byte_for_byte_without_an_engine() {
    let (source, registry) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let (v1, digests) = mirrored(&source, "vendor/server", &registry);
    let machine = Machine::new();
    assert_eq!(machine.publish_whole(&v1).await, digests);
    assert!(!machine.has_connected());
    assert_eq!(published_tags(&registry), RELEASE_TAGS);
    assert_same(&source, &registry, &digests);
    assert_eq!(count_writes(&source), 0);

    // A second run changes nothing.
    [&source, &registry].into_iter().for_each(FakeRegistry::clear_requests);
    assert_eq!(machine.publish_whole(&v1).await, digests);
    assert_eq!(count_writes(&registry), 0);
    assert_eq!(source.count("*", "*"), 0);
}

#[tokio::test]
async fn each_blob_of_mirrored_images_is_uploaded_once() {
    let (source, registry) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let (v1, _) = mirrored(&source, "vendor/server", &registry);
    Machine::new().publish_whole(&v1).await;
    // The layer that all six images share, and the layer and the configuration of each.
    assert_eq!(source.count("GET", "*/blobs/*"), 13);
    let shared = "shared by all".len() * 1000;
    let own: usize = ["a", "b"]
        .iter()
        .flat_map(|name| {
            let platforms = ["amd64", "arm64"].map(|platform| format!("{name} for {platform}"));
            platforms.into_iter().chain([format!("the attestation of {name}")])
        })
        .map(|name| {
            format!("the layer of {name}").len() * 100 + format!("{{\"of\": \"{name}\"}}").len()
        })
        .sum();
    // The release set has a blob of two bytes.
    assert_eq!(registry.uploaded_bytes(), (shared + own + 2) as u64);
}

#[tokio::test]
async fn blobs_of_the_same_registry_are_mounted() {
    let registry = FakeRegistry::start().await;
    let (v1, digests) = mirrored(&registry, "vendor/server", &registry);
    Machine::new().publish_whole(&v1).await;
    assert_same(&registry, &registry, &digests);
    assert_eq!(registry.count("GET", "*/blobs/*"), 0);
    assert_eq!(registry.uploaded_bytes(), 2, "only the blob of the release set");
}

#[tokio::test]
async fn a_mirrored_image_is_copied_to_all_registries() {
    let source = FakeRegistry::start().await;
    let both = [FakeRegistry::start().await, FakeRegistry::start().await];
    let (v1, digests) = mirrored(&source, "vendor/server", &both[0]);
    let v1 = v1.with_replica(&both[1]);
    Machine::new().publish_whole(&v1).await;
    for registry in &both {
        assert_eq!(published_tags(registry), RELEASE_TAGS);
        assert_same(&source, registry, &digests);
    }
}

#[tokio::test]
async fn a_version_tag_that_already_points_to_the_mirrored_image_is_kept() {
    let (source, registry) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let (v1, digests) = mirrored(&source, "vendor/server", &registry);
    // One of them was copied with another tool.
    add_index(&registry, "acme/a", "a");
    let index = registry.manifest("acme/a", &digests[0].to_string()).expect("an index");
    registry.add_manifest("acme/a", "a-v1", Manifest::OCI_INDEX, index);
    Machine::new().publish_whole(&v1).await;
    assert_same(&source, &registry, &digests);
}

#[tokio::test]
async fn a_version_tag_that_points_to_another_image_is_a_conflict() {
    let (source, registry) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let (v1, digests) = mirrored(&source, "vendor/server", &registry);
    Machine::new().publish_whole(&v1).await;
    let mut other = v1.clone();
    let digest = add_index(&source, "vendor/server", "newer");
    other.rows[1].mirror.as_mut().expect("a mirror").digest = digest.clone();
    other.rows[1].fingerprint = Some(digest.to_string().parse().expect("a fingerprint"));
    registry.clear_requests();
    let error = Machine::new().publish_error(&other).await;
    assert_eq!(error.exit_code(), ExitCode::Conflict);
    assert_eq!(count_writes(&registry), 0);
    assert_same(&source, &registry, &digests);
    insta::assert_snapshot!(error.to_string().replace(&registry.host(), "HOST"));
    let machine = Machine { overwrite: true, ..Machine::new() };
    machine.publish_whole(&other).await;
    assert_eq!(registry.tag("acme/b", "b-v1"), Some(digest));
}

#[tokio::test]
async fn rejects_a_missing_source() {
    let (source, registry) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let (mut v1, _) = mirrored(&source, "vendor/server", &registry);
    v1.rows[1].mirror.as_mut().expect("a mirror").digest = Digest::of(b"nothing");
    let error = Machine::new().publish_error(&v1).await;
    assert_eq!(published_tags(&registry), Vec::<String>::new());
    let text = Report::to_string(&error).replace(&source.host(), "SOURCE");
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn mirrored_images_are_checked_in_their_target_repository() {
    let (source, registry) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let (v1, digests) = mirrored(&source, "vendor/server", &registry);
    let v1 = v1.with_checks("one");
    let mut machine = Machine::new();
    machine.engine.failing_targets.insert("b".to_owned());
    machine.publish_unfinished(&v1).await;
    assert_eq!(published_tags(&registry), Vec::<String>::new());
    machine.engine.failing_targets.clear();
    machine.publish_whole(&v1).await;
    assert_eq!(machine.checked_targets(), ["a", "b"]);
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    assert_same(&source, &registry, &digests);
    assert_eq!(machine.publish_whole(&v1).await, digests);
    assert_eq!(
        machine.checked_targets(),
        ["a", "b"],
        "images that have passed are not checked again"
    );
}

#[tokio::test]
async fn jobs_stage_mirrored_images_and_a_merge_needs_no_file() {
    let (source, registry) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let (v1, digests) = mirrored(&source, "vendor/server", &registry);
    let machine = Machine::new();
    assert_eq!(machine.stage_whole(&v1).await, digests);
    assert_eq!(published_tags(&registry), Vec::<String>::new());
    let file = job_file("images.json", &v1, &digests);
    assert_eq!(machine.promote(&v1, &[file]).await.expect("a release"), digests);
    assert_eq!(published_tags(&registry), RELEASE_TAGS);
    // A merge copies images that no job has staged.
    let other = FakeRegistry::start().await;
    let (v1, digests) = mirrored(&source, "vendor/server", &other);
    assert_eq!(machine.promote(&v1, &[]).await.expect("a release"), digests);
    assert_same(&source, &other, &digests);
}

/// The connection breaks within a blob: once during the download, once during the upload.
#[tokio::test]
async fn an_interrupted_copy_is_repeated() {
    for breaks_at_source in [true, false] {
        let (source, registry) = (FakeRegistry::start().await, FakeRegistry::start().await);
        let (v1, digests) = mirrored(&source, "vendor/server", &registry);
        if breaks_at_source {
            source.fail(Rule::first("GET", "*/blobs/*", Fault::CutResponse(700)));
        } else {
            registry.fail(Rule::first("PUT", "*/blobs/uploads/*", Fault::CutRequest(700)));
        }
        Machine::new().publish_whole(&v1).await;
        assert_same(&source, &registry, &digests);
    }
}

/// The source serves bytes that do not match their digest. The registry rejects them, and no tag is set.
#[tokio::test]
async fn bytes_with_a_wrong_digest_are_not_published() {
    let (source, registry) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let (v1, _) = mirrored(&source, "vendor/server", &registry);
    let wrong =
        Fault::Response { status: 200, headers: Vec::new(), body: "wrong".repeat(2600).into() };
    source.fail(Rule::every("GET", "*/blobs/*", wrong));
    Machine::new().publish_error(&v1).await;
    assert_eq!(published_tags(&registry), Vec::<String>::new());
}

/// The run is killed at each request to the source and to the registry in turn.
#[tokio::test]
async fn the_next_run_completes_a_copy_that_was_killed_at_any_request() {
    let (source, registry) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let (v1, _) = mirrored(&source, "vendor/server", &registry);
    Machine::new().publish_whole(&v1).await;
    let requests = [&source, &registry].map(|registry| registry.count("*", "*"));
    for (index, requests) in requests.into_iter().enumerate() {
        for request in 1..=requests {
            let both = [FakeRegistry::start().await, FakeRegistry::start().await];
            let (v1, digests) = mirrored(&both[0], "vendor/server", &both[1]);
            let machine = Machine::new();
            kill_at_request(&both[index], request, machine.publish(&v1)).await;
            both[index].clear_faults();
            assert_eq!(
                machine.publish_whole(&v1).await,
                digests,
                "killed at request {request} to registry {index}"
            );
            assert_eq!(
                published_tags(&both[1]),
                RELEASE_TAGS,
                "killed at request {request} to registry {index}"
            );
            assert_same(&both[0], &both[1], &digests);
        }
    }
}
