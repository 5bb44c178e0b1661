//! What is said when there is no engine that can build.

use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::Project;

#[test]
fn an_engine_that_does_not_answer() {
    let project = Project::new();
    let mut command = project.basegen("--python 3.11");
    command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    assert_cmd_snapshot!(command);
}

#[test]
fn an_engine_that_is_only_reached_through_ssh() {
    let project = Project::new();
    let mut command = project.basegen("--python 3.11");
    command.env("DOCKER_HOST", "ssh://builder@example.org");
    assert_cmd_snapshot!(command);
}

#[test]
fn an_output_that_is_none() {
    assert_cmd_snapshot!(Project::new().basegen("--output docker:x"));
}

#[test]
fn a_secret_that_is_not_there() {
    assert_cmd_snapshot!(Project::new().basegen("--secret id=token,env=THE_TOKEN"));
    assert_cmd_snapshot!(Project::new().basegen("--secret token"));
    assert_cmd_snapshot!(Project::new().basegen("--ca-certificates VERSION"));
}
