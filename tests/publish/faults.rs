//! What a registry may do wrong while a release is made.

use basegen::engine::Outcome;
use basegen::error::ExitCode;

use crate::harness::machine::{Machine, RELEASE_TAGS, Release, published_tags, release, row};
use crate::harness::registry::{FakeRegistry, Fault, Rule};

#[tokio::test]
async fn when_a_tag_fails_the_next_run_sets_the_rest() {
    let registry = FakeRegistry::start().await;
    let denied = Fault::error(403, "DENIED", "not this one");
    registry.fail(Rule::every("PUT", "*/manifests/b-v1", denied));
    let machine = Machine::new();
    let v1 = release(&registry, "v1", "x");
    let error = machine.publish_error(&v1).await;
    assert_eq!(error.exit_code(), ExitCode::Registry);
    insta::assert_snapshot!(error.to_string().replace(&registry.host(), "HOST"));
    assert_eq!(published_tags(&registry), ["a-v1"], "neither aliases nor a set");

    registry.clear_faults();
    registry.clear_requests();
    machine.publish_whole(&v1).await;
    assert_eq!(published_tags(&registry), RELEASE_TAGS);
    assert_eq!(registry.count("PUT", "*/manifests/a-v1"), 0);
    assert_eq!(registry.count("PUT", "*/manifests/b-v1"), 1);
    assert_eq!(machine.built_targets(), ["a", "b"]);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again() {
    let registry = FakeRegistry::start().await;
    registry.fail(Rule::first("PUT", "*/manifests/*", Fault::CommitThenDrop));
    registry.fail(Rule::first("PUT", "*/manifests/a-v1", Fault::CommitThenDrop));
    Machine::new().publish_whole(&release(&registry, "v1", "x")).await;
    assert_eq!(published_tags(&registry), RELEASE_TAGS);
}

#[tokio::test]
async fn a_wrong_digest_stops_the_release_before_any_tag() {
    let registry = FakeRegistry::start().await;
    let wrong = basegen::image::Digest::of(b"something else").to_string();
    let fault = Fault::Headers(vec![("docker-content-digest", wrong)]);
    // The pushes by digest and the staging tags pass; what is read back for the tags does not.
    registry.fail(Rule::every("HEAD", "*/acme/b/manifests/sha256:*", fault));
    let machine = Machine::new();
    let error = machine.publish_error(&release(&registry, "v1", "x")).await;
    assert!(error.to_string().contains("digest"), "{error}");
    assert_eq!(published_tags(&registry), Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_without_location_or_digest_is_no_fault() {
    let registry = FakeRegistry::start().await;
    let bare = vec![("location", String::new()), ("docker-content-digest", String::new())];
    registry.fail(Rule::every("PUT", "*/manifests/*", Fault::Headers(bare)));
    Machine::new().publish_whole(&release(&registry, "v1", "x")).await;
    assert_eq!(published_tags(&registry), RELEASE_TAGS);
}

#[tokio::test]
async fn when_one_of_two_registries_is_down_no_tag_moves_on_either() {
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
        // It goes down when the first of its blobs is to be pushed.
        down.fail(Rule::every("POST", "*", fault));
        let machine = Machine::new();
        let outcomes = machine.publish_unfinished(&both).await;
        assert!(matches!(outcomes[..], [Outcome::Built(_), Outcome::Failed(_)]), "{outcomes:?}");
        assert_eq!((published_tags(&up), published_tags(&down)), (Vec::new(), Vec::new()));
        down.clear_faults();
        machine.publish_whole(&both).await;
        assert_eq!(machine.built_targets(), ["a", "b"], "what is there is not built again");
        assert_eq!(published_tags(&up), ["a", "a-v1"]);
    }
}

#[tokio::test]
async fn an_image_that_fails_its_checks_stops_the_release() {
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
async fn an_image_that_vanishes_is_noticed_at_the_barrier() {
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
