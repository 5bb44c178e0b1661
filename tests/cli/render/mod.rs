//! `basegen render`: printed and written Dockerfiles, drift, and symbolic links.

use std::path::Path;

use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::{Project, basegen, stdout};

#[test]
fn prints_the_dockerfile_of_one_variant() {
    let printed = stdout(Project::new().basegen("render --python 3.11 --gpu --job-type server"));
    insta::assert_snapshot!(printed, @r"
    FROM python:3.11
    ENV GPU=1
    COPY server.txt /
    ");
}

#[test]
fn check_reports_changed_missing_and_additional_files() {
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
fn check_with_a_selection_compares_only_its_folders() {
    let project = Project::new();
    stdout(project.basegen("render -o rendered"));
    stdout(project.basegen("render --check rendered --python 3.9"));
    project.write("rendered/3.9-server/stale.txt", "");
    project.write("rendered/3.11-server/stale.txt", "");
    assert_cmd_snapshot!(project.basegen("render --check rendered --python 3.9"));
    // Files that basegen did not write are kept and reported.
    assert_cmd_snapshot!(project.basegen("render -o rendered"));
    assert!(project.path().join("rendered/3.9-server/stale.txt").exists());
}

#[test]
fn does_not_write_through_symbolic_links() {
    let project = Project::new();
    let link = |target: &str, path: &str| {
        std::os::unix::fs::symlink(target, project.path().join(path)).expect("a link");
    };
    project.write("precious/Dockerfile", "precious\n");
    stdout(project.basegen("render -o out"));
    fs_err::remove_file(project.path().join("out/3.9-server/Dockerfile")).expect("removed");
    link("../../precious/Dockerfile", "out/3.9-server/Dockerfile");
    assert_cmd_snapshot!(project.basegen("render -o out"));
    assert_cmd_snapshot!(project.basegen("render --check out"));
    fs_err::remove_dir_all(project.path().join("out/3.9-server")).expect("removed");
    link("../precious", "out/3.9-server");
    assert_cmd_snapshot!(project.basegen("render -o out"));
    let precious = fs_err::read_to_string(project.path().join("precious/Dockerfile"));
    assert_eq!(precious.expect("a file"), "precious\n");
    // The output folder itself can be a link.
    fs_err::create_dir(project.path().join("real")).expect("a folder");
    link("real", "linked");
    stdout(project.basegen("render -o linked"));
    stdout(project.basegen("render --check real"));
}

#[test]
fn links_of_contexts_are_rendered_as_links() {
    let project = Project::new();
    project.write("dockerfiles/Dockerfile.hbs", "FROM python:3.9\nCOPY folder /folder\n");
    project.write("dockerfiles/folder/file", "1\n");
    let link = |target: &str, path: &str| {
        std::os::unix::fs::symlink(target, project.path().join(path)).expect("a link");
    };
    link("file", "dockerfiles/folder/link");
    link("/nowhere", "dockerfiles/folder/dangling");
    stdout(project.basegen("render -o out"));
    stdout(project.basegen("render --check out"));
    let target =
        |path: &str| fs_err::read_link(project.path().join("out/3.9-server/folder").join(path));
    assert_eq!(target("link").expect("a link"), Path::new("file"));
    assert_eq!(target("dangling").expect("a link"), Path::new("/nowhere"));
    // A link with another target is drift, and is replaced.
    fs_err::remove_file(project.path().join("out/3.9-server/folder/link")).expect("removed");
    link("dangling", "out/3.9-server/folder/link");
    let output = project.basegen("render --check out").output().expect("the command runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("changed  3.9-server/folder/link"), "{errors}");
    stdout(project.basegen("render -o out"));
    assert_eq!(target("link").expect("a link"), Path::new("file"));
}

#[test]
fn renders_the_same_files_in_each_run() {
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

#[test]
fn ignored_git_and_env_files_are_reported_once() {
    let project = Project::new();
    project.write(
        "dockerfiles/Dockerfile.hbs",
        "FROM a\nCOPY . /\nENV X={{python}}{{job_type}}{{gpu}}\n",
    );
    project.write("dockerfiles/.env", "TOKEN=1\n");
    project.write("dockerfiles/d/.git/config", "");
    assert_cmd_snapshot!("left_out", project.basegen("render -o out"));
    assert_cmd_snapshot!("left_out_check", project.basegen("check --offline"));
    assert_cmd_snapshot!("left_out_quiet", project.basegen("render -o out -q"));
    let found =
        std::process::Command::new("find").arg(project.path().join("out")).output().expect("find");
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(!found.contains(".env") && !found.contains(".git"), "{found}");
}
