//! `basegen check`: finds drift between the version, the lock, generated files and the registry.

mod published;

use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::{MATRIX, Project, stdout};

const LOCK: &str = "schema = 1\n\n[images]\n\
    \"docker.io/library/python:3.11\" = \"sha256:1111111111111111111111111111111111111111111111111111111111111111\"\n\
    \"docker.io/library/python:3.9\" = \"sha256:2222222222222222222222222222222222222222222222222222222222222222\"\n";

/// Creates a project without drift.
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
fn succeeds_without_drift() {
    let project = project();
    assert_cmd_snapshot!("no_drift", project.basegen("check --offline"));
    assert_cmd_snapshot!("no_drift_json", project.basegen("check --offline --format json"));
    assert_cmd_snapshot!("minimal_project", Project::new().basegen("check --offline"));
    assert!(project.path().join("rendered/3.9-server/Dockerfile").exists());
}

#[test]
fn prints_a_line_for_each_finding() {
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
    // Files that basegen did not write, and pins that need a registry, are not fixed.
    assert_cmd_snapshot!("fixed", project.basegen("check --offline --fix"));
}

#[test]
fn unreadable_files_are_findings() {
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
fn checks_everything_else_without_a_version() {
    let project = project();
    let matrix = fs_err::read_to_string(project.path().join("matrix.toml")).expect("the matrix");
    let at = |name: &str| matrix.find(name).expect("a table");
    let tables = [&matrix[..at("[version]")], &matrix[at("[generated]")..]].concat();
    project.write("matrix.toml", &tables);
    project.write("rendered/3.9-server/Dockerfile", "FROM scratch\n");
    assert_cmd_snapshot!("unversioned_offline", project.basegen("check --offline"));
    fs_err::remove_file(project.path().join("basegen.lock")).expect("removed");
    stdout(project.basegen("check --offline --fix"));
    assert_cmd_snapshot!("unversioned", project.basegen("check"));
    assert_cmd_snapshot!("unversioned_released", project.basegen("check --released"));
    project.write("matrix.toml", tables.split("[generated]").next().expect("tables"));
    assert_cmd_snapshot!("unversioned_bare", project.basegen("check --offline"));
    // Faults of names need no version.
    project.write("matrix.toml", &tables.replace("{{job_type}}-base", "base"));
    assert_cmd_snapshot!("unversioned_names", project.basegen("check --offline"));
}

#[test]
fn checks_the_schema_that_the_matrix_names() {
    let project = Project::new();
    project.write("matrix.toml", &format!("#:schema schemas/matrix.json\n{MATRIX}"));
    assert_cmd_snapshot!("schema_gone", project.basegen("check --offline"));
    stdout(project.basegen("check --offline --fix"));
    assert!(project.path().join("schemas/matrix.json").exists());
    project.write("matrix.toml", &format!("#:schema https://example.org/matrix.json\n{MATRIX}"));
    stdout(project.basegen("check --offline"));
}

#[test]
fn overwrites_only_schemas_of_basegen() {
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
    // A symbolic link is followed, not replaced.
    let schema = stdout(project.basegen("schema"));
    project.write("real.json", &schema.replace("A matrix of", "An old matrix of"));
    let link = project.path().join("link.json");
    std::os::unix::fs::symlink("real.json", &link).expect("a link");
    assert_cmd_snapshot!("schema_link", named("link.json"));
    assert!(link.is_symlink());
    assert_eq!(fs_err::read_to_string(link).expect("read"), schema);
}

#[test]
fn locates_a_constant_in_a_comment() {
    let project = project();
    project.write("util.py", "import os\n# TAG = 'v1.2.3'\n");
    assert_cmd_snapshot!("commented_out", project.basegen("check --offline"));
}

#[test]
fn an_invalid_matrix_is_an_error() {
    let project = Project::new();
    project.write("matrix.toml", &MATRIX.replace("aliases", "alias"));
    assert_cmd_snapshot!("unknown_key", project.basegen("check --offline"));
    project.write("matrix.toml", MATRIX);
    project.write("dockerfiles/Dockerfile.hbs", "FROM {{pyton}}\n");
    assert_cmd_snapshot!("template", project.basegen("check --offline"));
}
