//! Releases in several registries: whole in all of them, or in none.

use basegen::engine::Outcome;
use basegen::error::{ExitCode, Report};
use basegen::publish::{ReleaseSet, audit};

use crate::harness::machine::{
    Machine, RELEASE_TAGS, Release, client, job_file, published_tags, reference, release,
};
use crate::harness::registry::{FakeRegistry, Fault, Rule};

/// Two registries, and the release `v1` for both.
async fn two() -> ([FakeRegistry; 2], Release) {
    let registries = [FakeRegistry::start().await, FakeRegistry::start().await];
    let v1 = release(&registries[0], "v1", "x").with_replica(&registries[1]);
    (registries, v1)
}

/// Returns `text` with names instead of the hosts of both registries.
fn named(text: &str, [one, two]: &[FakeRegistry; 2]) -> String {
    text.replace(&one.host(), "ONE").replace(&two.host(), "TWO")
}

#[tokio::test]
async fn one_build_is_whole_in_both_registries() {
    let (both, v1) = two().await;
    let machine = Machine::new();
    let digests = machine.publish_whole(&v1).await;
    assert_eq!(machine.built_targets(), ["a", "b"]);
    for registry in &both {
        assert_eq!(published_tags(registry), RELEASE_TAGS);
        for (id, digest) in ["a", "b"].iter().zip(&digests) {
            let repository = format!("acme/{id}");
            assert_eq!(registry.tag(&repository, &format!("{id}-v1")).as_ref(), Some(digest));
        }
        let set = reference(&registry.repository("acme/a"), "basegen-release-v1");
        let (set, _) = ReleaseSet::read(&client(), &set).await.expect("read").expect("a set");
        let hosts: Vec<_> = set
            .images
            .values()
            .map(|image| image.reference.repository.registry().to_owned())
            .collect();
        assert_eq!(hosts, [registry.host(), registry.host()]);
        let audited = audit(&client(), &set).await.expect("an audit");
        assert!(audited.iter().all(|image| image.finding.word() == "ok"), "{audited:?}");
    }
    both.iter().for_each(FakeRegistry::clear_requests);
    machine.publish_whole(&v1).await;
    for registry in &both {
        assert_eq!(registry.count("PUT", "*") + registry.count("POST", "*"), 0);
    }
}

#[tokio::test]
async fn each_registry_gets_each_blob_once() {
    let (both, v1) = two().await;
    Machine::new().publish_whole(&v1).await;
    let [one, two] = both.each_ref().map(FakeRegistry::uploaded_bytes);
    assert_eq!(one, two);
    let blobs = both[0].count("GET", "*/blobs/*");
    assert_eq!(blobs, 4, "each blob of the two images is read once to be copied");

    // An engine that pushes to both, as BuildKit does, leaves nothing to copy.
    let (both, v1) = two_of_an_engine().await;
    let [first, second] = both.each_ref().map(FakeRegistry::uploaded_bytes);
    assert_eq!([first, second], [one, two]);
    assert_eq!(both[0].count("GET", "*/blobs/*"), 0);
    drop(v1);
}

/// The same as [`two`] after a release whose engine has pushed to both registries.
async fn two_of_an_engine() -> ([FakeRegistry; 2], Release) {
    let (both, v1) = two().await;
    let mut machine = Machine::new();
    machine.engine.pushes_everywhere = true;
    machine.publish_whole(&v1).await;
    for registry in &both {
        assert_eq!(published_tags(registry), RELEASE_TAGS);
    }
    (both, v1)
}

#[tokio::test]
async fn a_registry_that_is_added_later_gets_copies() {
    let (both, v1) = two().await;
    let first = Machine::new().publish_whole(&release(&both[0], "v1", "x")).await;
    let machine = Machine::new();
    assert_eq!(machine.publish_whole(&v1).await, first);
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    assert_eq!(published_tags(&both[1]), RELEASE_TAGS);
    // The other way round: the first registry of the list is the new one.
    let third = FakeRegistry::start().await;
    let reversed = release(&third, "v1", "x").with_replica(&both[1]);
    assert_eq!(machine.publish_whole(&reversed).await, first);
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    assert_eq!(published_tags(&third), RELEASE_TAGS);
}

#[tokio::test]
async fn images_of_one_registry_are_checked_before_they_are_published_in_another() {
    let (both, v1) = two().await;
    let first = Machine::new().publish_whole(&release(&both[0], "v1", "x")).await;
    let machine = Machine::new();
    assert_eq!(machine.publish_whole(&v1.with_checks("one")).await, first);
    assert_eq!(machine.checked_targets(), ["a", "b"]);
    assert_eq!(published_tags(&both[1]), RELEASE_TAGS);
}

