//! Facts about CUDA libraries in `explain`, and GPUs that images must support.

use insta::assert_snapshot;
use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::{Project, stdout};

const MATRIX: &str = r#"[image]
repository = "acme/base"
tag = "v1-{{variant}}"
dockerfile = "Dockerfile.hbs"
platforms = ["linux/amd64"]

[axes]
gpu = [false, true]
"#;

const DOCKERFILE: &str = "FROM debian\n{{#if gpu}}\nRUN --mount=type=bind,source=cuda,target=/cuda /cuda/install\n{{/if}}\n";

fn project(more: &str) -> Project {
    let project = Project::new();
    project.write("matrix.toml", &format!("{MATRIX}{more}"));
    project.write("dockerfiles/Dockerfile.hbs", DOCKERFILE);
    let runtime = "version = \"12.8.90\"\ncuda = \"12.8\"\ndriver = \"12.0\"\n[\"linux/amd64\"]\nsize = 4900000\n";
    project.write("dockerfiles/cuda/cuda-runtime.facts.toml", runtime);
    let blas = "version = \"12.8.4.1\"\n[\"linux/amd64\"]\nsize = 868754609\nsm = [\"75\", \"80\", \"90\", \"90a\"]\nptx = [\"120\"]\n";
    project.write("dockerfiles/cuda/cublas.facts.toml", blas);
    project.write("dockerfiles/cuda/install", "#!/bin/sh\n");
    project
}

#[test]
fn explain_lists_the_libraries_of_an_image() {
    let explained = stdout(project("").basegen("explain gpu"));
    let at = explained.find("CUDA libraries").expect("the libraries");
    assert_snapshot!(&explained[at..]);
    assert!(!stdout(project("").basegen("explain gpu=false")).contains("CUDA"));
}

#[test]
fn rejects_an_unsupported_gpu_before_a_build() {
    let more = "[[set]]\nwhen = { gpu = true }\nrequire_sm = [\"86\", \"100\"]\n";
    let refusal = errors(more, "--push");
    assert_snapshot!(refusal);
    assert_eq!(errors(more, "plan --offline"), refusal);
    assert_eq!(errors(more, "check --offline"), refusal);
    assert_eq!(errors(&more.replace(", \"100\"", ""), "plan --offline"), "");
}

/// Returns the stderr of a command in a project with `more` in its matrix.
fn errors(more: &str, command: &str) -> String {
    let output = project(more).basegen(command).output().expect("the command runs");
    String::from_utf8(output.stderr).expect("UTF-8")
}

#[test]
fn rejects_facts_without_one_of_the_platforms() {
    let project = project("");
    let matrix = MATRIX.replace("\"linux/amd64\"", "\"linux/amd64\", \"linux/arm64\"");
    project.write("matrix.toml", &matrix);
    assert_cmd_snapshot!(project.basegen("explain gpu"));
    project.write("matrix.toml", MATRIX);
    project.write("dockerfiles/cuda/cublas.facts.toml", "version = 12\n");
    assert_cmd_snapshot!(project.basegen("explain gpu"));
}
