//! Tests that render a whole project from a matrix and its templates.

use std::path::Path;

use super::{BuildContext, RenderError, Renderer};
use crate::error::Report;
use crate::matrix::{self, Matrix};

mod context;
mod helpers;
mod names;
mod options;
mod origin;
mod sources;
mod tags;
mod values;

const MATRIX: &str = r#"
[image]
repository = "acme/base"
dockerfile = "Dockerfile.hbs"
platforms = ["linux/amd64"]
[variables]
packages = ["curl", "git"]
tables = { on = { xx = 1 } }
[axes]
python = ["3.9", "3.11"]
gpu = [false, { value = true, variables = { cuda = "12.8" } }]
"#;

/// A project: a folder with a matrix and its templates.
struct Project(tempfile::TempDir);

impl Project {
    fn new(files: &[(&str, &str)]) -> Self {
        let project = Self(tempfile::tempdir().expect("a folder"));
        for (path, text) in files {
            let path = project.folder().join(path);
            fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs_err::write(path, text).expect("a file");
        }
        project
    }

    fn folder(&self) -> std::path::PathBuf {
        self.0.path().join("dockerfiles")
    }

    fn matrix(&self) -> Matrix {
        matrix::parse(&self.0.path().join("matrix.toml"), MATRIX).expect("a matrix")
    }

    fn render(&self) -> Result<Vec<BuildContext>, RenderError> {
        let matrix = self.matrix();
        let variants: Vec<_> = matrix.variants.iter().collect();
        Renderer::new(&matrix)?.render_all(&variants)
    }

    fn contexts(&self) -> Vec<BuildContext> {
        match self.render() {
            Ok(contexts) => contexts,
            Err(error) => panic!("{error}"),
        }
    }

