//! Releases to several registries: aliases and release sets change in all of them or in none.

use basegen::engine::Outcome;
use basegen::error::{ExitCode, Report};
use basegen::publish::{ReleaseSet, audit};

use crate::harness::machine::{
    Machine, RELEASE_TAGS, Release, client, job_file, published_tags, reference, release, set_name,
};
use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::{count_writes, kill_at_request};

/// Starts two registries. Returns them and the release `v1` for both.
async fn two_registries() -> ([FakeRegistry; 2], Release) {
    let registries = [FakeRegistry::start().await, FakeRegistry::start().await];
    let v1 = release(&registries[0], "v1", "x").with_replica(&registries[1]);
    (registries, v1)
}

/// Replaces the hosts of both registries by names.
fn with_names(text: &str, [one, two]: &[FakeRegistry; 2]) -> String {
    text.replace(&one.host(), "ONE").replace(&two.host(), "TWO")
}

#[tokio::test]
async fn one_build_is_published_in_both_registries() {
    let (both, v1) = two_registries().await;
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
        assert_eq!(count_writes(registry), 0);
    }
}

#[tokio::test]
async fn each_blob_is_uploaded_to_each_registry_once() {
    let (both, v1) = two_registries().await;
    Machine::new().publish_whole(&v1).await;
    let [one, two] = both.each_ref().map(FakeRegistry::uploaded_bytes);
    assert_eq!(one, two);
    let blobs = both[0].count("GET", "*/blobs/*");
    assert_eq!(blobs, 4, "each blob of the two images is read once for the copy");

    // An engine that pushes to both, as BuildKit does, leaves nothing to copy.
    let both = published_by_one_engine().await;
    let [first, second] = both.each_ref().map(FakeRegistry::uploaded_bytes);
    assert_eq!([first, second], [one, two]);
    assert_eq!(both[0].count("GET", "*/blobs/*"), 0);
}

/// Publishes `v1` with an engine that pushes to both registries. Returns the registries.
async fn published_by_one_engine() -> [FakeRegistry; 2] {
    let (both, v1) = two_registries().await;
    let mut machine = Machine::new();
    machine.engine.pushes_everywhere = true;
    machine.publish_whole(&v1).await;
    for registry in &both {
        assert_eq!(published_tags(registry), RELEASE_TAGS);
    }
    both
}

#[tokio::test]
async fn a_registry_that_is_added_later_receives_copies() {
    let (both, v1) = two_registries().await;
    let first = Machine::new().publish_whole(&release(&both[0], "v1", "x")).await;
    let machine = Machine::new();
    assert_eq!(machine.publish_whole(&v1).await, first);
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    assert_eq!(published_tags(&both[1]), RELEASE_TAGS);
    // The same if the first registry of the list is the new one.
    let third = FakeRegistry::start().await;
    let reversed = release(&third, "v1", "x").with_replica(&both[1]);
    assert_eq!(machine.publish_whole(&reversed).await, first);
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    assert_eq!(published_tags(&third), RELEASE_TAGS);
}

#[tokio::test]
async fn images_are_checked_before_they_are_published_in_another_registry() {
    let (both, v1) = two_registries().await;
    let first = Machine::new().publish_whole(&release(&both[0], "v1", "x")).await;
    let machine = Machine::new();
    assert_eq!(machine.publish_whole(&v1.with_checks("one")).await, first);
    assert_eq!(machine.checked_targets(), ["a", "b"]);
    assert_eq!(published_tags(&both[1]), RELEASE_TAGS);
}

#[tokio::test]
async fn no_tag_is_set_if_one_registry_refuses_blobs() {
    for fault in [Fault::status(503), Fault::Drop, Fault::error(403, "DENIED", "no")] {
        let (both, v1) = two_registries().await;
        // Only the copies are refused: the survey and the access check succeed.
        both[1].fail(Rule::every("PUT", "*/blobs/uploads/*", fault));
        let machine = Machine::new();
        machine.publish_error(&v1).await;
        assert_eq!((published_tags(&both[0]), published_tags(&both[1])), (Vec::new(), Vec::new()));
        both[1].clear_faults();
        machine.publish_whole(&v1).await;
        assert_eq!(machine.built_targets(), ["a", "b"], "staged images are not rebuilt");
        for registry in &both {
            assert_eq!(published_tags(registry), RELEASE_TAGS);
        }
    }
}

