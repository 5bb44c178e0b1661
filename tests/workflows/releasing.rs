//! Whole releases by the workflow's own commands.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::workflows::repository::Harness;
use crate::harness::workflows::runner::Run;
use crate::harness::workflows::{BINARIES, RELEASE, WORKFLOWS, entries, items, yaml};

/// The tags that users pull, of all repositories of the harness.
fn names(harness: &Harness) -> BTreeSet<String> {
    let repositories: BTreeSet<String> = harness
        .variants()
        .into_values()
        .map(|variant| variant.reference.repository.path().to_owned())
        .collect();
    let tags = repositories.iter().flat_map(|repository| harness.registry.tags(repository));
    let is_staging = |tag: &str| tag.starts_with("basegen-") && !tag.starts_with("basegen-release");
    tags.map(|(tag, _)| tag).filter(|tag| !is_staging(tag)).collect()
}

/// The open pull requests, each with the files that it changes.
fn proposed(harness: &Harness) -> Vec<String> {
    harness.github.with(|store| {
        let pulls = store.pulls.iter().filter(|pull| pull.is_open);
        let told = pulls.map(|pull| {
            let (head, base) = (&store.branches[&pull.head], &store.branches[&pull.base]);
            format!("{}: {}", pull.title, store.differing(base, head).join(" "))
        });
        told.collect()
    })
}

