//! Releases in several jobs: jobs that stage images, and one that merges their results and sets the tags.

use basegen::error::{ExitCode, Explain as _, Report};
use basegen::image::Digest;
use basegen::publish::{JobFile, PublishError, Staged};

use crate::harness::machine::{
    Machine, RELEASE_TAGS, Release, job_file, join_files, published_tags, release, row,
    run_during_hang,
};
use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::{count_writes, kill_at_request};

/// Splits `release` into two partial releases of one row each.
fn halves(release: &Release) -> [Release; 2] {
    let half = |index: usize| Release {
        rows: vec![release.rows[index].clone()],
        version: None,
        sets: Vec::new(),
    };
    [half(0), half(1)]
}

/// Stages each half of `v1` on a machine of its own. Returns the metadata files of the two jobs.
async fn stage_in_two_jobs(v1: &Release) -> [JobFile; 2] {
    let [mut one, mut two] = halves(v1);
    let machines = [Machine::new(), Machine::new()];
    let digests = tokio::join!(
        Box::pin(machines[0].stage_whole(&one)),
        Box::pin(machines[1].stage_whole(&two))
    );
    (one.sets, two.sets) = (v1.sets.clone(), v1.sets.clone());
    (one.version, two.version) = (v1.version.clone(), v1.version.clone());
    [job_file("images-1.json", &one, &digests.0), job_file("images-2.json", &two, &digests.1)]
}

#[tokio::test]
async fn staged_images_get_no_version_tags_and_are_not_rebuilt() {
    let registry = FakeRegistry::start().await;
    let machine = Machine::new();
    let v1 = release(&registry, "v1", "x");
    let digests = machine.stage_whole(&v1).await;
    assert_eq!(published_tags(&registry), Vec::<String>::new());
    // Neither another staging job nor the release builds them.
    let other = Machine::new();
    assert_eq!(other.stage_whole(&v1).await, digests);
    assert_eq!(other.publish_whole(&v1).await, digests);
    assert_eq!(other.built_targets(), Vec::<String>::new());
}

#[tokio::test]
async fn a_merge_of_two_jobs_equals_a_release_of_one_run() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x");
    let files = stage_in_two_jobs(&v1).await;
    assert_eq!(published_tags(&registry), Vec::<String>::new());
    let machine = Machine::new();
    let digests = machine.promote(&v1, &files).await.expect("a release");
    assert_eq!(published_tags(&registry), RELEASE_TAGS);
    let alone = FakeRegistry::start().await;
    assert_eq!(Machine::new().publish_whole(&release(&alone, "v1", "x")).await, digests);
    // A second merge changes nothing.
    registry.clear_requests();
    assert_eq!(machine.promote(&v1, &files).await.expect("a release"), digests);
    assert_eq!(count_writes(&registry), 0);
}

#[tokio::test]
async fn unchanged_images_need_no_metadata_file() {
    let registry = FakeRegistry::start().await;
    let first = Machine::new().publish_whole(&release(&registry, "v1", "x")).await;
    let v2 = release(&registry, "v2", "x");
    assert_eq!(Machine::new().promote(&v2, &[]).await.expect("a release"), first);
    assert!(published_tags(&registry).contains(&"b-v2".to_owned()));
}

#[tokio::test]
async fn a_merge_rejects_missing_images() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x");
    let [one, _] = halves(&v1);
    let digests = Machine::new().stage_whole(&one).await;
    let file =
        JobFile { failed: ["b".to_owned()].into(), ..job_file("images-1.json", &v1, &digests) };
    let failed = Machine::new().promote(&v1, &[file]).await.expect_err("refused");
    let missing = Machine::new().promote(&v1, &[]).await;
    assert!(
        matches!(missing, Err(PublishError::NotStaged { ref absent, .. }) if absent.len() == 1)
    );
    assert_eq!(failed.exit_code(), ExitCode::Registry);
    assert_eq!(published_tags(&registry), Vec::<String>::new());
    let reports =
        [failed, missing.expect_err("refused")].map(|error| Report::from(error).to_string());
    insta::assert_snapshot!(reports.join("\n\n"));
}

/// Stages `v1` in two jobs. Returns their metadata files with wrong digests, and the staged digests. The digest of `a`
/// is that of no image, the digest of `b` that of an image with other inputs.
async fn wrong_files(registry: &FakeRegistry, v1: &Release) -> ([JobFile; 2], [Digest; 2]) {
    let [mut one, mut two] = stage_in_two_jobs(v1).await;
    let mut other = row(&registry.repository("acme/b"), "b", "v1", "y").job;
    other.references.truncate(1);
    let pushed = Machine::new().engine.push(&other).await.expect("pushed");
    let staged = [(&mut one, "a", Digest::of(b"nothing")), (&mut two, "b", pushed)];
    let staged = staged.map(|(file, id, digest)| {
        std::mem::replace(&mut file.images.get_mut(id).expect("an image").digest, digest)
    });
    ([one, two], staged)
}