#[tokio::test]
async fn no_alias_and_no_release_set_is_written_if_one_registry_refuses_a_tag() {
    let (both, v1) = two_registries().await;
    both[1].fail(Rule::every("PUT", "*/manifests/b-v1", Fault::error(403, "DENIED", "not now")));
    let machine = Machine::new();
    let error = machine.publish_error(&v1).await;
    assert_eq!(error.exit_code(), ExitCode::Registry);
    assert_eq!(published_tags(&both[0]), ["a-v1", "b-v1"]);
    assert_eq!(published_tags(&both[1]), ["a-v1"]);
    insta::assert_snapshot!(with_names(&error.to_string(), &both));
    both[1].clear_faults();
    machine.publish_whole(&v1).await;
    for registry in &both {
        assert_eq!(published_tags(registry), RELEASE_TAGS);
    }
}

#[tokio::test]
async fn missing_push_access_is_reported_before_the_first_build() {
    let (both, v1) = two_registries().await;
    both[1].fail(Rule::every("POST", "*/blobs/uploads/", Fault::error(403, "DENIED", "read only")));
    let machine = Machine::new();
    let error = machine.publish_error(&v1).await;
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    assert_eq!(both[0].uploaded_bytes(), 0);
    insta::assert_snapshot!(with_names(&error.to_string(), &both));
}

#[tokio::test]
async fn rejects_a_version_that_one_registry_has_with_different_content() {
    let (both, v1) = two_registries().await;
    Machine::new().publish_whole(&release(&both[1], "v1", "y")).await;
    let machine = Machine::new();
    let error = machine.publish_error(&v1).await;
    assert_eq!(error.exit_code(), ExitCode::Conflict);
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    assert_eq!(published_tags(&both[0]), Vec::<String>::new());
    insta::assert_snapshot!(with_names(&error.to_string(), &both));
    let machine = Machine { overwrite: true, ..machine };
    let digests = machine.publish_whole(&v1).await;
    assert_eq!(both[1].tag("acme/b", "b-v1").as_ref(), Some(&digests[1]));
}

/// The same inputs were built twice, once for each registry. The version tag that was already set does not move.
#[tokio::test]
async fn a_published_image_takes_precedence_over_a_staged_one() {
    let (both, v1) = two_registries().await;
    Machine::new().stage_whole(&release(&both[0], "v1", "x")).await;
    let published =
        Machine::with_different_output().publish_whole(&release(&both[1], "v1", "x")).await;
    let machine = Machine::new();
    assert_eq!(machine.publish_whole(&v1).await, published);
    assert_eq!(both[0].tag("acme/a", "a-v1").as_ref(), Some(&published[0]));
    assert_eq!(machine.built_targets(), Vec::<String>::new());
}

