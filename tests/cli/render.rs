use insta_cmd::assert_cmd_snapshot;

use crate::project::{Project, basegen, stdout};

#[test]
fn one_variant_is_printed() {
    let printed = stdout(Project::new().basegen("render --python 3.11 --gpu --job-type server"));
    insta::assert_snapshot!(printed, @r"
    FROM python:3.11
    ENV GPU=1
    COPY server.txt /
    ");
}

#[test]
fn what_was_written_has_not_drifted_until_it_is_changed() {
    let project = Project::new();
    assert_cmd_snapshot!(project.basegen("render -o rendered"));
    assert_cmd_snapshot!(project.basegen("render --check rendered"));
    project.write("rendered/3.9-server/Dockerfile", "FROM scratch\n");
    project.write("rendered/3.8-server/Dockerfile", "FROM scratch\n");
    fs_err::remove_file(project.path().join("rendered/3.11-server/server.txt")).expect("removed");
    assert_cmd_snapshot!(project.basegen("render --check rendered"));
    let read = |path: &str| fs_err::read_to_string(project.path().join(path)).expect(path);
    assert_eq!(read("rendered/3.11-gpu-training/training.txt"), "training\n");
}

#[test]
fn rendering_is_the_same_from_run_to_run() {
    let project = Project::new();
    stdout(project.basegen("render -o one"));
    for _ in 0..3 {
        stdout(project.basegen("render --check one"));
    }
}

#[test]
fn every_variant_of_this_repository_renders() {
    let rendered = stdout(basegen("render"));
    assert_eq!(rendered.matches("\n# 3.").count() + 1, 48);
}
