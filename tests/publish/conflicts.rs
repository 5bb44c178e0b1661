//! Tags that stand for something else, and runs that meet each other.

use basegen::error::ExitCode;

use crate::harness::machine::{Machine, Release, published_tags, release, run_during_hang};
use crate::harness::registry::{FakeRegistry, Fault, Rule};

#[tokio::test]
async fn a_version_that_is_taken_stops_before_anything_is_done() {
    let registry = FakeRegistry::start().await;
    Machine::new().publish_whole(&release(&registry, "v1", "x")).await;
    registry.clear_requests();
    let machine = Machine::new();
    let error = machine.publish_error(&release(&registry, "v1", "y")).await;
    assert_eq!(error.exit_code(), ExitCode::Conflict);
    insta::assert_snapshot!(error.to_string().replace(&registry.host(), "HOST"));
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    assert_eq!(registry.count("PUT", "*") + registry.count("POST", "*"), 0);
}

#[tokio::test]
async fn a_version_that_cannot_be_compared_says_why() {
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
async fn a_version_can_be_overwritten_on_demand() {
    let registry = FakeRegistry::start().await;
    let first = Machine::new().publish_whole(&release(&registry, "v1", "x")).await;
    let machine = Machine { overwrite: true, ..Machine::new() };
    let second = machine.publish_whole(&release(&registry, "v1", "y")).await;
    assert_ne!(first, second);
    assert_eq!(registry.tag("acme/b", "b-v1").as_ref(), Some(&second[1]));
}

/// As when an old job is run again.
#[tokio::test]
async fn an_older_release_takes_no_alias_back() {
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
    // Unless someone wants it so.
    let machine = Machine { overwrite: true, ..Machine::new() };
    machine.publish_whole(&late).await;
    assert_eq!(registry.tag("acme/a", "a").as_ref(), Some(&old[0]));
    assert_ne!(registry.tag("acme/a", "basegen-release"), newest);
}

#[tokio::test]
async fn building_anew_needs_a_new_version() {
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
async fn an_immutable_tag_with_the_same_digest_is_done() {
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

/// Two machines publish the same version. The slower one stops before it sets a tag.
#[tokio::test]
async fn a_run_that_was_overtaken_moves_no_tag() {
    let registry = FakeRegistry::start().await;
    let hangs = registry.fail(Rule::first("POST", "*/acme/b/blobs/uploads/", Fault::Hang));
    let (slow, quick) = (Machine::new(), Machine::new());
    let (mine, theirs) = (release(&registry, "v1", "x"), release(&registry, "v1", "y"));
    let (error, digests) =
        run_during_hang(&hangs, slow.publish_error(&mine), quick.publish_whole(&theirs)).await;
    assert_eq!(error.exit_code(), ExitCode::Conflict, "{error}");
    assert_eq!(registry.tag("acme/a", "a-v1").as_ref(), Some(&digests[0]));
    assert_eq!(registry.tag("acme/b", "b-v1").as_ref(), Some(&digests[1]));
}

/// Two machines set tags at the same time. Both report the conflict.
#[tokio::test]
async fn a_mixture_is_believed_by_nobody() {
    let registry = FakeRegistry::start().await;
    let hangs = registry.fail(Rule::first("PUT", "*/acme/b/manifests/b-v1", Fault::Hang));
    let (slow, quick) = (Machine::new(), Machine { overwrite: true, ..Machine::new() });
    let (mine, theirs) = (release(&registry, "v1", "x"), release(&registry, "v1", "y"));
    let (error, _) =
        run_during_hang(&hangs, slow.publish_error(&mine), quick.publish_whole(&theirs)).await;
    assert_eq!(error.exit_code(), ExitCode::Conflict, "{error}");
    insta::assert_snapshot!(error.to_string().replace(&registry.host(), "HOST"));
    assert!(
        published_tags(&registry).contains(&"basegen-release-v1".to_owned()),
        "the quick one's"
    );
}

/// A second machine sets a tag after the first one has looked it up. The tag stays.
#[tokio::test]
async fn a_tag_that_is_set_meanwhile_is_not_moved() {
    let registry = FakeRegistry::start().await;
    // The second look is the one before the tags of the version are set.
    let hangs = registry.fail(Rule::nth(2, "HEAD", "*/acme/a/manifests/a-v1", Fault::Hang));
    let (slow, quick) = (Machine::new(), Machine::new());
    let (mine, theirs) = (release(&registry, "v1", "x"), release(&registry, "v1", "y"));
    let b = Release { rows: vec![theirs.rows[1].clone()], version: None, sets: Vec::new() };
    let (error, digests) =
        run_during_hang(&hangs, slow.publish_error(&mine), quick.publish_whole(&b)).await;
    assert_eq!(error.exit_code(), ExitCode::Conflict, "{error}");
    assert_eq!(registry.tag("acme/b", "b-v1").as_ref(), Some(&digests[0]));
}

#[tokio::test]
async fn a_release_that_is_overtaken_by_a_newer_one_takes_no_alias_back() {
    let registry = FakeRegistry::start().await;
    let hangs = registry.fail(Rule::first("PUT", "*/acme/b/manifests/b-v1", Fault::Hang));
    let (slow, quick) = (Machine::new(), Machine::new());
    let (v1, v2) = (release(&registry, "v1", "x"), release(&registry, "v2", "y"));
    let (old, new) =
        run_during_hang(&hangs, slow.publish_whole(&v1), quick.publish_whole(&v2)).await;
    assert_eq!(registry.tag("acme/b", "b-v1").as_ref(), Some(&old[1]));
    assert_eq!(registry.tag("acme/b", "b").as_ref(), Some(&new[1]));
    assert!(slow.warnings().iter().any(|text| text.contains("v2 is released already")));
}

/// A part of the matrix is released while all of it is: what is staged first is what both name.
#[tokio::test]
async fn a_release_and_a_part_of_it_at_the_same_time_are_one() {
    let registry = FakeRegistry::start().await;
    let hangs = registry.fail(Rule::first("POST", "*/acme/b/blobs/uploads/", Fault::Hang));
    let (all, part) = (Machine::new(), Machine::with_different_output());
    let v1 = release(&registry, "v1", "x");
    let b = Release { rows: vec![v1.rows[1].clone()], version: None, sets: Vec::new() };
    let (digests, of_b) =
        run_during_hang(&hangs, all.publish_whole(&v1), part.publish_whole(&b)).await;
    assert_eq!(digests[1], of_b[0]);
    assert_eq!(registry.tag("acme/b", "b-v1").as_ref(), Some(&of_b[0]));
}
