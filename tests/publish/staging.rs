//! Releases in two halves: jobs that stage, and one that names.

use basegen::error::{ExitCode, Explain as _, Report};
use basegen::image::Digest;
use basegen::publish::{JobFile, PublishError, Staged};

use crate::harness::machine::{
    Machine, RELEASE_TAGS, Release, job_file, join_files, published_tags, release, row,
    run_during_hang,
};
use crate::harness::registry::{FakeRegistry, Fault, Rule};

/// The rows of `release` one by one, as two jobs are given them.
fn halves(release: &Release) -> [Release; 2] {
    let half = |at: usize| Release {
        rows: vec![release.rows[at].clone()],
        version: None,
        sets: Vec::new(),
    };
    [half(0), half(1)]
}

/// Stages both halves of `v1`, each on a machine of its own, and gives what the jobs write.
async fn two_jobs(v1: &Release) -> [JobFile; 2] {
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
async fn what_is_staged_has_no_name_and_is_not_built_again() {
    let registry = FakeRegistry::start().await;
    let machine = Machine::new();
    let v1 = release(&registry, "v1", "x");
    let digests = machine.stage_whole(&v1).await;
    assert_eq!(published_tags(&registry), Vec::<String>::new());
    // On another machine, and then for the release itself.
    let other = Machine::new();
    assert_eq!(other.stage_whole(&v1).await, digests);
    assert_eq!(other.publish_whole(&v1).await, digests);
    assert_eq!(other.built_targets(), Vec::<String>::new());
}

#[tokio::test]
async fn two_jobs_and_one_that_names_make_the_same_release_as_one() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x");
    let files = two_jobs(&v1).await;
    assert_eq!(published_tags(&registry), Vec::<String>::new());
    let machine = Machine::new();
    let digests = machine.promote(&v1, &files).await.expect("a release");
    assert_eq!(published_tags(&registry), RELEASE_TAGS);
    let alone = FakeRegistry::start().await;
    assert_eq!(Machine::new().publish_whole(&release(&alone, "v1", "x")).await, digests);
    // Once more: nothing is left to do.
    registry.clear_requests();
    assert_eq!(machine.promote(&v1, &files).await.expect("a release"), digests);
    assert_eq!(registry.count("PUT", "*") + registry.count("POST", "*"), 0);
}

#[tokio::test]
async fn what_is_unchanged_needs_no_file() {
    let registry = FakeRegistry::start().await;
    let first = Machine::new().publish_whole(&release(&registry, "v1", "x")).await;
    let v2 = release(&registry, "v2", "x");
    assert_eq!(Machine::new().promote(&v2, &[]).await.expect("a release"), first);
    assert!(published_tags(&registry).contains(&"b-v2".to_owned()));
}

#[tokio::test]
async fn a_variant_that_is_nowhere_stops_the_release() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x");
    let [one, _] = halves(&v1);
    let digests = Machine::new().stage_whole(&one).await;
    let file =
        JobFile { failed: ["b".to_owned()].into(), ..job_file("images-1.json", &v1, &digests) };
    let failed = Machine::new().promote(&v1, &[file]).await.expect_err("refused");
    let nowhere = Machine::new().promote(&v1, &[]).await;
    assert!(
        matches!(nowhere, Err(PublishError::NotStaged { ref absent, .. }) if absent.len() == 1)
    );
    assert_eq!(failed.exit_code(), ExitCode::Registry);
    assert_eq!(published_tags(&registry), Vec::<String>::new());
    let reports =
        [failed, nowhere.expect_err("refused")].map(|error| Report::from(error).to_string());
    insta::assert_snapshot!(reports.join("\n\n"));
}

/// What the files say of two images that are not what was staged: the one is nowhere, the other
/// is made of something else.
async fn wrong_files(registry: &FakeRegistry, v1: &Release) -> ([JobFile; 2], [Digest; 2]) {
    let [mut one, mut two] = two_jobs(v1).await;
    let mut stranger = row(&registry.repository("acme/b"), "b", "v1", "y").job;
    stranger.references.truncate(1);
    let pushed = Machine::new().engine.push(&stranger).await.expect("pushed");
    let staged = [(&mut one, "a", Digest::of(b"nothing")), (&mut two, "b", pushed)];
    let staged = staged.map(|(file, id, digest)| {
        std::mem::replace(&mut file.images.get_mut(id).expect("an image").digest, digest)
    });
    ([one, two], staged)
}

