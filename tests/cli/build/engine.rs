//! Errors before a build starts: engines, outputs and secrets.

use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::Project;

#[test]
fn reports_an_engine_that_does_not_answer() {
    let project = Project::new();
    let mut command = project.basegen("--python 3.11");
    command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    assert_cmd_snapshot!(command);
}

#[test]
fn rejects_an_engine_behind_ssh() {
    let project = Project::new();
    let mut command = project.basegen("--python 3.11");
    command.env("DOCKER_HOST", "ssh://builder@example.org");
    assert_cmd_snapshot!(command);
}

#[test]
fn rejects_an_unknown_output() {
    assert_cmd_snapshot!(Project::new().basegen("--output docker:x"));
}

#[test]
fn reports_missing_secrets_and_certificates() {
    assert_cmd_snapshot!(Project::new().basegen("--secret id=token,env=THE_TOKEN"));
    assert_cmd_snapshot!(Project::new().basegen("--secret token"));
    assert_cmd_snapshot!(Project::new().basegen("--ca-certificates VERSION"));
}
