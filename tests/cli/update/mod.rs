//! `basegen update`: pins upstream images in the lock.

use std::process::Command;

use insta::assert_snapshot;
use serde_json::json;

use crate::harness::project::{self, Project, stdout};
use crate::harness::registry::FakeRegistry;

/// Creates a project whose base images are `python` and `tools` in `registry`.
fn project(registry: &FakeRegistry) -> Project {
    let project = Project::new();
    let host = registry.host();
    let dockerfile = format!(
        "FROM {host}/python:{{{{python}}}}\n{{{{#if gpu}}}}\nCOPY --from={host}/acme/tools:1 /x /\n{{{{/if}}}}\n"
    );
    project.write("dockerfiles/Dockerfile.hbs", &dockerfile);
    for python in ["3.9", "3.11"] {
        push(registry, "python", python, "first");
    }
    push(registry, "acme/tools", "1", "first");
    project
}

/// Points a tag to an image with this content.
fn push(registry: &FakeRegistry, path: &str, tag: &str, content: &str) {
    registry.add_image(path, tag, &json!({ "of": [path, content] }));
}

/// Returns the output and the exit code of a command, without the port of the registry.
fn output(registry: &FakeRegistry, command: Command) -> String {
    project::output(command).replace(&registry.host(), "REGISTRY")
}

fn lock(project: &Project, registry: &FakeRegistry) -> String {
    let text = fs_err::read_to_string(project.path().join("basegen.lock")).expect("a lock");
    text.replace(&registry.host(), "REGISTRY")
}

#[test]
fn reports_and_pins_moved_tags() {
    let registry = FakeRegistry::start_blocking();
    let project = project(&registry);
    let update =
        |arguments: &str| output(&registry, project.basegen(&format!("update {arguments}")));
    assert_snapshot!("check_before", update("--check"));
    assert!(!project.path().join("basegen.lock").exists());
    assert_snapshot!("first", update(""));
    assert_snapshot!("lock", lock(&project, &registry));
    assert_snapshot!("again", update("--check"));
    push(&registry, "python", "3.9", "second");
    push(&registry, "acme/tools", "1", "second");
    let before = lock(&project, &registry);
    assert_snapshot!("check_after", update("--check"));
    assert_eq!(lock(&project, &registry), before);
    // Updates one image, then the others. Pins of images that are no longer used are removed.
    assert_snapshot!("one", update(&format!("{}/python", registry.host())));
    let dockerfile = format!("FROM {}/python:{{{{python}}}}\n", registry.host());
    project.write("dockerfiles/Dockerfile.hbs", &dockerfile);
    assert_snapshot!("rest", update(""));
    assert!(!lock(&project, &registry).contains("tools"));
}

#[test]
fn rendered_dockerfiles_contain_pins() {
    let registry = FakeRegistry::start_blocking();
    let project = project(&registry);
    stdout(project.basegen("update"));
    let rendered = stdout(project.basegen("render --python 3.11 --gpu --job-type server"));
    assert_snapshot!(rendered.replace(&registry.host(), "REGISTRY"));
    stdout(project.basegen("render -o out"));
    push(&registry, "python", "3.9", "second");
    stdout(project.basegen("update"));
    let drifted = output(&registry, project.basegen("render --check out"));
    assert!(drifted.contains("changed  3.9-server/Dockerfile"), "{drifted}");
    assert!(!drifted.contains("3.11-server"), "{drifted}");
}

#[test]
fn reports_images_that_cannot_be_pinned_and_keeps_the_lock() {
    let registry = FakeRegistry::start_blocking();
    let project = project(&registry);
    let update =
        |arguments: &str| output(&registry, project.basegen(&format!("update {arguments}")));
    assert_snapshot!("unknown_image", update("pyton"));
    project.write(
        "dockerfiles/Dockerfile.hbs",
        &format!("FROM {}/gone:{{{{python}}}}\n", registry.host()),
    );
    assert_snapshot!("missing", update(""));
    project.write("dockerfiles/Dockerfile.hbs", "FROM base-$TARGETARCH\n");
    assert_snapshot!("not_known_before_the_build", update(""));
    assert!(!project.path().join("basegen.lock").exists());
    project.write("basegen.lock", "schema = 1\n[images]\n\"python\" = \"1\"\n");
    assert_snapshot!("broken_lock", update("--check"));
    assert_snapshot!("broken_lock_in_render", output(&registry, project.basegen("render")));
}
