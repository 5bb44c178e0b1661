//! Substitutes for external actions, with the effects that later steps depend on. Unsupported actions and inputs fail the test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use glob::Pattern;
use serde_json::{Map, Value, json};

use crate::harness::workflows::runner::Runner;

/// The uploaded artifacts of a workflow run.
#[derive(Default)]
pub(crate) struct Artifacts {
    by_name: BTreeMap<String, Artifact>,
    uploads: usize,
}

struct Artifact {
    /// A new id for each upload, also with the same name.
    id: String,
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// Performs the action `uses` and returns its outputs. Returns `None` if it fails.
pub(crate) fn run_external_action(
    uses: &str,
    inputs: &BTreeMap<String, String>,
    runner: &Runner<'_>,
    artifacts: &mut Artifacts,
) -> Option<Map<String, Value>> {
    let (name, _) = uses.split_once('@').expect("a version");
    let allowed: &[&str] = match name {
        "actions/checkout" => &["fetch-depth", "persist-credentials"],
        "actions/cache" => &["path", "key"],
        "Swatinem/rust-cache" => &["save-if"],
        "docker/login-action" => &["username", "password"],
        "docker/setup-docker-action" => &["daemon-config"],
        "docker/setup-qemu-action" => &["platforms", "cache-image"],
        "actions/attest-build-provenance" => &["subject-path"],
        "actions/upload-artifact" => &["name", "path", "if-no-files-found", "overwrite"],
        "actions/download-artifact" => {
            &["name", "pattern", "artifact-ids", "path", "merge-multiple"]
        }
        _ => panic!("unsupported action: `{uses}`"),
    };
    for input in inputs.keys() {
        assert!(allowed.contains(&input.as_str()), "unsupported input of `{uses}`: `{input}`");
    }
    match name {
        "actions/checkout" => check_out(inputs, runner),
        "docker/login-action" => {
            assert!(inputs.values().all(|value| !value.is_empty()), "{inputs:?}");
        }
        "actions/attest-build-provenance" => {
            assert!(
                !matching_files(&runner.workspace, &inputs["subject-path"]).is_empty(),
                "{inputs:?}"
            );
        }
        "docker/setup-docker-action" => {
            let config: Value = serde_json::from_str(&inputs["daemon-config"]).expect("JSON");
            assert_eq!(config["features"]["containerd-snapshotter"], true);
        }
        "docker/setup-qemu-action" => assert_eq!(inputs["platforms"], "arm64"),
        "actions/cache" => assert!(!inputs["key"].is_empty() && !inputs["path"].is_empty()),
        "actions/upload-artifact" => return upload(inputs, &runner.workspace, artifacts),
        "actions/download-artifact" => {
            return download(inputs, &runner.workspace, artifacts).then(Map::new);
        }
        _ => {}
    }
    Some(Map::new())
}

/// Clones the repository with the requested depth of its history.
fn check_out(inputs: &BTreeMap<String, String>, runner: &Runner<'_>) {
    let mut command = Command::new("git");
    command.args(["clone", "--quiet"]);
    match inputs.get("fetch-depth").map_or("1", String::as_str) {
        "0" => {}
        depth => _ = command.args(["--depth", depth]),
    }
    command.arg(format!("file://{}", runner.harness.origin().display())).arg(&runner.workspace);
    let output = command.output().expect("git runs");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn upload(
    inputs: &BTreeMap<String, String>,
    workspace: &Path,
    artifacts: &mut Artifacts,
) -> Option<Map<String, Value>> {
    let files: Vec<(PathBuf, Vec<u8>)> = matching_files(workspace, &inputs["path"])
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

/// Returns the files of a workspace that match a glob.
fn matching_files(workspace: &Path, pattern: &str) -> Vec<PathBuf> {
    let pattern = workspace.join(pattern);
    let files = glob::glob(pattern.to_str().expect("text")).expect("a pattern");
    files.map(|file| file.expect("a file")).collect()
}

/// Writes artifacts to the workspace. Returns false if no artifact has the name or id. A pattern may match none.
fn download(inputs: &BTreeMap<String, String>, workspace: &Path, artifacts: &Artifacts) -> bool {
    let folder = workspace.join(inputs.get("path").map_or("", String::as_str));
    let input = |name: &str| inputs.get(name).map(String::as_str);
    let wanted: Vec<&Artifact> = match (input("name"), input("pattern"), input("artifact-ids")) {
        (Some(name), None, None) => artifacts.by_name.get(name).into_iter().collect(),
        (None, None, Some(id)) => {
            artifacts.by_name.values().filter(|artifact| artifact.id == id).collect()
        }
        (None, Some(pattern), None) => {
            assert_eq!(inputs["merge-multiple"], "true", "separate folders are unsupported");
            let pattern = Pattern::new(pattern).expect("a pattern");
            let matching = artifacts.by_name.iter().filter(|(name, _)| pattern.matches(name));
            matching.map(|(_, artifact)| artifact).collect()
        }
        other => panic!("unsupported inputs: {other:?}"),
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
