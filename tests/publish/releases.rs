//! Releases to one registry: which images are built and pushed, and which tags are set.

use basegen::error::ExitCode;

use crate::count_writes;
use crate::harness::machine::{Machine, RELEASE_TAGS, client, published_tags, release, row};
use crate::harness::registry::{FakeRegistry, Fault, Rule};

#[tokio::test]
async fn a_release_sets_all_tags() {
    let registry = FakeRegistry::start().await;
    let machine = Machine::new();
    let digests = machine.publish_whole(&release(&registry, "v1", "x")).await;
    assert_eq!(published_tags(&registry), RELEASE_TAGS);
    for (path, digest) in ["a", "b"].iter().zip(&digests) {
        let repository = format!("acme/{path}");
        assert_eq!(registry.tag(&repository, path).as_ref(), Some(digest));
        assert_eq!(registry.tag(&repository, &format!("{path}-v1")).as_ref(), Some(digest));
    }
}

#[tokio::test]
async fn a_new_version_of_unchanged_content_builds_and_uploads_nothing() {
    let registry = FakeRegistry::start().await;
    let first = Machine::new().publish_whole(&release(&registry, "v1", "x")).await;
    registry.clear_requests();
    // A machine without results of earlier builds.
    let machine = Machine::new();
    assert_eq!(machine.publish_whole(&release(&registry, "v2", "x")).await, first);
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    assert_eq!(registry.uploaded_bytes(), 0);
    assert!(published_tags(&registry).contains(&"a-v2".to_owned()));
    // A second run changes nothing.
    registry.clear_requests();
    machine.publish_whole(&release(&registry, "v2", "x")).await;
    assert_eq!(count_writes(&registry), 0);
}

#[tokio::test]
async fn builds_only_changed_images() {
    let registry = FakeRegistry::start().await;
    let machine = Machine::new();
    let first = machine.publish_whole(&release(&registry, "v1", "x")).await;
    let mut next = release(&registry, "v2", "x");
    next.rows[1] = release(&registry, "v2", "y").rows[1].clone();
    let second = machine.publish_whole(&next).await;
    assert_eq!(machine.built_targets(), ["a", "b", "b"]);
    assert_eq!((first[0] == second[0], first[1] == second[1]), (true, false));
}

#[tokio::test]
async fn finds_images_without_staging_tags_through_the_release_set() {
    let registry = FakeRegistry::start().await;
    let machine = Machine::new();
    let first = release(&registry, "v1", "x");
    machine.publish_whole(&first).await;
    for row in &first.rows {
        let repository = &row.job.references[0].repository;
        client().delete(repository, &row.job.staging).await.expect("deleted");
    }
    machine.publish_whole(&first).await;
    assert_eq!(machine.built_targets(), ["a", "b"]);
}

#[tokio::test]
async fn an_image_without_a_fingerprint_is_always_built() {
    let registry = FakeRegistry::start().await;
    let machine = Machine::new();
    let mut unpinned = release(&registry, "v1", "x");
    unpinned.rows[0].fingerprint = None;
    machine.publish_whole(&unpinned).await;
    let mut again = release(&registry, "v2", "x");
    again.rows[0].fingerprint = None;
    machine.publish_whole(&again).await;
    assert_eq!(machine.built_targets(), ["a", "b", "a"]);
}

#[tokio::test]
async fn a_partial_release_sets_neither_aliases_nor_a_release_set() {
    let registry = FakeRegistry::start().await;
    let mut part = release(&registry, "v1", "x");
    part.sets.clear();
    part.rows.truncate(1);
    part.rows[0].job.references.truncate(1);
    Machine::new().publish_whole(&part).await;
    assert_eq!(published_tags(&registry), ["a-v1"]);
}

#[tokio::test]
async fn variants_with_equal_fingerprints_share_one_image() {
    let registry = FakeRegistry::start().await;
    let mut twins = release(&registry, "v1", "x");
    let repository = registry.repository("acme/a");
    let mut twin = row(&repository, "twin", "v1", "x");
    // The same fingerprint and another digest: the label `about` is not an input of the fingerprint.
    twin.fingerprint.clone_from(&twins.rows[0].fingerprint);
    twin.job.labels.clone_from(&twins.rows[0].job.labels);
    twin.job.context = twins.rows[0].job.context.clone();
    twin.job.labels.insert("about".to_owned(), "twin".to_owned());
    twins.rows.push(twin);
    let machine = Machine::new();
    let first = machine.publish_whole(&twins).await;
    assert_eq!(first[0], first[2]);
    assert_eq!(registry.tag("acme/a", "twin-v1").as_ref(), Some(&first[0]));
    assert_eq!(machine.publish_whole(&twins).await, first);
    assert_eq!(machine.built_targets().len(), 3);
}

#[tokio::test]
async fn a_patched_image_with_the_same_labels_is_a_conflict() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x");
    let machine = Machine::new();
    machine.publish_whole(&v1).await;
    // A user patches the published image by hand: it keeps all labels and has another layer.
    let mut patched = v1.rows[0].job.clone();
    patched.context.dockerfile.push_str("\nRUN patch");
    let image = machine.engine.push(&patched).await.expect("pushed");
    let (client, version) = (client(), &patched.references[0]);
    let manifest = client.manifest(&version.repository, &image).await.expect("read");
    let manifest = manifest.expect("a manifest");
    client.put_manifest(&version.repository, &version.tag, &manifest).await.expect("tagged");
    let error = machine.publish_error(&v1).await;
    assert_eq!(error.exit_code(), ExitCode::Conflict, "{error}");
}

/// The next run without `--force` uses the images that the forced run has staged.
#[tokio::test]
async fn a_run_without_force_completes_an_interrupted_forced_run() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x");
    Machine::new().stage_whole(&v1).await;
    let mut machine = Machine { force: true, ..Machine::with_different_output() };
    registry.fail(Rule::every("PUT", "*/manifests/b-v1", Fault::error(403, "DENIED", "not now")));
    machine.publish_error(&v1).await;
    registry.clear_faults();
    let error = machine.publish_error(&v1).await;
    insta::assert_snapshot!(error.to_string().replace(&registry.host(), "HOST"));
    machine.force = false;
    let digests = machine.publish_whole(&v1).await;
    assert_eq!(machine.built_targets(), ["a", "b"]);
    assert_eq!(registry.tag("acme/a", "a-v1").as_ref(), Some(&digests[0]));
}

/// Without a fingerprint, no later run can find the staged image.
#[tokio::test]
async fn an_image_without_a_fingerprint_is_rebuilt_after_an_interrupted_run() {
    let registry = FakeRegistry::start().await;
    let mut v1 = release(&registry, "v1", "x");
    v1.rows[0].fingerprint = None;
    let machine = Machine::new();
    registry.fail(Rule::every("PUT", "*-v1", Fault::error(403, "DENIED", "not now")));
    machine.publish_error(&v1).await;
    registry.clear_faults();
    machine.publish_whole(&v1).await;
    assert_eq!(machine.built_targets(), ["a", "b", "a"]);
}
