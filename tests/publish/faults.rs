//! Registry faults during a release.

use basegen::engine::Outcome;
use basegen::error::ExitCode;

use crate::harness::machine::{Machine, RELEASE_TAGS, Release, published_tags, release, row};
use crate::harness::registry::{FakeRegistry, Fault, Rule};

#[tokio::test]
async fn the_next_run_sets_tags_that_failed() {
    let registry = FakeRegistry::start().await;
    let denied = Fault::error(403, "DENIED", "not this one");
    registry.fail(Rule::every("PUT", "*/manifests/b-v1", denied));
    let machine = Machine::new();
    let v1 = release(&registry, "v1", "x");
    let error = machine.publish_error(&v1).await;
    assert_eq!(error.exit_code(), ExitCode::Registry);
    insta::assert_snapshot!(error.to_string().replace(&registry.host(), "HOST"));
    assert_eq!(published_tags(&registry), ["a-v1"], "no alias and no release set");

    registry.clear_faults();
    registry.clear_requests();
    machine.publish_whole(&v1).await;
    assert_eq!(published_tags(&registry), RELEASE_TAGS);
    assert_eq!(registry.count("PUT", "*/manifests/a-v1"), 0);
    assert_eq!(registry.count("PUT", "*/manifests/b-v1"), 1);
    assert_eq!(machine.built_targets(), ["a", "b"]);
}

#[tokio::test]
async fn a_request_is_repeated_after_a_lost_response() {
    let registry = FakeRegistry::start().await;
    registry.fail(Rule::first("PUT", "*/manifests/*", Fault::CommitThenDrop));
    registry.fail(Rule::first("PUT", "*/manifests/a-v1", Fault::CommitThenDrop));
    Machine::new().publish_whole(&release(&registry, "v1", "x")).await;
    assert_eq!(published_tags(&registry), RELEASE_TAGS);
}

#[tokio::test]
async fn a_wrong_digest_stops_the_release_before_any_tag_is_set() {
    let registry = FakeRegistry::start().await;
    let wrong = basegen::image::Digest::of(b"something else").to_string();
    let fault = Fault::Headers(vec![("docker-content-digest", wrong)]);
    // Pushes and staging tags succeed. Only the check of the digest before the version tags fails.
    registry.fail(Rule::every("HEAD", "*/acme/b/manifests/sha256:*", fault));
    let machine = Machine::new();
    let error = machine.publish_error(&release(&registry, "v1", "x")).await;
    assert!(error.to_string().contains("digest"), "{error}");
    assert_eq!(published_tags(&registry), Vec::<String>::new());
}

#[tokio::test]
async fn accepts_responses_without_location_and_digest() {
    let registry = FakeRegistry::start().await;
    let bare = vec![("location", String::new()), ("docker-content-digest", String::new())];
    registry.fail(Rule::every("PUT", "*/manifests/*", Fault::Headers(bare)));
    Machine::new().publish_whole(&release(&registry, "v1", "x")).await;
    assert_eq!(published_tags(&registry), RELEASE_TAGS);
}

#[tokio::test]
async fn no_tag_is_set_while_one_of_two_registries_is_down() {
    for fault in [Fault::status(503), Fault::Drop] {
        let (up, down) = (FakeRegistry::start().await, FakeRegistry::start().await);
        let both = Release {
            rows: vec![
                row(&up.repository("acme/a"), "a", "v1", "x"),
                row(&down.repository("acme/b"), "b", "v1", "x"),
            ],
            version: None,
            sets: Vec::new(),
        };
        // The registry goes down at the first push of a blob.
        down.fail(Rule::every("POST", "*", fault));
        let machine = Machine::new();
        let outcomes = machine.publish_unfinished(&both).await;
        assert!(matches!(outcomes[..], [Outcome::Built(_), Outcome::Failed(_)]), "{outcomes:?}");
        assert_eq!((published_tags(&up), published_tags(&down)), (Vec::new(), Vec::new()));
        down.clear_faults();
        machine.publish_whole(&both).await;
        assert_eq!(machine.built_targets(), ["a", "b"], "the staged image is not rebuilt");
        assert_eq!(published_tags(&up), ["a", "a-v1"]);
    }
}

#[tokio::test]
async fn a_failed_check_stops_the_release() {
    let registry = FakeRegistry::start().await;
    let mut machine = Machine::new();
    machine.engine.failing_targets.insert("b".to_owned());
    let outcomes = machine.publish_unfinished(&release(&registry, "v1", "x")).await;
    assert!(matches!(outcomes[..], [Outcome::Built(_), Outcome::Failed(_)]), "{outcomes:?}");
    assert_eq!(published_tags(&registry), Vec::<String>::new());
    machine.engine.failing_targets.clear();
    machine.publish_whole(&release(&registry, "v1", "x")).await;
    assert_eq!(machine.built_targets(), ["a", "b"]);
}

#[tokio::test]
async fn the_barrier_detects_a_deleted_image() {
    let registry = FakeRegistry::start().await;
    let machine = Machine::new();
    let v1 = release(&registry, "v1", "x");
    machine.publish_whole(&v1).await;
    let gone = Fault::error(404, "MANIFEST_UNKNOWN", "gone");
    registry.fail(Rule::every("HEAD", "*/acme/b/manifests/sha256:*", gone));
    let error = machine.publish_error(&release(&registry, "v2", "x")).await;
    assert!(error.to_string().contains("was pushed but is missing in the registry"), "{error}");
    assert!(!published_tags(&registry).contains(&"a-v2".to_owned()));
}
