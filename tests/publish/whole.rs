use basegen::error::ExitCode;

use crate::harness::machine::{Machine, RELEASE_TAGS, published_tags, release};
use crate::harness::registry::{FakeRegistry, Fault, Rule};

#[tokio::test]
async fn a_release_is_there_under_all_its_names() {
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
async fn a_new_version_of_the_same_moves_no_byte_and_builds_nothing() {
    let registry = FakeRegistry::start().await;
    let first = Machine::new().publish_whole(&release(&registry, "v1", "x")).await;
    registry.clear_requests();
    // Another machine, which has never built anything.
    let machine = Machine::new();
    assert_eq!(machine.publish_whole(&release(&registry, "v2", "x")).await, first);
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    assert_eq!(registry.uploaded_bytes(), 0);
    assert!(published_tags(&registry).contains(&"a-v2".to_owned()));
    // And once more, with nothing to do at all.
    registry.clear_requests();
    machine.publish_whole(&release(&registry, "v2", "x")).await;
    assert_eq!(registry.count("PUT", "*") + registry.count("POST", "*"), 0);
}

#[tokio::test]
async fn only_what_has_changed_is_built() {
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
async fn what_lost_its_staging_tag_is_known_by_the_release_set() {
    let registry = FakeRegistry::start().await;
    let machine = Machine::new();
    let first = release(&registry, "v1", "x");
    machine.publish_whole(&first).await;
    for row in &first.rows {
        let repository = &row.job.references[0].repository;
        crate::harness::machine::client()
            .delete(repository, &row.job.staging)
            .await
            .expect("deleted");
    }
    machine.publish_whole(&first).await;
    assert_eq!(machine.built_targets(), ["a", "b"]);
}

#[tokio::test]
async fn what_is_not_known_for_certain_is_always_built() {
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
async fn a_part_of_a_matrix_has_neither_aliases_nor_a_set() {
    let registry = FakeRegistry::start().await;
    let mut part = release(&registry, "v1", "x");
    part.sets.clear();
    part.rows.truncate(1);
    part.rows[0].job.references.truncate(1);
    Machine::new().publish_whole(&part).await;
    assert_eq!(published_tags(&registry), ["a-v1"]);
}

#[tokio::test]
async fn twins_of_one_fingerprint_are_one_image() {
    let registry = FakeRegistry::start().await;
    let mut twins = release(&registry, "v1", "x");
    let repository = registry.repository("acme/a");
    let mut twin = crate::harness::machine::row(&repository, "twin", "v1", "x");
    // Made of the same, and other bytes: a label that explains is not what it is made of.
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
async fn an_image_built_on_ours_is_not_taken_for_it() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x");
    let machine = Machine::new();
    machine.publish_whole(&v1).await;
    // Somebody mends the image by hand: it has all of our labels, and its own layer.
    let mut mended = v1.rows[0].job.clone();
    mended.context.dockerfile.push_str("\nRUN mend");
    let image = machine.engine.push(&mended).await.expect("pushed");
    let (client, version) = (crate::harness::machine::client(), &mended.references[0]);
    let manifest = client.manifest(&version.repository, &image).await.expect("read");
    let manifest = manifest.expect("a manifest");
    client.put_manifest(&version.repository, &version.tag, &manifest).await.expect("tagged");
    let error = machine.publish_error(&v1).await;
    assert_eq!(error.exit_code(), ExitCode::Conflict, "{error}");
}

/// What such a run has staged counts for the same call without `--force`.
#[tokio::test]
async fn a_forced_run_that_was_stopped_is_finished_without_force() {
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

/// Nothing can be known again that is made of what nobody knows.
#[tokio::test]
async fn what_is_not_pinned_is_built_again_after_a_run_that_was_stopped() {
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
