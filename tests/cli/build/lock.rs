//! Files of basegen on the machine of a run: the lock, and journals of earlier versions.

use std::process::{Command, Output};

use basegen::image::Digest;
use serde_json::json;

use crate::harness::project::{Project, basegen};
use crate::harness::registry::FakeRegistry;
use crate::harness::variants::variants;

const MATRIX: &str = "\
[image]
registry = \"HOST\"
repository = \"acme/base\"
dockerfile = \"Dockerfile.hbs\"
platforms = [\"linux/amd64\"]
[axes]
python = [\"3.11\"]
";

fn project(registry: &FakeRegistry) -> Project {
    let project = Project::new();
    project.write("matrix.toml", &MATRIX.replace("HOST", &registry.host()));
    project.write("dockerfiles/Dockerfile.hbs", "FROM scratch\nENV A={{python}}\n");
    project
}

/// Returns a command that releases `project` without an engine and without a home folder.
fn push(project: &Project) -> Command {
    let mut command = basegen("--push --version-tag v1");
    command.current_dir(project.path()).env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    command
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output()).await.expect("a task").expect("it runs")
}

/// The journal of an earlier version of basegen names another image than the staging tag.
#[tokio::test]
async fn the_registry_takes_precedence_over_a_journal() {
    let registry = FakeRegistry::start().await;
    let project = project(&registry);
    let variant = variants(&project.path().join("matrix.toml"), "v1").remove(0);
    let put = |tag: &str, content: &str| {
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let config = registry.add_blob("acme/base", content.to_owned());
        let config = json!({ "mediaType": "a/b", "digest": config, "size": content.len() });
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [] });
        registry.add_manifest("acme/base", tag, media_type, manifest.to_string());
        Digest::of(manifest.to_string().as_bytes())
    };
    let old = put("old", "{\"old\":1}");
    let staged = put(variant.staging[0].as_str(), "{}");
    let rows = json!({ "3.11": { "recipe": variant.fingerprint, "digest": old } });
    let journal = json!({ "schema": 1, "rows": rows }).to_string();
    let name = variant.reference.canonical();
    let path = format!("basegen/releases/{}.json", &Digest::of(name.as_bytes()).hex()[..16]);
    project.write(&format!("state/{path}"), &journal);
    project.write(&path.replace("basegen/", ".basegen/"), &journal);
    let mut command = push(&project);
    command.env("XDG_STATE_HOME", project.path().join("state"));
    let output = output(command).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(registry.tag("acme/base", "3.11-v1").as_ref(), Some(&staged));
}

#[tokio::test]
async fn without_a_home_the_lock_is_not_in_the_checkout() {
    let registry = FakeRegistry::start().await;
    let project = project(&registry);
    let temporary = tempfile::tempdir().expect("a folder");
    for relative in [false, true] {
        let mut command = push(&project);
        command.env("TMPDIR", temporary.path());
        if relative {
            command.env("HOME", ".").env("XDG_STATE_HOME", "state");
        }
        let output = output(command).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "there is no engine: {stderr}");
        for folder in [".basegen", ".local", "state"] {
            assert!(!project.path().join(folder).exists(), "{folder}");
        }
        let entries = fs_err::read_dir(temporary.path()).expect("a folder");
        let folders = entries.map(|entry| entry.expect("an entry").path().join("releases"));
        assert!(folders.into_iter().any(|folder| folder.is_dir()));
    }
}

#[tokio::test]
async fn rejects_concurrent_releases_on_one_machine() {
    let registry = FakeRegistry::start().await;
    let project = project(&registry);
    let state = project.path().join("state");
    let hangs = registry.fail(crate::harness::registry::Rule::first(
        "*",
        "*",
        crate::harness::registry::Fault::Hang,
    ));
    let run = || {
        let mut command = push(&project);
        command.env("XDG_STATE_HOME", &state);
        command
    };
    let first = tokio::spawn(output(run()));
    hangs.wait_until_used().await;
    let second = output(run()).await;
    let stderr = String::from_utf8_lossy(&second.stderr);
    assert!(stderr.contains("another basegen is publishing these images"), "{stderr}");
    assert_eq!(second.status.code(), Some(1));
    hangs.release();
    first.await.expect("it ends");
}
