//! Rules for all workflows and actions: pins, permissions, secrets, timeouts and concurrency.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::workflows::{
    BINARIES, CI, PINS, RELEASE, WORKFLOWS, entries, items, parse, path, yaml,
};

const FILES: [&str; 5] = [CI, RELEASE, BINARIES, PINS, "action.yml"];

/// Returns the texts of the workflows in the documentation.
fn documented() -> Vec<String> {
    let page = fs_err::read_to_string(path("docs/github-actions.md")).expect("the page");
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let truss = path("examples/truss/.github/workflows/base-images.yml");
    let truss = fs_err::read_to_string(truss).expect("the workflow");
    blocks.map(str::to_owned).chain([truss]).collect()
}

fn steps(file: &Value) -> Vec<&Value> {
    let jobs = entries(&file["jobs"]).flat_map(|(_, job)| items(&job["steps"]));
    jobs.chain(items(&file["runs"]["steps"])).collect()
}

/// Returns the lines with an external action that is not pinned to a full commit with its version in a comment.
fn unpinned(text: &str) -> Vec<&str> {
    let uses = text
        .lines()
        .filter(|line| line.trim_start().trim_start_matches("- ").starts_with("uses: "));
    let is_pinned = |line: &str| {
        let (_, action) = line.split_once("uses: ").unwrap_or_default();
        let Some((action, version)) = action.split_once(" # v") else { return action == "./" };
        let commit = action.split_once('@').map_or("", |(_, commit)| commit);
        commit.len() == 40
            && commit.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
            && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && version.starts_with(|c: char| c.is_ascii_digit())
    };
    uses.filter(|line| !is_pinned(line)).collect()
}

#[test]
fn external_actions_are_pinned_to_commits() {
    let mut pins: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in FILES {
        let text = fs_err::read_to_string(path(file)).expect("a file");
        assert_eq!(unpinned(&text), [""; 0], "{file}");
        for (action, commit) in
            text.lines().filter_map(|line| line.split_once("uses: ")?.1.split_once('@'))
        {
            pins.entry(action.to_owned()).or_default().insert(commit.to_owned());
        }
    }
    assert!(pins.len() >= 5 && pins.values().all(|commits| commits.len() == 1), "{pins:?}");
    let invalid = ["  uses: a/b@v1", "- uses: a/b@main # v1", "uses: a/b@0123456789abcdef # v1"];
    assert_eq!(unpinned(&invalid.join("\n")).len(), 3);
}

#[test]
fn scripts_contain_no_expressions() {
    for file in FILES {
        let file = yaml(file);
        for step in steps(&file) {
            let script = step["run"].as_str().unwrap_or_default();
            assert!(!script.contains("${{"), "{script}");
        }
    }
    for text in documented() {
        let file = parse(&text);
        let scripts: Vec<&str> =
            steps(&file).iter().filter_map(|step| step["run"].as_str()).collect();
        assert!(scripts.iter().all(|script| !script.contains("${{")), "{scripts:?}");
    }
}

#[test]
fn jobs_have_only_the_required_permissions() {
    let granted = |file: &str| -> Vec<(String, Value)> {
        let workflow = yaml(file);
        let jobs = entries(&workflow["jobs"]);
        let permissions = jobs.map(|(id, job)| (id.to_owned(), job["permissions"].clone()));
        let top = ("top".to_owned(), workflow["permissions"].clone());
        std::iter::once(top).chain(permissions.filter(|(_, value)| !value.is_null())).collect()
    };
    let read = json!({ "contents": "read" });
    for file in [CI, PINS] {
        assert_eq!(granted(file), [("top".to_owned(), read.clone())]);
    }
    let expected = [
        ("top", json!({})),
        ("decide", read.clone()),
        ("plan", read.clone()),
        ("build", read.clone()),
        ("publish", read.clone()),
        ("pr", json!({ "contents": "write", "pull-requests": "write" })),
    ];
    assert_eq!(granted(RELEASE), expected.map(|(id, value)| (id.to_owned(), value)));
    let release = json!({ "attestations": "write", "contents": "write", "id-token": "write" });
    let expected = [("top", json!({})), ("build", read), ("release", release)];
    assert_eq!(granted(BINARIES), expected.map(|(id, value)| (id.to_owned(), value)));
}

#[test]
fn jobs_have_timeouts_and_persist_no_credentials() {
    for name in WORKFLOWS.into_iter().chain([PINS]) {
        let workflow = yaml(name);
        for (id, job) in entries(&workflow["jobs"]) {
            assert!(job["timeout-minutes"].is_u64(), "{id} of {name} has no timeout");
            assert_ne!(
                job["runs-on"], "ubuntu-latest",
                "{id} of {name} has no fixed runner version"
            );
        }
        for step in steps(&workflow) {
            if step["uses"].as_str().is_some_and(|uses| uses.starts_with("actions/checkout@")) {
                assert_eq!(step["with"]["persist-credentials"], false, "{name}");
            }
        }
    }
}

/// Returns the names of the secrets that a job uses.
fn secrets(job: &Value) -> BTreeSet<String> {
    let text = job.to_string();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = text.split("secrets.").skip(1);
    names.map(|rest| rest.split(|c| !is_name(c)).next().unwrap_or_default().to_owned()).collect()
}

