//! Checks belong to the image that is named: those of today have passed on it, whenever it was built.

use basegen::engine::Outcome;
use basegen::error::{ExitCode, Explain as _, Report};
use basegen::event::FailureKind;
use basegen::publish::Staged;

use crate::harness::machine::{
    Machine, RELEASE_TAGS, Release, job_file, published_tags, release, run_during_hang,
};
use crate::harness::registry::{FakeRegistry, Fault, Rule};

/// What a staging tag of either form looks like.
const STAGING: &str = "*/manifests/basegen-????????????????????????????????*";

#[tokio::test]
async fn a_check_that_is_new_runs_on_the_published_image_before_it_is_named_again() {
    let registry = FakeRegistry::start().await;
    let first =
        Machine::new().publish_whole(&release(&registry, "v1", "x").with_checks("one")).await;
    let v2 = release(&registry, "v2", "x").with_checks("two");
    let mut machine = Machine::new();
    machine.engine.failing_targets.insert("b".to_owned());
    let outcomes = machine.publish_unfinished(&v2).await;
    let [Outcome::Built(_), Outcome::Failed(failure)] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(failure.kind, FailureKind::Verify);
    assert_eq!(published_tags(&registry), RELEASE_TAGS);
    machine.engine.failing_targets.clear();
    registry.clear_requests();
    assert_eq!(machine.publish_whole(&v2).await, first);
    assert_eq!(registry.uploaded_bytes(), 0);
    // What has passed once is not checked again.
    assert_eq!(machine.checked_targets(), ["a", "b"]);
    assert_eq!(Machine::new().publish_whole(&v2).await, first);
    assert_eq!(machine.built_targets(), Vec::<String>::new());
}

/// The release itself is published already, under the same version.
#[tokio::test]
async fn a_check_that_is_new_runs_on_a_release_that_is_published_again() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x");
    Machine::new().publish_whole(&v1).await;
    let mut machine = Machine::new();
    machine.engine.failing_targets.insert("a".to_owned());
    machine.publish_unfinished(&v1.clone().with_checks("one")).await;
    machine.engine.failing_targets.clear();
    machine.publish_whole(&v1.with_checks("one")).await;
    assert_eq!(machine.checked_targets(), ["b", "a"]);
}

#[tokio::test]
async fn checks_that_have_passed_cost_no_request() {
    let registry = FakeRegistry::start().await;
    let of = |version| release(&registry, version, "x").with_checks("one");
    Machine::new().publish_whole(&of("v1")).await;
    registry.clear_requests();
    Machine::new().publish_whole(&of("v1")).await;
    assert_eq!(registry.count("*", STAGING), 0, "the set of the version tells");
    registry.clear_requests();
    Machine::new().publish_whole(&of("v2")).await;
    assert_eq!(registry.count("*", STAGING), 2, "one for each image");
}

#[tokio::test]
async fn what_has_lost_its_staging_tags_is_known_by_the_release_set() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x").with_checks("one");
    let digests = Machine::new().publish_whole(&v1).await;
    for path in ["acme/a", "acme/b"] {
        for (tag, _) in registry.tags(path) {
            if !published_tags(&registry).contains(&tag) {
                registry.remove_tag(path, &tag);
            }
        }
    }
    let machine = Machine::new();
    assert_eq!(machine.publish_whole(&v1).await, digests);
    assert_eq!(machine.publish_whole(&v1.with_checks("two")).await, digests);
    assert_eq!(
        (machine.built_targets(), machine.checked_targets()),
        (Vec::new(), vec!["a".into(), "b".into()])
    );
}