    fn error(&self) -> String {
        let error = Report::from(self.render().expect_err("a mistake")).to_string();
        error.replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn paths(context: &BuildContext) -> Vec<&str> {
    context.files.iter().map(|file| file.path.as_str()).collect()
}

#[test]
fn texts_are_not_escaped_and_partials_are_included() {
    let project = Project::new(&[
        (
            "Dockerfile.hbs",
            "FROM python:{{python}}\n{{#if gpu}}\n{{> cuda}}\n{{/if}}\nRUN a && b \"<c>\"{{#each packages}} {{this}}{{/each}}\n",
        ),
        ("partials/cuda.hbs", "ENV CUDA={{cuda}}\n"),
    ]);
    let contexts = project.contexts();
    assert_eq!(contexts[0].dockerfile, "FROM python:3.9\nRUN a && b \"<c>\" curl git\n");
    assert_eq!(
        contexts[3].dockerfile,
        "FROM python:3.11\nENV CUDA=12.8\nRUN a && b \"<c>\" curl git\n"
    );
    assert_eq!(contexts, project.contexts());
}

/// Returns the error for a Dockerfile with `line` as its second line. The partial `given` writes `{{ver}}`, and `ring`
/// and `back` include each other.
fn error_of(line: &str) -> String {
    let text = format!("FROM a\n{line}\n");
    let project = Project::new(&[
        ("Dockerfile.hbs", &text),
        ("partials/given.hbs", "RUN {{ver}} {{python}}\n"),
        ("partials/ring.hbs", "{{> back}}\n"),
        ("partials/back.hbs", "{{> ring}}\n"),
    ]);
    project.error()
}

/// Returns the errors for several lines, each in its own Dockerfile.
fn errors_of(lines: &[&str]) -> String {
    lines.iter().map(|line| error_of(line)).collect::<Vec<_>>().join("\n\n----\n\n")
}

#[test]
fn a_dockerfile_can_have_the_name_of_a_partial() {
    let project = Project::new(&[
        ("Dockerfile", "FROM a\n{{> Dockerfile}}\nCOPY x /\n"),
        ("partials/Dockerfile.hbs", "RUN partial\n"),
        ("partials/copied x.hbs", ""),
        ("x.hbs", "{{python}}"),
    ]);
    let matrix = MATRIX.replace("Dockerfile.hbs", "Dockerfile");
    let matrix = matrix::parse(&project.0.path().join("matrix.toml"), &matrix).expect("a matrix");
    let variants: Vec<_> = matrix.variants.iter().collect();
    let contexts = Renderer::new(&matrix).and_then(|mut all| all.render_all(&variants));
    let context = &contexts.expect("contexts")[0];
    assert_eq!(context.dockerfile, "FROM a\nRUN partial\nCOPY x /\n");
    let used: Vec<&str> = context.origin.templates.keys().map(String::as_str).collect();
    assert_eq!(used, ["Dockerfile", "partials/Dockerfile.hbs", "x.hbs"]);
}

#[test]
fn partials_keep_their_indentation() {
    let project = Project::new(&[
        ("Dockerfile.hbs", "FROM a\nRUN x \\\n    {{> lines}}\n"),
        (
            "partials/lines.hbs",
            "{{python}} \\\n{{#if gpu}}\nyes \\\n{{/if}}\n{{lookup packages 0}}\n",
        ),
    ]);
    assert_eq!(
        project.contexts()[1].dockerfile,
        "FROM a\nRUN x \\\n    3.9 \\\n    yes \\\n    curl\n"
    );
}

#[test]
fn helper_names_are_reserved() {
    let reserved = |name: &&str| *name != super::helpers::IMAGE;
    for name in super::helpers::HELPERS.into_iter().filter(reserved) {
        let text = MATRIX.replace("python =", &format!("{name} ="));
        assert!(matrix::parse(Path::new("matrix.toml"), &text).is_err(), "{name}");
    }
}

#[test]
fn errors_in_a_dockerfile_point_to_the_template() {
    let project = Project::new(&[
        ("Dockerfile.hbs", "FROM a\n{{#each packages}}\nRUN {{this}}\n{{/each}}\n{{> more}}\n"),
        ("partials/more.hbs", "\n  {{#if (eq python \"3.9\")}}\n  COPI {{python}} /\n  {{/if}}\n"),
    ]);
    insta::assert_snapshot!(project.error(), @r"
    error: failed to render `3.9`: `COPI` is not an instruction; did you mean `COPY`?
     --> dockerfiles/partials/more.hbs:3:3
      |
    3 |   COPI {{python}} /
      |   ^^^^^^^^^^^^^^^^^ rendered as `COPI 3.9 /`
    ");
}

#[test]
fn errors_point_to_the_line_of_the_template() {
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\n\nCOPY gone /\n")]);
    insta::assert_snapshot!(project.error(), @r"
    error: failed to render `3.9`: there is no `gone` in `dockerfiles`
     --> dockerfiles/Dockerfile.hbs:3:1
      |
    3 | COPY gone /
      | ^^^^^^^^^^^
    ");
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\n{{#if gpu}\n")]);
    insta::assert_snapshot!(project.error());
    insta::assert_snapshot!(Project::new(&[]).error(), @r"
    error: there is no template `dockerfiles/Dockerfile.hbs`

    hint: create it, or correct `dockerfile` or `templates` in `[image]`
    ");
}

#[test]
fn misspelled_files_are_suggested() {
    let files = [("Dockerfile.hbs", "FROM a\nCOPY requirments.txt /\n"), ("requirements.txt", "")];
    insta::assert_snapshot!(Project::new(&files).error(), @r"
    error: failed to render `3.9`: there is no `requirments.txt` in `dockerfiles`; did you mean `requirements.txt`?
     --> dockerfiles/Dockerfile.hbs:2:1
      |
    2 | COPY requirments.txt /
      | ^^^^^^^^^^^^^^^^^^^^^^
    ");
}

#[test]
fn byte_order_marks_are_removed() {
    let project = Project::new(&[
        ("Dockerfile.hbs", "\u{feff}FROM a\n{{> x}}\n"),
        ("partials/x.hbs", "\u{feff}RUN b\n"),
    ]);
    assert_eq!(project.contexts()[0].dockerfile, "FROM a\nRUN b\n");
}

#[test]
fn the_matrix_can_be_in_the_current_folder() {
    let matrix = matrix::parse(Path::new("matrix.toml"), MATRIX).expect("a matrix");
    assert_eq!(matrix.templates(), Path::new("dockerfiles"));
}