fn no_inputs() -> Value {
    json!({ "selection": null, "shards": null, "version-tag": null })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_of_a_new_version_releases_all_images_and_the_next_one_nothing() {
    let harness = Harness::new().await;
    let push = harness.push_version("9.8.7");
    let mut run = Run::new(&harness, &push, &no_inputs());
    let jobs = run.workflow(RELEASE);
    for (id, job) in &jobs {
        assert_eq!(job.result, "success", "{id}: {}", job.log);
    }
    let matrix = jobs["plan"].outputs["matrix"].as_str().expect("JSON");
    let matrix: Value = serde_json::from_str(matrix).expect("JSON");
    assert_eq!(items(&matrix["include"]).count(), 6);
    let first = names(&harness);
    assert!(first.contains("3.9-v9.8.7") && first.contains("3.14-gpu-reload-v9.8.7"), "{first:?}");
    assert!(first.contains("basegen-release-v9.8.7"), "{first:?}");
    assert_eq!(jobs["publish"].outputs["whole"], "true");
    let log = &jobs["publish"].log;
    assert!(log.contains("48 images unchanged, 48 tags set"), "{log}");
    assert!(log.contains("| variant | image | digest | size | state | time |"), "{log}");
    assert_eq!(proposed(&harness), ["Release v9.8.7: README.md"]);

    // The same commit again, by hand: nothing is to be built, and nothing moves.
    harness.registry.forget();
    let event = json!({ "event_name": "workflow_dispatch" });
    let mut again =
        Run::new(&harness, &event, &json!({ "selection": "", "shards": "", "version-tag": "" }));
    let jobs = again.workflow(RELEASE);
    assert_eq!(jobs["plan"].outputs["empty"], "true", "{}", jobs["plan"].log);
    assert_eq!(jobs["build"].result, "skipped");
    assert_eq!(jobs["publish"].result, "success", "{}", jobs["publish"].log);
    assert_eq!(harness.registry.count("PUT", "*") + harness.registry.count("POST", "*"), 0);
    assert_eq!(names(&harness), first);
    assert_eq!(jobs["pr"].result, "success", "{}", jobs["pr"].log);
    assert_eq!(proposed(&harness), ["Release v9.8.7: README.md"]);

    // A push that leaves the version alone releases nothing.
    harness.write("README.md", &format!("{}\nAnd more.\n", harness.read("README.md")));
    let (before, _) = harness.commit("Say more");
    let push = json!({ "event": { "before": before, "repository": { "fork": false } } });
    let jobs = Run::new(&harness, &push, &no_inputs()).workflow(RELEASE);
    assert_eq!(jobs["decide"].outputs["release"], "false", "{}", jobs["decide"].log);
    let others = ["plan", "build", "publish", "pr"].map(|id| jobs[id].result);
    assert_eq!(others, ["skipped"; 4]);

    // A new version of the same images: no job builds, and all tags are set.
    let push = harness.push_version("9.9.0");
    let jobs = Run::new(&harness, &push, &no_inputs()).workflow(RELEASE);
    assert_eq!(jobs["build"].result, "skipped");
    assert_eq!(jobs["publish"].outputs["whole"], "true", "{}", jobs["publish"].log);
    assert!(names(&harness).contains("3.9-v9.9.0"));
    assert_eq!(proposed(&harness), ["Release v9.9.0: README.md"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn some_images_are_released_on_request_under_another_version() {
    let harness = Harness::new().await;
    let event = json!({ "event_name": "workflow_dispatch" });
    let selection = "--python 3.11 --python 3.12";
    let inputs = json!({ "selection": selection, "shards": "3", "version-tag": "my-test" });
    let jobs = Run::new(&harness, &event, &inputs).workflow(RELEASE);
    let matrix = jobs["plan"].outputs["matrix"].as_str().expect("JSON");
    let matrix: Value = serde_json::from_str(matrix).expect("JSON");
    assert_eq!(items(&matrix["include"]).count(), 3, "{matrix}");
    assert_eq!(jobs["publish"].result, "success", "{}", jobs["publish"].log);
    assert_eq!(jobs["pr"].result, "skipped");
    let names = names(&harness);
    assert_eq!(names.len(), 8, "two repositories have the same tags: {names:?}");
    assert!(names.iter().all(|tag| tag.ends_with("-my-test")), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn images_for_arm64_are_built_on_machines_of_that_kind() {
    let harness = Harness::new().await;
    let matrix = harness.read("matrix.toml");
    harness.write("matrix.toml", &matrix.replace("[\"linux/amd64\"]", "[\"linux/arm64\"]"));
    harness.commit("Build for arm64");
    let event = json!({ "event_name": "workflow_dispatch" });
    let inputs = json!({ "selection": "--python 3.9", "shards": "2", "version-tag": "my-test" });
    let jobs = Run::new(&harness, &event, &inputs).workflow(RELEASE);
    assert_eq!(jobs["publish"].result, "success", "{}{}", jobs["build"].log, jobs["publish"].log);
    let matrix = jobs["plan"].outputs["matrix"].as_str().expect("JSON");
    let matrix: Value = serde_json::from_str(matrix).expect("JSON");
    let runners: Vec<&Value> = items(&matrix["include"]).map(|job| &job["runner"]).collect();
    assert_eq!(runners, ["ubuntu-24.04-arm"; 2]);
    // What the first job has built does not run there.
    let calls = harness.calls();
    let builds = calls.iter().filter(|call| call.starts_with("cargo install")).count();
    assert_eq!(builds, 3, "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_job_fails_no_tag_moves_and_the_next_run_builds_the_rest_only() {
    let harness = Harness::new().await;
    let push = harness.push_version("9.8.7");
    let mut run = Run::new(&harness, &push, &no_inputs());
    run.broken.insert("3.11-gpu-server".to_owned());
    let jobs = run.workflow(RELEASE);
    assert_eq!(jobs["build"].result, "failure");
    assert!(jobs["build"].log.contains("::error"), "{}", jobs["build"].log);
    assert_eq!((jobs["publish"].result, jobs["pr"].result), ("skipped", "skipped"));
    assert_eq!(names(&harness), BTreeSet::new());

    let jobs = Run::new(&harness, &push, &no_inputs()).workflow(RELEASE);
    let matrix = jobs["plan"].outputs["matrix"].as_str().expect("JSON");
    let matrix: Value = serde_json::from_str(matrix).expect("JSON");
    let variants: Vec<&Value> = items(&matrix["include"]).collect();
    assert_eq!(variants.len(), 1);
    assert_eq!(variants[0]["variants"], json!(["3.11-gpu-server"]));
    assert_eq!(jobs["publish"].outputs["whole"], "true", "{}", jobs["publish"].log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_releases_nothing() {
    let harness = Harness::new().await;
    let push = json!({ "event": { "before": "0".repeat(40), "repository": { "fork": true } } });
    let jobs = Run::new(&harness, &push, &no_inputs()).workflow(RELEASE);
    assert!(jobs.values().all(|job| job.result == "skipped"), "{jobs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_push_of_a_branch_is_compared_with_the_commit_before_it() {
    let harness = Harness::new().await;
    harness.push_version("9.8.7");
    let push = json!({ "event": { "before": "0".repeat(40), "repository": { "fork": false } } });
    let jobs = Run::new(&harness, &push, &no_inputs()).workflow(RELEASE);
    assert_eq!(jobs["decide"].outputs["release"], "true", "{}", jobs["plan"].log);
}

/// Every step that runs something is run by these tests: none is left out because nobody
/// thought of it.
#[tokio::test(flavor = "multi_thread")]
async fn every_step_is_carried_out() {
    let harness = Harness::new().await;
    let push = harness.push_version("9.8.7");
    harness.keep_releases(&[]);
    let tag = json!({ "ref": "refs/tags/v9.8.7", "ref_name": "v9.8.7" });
    let mut carried_out = BTreeSet::new();
    for workflow in WORKFLOWS {
        let pull_request = json!({ "event_name": "pull_request", "base_ref": "main" });
        let events: &[&Value] = match workflow {
            RELEASE => &[&push],
            BINARIES => &[&tag],
            _ => &[&push, &pull_request],
        };
        for event in events {
            let mut run = Run::new(&harness, event, &no_inputs());
            for (id, job) in run.workflow(workflow) {
                assert_ne!(job.result, "failure", "{id} of {workflow}: {}", job.log);
            }
            carried_out.extend(run.carried_out);
        }
    }
    let mut run = Run::new(&harness, &json!({}), &no_inputs());
    crate::installing::act(&mut run, &[("args", "list --python 3.9")]).expect("it runs");
    carried_out.extend(run.carried_out);

    let mut all = BTreeSet::new();
    for file in WORKFLOWS {
        for (_, job) in entries(&yaml(file)["jobs"]) {
            let scripts = items(&job["steps"]).filter_map(|step| step["run"].as_str());
            all.extend(scripts.map(|script| (file.to_owned(), script.to_owned())));
        }
    }
    let action = yaml("action.yml");
    let scripts = items(&action["runs"]["steps"]).filter_map(|step| step["run"].as_str());
    all.extend(scripts.map(|script| ("action.yml".to_owned(), script.to_owned())));
    assert_eq!(carried_out, all);
    assert!(all.len() >= 12, "{all:?}");
    let calls = harness.calls();
    for call in ["make lint", "make test"] {
        assert!(calls.contains(&call.to_owned()), "{calls:?}");
    }
}
