//! What the actions of others do, as far as the steps after them can tell. One without a rule
//! fails the test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use glob::Pattern;
use serde_json::{Map, Value, json};

use crate::harness::workflows::runner::Job;

/// Files that one job hands to another.
#[derive(Default)]
pub(crate) struct Artifacts {
    by_name: BTreeMap<String, Artifact>,
    /// How many there were.
    uploads: usize,
}

/// Another artifact of the same name is another id.
struct Artifact {
    id: String,
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// Does what the action `uses` does with `inputs`, and returns its outputs; `None` if that ends the job.
pub(crate) fn act(
    uses: &str,
    inputs: &BTreeMap<String, String>,
    job: &Job<'_>,
    artifacts: &mut Artifacts,
) -> Option<Map<String, Value>> {
    let (name, _) = uses.split_once('@').expect("a version");
    let allowed: &[&str] = match name {
        "actions/checkout" => &["fetch-depth", "persist-credentials"],
        "actions/cache" => &["path", "key"],
        "Swatinem/rust-cache" => &["save-if"],
        "docker/login-action" => &["username", "password"],
        "actions/attest-build-provenance" => &["subject-path"],
        "actions/upload-artifact" => &["name", "path", "if-no-files-found", "overwrite"],
        "actions/download-artifact" => {
            &["name", "pattern", "artifact-ids", "path", "merge-multiple"]
        }
        _ => panic!("there is no rule for `{uses}`"),
    };
    for input in inputs.keys() {
        assert!(allowed.contains(&input.as_str()), "there is no rule for `{input}` of `{uses}`");
    }
    match name {
        "actions/checkout" => check_out(inputs, job),
        "docker/login-action" => {
            assert!(inputs.values().all(|value| !value.is_empty()), "{inputs:?}");
        }
        "actions/attest-build-provenance" => {
            assert!(!matching(&job.workspace, &inputs["subject-path"]).is_empty(), "{inputs:?}");
        }
        "actions/cache" => assert!(!inputs["key"].is_empty() && !inputs["path"].is_empty()),
        "actions/upload-artifact" => return upload(inputs, &job.workspace, artifacts),
        "actions/download-artifact" => {
            return download(inputs, &job.workspace, artifacts).then(Map::new);
        }
        _ => {}
    }
    Some(Map::new())
}

/// Clones no more of the history than is asked for.
fn check_out(inputs: &BTreeMap<String, String>, job: &Job<'_>) {
    let mut command = Command::new("git");
    command.args(["clone", "--quiet"]);
    match inputs.get("fetch-depth").map_or("1", String::as_str) {
        "0" => {}
        depth => _ = command.args(["--depth", depth]),
    }
    command.arg(format!("file://{}", job.harness.origin().display())).arg(&job.workspace);
    let output = command.output().expect("git runs");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn upload(
    inputs: &BTreeMap<String, String>,
    workspace: &Path,
    artifacts: &mut Artifacts,
) -> Option<Map<String, Value>> {
    let files: Vec<(PathBuf, Vec<u8>)> = matching(workspace, &inputs["path"])
        .into_iter()
        .map(|file| {
            let bytes = fs_err::read(&file).expect("a file");
            (PathBuf::from(file.file_name().expect("a name")), bytes)
        })
        .collect();
    if files.is_empty() {
        let is_error = inputs.get("if-no-files-found").is_some_and(|word| word == "error");
        return (!is_error).then(Map::new);
    }
    artifacts.uploads += 1;
    let id = artifacts.uploads.to_string();
    let outputs = Map::from_iter([("artifact-id".to_owned(), json!(id))]);
    artifacts.by_name.insert(inputs["name"].clone(), Artifact { id, files });
    Some(outputs)
}

/// The files of a workspace that match a pattern.
fn matching(workspace: &Path, pattern: &str) -> Vec<PathBuf> {
    let pattern = workspace.join(pattern);
    let found = glob::glob(pattern.to_str().expect("text")).expect("a pattern");
    found.map(|file| file.expect("a file")).collect()
}

/// One by its name or id must exist; by a pattern, there may be none.
fn download(inputs: &BTreeMap<String, String>, workspace: &Path, artifacts: &Artifacts) -> bool {
    let folder = workspace.join(inputs.get("path").map_or("", String::as_str));
    let input = |name: &str| inputs.get(name).map(String::as_str);
    let wanted: Vec<&Artifact> = match (input("name"), input("pattern"), input("artifact-ids")) {
        (Some(name), None, None) => artifacts.by_name.get(name).into_iter().collect(),
        (None, None, Some(id)) => {
            artifacts.by_name.values().filter(|artifact| artifact.id == id).collect()
        }
        (None, Some(pattern), None) => {
            assert_eq!(inputs["merge-multiple"], "true", "or each has a folder of its own");
            let pattern = Pattern::new(pattern).expect("a pattern");
            let matching = artifacts.by_name.iter().filter(|(name, _)| pattern.matches(name));
            matching.map(|(_, artifact)| artifact).collect()
        }
        other => panic!("there is no rule for {other:?}"),
    };
    if wanted.is_empty() {
        return inputs.contains_key("pattern");
    }
    fs_err::create_dir_all(&folder).expect("a folder");
    for (name, bytes) in wanted.into_iter().flat_map(|artifact| &artifact.files) {
        fs_err::write(folder.join(name), bytes).expect("a file");
    }
    true
}
