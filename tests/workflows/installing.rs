//! The action: the binary that it installs or builds, and the command that it runs.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::harness::workflows::BINARIES;
use crate::harness::workflows::repository::Harness;
use crate::harness::workflows::runner::Run;

/// Runs the action on a fresh runner. Returns its outputs and log, or only the log if it fails.
pub(crate) fn run_action(
    run: &mut Run<'_>,
    inputs: &[(&str, &str)],
) -> Result<(Map<String, Value>, String), String> {
    let mut runner = run.new_runner();
    let origin = format!("file://{}", runner.harness.origin().display());
    let mut clone = Command::new("git");
    clone.args(["clone", "--quiet", &origin]).arg(&runner.workspace);
    assert!(clone.status().expect("git runs").success());
    let inputs: BTreeMap<String, String> =
        inputs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let contexts = run.contexts().clone();
    match run.run_action(&inputs, &contexts, &mut runner) {
        Some(outputs) => Ok((outputs, runner.log)),
        None => Err(runner.log),
    }
}

/// Returns the context of `uses: acme/basegen@v1.2.3`.
fn used_by_tag() -> Value {
    json!({ "action_repository": "acme/basegen", "action_ref": "v1.2.3" })
}

/// Returns a harness of version 1.2.3 whose `gh` has a release with an archive, and runs the script `verify` to verify its attestation.
async fn harness_with_archive(verify: &str) -> Harness {
    let harness = Harness::new().await;
    harness.push_version("1.2.3");
    harness.set_gh_script(&format!(
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

/// Returns whether any step compiled basegen.
fn is_built(harness: &Harness) -> bool {
    harness.shim_calls().iter().any(|call| call.starts_with("cargo"))
}

/// Returns the arguments of all attestation checks, without the file.
fn attestation_checks(harness: &Harness) -> Vec<String> {
    let calls = harness.shim_calls();
    let checks = calls.iter().filter_map(|call| call.strip_prefix("gh attestation verify "));
    checks.filter_map(|call| Some(call.split_once(' ')?.1.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn installs_a_binary_after_verifying_its_attestation() {
    let attested = "--repo acme/basegen --signer-workflow acme/basegen/.github/workflows/binaries.yml \
        --source-ref refs/tags/v1.2.3 --deny-self-hosted-runners --format json --jq length";
    let by_commit = json!({ "action_repository": "acme/basegen", "action_ref": COMMIT });
    for (used, inputs, expected) in [
        (used_by_tag(), &[][..], attested.to_owned()),
        // An action pinned to a commit requires a binary of that commit.
        (by_commit.clone(), &[], format!("{attested} --source-digest {COMMIT}")),
        (by_commit, &[("version", "1.2.3")], attested.to_owned()),
    ] {
        let harness = harness_with_archive("echo 1").await;
        let (_, log) =
            run_action(&mut Run::new(&harness, &used, &json!({})), inputs).expect("installed");
        assert!(log.contains("basegen 1.2.3"), "{log}");
        assert_eq!(attestation_checks(&harness), [expected], "{used} {inputs:?}");
        assert!(!is_built(&harness), "{:?}", harness.shim_calls());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_run_a_binary_without_attestation() {
    // Some versions of `gh` succeed without an attestation.
    for verify in ["exit 1", "exit 0", "echo 0"] {
        let harness = harness_with_archive(verify).await;
        for inputs in [&[][..], &[("version", "v1.2.3")]] {
            let mut run = Run::new(&harness, &used_by_tag(), &json!({}));
            let log = run_action(&mut run, inputs).expect_err("refused");
            assert!(log.contains("has no attestation that binaries.yml"), "{log}");
            assert!(!log.contains("basegen 1.2.3"), "{log}");
        }
        assert!(!is_built(&harness), "{:?}", harness.shim_calls());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_without_gh_installs_no_binary() {
    let harness = Harness::new().await;
    harness.push_version("1.2.3");
    harness.set_gh_script("exit 127");
    let log =
        run_action(&mut Run::new(&harness, &used_by_tag(), &json!({})), &[]).expect_err("refused");
    assert!(log.contains("`gh` is required"), "{log}");
    assert!(!is_built(&harness), "{:?}", harness.shim_calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_from_source_if_no_release_was_requested() {
    let harness = Harness::new().await;
    harness.push_version("1.2.3");
    harness.set_gh_script("[ \"$*\" = --version ]");
    run_action(&mut Run::new(&harness, &used_by_tag(), &json!({})), &[]).expect("built");
    let calls = harness.shim_calls();
    let calls: Vec<&str> = calls.iter().filter_map(|call| call.split(' ').next()).collect();
    assert_eq!(calls, ["gh", "gh", "cargo", "basegen"]);
    let requested = [("version", "1.2.3")];
    let log = run_action(&mut Run::new(&harness, &used_by_tag(), &json!({})), &requested)
        .expect_err("refused");
    assert!(log.contains("`v1.2.3` has no binary"), "{log}");
    // For a moving tag, the action looks for a release. `version: source` skips the search.
    let moving = json!({ "action_repository": "acme/basegen", "action_ref": "v1" });
    run_action(&mut Run::new(&harness, &moving, &json!({})), &[]).expect("built");
    let source = [("version", "source")];
    run_action(&mut Run::new(&harness, &used_by_tag(), &json!({})), &source).expect("built");
    let gh = harness.shim_calls().iter().filter(|call| call.starts_with("gh")).count();
    assert_eq!(gh, 5, "{:?}", harness.shim_calls());
    for version in ["latest", "v1;id", "v1\nfolder=/tmp"] {
        let log =
            run_action(&mut Run::new(&harness, &json!({}), &json!({})), &[("version", version)]);
        assert!(log.expect_err("refused").contains("::error"), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_action_installs_the_binary_that_a_tag_publishes() {
    let harness = Harness::new().await;
    harness.push_version("9.8.7");
    let commits = [("v9.8.7", "c0ffee"), ("v9", "c0ffee"), ("c0ffee", "c0ffee"), ("main", "beef")];
    harness.emulate_releases(&commits);
    let tag = |name: &str| json!({ "ref": format!("refs/tags/{name}"), "ref_name": name });
    // A tag that differs from the version publishes nothing.
    let jobs = Run::new(&harness, &tag("v9.9.9"), &json!({})).run_workflow(BINARIES);
    assert_eq!((jobs["build"].result, jobs["release"].result), ("failure", "skipped"));
    assert!(jobs["build"].log.contains("Cargo.toml says `9.8.7`"), "{}", jobs["build"].log);
    let jobs = Run::new(&harness, &tag("v9.8.7"), &json!({})).run_workflow(BINARIES);
    assert_eq!(jobs["build"].result, "success", "{}", jobs["build"].log);
    assert_eq!(jobs["release"].result, "success", "{}", jobs["release"].log);
    for (reference, is_release) in
        [("v9.8.7", true), ("v9", true), ("c0ffee", true), ("main", false)]
    {
        let before = harness.shim_calls().len();
        let used = json!({ "action_repository": "acme/basegen", "action_ref": reference });
        let (_, log) =
            run_action(&mut Run::new(&harness, &used, &json!({})), &[]).expect("installed");
        assert!(log.contains("basegen "), "{log}");
        let calls = harness.shim_calls();
        let is_built = calls[before..].iter().any(|call| call.starts_with("cargo install"));
        assert_eq!(is_built, !is_release, "{reference}: {calls:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_replace_files_of_a_published_release() {
    let harness = Harness::new().await;
    harness.push_version("9.8.7");
    harness.emulate_releases(&[]);
    let tag = json!({ "ref": "refs/tags/v9.8.7", "ref_name": "v9.8.7" });
    let run = || Run::new(&harness, &tag, &json!({})).run_workflow(BINARIES);
    assert_eq!(run()["release"].result, "success");
    let is_changed = |call: &&String| {
        let calls = ["gh release create", "gh release upload", "gh release edit"];
        calls.iter().any(|begin| call.starts_with(begin))
    };
    let first = harness.shim_calls();
    let jobs = run();
    assert_eq!(jobs["release"].result, "failure");
    assert!(jobs["release"].log.contains("never replaced"), "{}", jobs["release"].log);
    let calls = harness.shim_calls();
    assert_eq!(calls[first.len()..].iter().filter(is_changed).count(), 0, "{calls:?}");
    // An error of GitHub does not count as a missing release.
    harness.set_gh_script("echo 'HTTP 502: Server Error' >&2; exit 1");
    let before = harness.shim_calls().len();
    let jobs = run();
    assert_eq!(jobs["release"].result, "failure");
    assert!(jobs["release"].log.contains("HTTP 502"), "{}", jobs["release"].log);
    let calls = harness.shim_calls();
    assert_eq!(calls[before..].iter().filter(is_changed).count(), 0, "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replaces_files_of_a_draft_release() {
    let harness = Harness::new().await;
    harness.push_version("9.8.7");
    harness.emulate_releases(&[]);
    harness.add_draft_release("v9.8.7");
    let tag = json!({ "ref": "refs/tags/v9.8.7", "ref_name": "v9.8.7" });
    let jobs = Run::new(&harness, &tag, &json!({})).run_workflow(BINARIES);
    assert_eq!(jobs["release"].result, "success", "{}", jobs["release"].log);
    assert!(!harness.shim_calls().iter().any(|call| call.starts_with("gh release create")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_action_returns_the_outputs_of_basegen() {
    let harness = Harness::new().await;
    let mut run = Run::new(&harness, &json!({}), &json!({}));
    let args = "plan --format github --offline\n--python 3.9 --shards 2";
    let (outputs, _) = run_action(&mut run, &[("args", args)]).expect("it runs");
    assert_eq!((&outputs["count"], &outputs["empty"]), (&json!("8"), &json!("false")));
    let matrix: Value =
        serde_json::from_str(outputs["matrix"].as_str().expect("JSON")).expect("JSON");
    assert_eq!(matrix["include"].as_array().map(Vec::len), Some(2));
    // Wildcards and commands in `args` are plain arguments.
    let hostile =
        run_action(&mut run, &[("args", "list --only python=* $(id)")]).expect_err("refused");
    assert!(hostile.contains("unexpected argument '$(id)'"), "{hostile}");
    let without_matrix = [("args", "list"), ("working-directory", "dockerfiles")];
    assert!(run_action(&mut run, &without_matrix).expect_err("refused").contains("matrix.toml"));
}
