//! Untrusted text cannot control the terminal or the runner of GitHub Actions.

use std::process::{Command, Output};

use insta::assert_snapshot;
use serde_json::json;

use crate::harness::project::{MATRIX, Project};
use crate::harness::registry::FakeRegistry;

const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Control sequences of terminals and of the runner: an escape sequence, C1, a directional mark and workflow commands.
const HOSTILE: &str = "a\u{1b}]0;x\u{7}\u{9b}2J\u{202e}\n::add-mask::b\n##[group]c";

fn is_control_sequence(character: char) -> bool {
    (character.is_control() && !matches!(character, '\n' | '\t'))
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}')
}

/// Runs a command outside of GitHub Actions and as a step of it, and returns what each prints.
fn run(command: impl Fn() -> Command) -> [String; 2] {
    let plain = command().output().expect("the command runs");
    let step = command().env("GITHUB_ACTIONS", "true").output().expect("the command runs");
    let forced = command().env("CLICOLOR_FORCE", "1").output().expect("the command runs");
    let text = |output: &Output| {
        let bytes = [output.stdout.clone(), output.stderr.clone()].concat();
        String::from_utf8(bytes).expect("UTF-8")
    };
    let (plain, step, forced) = (text(&plain), text(&step), text(&forced));
    for text in [&plain, &step] {
        assert!(!text.contains(is_control_sequence), "{text:?}");
    }
    assert!(!forced.contains("\u{1b}]") && !forced.contains('\u{9b}'), "{forced:?}");
    let is_foreign = |line: &&str| {
        let line = line.trim_start();
        line.contains("##[") || (line.starts_with("::") && !line.starts_with("::error title="))
    };
    assert_eq!(step.lines().find(is_foreign), None, "{step}");
    [plain, step]
}

#[test]
fn values_of_the_matrix_are_escaped() {
    let project = Project::new();
    let repository = "repository = \"a\\u001b]0;x\\n::add-mask::b\\n##[group]c\"";
    project.write(
        "matrix.toml",
        &MATRIX.replace("repository = \"acme/{{job_type}}-base\"", repository),
    );
    let [plain, step] = run(|| project.basegen("plan --offline"));
    assert_snapshot!("value", plain);
    assert_snapshot!("value_in_actions", step);
}

#[test]
fn file_names_are_escaped() {
    let project = Project::new();
    let [plain, step] = run(|| {
        let mut command = project.basegen("plan --offline --file");
        command.arg(HOSTILE);
        command
    });
    assert_snapshot!("file_name", plain);
    assert_snapshot!("file_name_in_actions", step);
}

#[test]
fn metadata_of_jobs_is_escaped() {
    let project = Project::new();
    project.write("dockerfiles/Dockerfile.hbs", "FROM scratch\nCOPY {{job_type}}.txt /\n");
    let image = json!({
        "digest": format!("sha256:{}", "0".repeat(64)), "kept": false, "cached": false,
    });
    let file = json!({
        "schema": 1, "version": HOSTILE, "staged": true, "failed": [], "cancelled": [],
        "targets": { HOSTILE: image },
    });
    project.write("job.json", &file.to_string());
    let [plain, step] = run(|| project.basegen("merge job.json"));
    assert_snapshot!("metadata", plain);
    assert_snapshot!("metadata_in_actions", step);
}

#[test]
fn artifacts_in_a_registry_are_escaped() {
    let registry = FakeRegistry::start_blocking();
    let project = Project::new();
    let image = format!("[image]\nregistry = \"{}\"\n", registry.host());
    project.write("matrix.toml", &MATRIX.replace("[image]\n", &image));
    let empty = json!({
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": basegen::image::Digest::of(b"{}"),
        "size": 2,
    });
    let put = |kind: &str, list: &str| {
        let set = json!({
            "schemaVersion": 2, "mediaType": OCI_IMAGE, "artifactType": kind,
            "config": empty, "layers": [empty], "annotations": { "dev.basegen.release": list },
        });
        for tag in ["basegen-release-v1.2.3", "basegen-release"] {
            registry.add_manifest("acme/server-base", tag, OCI_IMAGE, set.to_string());
        }
    };
    put(HOSTILE, "");
    let [plain, step] = run(|| project.basegen("status"));
    let shown = |text: &str| text.replace(&registry.host(), "REGISTRY");
    assert_snapshot!("artifact", shown(&plain));
    assert_snapshot!("artifact_in_actions", shown(&step));

    let list = json!({ "schema": 1, "version": HOSTILE, "images": {} }).to_string();
    put("application/vnd.basegen.release.v1+json", &list);
    run(|| project.basegen("status"));
    let [json, _] = run(|| project.basegen("status --format json"));
    let document: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(document["version"], HOSTILE);
}
