//! A release tags only images that have passed the current checks, whenever the images were built.

use basegen::engine::Outcome;
use basegen::error::{ExitCode, Explain as _, Report};
use basegen::event::FailureKind;
use basegen::publish::Staged;

use crate::harness::machine::{
    Machine, RELEASE_TAGS, Release, job_file, published_tags, release, run_during_hang,
};
use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::kill_at_request;

/// Matches the paths of staging tags of both forms.
const STAGING_TAGS: &str = "*/manifests/basegen-????????????????????????????????*";

#[tokio::test]
async fn a_new_check_runs_in_published_images_before_the_next_version() {
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
    // Images that have passed are not checked again.
    assert_eq!(machine.checked_targets(), ["a", "b"]);
    assert_eq!(Machine::new().publish_whole(&v2).await, first);
    assert_eq!(machine.built_targets(), Vec::<String>::new());
}

#[tokio::test]
async fn a_new_check_runs_when_the_same_version_is_published_again() {
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
async fn passed_checks_are_found_with_at_most_one_request_per_image() {
    let registry = FakeRegistry::start().await;
    let checked_release = |version| release(&registry, version, "x").with_checks("one");
    Machine::new().publish_whole(&checked_release("v1")).await;
    registry.clear_requests();
    Machine::new().publish_whole(&checked_release("v1")).await;
    assert_eq!(registry.count("*", STAGING_TAGS), 0, "the release set lists the checks");
    registry.clear_requests();
    Machine::new().publish_whole(&checked_release("v2")).await;
    assert_eq!(registry.count("*", STAGING_TAGS), 2, "one request per image");
}

#[tokio::test]
async fn finds_checked_images_without_staging_tags_through_the_release_set() {
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
async fn a_merge_rejects_images_that_have_not_passed_the_current_checks() {
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
async fn a_staging_job_reports_a_failed_check() {
    let registry = FakeRegistry::start().await;
    let mut machine = Machine::new();
    machine.stage_whole(&release(&registry, "v1", "x")).await;
    machine.engine.failing_targets.insert("a".to_owned());
    let staged = machine.stage(&release(&registry, "v1", "x").with_checks("one")).await;
    let Ok(Staged::Unfinished(outcomes)) = staged else { panic!("{staged:?}") };
    assert!(matches!(outcomes[..], [Outcome::Failed(_), Outcome::Built(_)]), "{outcomes:?}");
}

/// Both runs use the image that the quick run staged. The slow run has checked only its own image.
#[tokio::test]
async fn an_image_that_another_run_staged_is_checked_before_it_is_used() {
    for (quick_checks, expected) in [("one", 0), ("two", 1)] {
        let registry = FakeRegistry::start().await;
        let hang = registry.fail(Rule::first("POST", "*/acme/b/blobs/uploads/", Fault::Hang));
        let (slow, quick) = (Machine::new(), Machine::with_different_output());
        let v1 = release(&registry, "v1", "x").with_checks("one");
        let v2 = release(&registry, "v2", "x").with_checks(quick_checks);
        let (slow_digests, quick_digests) =
            run_during_hang(&hang, slow.stage_whole(&v1), quick.stage_whole(&v2)).await;
        assert_eq!(slow_digests, quick_digests);
        let checked = slow.engine.checked.lock().expect("a list").clone();
        let checks_of_b = checked.iter().filter(|(target, _)| target == "b").count();
        assert_eq!(checks_of_b, expected, "checks of the quick run: `{quick_checks}`");
        assert!(checked.iter().all(|(_, digest)| quick_digests.contains(digest)));
        // Both images have passed now.
        let next = Machine::new();
        next.publish_whole(&v1).await;
        assert_eq!((next.built_targets(), next.checked_targets()), (Vec::new(), Vec::new()));
    }
}

#[tokio::test]
async fn the_next_run_completes_a_run_that_was_killed_during_checks() {
    let publish_v1 = async |registry: &FakeRegistry| {
        let digests =
            Machine::new().publish_whole(&release(registry, "v1", "x").with_checks("one")).await;
        registry.clear_requests();
        let v2: Release = release(registry, "v2", "x").with_checks("two");
        (v2, digests)
    };
    let registry = FakeRegistry::start().await;
    let (v2, _) = publish_v1(&registry).await;
    Machine::new().publish_whole(&v2).await;
    let requests = registry.count("*", "*");
    assert!(requests > 20, "{requests}");
    for request in 1..=requests {
        let registry = FakeRegistry::start().await;
        let (v2, digests) = publish_v1(&registry).await;
        let machine = Machine::new();
        kill_at_request(&registry, request, machine.publish(&v2)).await;
        registry.clear_faults();
        machine.wait_until_stopped().await;
        assert_eq!(machine.publish_whole(&v2).await, digests, "killed at request {request}");
        assert_eq!(machine.built_targets(), Vec::<String>::new());
        let checked = machine.checked_targets();
        assert!(["a", "b"].iter().all(|id| checked.iter().any(|target| target == id)));
        assert_eq!(registry.tag("acme/b", "b-v2").as_ref(), Some(&digests[1]));
    }
}