/// No pull request can start a job with secrets. Only the environment of the job that sets tags requires approval.
#[test]
fn a_release_needs_one_approval_and_secrets_are_limited_to_their_jobs() {
    let text = |file: &str| fs_err::read_to_string(path(file)).expect("a file");
    assert!(!text(CI).contains("secrets.") && !text(BINARIES).contains("secrets."));
    let release = yaml(RELEASE);
    let events: Vec<&str> = entries(&release["on"]).map(|(event, _)| event).collect();
    assert_eq!(events, ["push", "workflow_dispatch"]);
    let jobs = entries(&release["jobs"]).map(|(id, job)| {
        let names = secrets(job).into_iter().collect::<Vec<_>>().join(" ");
        (id, job["environment"].as_str().unwrap_or("none"), names)
    });
    let expected = [
        ("decide", "none", ""),
        ("plan", "none", "DOCKERHUB_READ_TOKEN"),
        ("build", "staging", "DOCKERHUB_TOKEN"),
        ("publish", "release", "DOCKERHUB_TOKEN"),
        ("pr", "none", "DOCKERHUB_READ_TOKEN RELEASE_PR_TOKEN"),
    ];
    let expected = expected.map(|(id, environment, names)| (id, environment, names.to_owned()));
    assert_eq!(jobs.collect::<Vec<_>>(), expected);
}

/// Every branch, and every job of the default branch, can write to a cache, so a cache is untrusted.
#[test]
fn publishing_workflows_use_no_cache() {
    for file in [RELEASE, BINARIES, "action.yml"] {
        let text = fs_err::read_to_string(path(file)).expect("a file");
        for action in text.lines().filter_map(|line| line.split_once("uses: ")) {
            assert!(!action.1.contains("cache"), "{file}: {}", action.1);
        }
    }
    // The jobs of a release run the binary of the first job, by the id of its artifact, which no other job can replace.
    let release = yaml(RELEASE);
    let decide = &release["jobs"]["decide"];
    let builds = |job: &Value| items(&job["steps"]).filter(|step| step["uses"] == "./").count();
    assert_eq!((builds(decide), secrets(decide).len()), (1, 0));
    for id in ["plan", "build", "publish", "pr"] {
        let steps = &release["jobs"][id]["steps"];
        let fetched = items(steps).find(|step| step["name"] == "Fetch basegen").expect(id);
        assert_eq!(fetched["with"]["artifact-ids"], "${{ needs.decide.outputs.basegen }}", "{id}");
    }
}

/// Without `queue: max`, a later run cancels a pending one. Only jobs that must not run concurrently have a group, and the pull request
/// does not delay the next release.
#[test]
fn a_later_push_does_not_cancel_a_release() {
    assert!(yaml(CI)["concurrency"]["group"].is_string());
    let release = yaml(RELEASE);
    assert!(release["concurrency"].is_null());
    let groups = entries(&release["jobs"]).filter(|(_, job)| !job["concurrency"].is_null());
    let groups: Vec<_> = groups.map(|(id, job)| (id, job["concurrency"].clone())).collect();
    let queue =
        |group: &str| json!({ "group": group, "cancel-in-progress": false, "queue": "max" });
    assert_eq!(groups, [("publish", queue("release")), ("pr", queue("release-pull-request"))]);
}

/// actionlint does not know the key `queue` yet, and its configuration ignores the error. This test validates the values.
#[test]
fn concurrency_groups_have_valid_keys() {
    let init = fs_err::read_to_string(path("src/init/workflow.yml")).expect("a file");
    // The template's directives are not YAML.
    let init: Vec<&str> = init.lines().filter(|line| !line.starts_with('@')).collect();
    let workflows = WORKFLOWS.map(yaml).into_iter().chain([parse(&init.join("\n"))]);
    for workflow in workflows.chain(documented().iter().map(|text| parse(text))) {
        let jobs = entries(&workflow["jobs"]).map(|(_, job)| &job["concurrency"]);
        for group in jobs.chain([&workflow["concurrency"]]) {
            for (key, value) in entries(group) {
                let is_known = match key {
                    "group" => value.is_string(),
                    "cancel-in-progress" => !value.is_null(),
                    "queue" => value == "max" && group["cancel-in-progress"] == false,
                    _ => false,
                };
                assert!(is_known, "{group}");
            }
        }
    }
}

#[test]
fn workflows_in_the_documentation_follow_the_same_rules() {
    let workflows = documented();
    assert!(!workflows.is_empty());
    for text in workflows {
        let file = parse(&text);
        // Readers replace this placeholder by their version of basegen.
        let unpinned: Vec<&str> = unpinned(&text)
            .into_iter()
            .filter(|line| !line.contains("OWNER/basegen@COMMIT"))
            .collect();
        assert_eq!(unpinned, [""; 0]);
        for (id, job) in entries(&file["jobs"]) {
            assert!(job["timeout-minutes"].is_u64(), "{id}");
        }
        assert!(file["jobs"].is_null() || file["permissions"].is_object());
    }
}