#[tokio::test]
async fn when_one_registry_refuses_blobs_no_tag_is_set_in_either() {
    for fault in [Fault::status(503), Fault::Drop, Fault::error(403, "DENIED", "no")] {
        let (both, v1) = two().await;
        // Only the copies are refused: the survey and the test of the access pass.
        both[1].fail(Rule::every("PUT", "*/blobs/uploads/*", fault));
        let machine = Machine::new();
        machine.publish_error(&v1).await;
        assert_eq!((published_tags(&both[0]), published_tags(&both[1])), (Vec::new(), Vec::new()));
        both[1].clear_faults();
        machine.publish_whole(&v1).await;
        assert_eq!(machine.built_targets(), ["a", "b"], "staged images are not built again");
        for registry in &both {
            assert_eq!(published_tags(registry), RELEASE_TAGS);
        }
    }
}

#[tokio::test]
async fn when_one_registry_refuses_a_tag_no_alias_and_no_set_is_written_in_either() {
    let (both, v1) = two().await;
    both[1].fail(Rule::every("PUT", "*/manifests/b-v1", Fault::error(403, "DENIED", "not now")));
    let machine = Machine::new();
    let error = machine.publish_error(&v1).await;
    assert_eq!(error.exit_code(), ExitCode::Registry);
    assert_eq!(published_tags(&both[0]), ["a-v1", "b-v1"]);
    assert_eq!(published_tags(&both[1]), ["a-v1"]);
    insta::assert_snapshot!(named(&error.to_string(), &both));
    both[1].clear_faults();
    machine.publish_whole(&v1).await;
    for registry in &both {
        assert_eq!(published_tags(registry), RELEASE_TAGS);
    }
}

#[tokio::test]
async fn a_registry_that_cannot_be_pushed_to_is_reported_before_the_first_build() {
    let (both, v1) = two().await;
    both[1].fail(Rule::every("POST", "*/blobs/uploads/", Fault::error(403, "DENIED", "read only")));
    let machine = Machine::new();
    let error = machine.publish_error(&v1).await;
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    assert_eq!(both[0].uploaded_bytes(), 0);
    insta::assert_snapshot!(named(&error.to_string(), &both));
}

#[tokio::test]
async fn a_version_that_one_registry_has_with_different_content_is_refused() {
    let (both, v1) = two().await;
    Machine::new().publish_whole(&release(&both[1], "v1", "y")).await;
    let machine = Machine::new();
    let error = machine.publish_error(&v1).await;
    assert_eq!(error.exit_code(), ExitCode::Conflict);
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    assert_eq!(published_tags(&both[0]), Vec::<String>::new());
    insta::assert_snapshot!(named(&error.to_string(), &both));
    let machine = Machine { overwrite: true, ..machine };
    let digests = machine.publish_whole(&v1).await;
    assert_eq!(both[1].tag("acme/b", "b-v1").as_ref(), Some(&digests[1]));
}

/// The same inputs were built twice, once for each registry. The tag that was set stays as it is.
#[tokio::test]
async fn the_published_image_of_equal_inputs_comes_before_a_staged_one() {
    let (both, v1) = two().await;
    Machine::new().stage_whole(&release(&both[0], "v1", "x")).await;
    let published =
        Machine::with_different_output().publish_whole(&release(&both[1], "v1", "x")).await;
    let machine = Machine::new();
    assert_eq!(machine.publish_whole(&v1).await, published);
    assert_eq!(both[0].tag("acme/a", "a-v1").as_ref(), Some(&published[0]));
    assert_eq!(machine.built_targets(), Vec::<String>::new());
}

#[tokio::test]
async fn a_merge_copies_what_a_registry_lacks() {
    let (both, v1) = two().await;
    let digests = Machine::new().stage_whole(&release(&both[0], "v1", "x")).await;
    let machine = Machine::new();
    let file = job_file("images.json", &v1, &digests);
    assert_eq!(machine.promote(&v1, &[file]).await.expect("a release"), digests);
    for registry in &both {
        assert_eq!(published_tags(registry), RELEASE_TAGS);
    }
}

#[tokio::test]
async fn an_older_release_moves_no_alias_in_either_registry() {
    let both = [FakeRegistry::start().await, FakeRegistry::start().await];
    let version =
        |version: &str, content: &str| release(&both[0], version, content).with_replica(&both[1]);
    let machine = Machine::new();
    let newer = machine.publish_whole(&version("v2", "y")).await;
    machine.publish_whole(&version("v1", "x")).await;
    for registry in &both {
        assert_eq!(registry.tag("acme/a", "a").as_ref(), Some(&newer[0]));
        assert!(published_tags(registry).contains(&"a-v1".to_owned()));
    }
}

