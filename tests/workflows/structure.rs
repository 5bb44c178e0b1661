//! What holds for every workflow and action, whatever it does.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{BINARIES, CI, RELEASE, WORKFLOWS, entries, items, parse, path, yaml};

const FILES: [&str; 4] = [CI, RELEASE, BINARIES, "action.yml"];

/// The workflows that the docs show, as texts.
fn documented() -> Vec<String> {
    let page = fs_err::read_to_string(path("docs/github-actions.md")).expect("the page");
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).collect()
}

fn steps(file: &Value) -> Vec<&Value> {
    let jobs = entries(&file["jobs"]).flat_map(|(_, job)| items(&job["steps"]));
    jobs.chain(items(&file["runs"]["steps"])).collect()
}

/// The problems of the `uses:` of a file: each is a full commit with its version in a comment,
/// but for what is in this repository.
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
fn actions_of_others_are_pinned_to_commits() {
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
    let refused = ["  uses: a/b@v1", "- uses: a/b@main # v1", "uses: a/b@0123456789abcdef # v1"];
    assert_eq!(unpinned(&refused.join("\n")).len(), 3);
}

#[test]
fn no_expression_becomes_a_part_of_a_script() {
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
fn jobs_may_do_no_more_than_they_need() {
    let granted = |file: &str| -> Vec<(String, Value)> {
        let workflow = yaml(file);
        let jobs = entries(&workflow["jobs"]);
        let permissions = jobs.map(|(id, job)| (id.to_owned(), job["permissions"].clone()));
        let top = ("top".to_owned(), workflow["permissions"].clone());
        std::iter::once(top).chain(permissions.filter(|(_, value)| !value.is_null())).collect()
    };
    let read = json!({ "contents": "read" });
    assert_eq!(granted(CI), [("top".to_owned(), read.clone())]);
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
fn jobs_end_by_themselves_and_leave_no_token_behind() {
    for name in WORKFLOWS {
        let workflow = yaml(name);
        for (id, job) in entries(&workflow["jobs"]) {
            assert!(job["timeout-minutes"].is_u64(), "{id} of {name} may run for six hours");
            assert_ne!(job["runs-on"], "ubuntu-latest", "{id} of {name} changes by itself");
        }
        for step in steps(&workflow) {
            if step["uses"].as_str().is_some_and(|uses| uses.starts_with("actions/checkout@")) {
                assert_eq!(step["with"]["persist-credentials"], false, "{name}");
            }
        }
    }
}

/// Secrets are for jobs that nobody's pull request can start.
#[test]
fn secrets_are_in_the_release_alone() {
    let text = |file: &str| fs_err::read_to_string(path(file)).expect("a file");
    assert!(!text(CI).contains("secrets.") && !text(BINARIES).contains("secrets."));
    let release = yaml(RELEASE);
    let events: Vec<&str> = entries(&release["on"]).map(|(event, _)| event).collect();
    assert_eq!(events, ["push", "workflow_dispatch"]);
    for (id, job) in entries(&release["jobs"]) {
        // Nobody is asked whether there is a release at all.
        let expected = if id == "decide" { Value::Null } else { json!("release") };
        assert_eq!(job["environment"], expected, "{id}");
        assert!(id != "decide" || !job.to_string().contains("secrets."));
    }
}

/// A run that waits gives way to one that comes after it, so that a push which changes nothing
/// would take a release's place: only the jobs that give names wait.
#[test]
fn no_release_gives_way_to_a_later_push() {
    assert!(yaml(CI)["concurrency"]["group"].is_string());
    let release = yaml(RELEASE);
    assert!(release["concurrency"].is_null());
    for (id, job) in entries(&release["jobs"]) {
        let names = ["publish", "pr"].contains(&id);
        assert_eq!(job["concurrency"]["group"] == "release", names, "{id}");
        assert_eq!(job["concurrency"]["cancel-in-progress"] == false, names, "{id}");
    }
}

#[test]
fn what_the_docs_show_is_a_workflow_of_the_same_kind() {
    let workflows = documented();
    assert!(!workflows.is_empty());
    for text in workflows {
        let file = parse(&text);
        // Its readers put their own version of basegen in.
        let others: Vec<&str> =
            unpinned(&text).into_iter().filter(|line| !line.contains("/basegen@v1")).collect();
        assert_eq!(others, [""; 0]);
        for (id, job) in entries(&file["jobs"]) {
            assert!(job["timeout-minutes"].is_u64(), "{id}");
        }
        assert!(file["jobs"].is_null() || file["permissions"].is_object());
    }
}