fn told(text: &str, files: &[JobFile; 2], registry: &FakeRegistry) -> String {
    let [nothing, pushed] = [&files[0].images["a"], &files[1].images["b"]];
    text.replace(&pushed.digest.to_string(), "PUSHED")
        .replace(&nothing.digest.to_string(), "NOTHING")
        .replace(&registry.host(), "HOST")
}

#[tokio::test]
async fn an_image_that_the_registry_does_not_know_stops_the_release() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x");
    let (files, _) = wrong_files(&registry, &v1).await;
    for path in ["acme/a", "acme/b"] {
        for (tag, _) in registry.tags(path) {
            registry.remove_tag(path, &tag);
        }
    }
    let error = Machine::new().promote(&v1, &files).await.expect_err("refused");
    insta::assert_snapshot!(told(&Report::from(error).to_string(), &files, &registry));
    assert_eq!(published_tags(&registry), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_staged_counts_for_more_than_what_a_file_says() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x");
    let (files, staged) = wrong_files(&registry, &v1).await;
    let machine = Machine::new();
    assert_eq!(machine.promote(&v1, &files).await.expect("a release"), staged);
    let warnings = told(&machine.warnings().join("\n"), &files, &registry);
    let [a, b] = staged.map(|digest| digest.to_string());
    insta::assert_snapshot!(warnings.replace(&a, "STAGED A").replace(&b, "STAGED B"));
}

/// As when two commits of which neither changes an image are pushed one after the other.
#[tokio::test]
async fn two_runs_that_stage_the_same_go_on_with_one_image() {
    let registry = FakeRegistry::start().await;
    let hangs = registry.fail(Rule::first("POST", "*/acme/b/blobs/uploads/", Fault::Hang));
    let (slow, quick) = (Machine::new(), Machine::with_different_output());
    let (v1, v2) = (release(&registry, "v1", "x"), release(&registry, "v2", "x"));
    let (mine, theirs) =
        run_during_hang(&hangs, slow.stage_whole(&v1), quick.stage_whole(&v2)).await;
    assert_eq!(quick.built_targets().last().map(String::as_str), Some("b"), "both have built it");
    assert_eq!(mine, theirs);
    let files = [job_file("images-1.json", &v1, &mine)];
    assert_eq!(slow.promote(&v1, &files).await.expect("a release"), mine);
    assert_eq!(slow.warnings(), Vec::<String>::new());
}

/// What was built anew is not replaced by what its staging tag keeps.
#[tokio::test]
async fn what_is_staged_anew_and_cannot_be_is_not_forgotten() {
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

/// What was built anew for a version that is released is named on demand.
#[tokio::test]
async fn what_is_staged_anew_replaces_a_release_on_demand() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x");
    let first = Machine::new().publish_whole(&v1).await;
    let machine = Machine { force: true, overwrite: true, ..Machine::with_different_output() };
    let second = machine.stage_whole(&v1).await;
    assert_ne!(first, second);
    let files = [JobFile { forced: true, ..job_file("images-1.json", &v1, &second) }];
    let machine = Machine { overwrite: false, ..machine };
    let error = machine.promote(&v1, &files).await.expect_err("taken");
    assert_eq!(error.exit_code(), ExitCode::Conflict, "{error}");
    let machine = Machine { overwrite: true, ..machine };
    assert_eq!(machine.promote(&v1, &files).await.expect("a release"), second);
    assert_eq!(registry.tag("acme/b", "b-v1").as_ref(), Some(&second[1]));
}