/// Replaces the host of the registry and the digests of [`wrong_files`] by names.
fn with_names(text: &str, files: &[JobFile; 2], registry: &FakeRegistry) -> String {
    let [missing, pushed] = [&files[0].images["a"], &files[1].images["b"]];
    text.replace(&pushed.digest.to_string(), "PUSHED")
        .replace(&missing.digest.to_string(), "NOTHING")
        .replace(&registry.host(), "HOST")
}

#[tokio::test]
async fn a_merge_rejects_digests_that_the_registry_does_not_confirm() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x");
    let (files, _) = wrong_files(&registry, &v1).await;
    for path in ["acme/a", "acme/b"] {
        for (tag, _) in registry.tags(path) {
            registry.remove_tag(path, &tag);
        }
    }
    let error = Machine::new().promote(&v1, &files).await.expect_err("refused");
    insta::assert_snapshot!(with_names(&Report::from(error).to_string(), &files, &registry));
    assert_eq!(published_tags(&registry), Vec::<String>::new());
}

#[tokio::test]
async fn staging_tags_take_precedence_over_metadata_files() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x");
    let (files, staged) = wrong_files(&registry, &v1).await;
    let machine = Machine::new();
    assert_eq!(machine.promote(&v1, &files).await.expect("a release"), staged);
    let warnings = with_names(&machine.warnings().join("\n"), &files, &registry);
    let [a, b] = staged.map(|digest| digest.to_string());
    insta::assert_snapshot!(warnings.replace(&a, "STAGED A").replace(&b, "STAGED B"));
}

/// Happens if two commits that change no image are pushed in quick succession.
#[tokio::test]
async fn two_runs_that_stage_the_same_inputs_use_one_image() {
    let registry = FakeRegistry::start().await;
    let hang = registry.fail(Rule::first("POST", "*/acme/b/blobs/uploads/", Fault::Hang));
    let (slow, quick) = (Machine::new(), Machine::with_different_output());
    let (v1, v2) = (release(&registry, "v1", "x"), release(&registry, "v2", "x"));
    let (slow_digests, quick_digests) =
        run_during_hang(&hang, slow.stage_whole(&v1), quick.stage_whole(&v2)).await;
    assert_eq!(
        quick.built_targets().last().map(String::as_str),
        Some("b"),
        "both runs have built it"
    );
    assert_eq!(slow_digests, quick_digests);
    let files = [job_file("images-1.json", &v1, &slow_digests)];
    assert_eq!(slow.promote(&v1, &files).await.expect("a release"), slow_digests);
    assert_eq!(slow.warnings(), Vec::<String>::new());
}

/// The image behind the staging tag does not replace an image of a forced rebuild.
#[tokio::test]
async fn a_merge_rejects_forced_rebuilds_whose_staging_tags_could_not_move() {
    let registry = FakeRegistry::start().await;
    Machine::new().stage_whole(&release(&registry, "v1", "x")).await;
    registry.set_immutable_tags(true);
    let v2 = release(&registry, "v2", "x");
    let machine = Machine { force: true, ..Machine::with_different_output() };
    let built = machine.stage_whole(&v2).await;
    let files = [JobFile { forced: true, ..job_file("images-1.json", &v2, &built) }];
    let error = machine.promote(&v2, &files).await.expect_err("not staged");
    assert!(matches!(error, PublishError::NotStaged { ref absent, .. } if absent.len() == 2));
}

#[tokio::test]
async fn a_merge_of_forced_rebuilds_replaces_a_release_with_overwrite() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x");
    let first = Machine::new().publish_whole(&v1).await;
    let machine = Machine { force: true, overwrite: true, ..Machine::with_different_output() };
    let second = machine.stage_whole(&v1).await;
    assert_ne!(first, second);
    let files = [JobFile { forced: true, ..job_file("images-1.json", &v1, &second) }];
    let machine = Machine { overwrite: false, ..machine };
    let error = machine.promote(&v1, &files).await.expect_err("already published");
    assert_eq!(error.exit_code(), ExitCode::Conflict, "{error}");
    let machine = Machine { overwrite: true, ..machine };
    assert_eq!(machine.promote(&v1, &files).await.expect("a release"), second);
    assert_eq!(registry.tag("acme/b", "b-v1").as_ref(), Some(&second[1]));
}

#[tokio::test]
async fn a_merge_rejects_metadata_files_of_different_releases() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x");
    let [one, two] = stage_in_two_jobs(&v1).await;
    let [old, _] = stage_in_two_jobs(&release(&registry, "v2", "y")).await;
    let mut rebuilt = two.clone();
    "images-3.json".clone_into(&mut rebuilt.name);
    rebuilt.images.get_mut("b").expect("an image").digest = Digest::of(b"another");
    let mut unknown = one.clone();
    let image = unknown.images.remove("a").expect("an image");
    unknown.images.insert("c".to_owned(), image);
    "images-4.json".clone_into(&mut unknown.name);
    let files = [JobFile { name: "old.json".to_owned(), ..old }, two.clone(), unknown];
    let error = join_files(&v1, &files).expect_err("refused");
    insta::assert_snapshot!(Report::from(error).to_string());
    // Two images of the same inputs are accepted: the registry determines which one is used.
    assert!(join_files(&v1, &[one.clone(), two, rebuilt, one]).is_ok());
}

