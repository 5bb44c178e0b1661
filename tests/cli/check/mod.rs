//! `basegen check`: whether everything that repeats something is in step with it.

mod published;

use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::{MATRIX, Project, stdout};

const LOCK: &str = "schema = 1\n\n[images]\n\
    \"docker.io/library/python:3.11\" = \"sha256:1111111111111111111111111111111111111111111111111111111111111111\"\n\
    \"docker.io/library/python:3.9\" = \"sha256:2222222222222222222222222222222222222222222222222222222222222222\"\n";

/// A project in which everything is in step.
fn project() -> Project {
    let project = Project::new();
    let more = "[[version.also]]\nfile = \"util.py\"\nconstant = \"TAG\"\n\
        [generated]\nreadme = \"README.md\"\nrendered = \"rendered\"\n";
    project.write("matrix.toml", &MATRIX.replace("[[exclude]]", &format!("{more}\n[[exclude]]")));
    project.write("util.py", "import os\nTAG = 'v1.2.3'\n");
    project.write("basegen.lock", LOCK);
    project.write("matrix.schema.json", &stdout(project.basegen("schema")));
    project.write(
        "README.md",
        "# Acme\n\n<!-- images: by `basegen check --fix` -->\n<!-- end of images -->\n",
    );
    stdout(project.basegen("check --offline --fix"));
    project
}

#[test]
fn what_is_in_step_is_fine() {
    let project = project();
    assert_cmd_snapshot!("fine", project.basegen("check --offline"));
    assert_cmd_snapshot!("fine_json", project.basegen("check --offline --format json"));
    assert_cmd_snapshot!("bare", Project::new().basegen("check --offline"));
    assert!(project.path().join("rendered/3.9-server/Dockerfile").exists());
}

#[test]
fn each_finding_is_a_line() {
    let project = project();
    project.write("util.py", "import os\n\nTAG = 'v1.2.2'\n");
    let schema = stdout(project.basegen("schema")).replace("A matrix of", "An old matrix of");
    project.write("matrix.schema.json", &schema);
    project.write("rendered/3.9-server/Dockerfile", "FROM scratch\n");
    project.write("rendered/old/Dockerfile", "FROM scratch\n");
    fs_err::remove_file(project.path().join("rendered/3.11-server/server.txt")).expect("removed");
    project.write("basegen.lock", &LOCK.replace("python:3.9", "python:3.8"));
    let readme = fs_err::read_to_string(project.path().join("README.md")).expect("the README");
    project.write("README.md", &readme.replace("-gpu-v1.2.3", "-gpu-v1.2.2"));
    assert_cmd_snapshot!("findings", project.basegen("check --offline"));
    assert_cmd_snapshot!("findings_json", project.basegen("check --offline --format json"));
    assert_cmd_snapshot!("findings_github", project.basegen("check --offline --format github"));
    let mut actions = project.basegen("check --offline");
    actions.env("GITHUB_ACTIONS", "true");
    assert_cmd_snapshot!("findings_under_actions", actions);
    // What basegen did not write, and what nobody but a registry knows, stays.
    assert_cmd_snapshot!("fixed", project.basegen("check --offline --fix"));
}

#[test]
fn what_cannot_be_read_is_a_finding_too() {
    let project = project();
    project.write("util.py", "TAG = 'v1'\nTAG = 'v2'\n");
    project.write("README.md", "# Acme\n");
    assert_cmd_snapshot!("unreadable", project.basegen("check --offline"));
    project.write("VERSION", "latest\n");
    assert_cmd_snapshot!("no_version", project.basegen("check --offline"));
    fs_err::remove_file(project.path().join("README.md")).expect("removed");
    fs_err::remove_file(project.path().join("VERSION")).expect("removed");
    assert_cmd_snapshot!("gone", project.basegen("check --offline"));
}

#[test]
fn a_schema_is_looked_for_where_the_matrix_says() {
    let project = Project::new();
    project.write("matrix.toml", &format!("#:schema schemas/matrix.json\n{MATRIX}"));
    assert_cmd_snapshot!("schema_gone", project.basegen("check --offline"));
    stdout(project.basegen("check --offline --fix"));
    assert!(project.path().join("schemas/matrix.json").exists());
    project.write("matrix.toml", &format!("#:schema https://example.org/matrix.json\n{MATRIX}"));
    stdout(project.basegen("check --offline"));
}

#[test]
fn nothing_but_a_schema_of_basegen_is_written_over() {
    let project = Project::new();
    let named = |path: &str| {
        project.write("matrix.toml", &format!("#:schema {path}\n{MATRIX}"));
        project.basegen("check --offline --fix")
    };
    project.write("precious.json", "{}\n");
    assert_cmd_snapshot!("schema_foreign", named("precious.json"));
    assert_eq!(named("../precious").output().expect("it runs").status.code(), Some(3));
    assert_eq!(project.siblings(), [""; 0]);
    assert_eq!(fs_err::read_to_string(project.path().join("precious.json")).expect("read"), "{}\n");
    // A link stays one.
    let schema = stdout(project.basegen("schema"));
    project.write("real.json", &schema.replace("A matrix of", "An old matrix of"));
    let link = project.path().join("link.json");
    std::os::unix::fs::symlink("real.json", &link).expect("a link");
    assert_cmd_snapshot!("schema_link", named("link.json"));
    assert!(link.is_symlink());
    assert_eq!(fs_err::read_to_string(link).expect("read"), schema);
}

#[test]
fn a_finding_is_where_its_text_says() {
    let project = project();
    project.write("util.py", "import os\n# TAG = 'v1.2.3'\n");
    assert_cmd_snapshot!("commented_out", project.basegen("check --offline"));
}

#[test]
fn a_matrix_that_is_wrong_is_an_error() {
    let project = Project::new();
    project.write("matrix.toml", &MATRIX.replace("aliases", "alias"));
    assert_cmd_snapshot!("unknown_key", project.basegen("check --offline"));
    project.write("matrix.toml", MATRIX);
    project.write("dockerfiles/Dockerfile.hbs", "FROM {{pyton}}\n");
    assert_cmd_snapshot!("template", project.basegen("check --offline"));
}