#[tokio::test]
async fn a_merge_names_nothing_whose_checks_have_not_run() {
    let registry = FakeRegistry::start().await;
    let machine = Machine::new();
    let digests = machine.stage_whole(&release(&registry, "v1", "x").with_checks("one")).await;
    let v1 = release(&registry, "v1", "x").with_checks("two");
    let files = [job_file("images.json", &v1, &digests)];
    let error = Machine::new().promote(&v1, &files).await.expect_err("not checked");
    assert_eq!(error.exit_code(), ExitCode::Registry);
    insta::assert_snapshot!(Report::from(error).to_string());
    assert_eq!(published_tags(&registry), Vec::<String>::new());
    assert_eq!(machine.stage_whole(&v1).await, digests);
    assert_eq!(machine.checked_targets(), ["a", "b"]);
    assert_eq!(machine.promote(&v1, &files).await.expect("a release"), digests);
    assert_eq!(machine.built_targets(), ["a", "b"]);
}

#[tokio::test]
async fn a_check_that_fails_is_told_by_the_job_that_stages() {
    let registry = FakeRegistry::start().await;
    let mut machine = Machine::new();
    machine.stage_whole(&release(&registry, "v1", "x")).await;
    machine.engine.failing_targets.insert("a".to_owned());
    let staged = machine.stage(&release(&registry, "v1", "x").with_checks("one")).await;
    let Ok(Staged::Unfinished(outcomes)) = staged else { panic!("{staged:?}") };
    assert!(matches!(outcomes[..], [Outcome::Failed(_), Outcome::Built(_)]), "{outcomes:?}");
}

/// Its own checks ran on its own image, and the image of the other run is what both name.
#[tokio::test]
async fn the_image_of_another_run_is_checked_before_it_counts() {
    for (theirs, expected) in [("one", 0), ("two", 1)] {
        let registry = FakeRegistry::start().await;
        let hangs = registry.fail(Rule::first("POST", "*/acme/b/blobs/uploads/", Fault::Hang));
        let (slow, quick) = (Machine::new(), Machine::with_different_output());
        let v1 = release(&registry, "v1", "x").with_checks("one");
        let v2 = release(&registry, "v2", "x").with_checks(theirs);
        let (mine, of_other) =
            run_during_hang(&hangs, slow.stage_whole(&v1), quick.stage_whole(&v2)).await;
        assert_eq!(mine, of_other);
        let checked = slow.engine.checked.lock().expect("a list").clone();
        let of_b = checked.iter().filter(|(target, _)| target == "b").count();
        assert_eq!(of_b, expected, "with the checks `{theirs}`");
        assert!(checked.iter().all(|(_, digest)| of_other.contains(digest)));
        // All of it is checked now.
        let last = Machine::new();
        last.publish_whole(&v1).await;
        assert_eq!((last.built_targets(), last.checked_targets()), (Vec::new(), Vec::new()));
    }
}

#[tokio::test]
async fn a_run_that_is_killed_while_it_checks_is_finished_by_the_next() {
    let published = async |registry: &FakeRegistry| {
        let digests =
            Machine::new().publish_whole(&release(registry, "v1", "x").with_checks("one")).await;
        registry.clear_requests();
        let v2: Release = release(registry, "v2", "x").with_checks("two");
        (v2, digests)
    };
    let registry = FakeRegistry::start().await;
    let (v2, _) = published(&registry).await;
    Machine::new().publish_whole(&v2).await;
    let requests = registry.count("*", "*");
    assert!(requests > 20, "{requests}");
    for request in 1..=requests {
        let registry = FakeRegistry::start().await;
        let (v2, digests) = published(&registry).await;
        let machine = Machine::new();
        let hangs = registry.fail(Rule::nth(request, "*", "*", Fault::Hang));
        tokio::select! {
            published = machine.publish(&v2) => drop(published.expect("a release")),
            () = hangs.wait_until_used() => {}
        }
        registry.clear_faults();
        machine.wait_until_stopped().await;
        assert_eq!(machine.publish_whole(&v2).await, digests, "killed at request {request}");
        assert_eq!(machine.built_targets(), Vec::<String>::new());
        let checked = machine.checked_targets();
        assert!(["a", "b"].iter().all(|id| checked.iter().any(|target| target == id)));
        assert_eq!(registry.tag("acme/b", "b-v2").as_ref(), Some(&digests[1]));
    }
}
