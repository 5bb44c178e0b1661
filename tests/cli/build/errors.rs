//! What is refused, in which words, and with which exit code.

use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::{MATRIX, Project};

#[test]
fn a_value_that_does_not_exist() {
    assert_cmd_snapshot!(Project::new().basegen("--python 3.8 --dry-run"));
}

#[test]
fn a_combination_that_is_excluded() {
    assert_cmd_snapshot!(Project::new().basegen("--python 3.9 --gpu --dry-run"));
}

#[test]
fn an_axis_that_the_matrix_has_not() {
    assert_cmd_snapshot!(Project::new().basegen("list --live-reload"));
    assert_cmd_snapshot!(Project::new().basegen("list --only job-type"));
}

#[test]
fn arguments_before_a_command() {
    assert_cmd_snapshot!(Project::new().basegen("--python 3.9 plan"));
}

#[test]
fn a_missing_matrix() {
    assert_cmd_snapshot!(Project::new().basegen("plan -f gone.toml"));
}

#[test]
fn commands_that_the_main_call_stands_in_for() {
    for command in ["build", "push"] {
        assert_cmd_snapshot!(command, Project::new().basegen(command));
    }
}

#[test]
fn a_tag_must_differ_between_images() {
    assert_cmd_snapshot!(Project::new().basegen("--tag v1"));
    assert_cmd_snapshot!(Project::new().basegen("--tag {{variant}}-{{pr}}"));
}

#[test]
fn a_matrix_in_a_folder_above_is_named() {
    let project = Project::new();
    let mut command = project.basegen("plan");
    command.current_dir(project.path().join("dockerfiles"));
    assert_cmd_snapshot!(command);
}

#[test]
fn a_missing_version() {
    let project = Project::new();
    project.write("matrix.toml", &MATRIX.replace("[version]\nfile = \"VERSION\"", ""));
    assert_cmd_snapshot!(project.basegen("list"));
    fs_err::remove_file(project.path().join("VERSION")).expect("removed");
    project.write("matrix.toml", MATRIX);
    assert_cmd_snapshot!(project.basegen("list"));
}

#[test]
fn two_variants_with_one_name() {
    assert_cmd_snapshot!(Project::new().basegen("list --repository acme/base"));
    // One that a later run would overwrite is refused too.
    let part = "list --repository acme/base --job-type server";
    assert_cmd_snapshot!(Project::new().basegen(part));
}

#[test]
fn one_variant_with_one_name_twice() {
    let project = Project::new();
    let alias = "[\"{{variant}}-{{version}}\"]";
    project.write("matrix.toml", &MATRIX.replace("[\"{{variant}}-latest\"]", alias));
    assert_cmd_snapshot!(project.basegen("list"));
}

#[test]
fn names_that_no_registry_takes() {
    assert_cmd_snapshot!(Project::new().basegen("list --registry https://ghcr.io"));
    assert_cmd_snapshot!(Project::new().basegen("list --repository Acme/{{job_type}}"));
    assert_cmd_snapshot!(Project::new().basegen("list --repository {{jobtype}}"));
    let long = "x".repeat(120);
    assert_cmd_snapshot!(Project::new().basegen(&format!("list --version-tag {long}")));
}

#[test]
fn a_value_that_no_name_can_hold_is_shown_at_its_place() {
    let refused = |from: &str, to: &str| {
        let project = Project::new();
        assert!(MATRIX.contains(from), "{from}");
        project.write("matrix.toml", &MATRIX.replace(from, to));
        let output = project.basegen("list").output().expect("the command runs");
        assert_eq!(output.status.code(), Some(3));
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let tag = |tag: &str| format!("aliases = [\"{tag}\"]");
    let aliases = tag("{{variant}}-latest");
    let all = [
        refused("\"3.11\"]", "\"3.11+cu128\"]"),
        refused("tag = \"\" }, {", "tag = \"a+b\" }, {"),
        refused("value = \"training\"", "value = \"Training\""),
        refused("acme/{{job_type}}-base", "Acme/{{job_type}}-base"),
        refused(&aliases, &tag("{{python}}+{{gpu}}")),
        refused(&aliases, &tag(&format!("{{{{variant}}}}-{}", "x".repeat(120)))),
        refused(&aliases, &tag("{{python}}")),
        refused("acme/{{job_type}}-base", "acme/base"),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_version_is_no_misspelling_of_another() {
    assert_cmd_snapshot!(Project::new().basegen("list --python 3.15"));
    assert_cmd_snapshot!(Project::new().basegen("list --variant 3.15-gpu-server"));
    assert_cmd_snapshot!(Project::new().basegen("list --variant 3.11-gpu-sever"));
    assert_cmd_snapshot!(Project::new().basegen("explain 3.15"));
}

#[test]
fn a_matrix_with_mistakes() {
    let project = Project::new();
    project.write("matrix.toml", &MATRIX.replace("aliases", "alises"));
    assert_cmd_snapshot!(project.basegen("plan"));
}
