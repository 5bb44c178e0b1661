//! The action by itself: which basegen it installs, and how it runs it.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::BINARIES;
use crate::bed::Bed;
use crate::runner::Run;

/// Runs the action on a machine of its own; what it wrote, where it fails.
pub(crate) fn act(
    run: &mut Run<'_>,
    inputs: &[(&str, &str)],
) -> Result<(Map<String, Value>, String), String> {
    let mut job = run.machine();
    let origin = format!("file://{}", job.bed.origin().display());
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

/// A repository of version 1.2.3, and a `gh` that has its release with an archive and what should
/// be its checksum.
async fn with_archive(checksum: &str) -> Bed {
    let bed = Bed::new().await;
    bed.push_version("1.2.3");
    bed.set_releases(&format!(
        r#"[ "$1 $2 $3 $4 $5 $6 $8" = "release download v1.2.3 --repo acme/basegen --dir --pattern" ] || exit 97
[ -n "$GH_TOKEN" ] || exit 97
cd "$7"
printf '#!/bin/sh\necho "basegen 1.2.3"\n' >basegen
chmod +x basegen
tar -czf "$9" basegen
rm basegen
{checksum} >"$9.sha256""#
    ));
    bed
}

/// Whether anything was compiled.
fn is_built(bed: &Bed) -> bool {
    bed.calls().iter().any(|call| call.starts_with("cargo"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_of_the_release_that_is_used_is_installed() {
    let bed = with_archive("sha256sum \"$9\"").await;
    let (_, log) = act(&mut Run::new(&bed, &of_a_release(), &json!({})), &[]).expect("installed");
    assert!(log.contains("basegen 1.2.3"), "{log}");
    assert!(!is_built(&bed), "{:?}", bed.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_not_what_its_checksum_says_is_refused() {
    let bed = with_archive(&format!("echo {} \" $9\"", "0".repeat(64))).await;
    let log = act(&mut Run::new(&bed, &of_a_release(), &json!({})), &[]).expect_err("refused");
    assert!(log.contains("is not what its checksum says"), "{log}");
    assert!(!is_built(&bed), "{:?}", bed.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_binary_it_is_built_unless_a_release_was_asked_for() {
    let bed = Bed::new().await;
    bed.push_version("1.2.3");
    act(&mut Run::new(&bed, &of_a_release(), &json!({})), &[]).expect("built");
    let calls = bed.calls();
    let calls: Vec<&str> = calls.iter().filter_map(|call| call.split(' ').next()).collect();
    assert_eq!(calls, ["gh", "cargo", "basegen"]);
    let asked = [("version", "1.2.3")];
    let log = act(&mut Run::new(&bed, &of_a_release(), &json!({})), &asked).expect_err("refused");
    assert!(log.contains("no binary of `v1.2.3`"), "{log}");
    // Whether a moving tag is a release is asked; `source` says that it is none.
    let moving = json!({ "action_repository": "acme/basegen", "action_ref": "v1" });
    act(&mut Run::new(&bed, &moving, &json!({})), &[]).expect("built");
    let source = [("version", "source")];
    act(&mut Run::new(&bed, &of_a_release(), &json!({})), &source).expect("built");
    let gh = bed.calls().iter().filter(|call| call.starts_with("gh")).count();
    assert_eq!(gh, 3, "{:?}", bed.calls());
    for version in ["latest", "v1;id", "v1\nfolder=/tmp"] {
        let log = act(&mut Run::new(&bed, &json!({}), &json!({})), &[("version", version)]);
        assert!(log.expect_err("refused").contains("::error"), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tag_publishes_is_what_the_action_installs() {
    let bed = Bed::new().await;
    bed.push_version("9.8.7");
    let commits = [("v9.8.7", "c0ffee"), ("v9", "c0ffee"), ("c0ffee", "c0ffee"), ("main", "beef")];
    bed.keep_releases(&commits);
    let tag = |name: &str| json!({ "ref": format!("refs/tags/{name}"), "ref_name": name });
    // A tag that is not the version publishes nothing.
    let jobs = Run::new(&bed, &tag("v9.9.9"), &json!({})).workflow(BINARIES);
    assert_eq!((jobs["build"].result, jobs["release"].result), ("failure", "skipped"));
    assert!(jobs["build"].log.contains("Cargo.toml says `9.8.7`"), "{}", jobs["build"].log);
    let jobs = Run::new(&bed, &tag("v9.8.7"), &json!({})).workflow(BINARIES);
    assert_eq!(jobs["build"].result, "success", "{}", jobs["build"].log);
    assert_eq!(jobs["release"].result, "success", "{}", jobs["release"].log);
    for (reference, is_release) in
        [("v9.8.7", true), ("v9", true), ("c0ffee", true), ("main", false)]
    {
        let before = bed.calls().len();
        let used = json!({ "action_repository": "acme/basegen", "action_ref": reference });
        let (_, log) = act(&mut Run::new(&bed, &used, &json!({})), &[]).expect("installed");
        assert!(log.contains("basegen "), "{log}");
        let calls = bed.calls();
        let is_built = calls[before..].iter().any(|call| call.starts_with("cargo install"));
        assert_eq!(is_built, !is_release, "{reference}: {calls:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_runs_basegen_and_hands_its_outputs_on() {
    let bed = Bed::new().await;
    let mut run = Run::new(&bed, &json!({}), &json!({}));
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