#[tokio::test]
async fn an_image_without_a_fingerprint_cannot_be_staged() {
    let registry = FakeRegistry::start().await;
    let mut v1 = release(&registry, "v1", "x");
    v1.rows[1].fingerprint = None;
    let error = Machine::new().stage(&v1).await.expect_err("refused");
    insta::assert_snapshot!(error.to_string());
    assert_eq!(registry.count("*", "*"), 0);
}

#[tokio::test]
async fn staging_reports_failed_builds_and_keeps_the_other_images() {
    let registry = FakeRegistry::start().await;
    let mut machine = Machine::new();
    machine.engine.failing_targets.insert("b".to_owned());
    let v1 = release(&registry, "v1", "x");
    let staged = machine.stage(&v1).await.expect("a run");
    assert!(
        matches!(staged, Staged::Unfinished(ref outcomes) if outcomes.len() == 2),
        "{staged:?}"
    );
    machine.engine.failing_targets.clear();
    machine.stage_whole(&v1).await;
    assert_eq!(machine.built_targets(), ["a", "b"]);
}

#[tokio::test]
async fn staging_and_merging_reject_a_published_version_with_different_content() {
    let registry = FakeRegistry::start().await;
    Machine::new().publish_whole(&release(&registry, "v1", "x")).await;
    let v1 = release(&registry, "v1", "y");
    let staging = Machine::new();
    let error = staging.stage(&v1).await.expect_err("refused");
    assert_eq!(error.exit_code(), ExitCode::Conflict, "{error}");
    assert_eq!(staging.built_targets(), Vec::<String>::new());
    insta::assert_snapshot!(error.to_string().replace(&registry.host(), "HOST"));
    let staging = Machine { overwrite: true, ..staging };
    let digests = staging.stage_whole(&v1).await;
    let files = [job_file("images.json", &v1, &digests)];
    let error = Machine::new().promote(&v1, &files).await.expect_err("refused");
    assert_eq!(error.exit_code(), ExitCode::Conflict, "{error}");
    let machine = Machine { overwrite: true, ..Machine::new() };
    let digests = machine.promote(&v1, &files).await.expect("a release");
    assert_eq!(registry.tag("acme/b", "b-v1").as_ref(), Some(&digests[1]));
}

#[tokio::test]
async fn the_next_run_completes_a_staging_job_that_was_killed_at_any_request() {
    let registry = FakeRegistry::start().await;
    let digests =
        Machine::new().stage_whole(&release(&registry, "v1", "x").with_checks("one")).await;
    let requests = registry.count("*", "*");
    assert!(requests > 10, "{requests}");
    for request in 1..=requests {
        let registry = FakeRegistry::start().await;
        let (machine, v1) = (Machine::new(), release(&registry, "v1", "x").with_checks("one"));
        kill_at_request(&registry, request, machine.stage(&v1)).await;
        registry.clear_faults();
        machine.wait_until_stopped().await;
        let staged: Vec<bool> =
            ["a", "b"].map(|path| !registry.tags(&format!("acme/{path}")).is_empty()).into();
        let before = machine.built_targets().len();
        assert_eq!(machine.stage_whole(&v1).await, digests, "killed at request {request}");
        let built = &machine.built_targets()[before..];
        for (id, staged) in ["a", "b"].iter().zip(staged) {
            assert!(!(staged && built.iter().any(|target| target == id)), "{id} at {request}");
        }
        assert_eq!(published_tags(&registry), Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_next_merge_completes_one_that_was_killed_at_any_request() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x").with_checks("one");
    let digests = Machine::new().stage_whole(&v1).await;
    let file = job_file("images.json", &v1, &digests);
    registry.clear_requests();
    Machine::new().promote(&v1, &[file]).await.expect("a release");
    let requests = registry.count("*", "*");
    assert!(requests > 15, "{requests}");
    for request in 1..=requests {
        let registry = FakeRegistry::start().await;
        let (machine, v1) = (Machine::new(), release(&registry, "v1", "x").with_checks("one"));
        let files = [job_file("images.json", &v1, &machine.stage_whole(&v1).await)];
        kill_at_request(&registry, request, machine.promote(&v1, &files)).await;
        registry.clear_faults();
        machine.wait_until_stopped().await;
        assert_eq!(machine.promote(&v1, &files).await.expect("a release"), digests);
        assert_eq!(published_tags(&registry), RELEASE_TAGS, "killed at request {request}");
        assert_eq!(machine.built_targets(), ["a", "b"]);
    }
}
