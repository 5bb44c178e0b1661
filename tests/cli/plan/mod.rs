//! `basegen plan` and `basegen list`: tables, JSON and names.

mod since;

use insta::assert_snapshot;
use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::{MATRIX, Project, committed_project, stdout};

#[test]
fn prints_a_table() {
    assert_snapshot!(stdout(Project::new().basegen("plan --offline --python 3.11")));
}

#[test]
fn prints_json() {
    assert_snapshot!(stdout(
        Project::new()
            .basegen("plan --offline --format json --python 3.11 --gpu --job-type server")
    ));
}

#[test]
fn list_prints_only_names() {
    assert_snapshot!(stdout(Project::new().basegen("list --no-gpu --registry ghcr.io")), @r"
    ghcr.io/acme/server-base:3.9-v1.2.3
    ghcr.io/acme/training-base:3.9-v1.2.3
    ghcr.io/acme/server-base:3.11-v1.2.3
    ghcr.io/acme/training-base:3.11-v1.2.3
    ");
}

#[test]
fn list_prints_aliases_with_all_tags() {
    assert_snapshot!(stdout(Project::new().basegen("list --all-tags --no-gpu --job-type server")));
}

#[test]
fn aliases_can_contain_the_commit_and_the_date() {
    let matrix = MATRIX.replace("{{variant}}-latest", "{{variant}}-{{git.sha}}-{{date}}");
    let project = Project::new();
    project.write("matrix.toml", &matrix);
    assert_cmd_snapshot!(project.basegen("list --all-tags"));
    let project = committed_project();
    project.write("matrix.toml", &matrix);
    let list = stdout(project.basegen("list --all-tags --python 3.9 --job-type server"));
    let alias = list.lines().nth(1).expect("an alias");
    let (sha, date) =
        alias.split_once(":3.9-").and_then(|(_, tag)| tag.split_at_checked(40)).expect("a commit");
    assert!(sha.bytes().all(|digit| digit.is_ascii_hexdigit()), "{alias}");
    assert!(date.starts_with("-20") && date.len() == "-2026-11-29".len(), "{alias}");
}

#[test]
fn wildcards_select_values() {
    let project = Project::new();
    assert_snapshot!(stdout(project.basegen("list --only python=*.9 --only job_type=t*g")), @"acme/training-base:3.9-v1.2.3");
}

#[test]
fn the_option_tag_sets_no_aliases() {
    let project = Project::new();
    let arguments = "list --all-tags --no-gpu --job-type server --tag pr-7-{{variant}}";
    assert_snapshot!(stdout(project.basegen(arguments)));
}

#[test]
fn accepts_a_matrix_in_another_folder() {
    let project = Project::new();
    let mut command = project.basegen("list --python 3.9 --job-type server");
    command.arg("-f").arg(project.path().join("matrix.toml")).current_dir("/");
    assert_snapshot!(stdout(command), @"acme/server-base:3.9-v1.2.3");
}

#[test]
fn rejects_templates_that_do_not_render_in_every_format() {
    let project = Project::new();
    project.write("dockerfiles/Dockerfile.hbs", "FROM python:{{pyhton}}\n");
    for arguments in ["list", "--dry-run", "plan --offline", "plan --offline --format markdown"] {
        let output = project.basegen(arguments).output().expect("the command runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{arguments}: {errors}");
        assert!(errors.contains("pyhton"), "{arguments}: {errors}");
    }
}

#[test]
fn the_option_platform_selects_platforms() {
    let list = stdout(
        Project::new().basegen("plan --offline --platform linux/arm64 --python 3.9 --format json"),
    );
    assert!(list.contains("\"linux/arm64\"") && !list.contains("amd64"), "{list}");
}
