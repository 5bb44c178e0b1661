//! Contracts in `basegen lint`, in `basegen check` and before a build.

use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::{MATRIX, Project};

const DOCKERFILE: &str = "FROM python:{{python}}-slim\n{{#if gpu}}\nENV PORT=8000 \\\n    UV_OFFLINE=1\n{{/if}}\n\
    {{> server}}\nRUN pip install numpy\n";

/// Creates a project whose images break rules of Baseten, one of them in a partial.
fn project(contracts: &str, more: &str) -> Project {
    let project = Project::new();
    let matrix = MATRIX.replace("\n[axes]", &format!("contracts = {contracts}\n\n[axes]"));
    project.write("matrix.toml", &format!("{matrix}{more}"));
    project.write("dockerfiles/Dockerfile.hbs", DOCKERFILE);
    project.write("dockerfiles/partials/server.hbs", "EXPOSE 8000\n  EXPOSE 8080\n");
    project
}

#[test]
fn findings_are_shown_at_their_place_in_the_templates() {
    let project = project("[\"baseten\"]", "");
    assert_cmd_snapshot!("lint", project.basegen("lint"));
    assert_cmd_snapshot!("lint_json", project.basegen("lint --format json"));
    assert_cmd_snapshot!("lint_github", project.basegen("lint --format github"));
    assert_cmd_snapshot!("check", project.basegen("check --offline"));
}

#[test]
fn images_that_break_a_contract_are_not_built() {
    let project = project("[\"baseten\"]", "");
    for arguments in ["--gpu", "--gpu --push", "--gpu --stage --metadata-file x", "--gpu --dry-run"]
    {
        let output = project.basegen(arguments).output().expect("the command runs");
        assert_eq!(output.status.code(), Some(10), "{arguments}: {output:?}");
    }
    assert_cmd_snapshot!("build", project.basegen("--gpu"));
}

#[test]
fn waived_rules_are_not_reported() {
    let more = "[[waive]]\nrule = \"baseten/reserved-env\"\nreason = \"the server reads PORT only in tests\"\n\
        [[waive]]\nrule = \"baseten/port\"\nreason = \"8080 serves metrics\"\n\
        [[waive]]\nrule = \"lint/pinned-packages\"\nreason = \"an example\"\n\
        [[waive]]\nrule = \"lint/secrets\"\nreason = \"no secrets\"\n";
    let project = project("[\"baseten\"]", more);
    assert_cmd_snapshot!("waived", project.basegen("check --offline"));
    project.write("matrix.toml", &format!("{MATRIX}{more}"));
    assert_cmd_snapshot!("waived_without_contracts", project.basegen("lint"));
}

#[test]
fn only_lint_checks_images_without_contracts() {
    let project = project("[]", "");
    assert_cmd_snapshot!("no_contracts", project.basegen("lint"));
    assert_cmd_snapshot!("no_contracts_check", project.basegen("check --offline"));
}
