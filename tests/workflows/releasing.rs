//! The release workflow, and the execution of every step of all workflows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::pull_request::open_pull_requests;
use crate::harness::workflows::repository::Harness;
use crate::harness::workflows::runner::{JobResult, Run};
use crate::harness::workflows::{BINARIES, RELEASE, WORKFLOWS, entries, items, yaml};

/// Returns the tags of all repositories of the harness, without staging tags.
fn published_tags(harness: &Harness) -> BTreeSet<String> {
    let repositories: BTreeSet<String> = harness
        .variants()
        .into_values()
        .map(|variant| variant.reference.repository.path().to_owned())
        .collect();
    let tags = repositories.iter().flat_map(|repository| harness.registry.tags(repository));
    let is_staging = |tag: &str| tag.starts_with("basegen-") && !tag.starts_with("basegen-release");
    tags.map(|(tag, _)| tag).filter(|tag| !is_staging(tag)).collect()
}

/// Returns the entries of the matrix that the job `plan` returned.
fn planned_jobs(jobs: &BTreeMap<String, JobResult>) -> Vec<Value> {
    let matrix = jobs["plan"].outputs["matrix"].as_str().expect("JSON");
    let matrix: Value = serde_json::from_str(matrix).expect("JSON");
    items(&matrix["include"]).cloned().collect()
}

