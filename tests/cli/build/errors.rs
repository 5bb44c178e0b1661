//! Errors in arguments and in the matrix, with their exit codes.

use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::{MATRIX, Project};

#[test]
fn rejects_an_unknown_value() {
    assert_cmd_snapshot!(Project::new().basegen("--python 3.8 --dry-run"));
}

#[test]
fn rejects_an_excluded_combination() {
    assert_cmd_snapshot!(Project::new().basegen("--python 3.9 --gpu --dry-run"));
}

#[test]
fn rejects_an_unknown_axis() {
    assert_cmd_snapshot!(Project::new().basegen("list --live-reload"));
    assert_cmd_snapshot!(Project::new().basegen("list --only job-type"));
}

#[test]
fn rejects_a_platform_that_no_job_can_stage() {
    assert_cmd_snapshot!(Project::new().basegen("--push --only-platform linux/arm64"));
    assert_cmd_snapshot!(Project::new().basegen("--only-platform linux/arm64"));
    assert_cmd_snapshot!(Project::new().basegen("--stage --only-platform arm64"));
    assert_cmd_snapshot!(Project::new().basegen("--stage --only-platform linux/arm64"));
}

#[test]
fn rejects_arguments_before_a_command() {
    assert_cmd_snapshot!(Project::new().basegen("--python 3.9 plan"));
}

#[test]
fn reports_a_missing_matrix() {
    assert_cmd_snapshot!(Project::new().basegen("plan -f gone.toml"));
}

#[test]
fn suggests_options_for_commands_that_do_not_exist() {
    for command in ["build", "push"] {
        assert_cmd_snapshot!(command, Project::new().basegen(command));
    }
}

#[test]
fn rejects_a_tag_that_several_images_share() {
    assert_cmd_snapshot!(Project::new().basegen("--tag v1"));
    assert_cmd_snapshot!(Project::new().basegen("--tag {{variant}}-{{pr}}"));
}

#[test]
fn suggests_the_matrix_in_a_parent_folder() {
    let project = Project::new();
    let mut command = project.basegen("plan");
    command.current_dir(project.path().join("dockerfiles"));
    assert_cmd_snapshot!(command);
}

#[test]
fn reports_a_missing_version() {
    let project = Project::new();
    project.write("matrix.toml", &MATRIX.replace("[version]\nfile = \"VERSION\"", ""));
    assert_cmd_snapshot!(project.basegen("list"));
    fs_err::remove_file(project.path().join("VERSION")).expect("removed");
    project.write("matrix.toml", MATRIX);
    assert_cmd_snapshot!(project.basegen("list"));
}

#[test]
fn rejects_two_variants_with_the_same_name() {
    assert_cmd_snapshot!(Project::new().basegen("list --repository acme/base"));
    // A later run with the other variant would overwrite the image.
    let part = "list --repository acme/base --job-type server";
    assert_cmd_snapshot!(Project::new().basegen(part));
}

#[test]
fn rejects_an_alias_that_equals_the_version_tag() {
    let project = Project::new();
    let alias = "[\"{{variant}}-{{version}}\"]";
    project.write("matrix.toml", &MATRIX.replace("[\"{{variant}}-latest\"]", alias));
    assert_cmd_snapshot!(project.basegen("list"));
}

#[test]
fn rejects_invalid_image_names() {
    assert_cmd_snapshot!(Project::new().basegen("list --registry https://ghcr.io"));
    assert_cmd_snapshot!(Project::new().basegen("list --repository Acme/{{job_type}}"));
    assert_cmd_snapshot!(Project::new().basegen("list --repository {{jobtype}}"));
    let long = "x".repeat(120);
    assert_cmd_snapshot!(Project::new().basegen(&format!("list --version-tag {long}")));
}

#[test]
fn locates_values_that_make_a_name_invalid() {
    let refusal = |from: &str, to: &str| {
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
        refusal("\"3.11\"]", "\"3.11+cu128\"]"),
        refusal("tag = \"\" }, {", "tag = \"a+b\" }, {"),
        refusal("value = \"training\"", "value = \"Training\""),
        refusal("acme/{{job_type}}-base", "Acme/{{job_type}}-base"),
        refusal(&aliases, &tag("{{python}}+{{gpu}}")),
        refusal(&aliases, &tag(&format!("{{{{variant}}}}-{}", "x".repeat(120)))),
        refusal(&aliases, &tag("{{python}}")),
        refusal("acme/{{job_type}}-base", "acme/base"),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn suggests_no_other_version_for_an_unknown_one() {
    assert_cmd_snapshot!(Project::new().basegen("list --python 3.15"));
    assert_cmd_snapshot!(Project::new().basegen("list --variant 3.15-gpu-server"));
    assert_cmd_snapshot!(Project::new().basegen("list --variant 3.11-gpu-sever"));
    assert_cmd_snapshot!(Project::new().basegen("explain 3.15"));
}

#[test]
fn reports_an_unknown_key() {
    let project = Project::new();
    project.write("matrix.toml", &MATRIX.replace("aliases", "alises"));
    assert_cmd_snapshot!(project.basegen("plan"));
}
