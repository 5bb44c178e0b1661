//! Rendering as a whole: what is rendered, and what is refused where.

use std::path::Path;

use super::{BuildContext, RenderError, Renderer};
use crate::error::Report;
use crate::matrix::{self, Matrix};

const MATRIX: &str = r#"
[image]
repository = "acme/base"
dockerfile = "Dockerfile.hbs"
platforms = ["linux/amd64"]
[variables]
packages = ["curl", "git"]
[axes]
python = ["3.9", "3.11"]
gpu = [false, { value = true, variables = { cuda = "12.8" } }]
"#;

/// A folder with a matrix and its templates.
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
fn texts_are_not_escaped_and_partials_are_found() {
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

#[test]
fn the_context_holds_what_is_copied_and_nothing_else() {
    let project = Project::new(&[
        (
            "Dockerfile.hbs",
            "FROM a\nCOPY one dir/ /\n{{#if gpu}}COPY wheels.txt /{{/if}}\nCOPY *.cfg /\n",
        ),
        ("one", "1"),
        ("two", "2"),
        ("a.cfg", ""),
        ("dir/deep/x", "x"),
        ("dir/run.sh", "#!/bin/sh"),
        ("wheels.txt.hbs", "cuda {{cuda}}\n"),
    ]);
    let contexts = project.contexts();
    assert_eq!(paths(&contexts[0]), ["a.cfg", "dir/deep/x", "dir/run.sh", "one"]);
    assert_eq!(paths(&contexts[1]), ["a.cfg", "dir/deep/x", "dir/run.sh", "one", "wheels.txt"]);
    assert_eq!(&*contexts[1].files[4].content, b"cuda 12.8\n");
    // The same file is in memory once, however many variants copy it.
    assert!(std::sync::Arc::ptr_eq(&contexts[0].files[3].content, &contexts[1].files[3].content));
}

#[test]
fn misspelt_names_are_found_in_every_branch() {
    let project = Project::new(&[(
        "Dockerfile.hbs",
        "FROM a\n{{#if gqu}}\nRUN b\n{{else}}\nRUN {{pyton}}\n{{/if}}\n",
    )]);
    insta::assert_snapshot!(project.error(), @r"
    error: nothing is called `gqu`
     --> dockerfiles/Dockerfile.hbs:2:7
      |
    2 | {{#if gqu}}
      |       ^^^ neither an axis nor a variable
      |
      = help: did you mean `gpu`?

    error: nothing is called `pyton`
     --> dockerfiles/Dockerfile.hbs:5:7
      |
    5 | RUN {{pyton}}
      |       ^^^^^ neither an axis nor a variable
      |
      = help: did you mean `python`?
    ");
}

#[test]
fn a_variable_of_other_variants_is_not_taken_for_false() {
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\n{{#if cuda}}RUN b{{/if}}\n")]);
    insta::assert_snapshot!(project.error(), @r"
    error: failed to render `3.9`: `cuda` has no value
     --> dockerfiles/Dockerfile.hbs:2:1
      |
    2 | {{#if cuda}}RUN b{{/if}}
      | ^^^^^^^^^^^^ other variants have it, this one has not
    ");
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nRUN b {{cuda}}\n")]);
    insta::assert_snapshot!(project.error(), @r"
    error: failed to render `3.9`: `cuda` has no value
     --> dockerfiles/Dockerfile.hbs:2:7
      |
    2 | RUN b {{cuda}}
      |       ^^^^^^^^ other variants have it, this one has not
    ");
}

#[test]
fn mistakes_in_the_rendered_file_name_its_line() {
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\n\nCOPY gone /\n")]);
    insta::assert_snapshot!(project.error(), @r"
    error: `Dockerfile` of `3.9`, line 3: there is no `gone` in `dockerfiles`

      3 | COPY gone /
    ");
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\n{{#if gpu}\n")]);
    insta::assert_snapshot!(project.error());
    insta::assert_snapshot!(Project::new(&[]).error(), @r"
    error: there is no template `dockerfiles/Dockerfile.hbs`

    hint: `[image] dockerfile` names it, relative to `[image] templates`
    ");
}

#[test]
fn links_and_sockets_are_refused() {
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY link /\n")]);
    std::os::unix::fs::symlink("/etc/passwd", project.folder().join("link")).expect("a link");
    assert!(project.error().contains("`link` is a symbolic link"), "{}", project.error());
    fs_err::remove_file(project.folder().join("link")).expect("removed");
    let _socket = std::os::unix::net::UnixListener::bind(project.folder().join("link"));
    assert!(project.error().contains("`link` is neither a file nor a folder"));
}

#[test]
fn large_contexts_name_their_largest_files() {
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY d /\n"), ("d/small", "x")]);
    let large = fs_err::File::create(project.folder().join("d/large")).expect("a file");
    large.set_len(65 << 20).expect("a size");
    let error = project.error();
    assert!(error.contains("larger than 64 MiB") && error.contains("d/large (65 MiB)"), "{error}");
}

#[test]
fn the_matrix_folder_may_be_the_current_one() {
    let matrix = matrix::parse(Path::new("matrix.toml"), MATRIX).expect("a matrix");
    assert_eq!(matrix.templates(), Path::new("dockerfiles"));
}
