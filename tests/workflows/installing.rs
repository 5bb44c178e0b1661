//! The action by itself: which basegen it installs, and how it runs it.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::harness::workflows::BINARIES;
use crate::harness::workflows::repository::Harness;
use crate::harness::workflows::runner::Run;

/// Runs the action on a machine of its own; what it wrote, where it fails.
pub(crate) fn act(
    run: &mut Run<'_>,
    inputs: &[(&str, &str)],
) -> Result<(Map<String, Value>, String), String> {
    let mut job = run.machine();
    let origin = format!("file://{}", job.harness.origin().display());
    let mut clone = Command::new("git");
    clone.args(["clone", "--quiet", &origin]).arg(&job.workspace);
    assert!(clone.status().expect("git runs").success());
    let inputs: BTreeMap<String, String> =
        inputs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let contexts = run.contexts().clone();
    match run.action(&inputs, &contexts, &mut job) {
        Some(outputs) => Ok((outputs, job.log)),
        None => Err(job.log),
    }
}

/// As if `uses: acme/basegen@v1.2.3` was written.
fn of_a_release() -> Value {
    json!({ "action_repository": "acme/basegen", "action_ref": "v1.2.3" })
}

/// A repository of version 1.2.3, and a `gh` that has its release with an archive, and answers
/// `verify` when it is asked for the archive's attestation.
async fn with_archive(verify: &str) -> Harness {
    let harness = Harness::new().await;
    harness.push_version("1.2.3");
    harness.set_releases(&format!(
        r#"if [ "$*" = --version ]; then exit; fi
[ -n "$GH_TOKEN" ] || exit 97
case "$1 $2" in
    "api "*) echo {COMMIT} ;;
    "release download")
        [ "$3 $4 $5 $6 $8" = "v1.2.3 --repo acme/basegen --dir --pattern" ] || exit 97
        cd "$7"
        printf '#!/bin/sh\necho "basegen 1.2.3"\n' >basegen
        chmod +x basegen
        tar -czf "$9" basegen
        rm basegen ;;
    "attestation verify")
        [ -f "$3" ] || exit 97
        {verify} ;;
    *) exit 97 ;;
esac"#
    ));
    harness
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Whether anything was compiled.
fn is_built(harness: &Harness) -> bool {
    harness.calls().iter().any(|call| call.starts_with("cargo"))
}