fn no_inputs() -> Value {
    json!({ "selection": null, "shards": null, "version-tag": null })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_releases_each_version_once() {
    let harness = Harness::new().await;
    let push = harness.push_version("9.8.7");
    let mut run = Run::new(&harness, &push, &no_inputs());
    let jobs = run.run_workflow(RELEASE);
    for (id, job) in &jobs {
        assert_eq!(job.result, "success", "{id}: {}", job.log);
    }
    let planned = planned_jobs(&jobs);
    let pythons = planned.iter().map(|job| {
        let variants = items(&job["variants"]).map(|id| id.as_str().expect("an id"));
        variants.map(|id| id.split('-').next().expect("a version")).collect::<BTreeSet<_>>()
    });
    assert_eq!(
        (planned.len(), pythons.map(|found| found.len()).max()),
        (12, Some(1)),
        "{planned:?}"
    );
    let first = published_tags(&harness);
    assert!(first.contains("3.9-v9.8.7") && first.contains("3.14-gpu-reload-v9.8.7"), "{first:?}");
    assert!(first.contains("basegen-release-v9.8.7"), "{first:?}");
    assert_eq!(jobs["publish"].outputs["whole"], "true");
    let log = &jobs["publish"].log;
    assert!(log.contains("48 images unchanged, 48 tags set"), "{log}");
    assert!(log.contains("| variant | image | digest | size | state | time |"), "{log}");
    assert_eq!(
        open_pull_requests(&harness.github),
        "#1 Release v9.8.7 from basegen/release-v9.8.7: README.md"
    );

    // A manual run for the same commit builds nothing and sets no tags.
    harness.registry.clear_requests();
    let event = json!({ "event_name": "workflow_dispatch" });
    let mut again =
        Run::new(&harness, &event, &json!({ "selection": "", "shards": "", "version-tag": "" }));
    let jobs = again.run_workflow(RELEASE);
    assert_eq!(jobs["plan"].outputs["empty"], "true", "{}", jobs["plan"].log);
    assert_eq!(jobs["build"].result, "skipped");
    assert_eq!(jobs["publish"].result, "success", "{}", jobs["publish"].log);
    assert_eq!(harness.registry.count("PUT", "*") + harness.registry.count("POST", "*"), 0);
    assert_eq!(published_tags(&harness), first);
    assert_eq!(jobs["pr"].result, "success", "{}", jobs["pr"].log);
    assert_eq!(
        open_pull_requests(&harness.github),
        "#1 Release v9.8.7 from basegen/release-v9.8.7: README.md"
    );

    // A push without a new version releases nothing.
    harness.write("README.md", &format!("{}\nAnd more.\n", harness.read("README.md")));
    let (before, _) = harness.commit("Say more");
    let push = json!({ "event": { "before": before, "repository": { "fork": false } } });
    let jobs = Run::new(&harness, &push, &no_inputs()).run_workflow(RELEASE);
    assert_eq!(jobs["decide"].outputs["release"], "false", "{}", jobs["decide"].log);
    let others = ["plan", "build", "publish", "pr"].map(|id| jobs[id].result);
    assert_eq!(others, ["skipped"; 4]);

    // A new version of the same images sets all tags without a build.
    let push = harness.push_version("9.9.0");
    let jobs = Run::new(&harness, &push, &no_inputs()).run_workflow(RELEASE);
    assert_eq!(jobs["build"].result, "skipped");
    assert_eq!(jobs["publish"].outputs["whole"], "true", "{}", jobs["publish"].log);
    assert!(published_tags(&harness).contains("3.9-v9.9.0"));
    assert_eq!(
        open_pull_requests(&harness.github),
        "#1 Release v9.9.0 from basegen/release-v9.8.7: README.md"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_run_releases_selected_images_under_another_version() {
    let harness = Harness::new().await;
    let event = json!({ "event_name": "workflow_dispatch" });
    let selection = "--python 3.11 --python 3.12";
    let inputs = json!({ "selection": selection, "shards": "3", "version-tag": "my-test" });
    let jobs = Run::new(&harness, &event, &inputs).run_workflow(RELEASE);
    assert_eq!(planned_jobs(&jobs).len(), 3);
    assert_eq!(jobs["publish"].result, "success", "{}", jobs["publish"].log);
    assert_eq!(jobs["pr"].result, "skipped");
    let tags = published_tags(&harness);
    assert_eq!(tags.len(), 8, "two repositories with the same tags: {tags:?}");
    assert!(tags.iter().all(|tag| tag.ends_with("-my-test")), "{tags:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_arm64_images_on_arm64_runners() {
    let harness = Harness::new().await;
    let matrix = harness.read("matrix.toml");
    let both = "[\"linux/amd64\", \"linux/arm64\"]";
    harness.write("matrix.toml", &matrix.replace(both, "[\"linux/arm64\"]"));
    harness.commit("Build for arm64");
    let event = json!({ "event_name": "workflow_dispatch" });
    let inputs = json!({ "selection": "--python 3.9", "shards": "2", "version-tag": "my-test" });
    let jobs = Run::new(&harness, &event, &inputs).run_workflow(RELEASE);
    assert_eq!(jobs["publish"].result, "success", "{}{}", jobs["build"].log, jobs["publish"].log);
    let planned = planned_jobs(&jobs);
    let runners: Vec<&Value> = planned.iter().map(|job| &job["runner"]).collect();
    assert_eq!(runners, ["ubuntu-24.04-arm"; 2]);
    // The x86-64 binary of the job `decide` does not run on arm64, so each build job compiles basegen.
    let calls = harness.shim_calls();
    let builds = calls.iter().filter(|call| call.starts_with("cargo install")).count();
    assert_eq!(builds, 3, "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_prevents_tags_and_the_next_run_builds_only_its_images() {
    let harness = Harness::new().await;
    let push = harness.push_version("9.8.7");
    let mut run = Run::new(&harness, &push, &no_inputs());
    let arm64 = "linux/arm64".parse().expect("a platform");
    run.failing_builds.insert(("3.11-gpu-server".to_owned(), Some(arm64)));
    let jobs = run.run_workflow(RELEASE);
    assert_eq!(jobs["build"].result, "failure");
    assert!(jobs["build"].log.contains("::error"), "{}", jobs["build"].log);
    assert_eq!((jobs["publish"].result, jobs["pr"].result), ("skipped", "skipped"));
    assert_eq!(published_tags(&harness), BTreeSet::new());

    let jobs = Run::new(&harness, &push, &no_inputs()).run_workflow(RELEASE);
    let planned = planned_jobs(&jobs);
    assert_eq!(planned.len(), 1);
    let args = "--only-platform=linux/arm64 --variant=3.11-gpu-server";
    assert_eq!(
        (&planned[0]["args"], &planned[0]["runner"]),
        (&json!(args), &json!("ubuntu-24.04-arm"))
    );
    assert_eq!(jobs["publish"].outputs["whole"], "true", "{}", jobs["publish"].log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_releases_nothing() {
    let harness = Harness::new().await;
    let push = json!({ "event": { "before": "0".repeat(40), "repository": { "fork": true } } });
    let jobs = Run::new(&harness, &push, &no_inputs()).run_workflow(RELEASE);
    assert!(jobs.values().all(|job| job.result == "skipped"), "{jobs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compares_the_first_push_of_a_branch_with_the_parent_commit() {
    let harness = Harness::new().await;
    harness.push_version("9.8.7");
    let push = json!({ "event": { "before": "0".repeat(40), "repository": { "fork": false } } });
    let jobs = Run::new(&harness, &push, &no_inputs()).run_workflow(RELEASE);
    assert_eq!(jobs["decide"].outputs["release"], "true", "{}", jobs["plan"].log);
}

/// The tests execute every step with a script, so that none is untested by oversight.
#[tokio::test(flavor = "multi_thread")]
async fn every_step_is_executed() {
    let harness = Harness::new().await;
    let push = harness.push_version("9.8.7");
    harness.emulate_releases(&[]);
    let tag = json!({ "ref": "refs/tags/v9.8.7", "ref_name": "v9.8.7" });
    let mut executed_scripts = BTreeSet::new();
    for workflow in WORKFLOWS {
        let pull_request = json!({ "event_name": "pull_request", "base_ref": "main" });
        let events: &[&Value] = match workflow {
            RELEASE => &[&push],
            BINARIES => &[&tag],
            _ => &[&push, &pull_request],
        };
        for event in events {
            let mut run = Run::new(&harness, event, &no_inputs());
            for (id, job) in run.run_workflow(workflow) {
                assert_ne!(job.result, "failure", "{id} of {workflow}: {}", job.log);
            }
            executed_scripts.extend(run.executed_scripts);
        }
    }
    let mut run = Run::new(&harness, &json!({}), &no_inputs());
    crate::installing::run_action(&mut run, &[("args", "list --python 3.9")]).expect("it runs");
    executed_scripts.extend(run.executed_scripts);

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
    assert_eq!(executed_scripts, all);
    assert!(all.len() >= 12, "{all:?}");
    let calls = harness.shim_calls();
    for call in ["make lint", "make test"] {
        assert!(calls.contains(&call.to_owned()), "{calls:?}");
    }
}