#[tokio::test]
async fn files_that_do_not_fit_together_are_refused() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x");
    let [one, two] = two_jobs(&v1).await;
    let [of_y, _] = two_jobs(&release(&registry, "v2", "y")).await;
    let mut twice = two.clone();
    "images-3.json".clone_into(&mut twice.name);
    twice.images.get_mut("b").expect("an image").digest = Digest::of(b"another");
    let mut stranger = one.clone();
    let image = stranger.images.remove("a").expect("an image");
    stranger.images.insert("c".to_owned(), image);
    "images-4.json".clone_into(&mut stranger.name);
    let files = [JobFile { name: "old.json".to_owned(), ..of_y }, two.clone(), stranger];
    let error = join_files(&v1, &files).expect_err("refused");
    insta::assert_snapshot!(Report::from(error).to_string());
    // Of two images made of the same, the registry says which it is.
    assert!(join_files(&v1, &[one.clone(), two, twice, one]).is_ok());
}

#[tokio::test]
async fn what_is_not_pinned_cannot_be_staged() {
    let registry = FakeRegistry::start().await;
    let mut v1 = release(&registry, "v1", "x");
    v1.rows[1].fingerprint = None;
    let error = Machine::new().stage(&v1).await.expect_err("refused");
    insta::assert_snapshot!(error.to_string());
    assert_eq!(registry.count("*", "*"), 0);
}

#[tokio::test]
async fn a_failed_build_is_told_and_the_rest_stays_staged() {
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
async fn a_version_that_is_taken_is_not_moved_without_being_asked() {
    let registry = FakeRegistry::start().await;
    Machine::new().publish_whole(&release(&registry, "v1", "x")).await;
    let v1 = release(&registry, "v1", "y");
    let early = Machine::new();
    let error = early.stage(&v1).await.expect_err("refused");
    assert_eq!(error.exit_code(), ExitCode::Conflict, "{error}");
    assert_eq!(early.built_targets(), Vec::<String>::new());
    insta::assert_snapshot!(error.to_string().replace(&registry.host(), "HOST"));
    let early = Machine { overwrite: true, ..early };
    let digests = early.stage_whole(&v1).await;
    let files = [job_file("images.json", &v1, &digests)];
    let error = Machine::new().promote(&v1, &files).await.expect_err("refused");
    assert_eq!(error.exit_code(), ExitCode::Conflict, "{error}");
    let machine = Machine { overwrite: true, ..Machine::new() };
    let digests = machine.promote(&v1, &files).await.expect("a release");
    assert_eq!(registry.tag("acme/b", "b-v1").as_ref(), Some(&digests[1]));
}

/// A staging job and the job that sets the tags are killed at each request in turn. The next run finishes without rebuilding
/// staged images.
#[tokio::test]
async fn a_job_that_is_killed_at_any_request_is_finished_by_the_next() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x").with_checks("one");
    let digests = Machine::new().stage_whole(&v1).await;
    let to_stage = registry.count("*", "*");
    let file = job_file("images.json", &v1, &digests);
    registry.clear_requests();
    Machine::new().promote(&v1, std::slice::from_ref(&file)).await.expect("a release");
    let to_name = registry.count("*", "*");
    assert!(to_stage > 10 && to_name > 15, "{to_stage} and {to_name}");

    for request in 1..=to_stage {
        let registry = FakeRegistry::start().await;
        let (machine, v1) = (Machine::new(), release(&registry, "v1", "x").with_checks("one"));
        let hangs = registry.fail(Rule::nth(request, "*", "*", Fault::Hang));
        tokio::select! {
            // The order of requests varies: a run may have needed fewer.
            staged = machine.stage(&v1) => drop(staged.expect("staged")),
            () = hangs.wait_until_used() => {}
        }
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

    for request in 1..=to_name {
        let registry = FakeRegistry::start().await;
        let (machine, v1) = (Machine::new(), release(&registry, "v1", "x").with_checks("one"));
        let file = job_file("images.json", &v1, &machine.stage_whole(&v1).await);
        let files = std::slice::from_ref(&file);
        let hangs = registry.fail(Rule::nth(request, "*", "*", Fault::Hang));
        tokio::select! {
            named = machine.promote(&v1, files) => drop(named.expect("a release")),
            () = hangs.wait_until_used() => {}
        }
        registry.clear_faults();
        machine.wait_until_stopped().await;
        assert_eq!(machine.promote(&v1, files).await.expect("a release"), digests);
        assert_eq!(published_tags(&registry), RELEASE_TAGS, "killed at request {request}");
        assert_eq!(machine.built_targets(), ["a", "b"]);
    }
}