/// The run is killed at each request to each of the registries in turn. The next run completes the release in both.
#[tokio::test]
async fn a_run_that_is_killed_at_any_request_is_finished_in_both_registries() {
    let (both, v1) = two().await;
    let digests = Machine::new().publish_whole(&v1.with_checks("one")).await;
    let requests = both.each_ref().map(|registry| registry.count("*", "*"));
    for (killed, requests) in requests.into_iter().enumerate() {
        assert!(requests > 20, "{requests}");
        for request in 1..=requests {
            let (both, v1) = two().await;
            let (machine, v1) = (Machine::new(), v1.with_checks("one"));
            let hangs = both[killed].fail(Rule::nth(request, "*", "*", Fault::Hang));
            tokio::select! {
                // The order of requests varies: a run may have needed fewer.
                published = machine.publish(&v1) => drop(published.expect("a release")),
                () = hangs.wait_until_used() => {}
            }
            both[killed].clear_faults();
            machine.wait_until_stopped().await;
            let staged = ["acme/a", "acme/b"].map(|path| !both[0].tags(path).is_empty());
            let before = machine.built_targets().len();
            assert_eq!(
                machine.publish_whole(&v1).await,
                digests,
                "killed at request {request} of {killed}"
            );
            for registry in &both {
                assert_eq!(
                    published_tags(registry),
                    RELEASE_TAGS,
                    "killed at request {request} of {killed}"
                );
            }
            let built = &machine.built_targets()[before..];
            for (id, staged) in ["a", "b"].iter().zip(staged) {
                assert!(!(staged && built.iter().any(|target| target == id)), "{id} at {request}");
            }
        }
    }
}

/// Every request to the second registry fails once, in turn, with an answer that is lost after it was executed.
#[tokio::test]
async fn an_answer_that_is_lost_in_one_registry_is_asked_for_again() {
    let (both, v1) = two().await;
    Machine::new().publish_whole(&v1).await;
    for request in 1..=both[1].count("*", "*") {
        let (both, v1) = two().await;
        both[1].fail(Rule::nth(request, "*", "*", Fault::CommitThenDrop));
        Machine::new().publish_whole(&v1).await;
        for registry in &both {
            assert_eq!(published_tags(registry), RELEASE_TAGS, "{request}");
        }
    }
}

#[tokio::test]
async fn an_image_that_fails_its_build_stops_the_release_in_both_registries() {
    let (both, v1) = two().await;
    let mut machine = Machine::new();
    machine.engine.failing_targets.insert("b".to_owned());
    let outcomes = machine.publish_unfinished(&v1).await;
    assert!(matches!(outcomes[..], [Outcome::Built(_), Outcome::Failed(_)]), "{outcomes:?}");
    assert_eq!((published_tags(&both[0]), published_tags(&both[1])), (Vec::new(), Vec::new()));
}

/// A second matrix in the same repository, whose images have other tags.
fn other_matrix(registry: &FakeRegistry, version: &str, tag: &str) -> Release {
    let mut other = release(registry, version, "z");
    for reference in other.rows.iter_mut().flat_map(|row| &mut row.job.references) {
        reference.tag = format!("other-{}", reference.tag).parse().expect("a tag");
    }
    other.sets =
        vec![crate::harness::machine::set_name(&registry.repository("acme/a"), tag, version)];
    other
}

#[tokio::test]
async fn a_matrix_does_not_overwrite_the_release_set_of_another() {
    let registry = FakeRegistry::start().await;
    Machine::new().publish_whole(&release(&registry, "v1", "x")).await;
    let set = registry.manifest("acme/a", "basegen-release-v1");
    for version in ["v1", "v2"] {
        let machine = Machine::new();
        let error =
            machine.publish_error(&other_matrix(&registry, version, "basegen-release")).await;
        assert_eq!(error.exit_code(), ExitCode::Conflict);
        assert_eq!(machine.built_targets(), Vec::<String>::new());
        assert_eq!(published_tags(&registry), RELEASE_TAGS);
        insta::allow_duplicates! {
            insta::assert_snapshot!(error.to_string().replace(&registry.host(), "HOST").replace("-v1`", "`"));
        }
    }
    // A name of its own keeps both apart, also in the order of releases.
    let named = |version: &str| other_matrix(&registry, version, "basegen-release_other");
    let machine = Machine::new();
    machine.publish_whole(&named("v3")).await;
    let moved = machine.publish_whole(&release(&registry, "v2", "y")).await;
    assert_eq!(registry.tag("acme/a", "a").as_ref(), Some(&moved[0]));
    assert_eq!(registry.manifest("acme/a", "basegen-release-v1"), set);
    assert!(registry.manifest("acme/a", "basegen-release_other-v3").is_some());
}

#[tokio::test]
async fn the_same_matrix_may_rename_all_of_its_images() {
    let registry = FakeRegistry::start().await;
    let machine = Machine::new();
    machine.publish_whole(&release(&registry, "v1", "x")).await;
    // An alias that stays the same shows that it is the same matrix.
    let mut renamed = other_matrix(&registry, "v2", "basegen-release");
    renamed.rows[0].job.references[1].tag = "a".parse().expect("a tag");
    machine.publish_whole(&renamed).await;
    let machine = Machine { overwrite: true, ..machine };
    machine.publish_whole(&other_matrix(&registry, "v3", "basegen-release")).await;
}

#[tokio::test]
async fn reports_name_the_registries() {
    let (both, v1) = two().await;
    both[1].fail(Rule::every(
        "HEAD",
        "*/manifests/sha256:*",
        Fault::error(404, "MANIFEST_UNKNOWN", "gone"),
    ));
    let error = Machine::new().publish_error(&v1).await;
    let text = named(&Report::to_string(&error), &both);
    assert!(text.contains("`TWO/acme/a@sha256:"), "{text}");
    assert!(text.contains("hint: "), "{text}");
}