/// Which attestation was asked for, without the file.
fn verified(harness: &Harness) -> Vec<String> {
    let calls = harness.calls();
    let asked = calls.iter().filter_map(|call| call.strip_prefix("gh attestation verify "));
    asked.filter_map(|call| Some(call.split_once(' ')?.1.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_is_installed_with_the_attestation_of_its_release() {
    let attested = "--repo acme/basegen --signer-workflow acme/basegen/.github/workflows/binaries.yml \
        --source-ref refs/tags/v1.2.3 --deny-self-hosted-runners --format json --jq length";
    let by_commit = json!({ "action_repository": "acme/basegen", "action_ref": COMMIT });
    for (used, inputs, expected) in [
        (of_a_release(), &[][..], attested.to_owned()),
        // Pinned to a commit, it is the binary of that commit.
        (by_commit.clone(), &[], format!("{attested} --source-digest {COMMIT}")),
        (by_commit, &[("version", "1.2.3")], attested.to_owned()),
    ] {
        let harness = with_archive("echo 1").await;
        let (_, log) = act(&mut Run::new(&harness, &used, &json!({})), inputs).expect("installed");
        assert!(log.contains("basegen 1.2.3"), "{log}");
        assert_eq!(verified(&harness), [expected], "{used} {inputs:?}");
        assert!(!is_built(&harness), "{:?}", harness.calls());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_without_an_attestation_is_not_run() {
    // Of the second and third, versions of `gh` are known that succeed without one.
    for verify in ["exit 1", "exit 0", "echo 0"] {
        let harness = with_archive(verify).await;
        for inputs in [&[][..], &[("version", "v1.2.3")]] {
            let mut run = Run::new(&harness, &of_a_release(), &json!({}));
            let log = act(&mut run, inputs).expect_err("refused");
            assert!(log.contains("has no attestation that binaries.yml"), "{log}");
            assert!(!log.contains("basegen 1.2.3"), "{log}");
        }
        assert!(!is_built(&harness), "{:?}", harness.calls());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_without_gh_installs_no_binary() {
    let harness = Harness::new().await;
    harness.push_version("1.2.3");
    harness.set_releases("exit 127");
    let log = act(&mut Run::new(&harness, &of_a_release(), &json!({})), &[]).expect_err("refused");
    assert!(log.contains("`gh` is required"), "{log}");
    assert!(!is_built(&harness), "{:?}", harness.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_binary_it_is_built_unless_a_release_was_asked_for() {
    let harness = Harness::new().await;
    harness.push_version("1.2.3");
    harness.set_releases("[ \"$*\" = --version ]");
    act(&mut Run::new(&harness, &of_a_release(), &json!({})), &[]).expect("built");
    let calls = harness.calls();
    let calls: Vec<&str> = calls.iter().filter_map(|call| call.split(' ').next()).collect();
    assert_eq!(calls, ["gh", "gh", "cargo", "basegen"]);
    let asked = [("version", "1.2.3")];
    let log =
        act(&mut Run::new(&harness, &of_a_release(), &json!({})), &asked).expect_err("refused");
    assert!(log.contains("`v1.2.3` has no binary"), "{log}");
    // Whether a moving tag is a release is asked; `source` says that it is none.
    let moving = json!({ "action_repository": "acme/basegen", "action_ref": "v1" });
    act(&mut Run::new(&harness, &moving, &json!({})), &[]).expect("built");
    let source = [("version", "source")];
    act(&mut Run::new(&harness, &of_a_release(), &json!({})), &source).expect("built");
    let gh = harness.calls().iter().filter(|call| call.starts_with("gh")).count();
    assert_eq!(gh, 5, "{:?}", harness.calls());
    for version in ["latest", "v1;id", "v1\nfolder=/tmp"] {
        let log = act(&mut Run::new(&harness, &json!({}), &json!({})), &[("version", version)]);
        assert!(log.expect_err("refused").contains("::error"), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tag_publishes_is_what_the_action_installs() {
    let harness = Harness::new().await;
    harness.push_version("9.8.7");
    let commits = [("v9.8.7", "c0ffee"), ("v9", "c0ffee"), ("c0ffee", "c0ffee"), ("main", "beef")];
    harness.keep_releases(&commits);
    let tag = |name: &str| json!({ "ref": format!("refs/tags/{name}"), "ref_name": name });
    // A tag that is not the version publishes nothing.
    let jobs = Run::new(&harness, &tag("v9.9.9"), &json!({})).workflow(BINARIES);
    assert_eq!((jobs["build"].result, jobs["release"].result), ("failure", "skipped"));
    assert!(jobs["build"].log.contains("Cargo.toml says `9.8.7`"), "{}", jobs["build"].log);
    let jobs = Run::new(&harness, &tag("v9.8.7"), &json!({})).workflow(BINARIES);
    assert_eq!(jobs["build"].result, "success", "{}", jobs["build"].log);
    assert_eq!(jobs["release"].result, "success", "{}", jobs["release"].log);
    for (reference, is_release) in
        [("v9.8.7", true), ("v9", true), ("c0ffee", true), ("main", false)]
    {
        let before = harness.calls().len();
        let used = json!({ "action_repository": "acme/basegen", "action_ref": reference });
        let (_, log) = act(&mut Run::new(&harness, &used, &json!({})), &[]).expect("installed");
        assert!(log.contains("basegen "), "{log}");
        let calls = harness.calls();
        let is_built = calls[before..].iter().any(|call| call.starts_with("cargo install"));
        assert_eq!(is_built, !is_release, "{reference}: {calls:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_published_release_are_not_replaced() {
    let harness = Harness::new().await;
    harness.push_version("9.8.7");
    harness.keep_releases(&[]);
    let tag = json!({ "ref": "refs/tags/v9.8.7", "ref_name": "v9.8.7" });
    let run = || Run::new(&harness, &tag, &json!({})).workflow(BINARIES);
    assert_eq!(run()["release"].result, "success");
    let is_changed = |call: &&String| {
        let calls = ["gh release create", "gh release upload", "gh release edit"];
        calls.iter().any(|begin| call.starts_with(begin))
    };
    let first = harness.calls();
    let jobs = run();
    assert_eq!(jobs["release"].result, "failure");
    assert!(jobs["release"].log.contains("never replaced"), "{}", jobs["release"].log);
    let calls = harness.calls();
    assert_eq!(calls[first.len()..].iter().filter(is_changed).count(), 0, "{calls:?}");
    // When GitHub does not answer, it is not known that there is none.
    harness.set_releases("echo 'HTTP 502: Server Error' >&2; exit 1");
    let before = harness.calls().len();
    let jobs = run();
    assert_eq!(jobs["release"].result, "failure");
    assert!(jobs["release"].log.contains("HTTP 502"), "{}", jobs["release"].log);
    let calls = harness.calls();
    assert_eq!(calls[before..].iter().filter(is_changed).count(), 0, "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_draft_are_replaced() {
    let harness = Harness::new().await;
    harness.push_version("9.8.7");
    harness.keep_releases(&[]);
    harness.draft("v9.8.7");
    let tag = json!({ "ref": "refs/tags/v9.8.7", "ref_name": "v9.8.7" });
    let jobs = Run::new(&harness, &tag, &json!({})).workflow(BINARIES);
    assert_eq!(jobs["release"].result, "success", "{}", jobs["release"].log);
    assert!(!harness.calls().iter().any(|call| call.starts_with("gh release create")));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_runs_basegen_and_hands_its_outputs_on() {
    let harness = Harness::new().await;
    let mut run = Run::new(&harness, &json!({}), &json!({}));
    let args = "plan --format github --offline\n--python 3.9 --shards 2";
    let (outputs, _) = act(&mut run, &[("args", args)]).expect("it runs");
    assert_eq!((&outputs["count"], &outputs["empty"]), (&json!("8"), &json!("false")));
    let matrix: Value =
        serde_json::from_str(outputs["matrix"].as_str().expect("JSON")).expect("JSON");
    assert_eq!(matrix["include"].as_array().map(Vec::len), Some(2));
    // What looks like a wildcard or a command is an argument.
    let hostile = act(&mut run, &[("args", "list --only python=* $(id)")]).expect_err("refused");
    assert!(hostile.contains("unexpected argument '$(id)'"), "{hostile}");
    let nowhere = [("args", "list"), ("working-directory", "dockerfiles")];
    assert!(act(&mut run, &nowhere).expect_err("refused").contains("matrix.toml"));
}