#[tokio::test]
async fn a_merge_copies_images_that_a_registry_lacks() {
    let (both, v1) = two_registries().await;
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

/// The run is killed at each request to each registry in turn.
#[tokio::test]
async fn the_next_run_completes_a_killed_release_in_both_registries() {
    let (both, v1) = two_registries().await;
    let digests = Machine::new().publish_whole(&v1.with_checks("one")).await;
    let requests = both.each_ref().map(|registry| registry.count("*", "*"));
    for (index, requests) in requests.into_iter().enumerate() {
        assert!(requests > 20, "{requests}");
        for request in 1..=requests {
            let (both, v1) = two_registries().await;
            let (machine, v1) = (Machine::new(), v1.with_checks("one"));
            kill_at_request(&both[index], request, machine.publish(&v1)).await;
            both[index].clear_faults();
            machine.wait_until_stopped().await;
            let staged = ["acme/a", "acme/b"].map(|path| !both[0].tags(path).is_empty());
            let before = machine.built_targets().len();
            assert_eq!(
                machine.publish_whole(&v1).await,
                digests,
                "killed at request {request} to registry {index}"
            );
            for registry in &both {
                assert_eq!(
                    published_tags(registry),
                    RELEASE_TAGS,
                    "killed at request {request} to registry {index}"
                );
            }
            let built = &machine.built_targets()[before..];
            for (id, staged) in ["a", "b"].iter().zip(staged) {
                assert!(!(staged && built.iter().any(|target| target == id)), "{id} at {request}");
            }
        }
    }
}

/// The second registry executes each request in turn, but its response is lost.
#[tokio::test]
async fn a_request_to_one_registry_is_repeated_after_a_lost_response() {
    let (both, v1) = two_registries().await;
    Machine::new().publish_whole(&v1).await;
    for request in 1..=both[1].count("*", "*") {
        let (both, v1) = two_registries().await;
        both[1].fail(Rule::nth(request, "*", "*", Fault::CommitThenDrop));
        Machine::new().publish_whole(&v1).await;
        for registry in &both {
            assert_eq!(published_tags(registry), RELEASE_TAGS, "{request}");
        }
    }
}

#[tokio::test]
async fn a_failed_build_stops_the_release_in_both_registries() {
    let (both, v1) = two_registries().await;
    let mut machine = Machine::new();
    machine.engine.failing_targets.insert("b".to_owned());
    let outcomes = machine.publish_unfinished(&v1).await;
    assert!(matches!(outcomes[..], [Outcome::Built(_), Outcome::Failed(_)]), "{outcomes:?}");
    assert_eq!((published_tags(&both[0]), published_tags(&both[1])), (Vec::new(), Vec::new()));
}

/// Returns a release of a second matrix, whose images have other tags in the same repositories.
fn other_matrix(registry: &FakeRegistry, version: &str, tag: &str) -> Release {
    let mut other = release(registry, version, "z");
    for reference in other.rows.iter_mut().flat_map(|row| &mut row.job.references) {
        reference.tag = format!("other-{}", reference.tag).parse().expect("a tag");
    }
    other.sets = vec![set_name(&registry.repository("acme/a"), tag, version)];
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
    // With a name of its own, the second matrix does not affect the release sets and aliases of the first.
    let with_own_name = |version: &str| other_matrix(&registry, version, "basegen-release_other");
    let machine = Machine::new();
    machine.publish_whole(&with_own_name("v3")).await;
    let digests = machine.publish_whole(&release(&registry, "v2", "y")).await;
    assert_eq!(registry.tag("acme/a", "a").as_ref(), Some(&digests[0]));
    assert_eq!(registry.manifest("acme/a", "basegen-release-v1"), set);
    assert!(registry.manifest("acme/a", "basegen-release_other-v3").is_some());
}

#[tokio::test]
async fn a_matrix_can_rename_all_of_its_images() {
    let registry = FakeRegistry::start().await;
    let machine = Machine::new();
    machine.publish_whole(&release(&registry, "v1", "x")).await;
    // An unchanged alias identifies the release set as one of the same matrix.
    let mut renamed = other_matrix(&registry, "v2", "basegen-release");
    renamed.rows[0].job.references[1].tag = "a".parse().expect("a tag");
    machine.publish_whole(&renamed).await;
    let machine = Machine { overwrite: true, ..machine };
    machine.publish_whole(&other_matrix(&registry, "v3", "basegen-release")).await;
}

#[tokio::test]
async fn errors_name_the_registry() {
    let (both, v1) = two_registries().await;
    both[1].fail(Rule::every(
        "HEAD",
        "*/manifests/sha256:*",
        Fault::error(404, "MANIFEST_UNKNOWN", "gone"),
    ));
    let error = Machine::new().publish_error(&v1).await;
    let text = with_names(&Report::to_string(&error), &both);
    assert!(text.contains("`TWO/acme/a@sha256:"), "{text}");
    assert!(text.contains("hint: "), "{text}");
}
