//! Version tags that point to other images, and concurrent runs.

use basegen::error::ExitCode;

use crate::count_writes;
use crate::harness::machine::{Machine, Release, published_tags, release, run_during_hang};
use crate::harness::registry::{FakeRegistry, Fault, Rule};

#[tokio::test]
async fn rejects_a_published_version_with_different_content_before_the_build() {
    let registry = FakeRegistry::start().await;
    Machine::new().publish_whole(&release(&registry, "v1", "x")).await;
    registry.clear_requests();
    let machine = Machine::new();
    let error = machine.publish_error(&release(&registry, "v1", "y")).await;
    assert_eq!(error.exit_code(), ExitCode::Conflict);
    insta::assert_snapshot!(error.to_string().replace(&registry.host(), "HOST"));
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    assert_eq!(count_writes(&registry), 0);
}

#[tokio::test]
async fn rejects_a_published_version_that_cannot_be_compared() {
    let registry = FakeRegistry::start().await;
    let mut v1 = release(&registry, "v1", "x");
    Machine::new().publish_whole(&v1).await;
    v1.rows[1].fingerprint = None;
    let reason = "the digest of its base `python:3.11` is unknown: its registry does not have it";
    v1.rows[1].uncertain = Some(reason.to_owned());
    let machine = Machine::new();
    let error = machine.publish_error(&v1).await;
    assert_eq!(error.exit_code(), ExitCode::Conflict);
    insta::assert_snapshot!(error.to_string().replace(&registry.host(), "HOST"));
    assert_eq!(machine.built_targets(), Vec::<String>::new());
}

#[tokio::test]
async fn overwrite_replaces_a_published_version() {
    let registry = FakeRegistry::start().await;
    let first = Machine::new().publish_whole(&release(&registry, "v1", "x")).await;
    let machine = Machine { overwrite: true, ..Machine::new() };
    let second = machine.publish_whole(&release(&registry, "v1", "y")).await;
    assert_ne!(first, second);
    assert_eq!(registry.tag("acme/b", "b-v1").as_ref(), Some(&second[1]));
}

/// Happens when the job of an old release is rerun.
#[tokio::test]
async fn an_older_release_does_not_move_aliases() {
    let registry = FakeRegistry::start().await;
    let machine = Machine::new();
    let (v1, v2) = (release(&registry, "v1", "x"), release(&registry, "v2", "y"));
    let old = machine.publish_whole(&v1).await;
    let new = machine.publish_whole(&v2).await;
    let newest = registry.tag("acme/a", "basegen-release");
    let late = release(&registry, "v1.5", "x");
    assert_eq!(machine.publish_whole(&late).await, old);
    assert_eq!(registry.tag("acme/a", "a-v1.5").as_ref(), Some(&old[0]));
    assert_eq!(registry.tag("acme/a", "a").as_ref(), Some(&new[0]));
    assert_eq!(registry.tag("acme/a", "basegen-release"), newest);
    assert!(registry.tag("acme/a", "basegen-release-v1.5").is_some());
    // `--overwrite` moves them.
    let machine = Machine { overwrite: true, ..Machine::new() };
    machine.publish_whole(&late).await;
    assert_eq!(registry.tag("acme/a", "a").as_ref(), Some(&old[0]));
    assert_ne!(registry.tag("acme/a", "basegen-release"), newest);
}

#[tokio::test]
async fn a_forced_rebuild_requires_a_new_version() {
    let registry = FakeRegistry::start().await;
    let machine = Machine { force: true, ..Machine::new() };
    machine.publish_whole(&release(&registry, "v1", "x")).await;
    let error = machine.publish_error(&release(&registry, "v1", "x")).await;
    assert_eq!(error.exit_code(), ExitCode::Conflict);
    assert!(error.to_string().contains("a rebuilt image has another digest"), "{error}");
    machine.publish_whole(&release(&registry, "v2", "x")).await;
    assert_eq!(machine.built_targets(), ["a", "b", "a", "b"]);
}

#[tokio::test]
async fn accepts_an_immutable_tag_with_the_same_digest() {
    let registry = FakeRegistry::start().await;
    registry.set_immutable_tags(true);
    let mut v1 = release(&registry, "v1", "x");
    for row in &mut v1.rows {
        row.job.references.truncate(1);
    }
    v1.sets[0].references.truncate(1);
    let machine = Machine::new();
    let first = machine.publish_whole(&v1).await;
    assert_eq!(machine.publish_whole(&v1).await, first);
    let mut other = release(&registry, "v1", "y");
    other.rows.iter_mut().for_each(|row| row.job.references.truncate(1));
    let error = machine.publish_error(&other).await;
    assert_eq!(error.exit_code(), ExitCode::Conflict);
}

/// Two machines publish the same version. The slow one stops before it sets a tag.
#[tokio::test]
async fn a_run_moves_no_tag_that_a_concurrent_run_has_set() {
    let registry = FakeRegistry::start().await;
    let hang = registry.fail(Rule::first("POST", "*/acme/b/blobs/uploads/", Fault::Hang));
    let (slow, quick) = (Machine::new(), Machine::new());
    let (slow_release, quick_release) =
        (release(&registry, "v1", "x"), release(&registry, "v1", "y"));
    let (error, digests) = run_during_hang(
        &hang,
        slow.publish_error(&slow_release),
        quick.publish_whole(&quick_release),
    )
    .await;
    assert_eq!(error.exit_code(), ExitCode::Conflict, "{error}");
    assert_eq!(registry.tag("acme/a", "a-v1").as_ref(), Some(&digests[0]));
    assert_eq!(registry.tag("acme/b", "b-v1").as_ref(), Some(&digests[1]));
}

/// Two machines set the tags of one version at the same time. The machine whose tag was moved writes no release set.
#[tokio::test]
async fn a_run_reports_tags_that_a_concurrent_run_has_moved() {
    let registry = FakeRegistry::start().await;
    let hang = registry.fail(Rule::first("PUT", "*/acme/b/manifests/b-v1", Fault::Hang));
    let (slow, quick) = (Machine::new(), Machine { overwrite: true, ..Machine::new() });
    let (slow_release, quick_release) =
        (release(&registry, "v1", "x"), release(&registry, "v1", "y"));
    let (error, _) = run_during_hang(
        &hang,
        slow.publish_error(&slow_release),
        quick.publish_whole(&quick_release),
    )
    .await;
    assert_eq!(error.exit_code(), ExitCode::Conflict, "{error}");
    insta::assert_snapshot!(error.to_string().replace(&registry.host(), "HOST"));
    assert!(
        published_tags(&registry).contains(&"basegen-release-v1".to_owned()),
        "the release set of the quick run"
    );
}

/// A second machine sets a tag after the first one has surveyed the registry. The tag does not move.
#[tokio::test]
async fn a_tag_that_is_set_after_the_survey_is_not_moved() {
    let registry = FakeRegistry::start().await;
    // The second request for the tag comes immediately before the version tags are set.
    let hang = registry.fail(Rule::nth(2, "HEAD", "*/acme/a/manifests/a-v1", Fault::Hang));
    let (slow, quick) = (Machine::new(), Machine::new());
    let (slow_release, quick_release) =
        (release(&registry, "v1", "x"), release(&registry, "v1", "y"));
    let only_b =
        Release { rows: vec![quick_release.rows[1].clone()], version: None, sets: Vec::new() };
    let (error, digests) =
        run_during_hang(&hang, slow.publish_error(&slow_release), quick.publish_whole(&only_b))
            .await;
    assert_eq!(error.exit_code(), ExitCode::Conflict, "{error}");
    assert_eq!(registry.tag("acme/b", "b-v1").as_ref(), Some(&digests[0]));
}

#[tokio::test]
async fn an_older_release_that_ends_last_does_not_move_aliases() {
    let registry = FakeRegistry::start().await;
    let hang = registry.fail(Rule::first("PUT", "*/acme/b/manifests/b-v1", Fault::Hang));
    let (slow, quick) = (Machine::new(), Machine::new());
    let (v1, v2) = (release(&registry, "v1", "x"), release(&registry, "v2", "y"));
    let (old, new) =
        run_during_hang(&hang, slow.publish_whole(&v1), quick.publish_whole(&v2)).await;
    assert_eq!(registry.tag("acme/b", "b-v1").as_ref(), Some(&old[1]));
    assert_eq!(registry.tag("acme/b", "b").as_ref(), Some(&new[1]));
    assert!(slow.warnings().iter().any(|text| text.contains("v2 is released already")));
}

/// A partial release runs during a whole one. Both tag the image that was staged first.
#[tokio::test]
async fn concurrent_whole_and_partial_releases_tag_the_same_image() {
    let registry = FakeRegistry::start().await;
    let hang = registry.fail(Rule::first("POST", "*/acme/b/blobs/uploads/", Fault::Hang));
    let (whole, partial) = (Machine::new(), Machine::with_different_output());
    let v1 = release(&registry, "v1", "x");
    let only_b = Release { rows: vec![v1.rows[1].clone()], version: None, sets: Vec::new() };
    let (digests, digests_of_b) =
        run_during_hang(&hang, whole.publish_whole(&v1), partial.publish_whole(&only_b)).await;
    assert_eq!(digests[1], digests_of_b[0]);
    assert_eq!(registry.tag("acme/b", "b-v1").as_ref(), Some(&digests_of_b[0]));
}
