//! Rendering as a whole: what is rendered, and what is refused where.

use std::path::Path;

use super::{BuildContext, RenderError, Renderer, Upstream};
use crate::error::Report;
use crate::image::Digest;
use crate::matrix::{self, Matrix};

mod helpers;
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

/// What is said of `line` as the second line of a Dockerfile, beside these partials:
/// `given` writes `{{ver}}`, `ring` includes itself by way of `back`.
fn said(line: &str) -> String {
    let text = format!("FROM a\n{line}\n");
    let project = Project::new(&[
        ("Dockerfile.hbs", &text),
        ("partials/given.hbs", "RUN {{ver}} {{python}}\n"),
        ("partials/ring.hbs", "{{> back}}\n"),
        ("partials/back.hbs", "{{> ring}}\n"),
    ]);
    project.error()
}

/// The same of several lines, each alone.
fn said_of(lines: &[&str]) -> String {
    lines.iter().map(|line| said(line)).collect::<Vec<_>>().join("\n\n----\n\n")
}

#[test]
fn partials_helpers_and_entries_are_looked_for_in_every_branch() {
    insta::assert_snapshot!(said_of(&[
        "{{#if gpu}}{{> give}}{{/if}}",
        "{{#if gpu}}{{#each packages}}{{> nope}}{{/each}}{{/if}}",
        "{{#if gpu}}{{#iff gpu}}{{/iff}}{{/if}}",
        "{{#if gpu}}RUN {{tables.on.yy}}{{/if}}",
        "{{#if gpu}}{{> ring}}{{/if}}",
        "{{#each packages}}{{@root.pyton}}{{/each}}",
    ]));
}

#[test]
fn a_partial_may_use_what_it_is_given() {
    let project = Project::new(&[
        (
            "Dockerfile.hbs",
            "FROM a\n{{> given ver=\"1\"}}\n{{> outer ver=python}}\n{{#*inline \"own\"}}RUN own\n{{/inline}}\n{{> own}}\n",
        ),
        ("partials/given.hbs", "RUN {{ver}} {{python}}\n"),
        ("partials/outer.hbs", "{{> given}}\n"),
        ("partials/unused.hbs", "{{ver}}\n"),
    ]);
    assert_eq!(project.contexts()[0].dockerfile, "FROM a\nRUN 1 3.9\nRUN 3.9 3.9\nRUN own\n");
    insta::assert_snapshot!(said_of(&["{{> given}}", "{{> given ver=cuda}}",]));
}

#[test]
fn what_is_no_text_is_not_written() {
    insta::assert_snapshot!(said_of(&[
        "RUN {{packages}}",
        "RUN {{tables.on}}",
        "RUN {{lookup tables \"on\"}}",
        "{{#each tables}}{{this}}{{/each}}",
    ]));
    let project = Project::new(&[(
        "Dockerfile.hbs",
        "FROM a\nRUN {{gpu}} {{lookup packages 1}} {{{tables.on.xx}}} {{len packages}} {{lookup (lookup tables \"on\") \"xx\"}} {{#each tables}}{{@key}}={{xx}}{{/each}}\n",
    )]);
    assert_eq!(project.contexts()[0].dockerfile, "FROM a\nRUN false git 1 2 1 on=1\n");
}

#[test]
fn refusals_say_what_a_value_is() {
    insta::assert_snapshot!(said_of(&[
        "{{#each python}}{{/each}}",
        "{{#with gpu}}{{/with}}",
        "{{#each packages}}{{python}}{{/each}}",
        "RUN {{lookup tables \"no\"}}",
        "RUN {{lookup packages 2}}",
        "RUN {{lookup python 2}}",
        "RUN {{lookup tables cuda}}",
        "{{#if (eq cuda \"1\")}}{{/if}}",
        "{{#if (lookup tables)}}{{/if}}",
    ]));
}

#[test]
fn a_mistake_beside_other_than_ascii_is_shown() {
    insta::assert_snapshot!(said_of(&["ääää {{tables/b}}", "FROM a {{s [é}}"]));
}

#[test]
fn a_dockerfile_may_be_called_like_a_partial() {
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
fn no_axis_is_called_like_a_helper() {
    for name in super::helpers::HELPERS {
        let text = MATRIX.replace("python =", &format!("{name} ="));
        assert!(matrix::parse(Path::new("matrix.toml"), &text).is_err(), "{name}");
    }
}

#[test]
fn mistakes_in_a_dockerfile_name_the_template() {
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
fn mistakes_in_the_rendered_file_name_its_line() {
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

    hint: `[image] dockerfile` names it, relative to `[image] templates`
    ");
}

#[test]
fn links_and_sockets_are_refused() {
    let link = |project: &Project, target: &str, path: &str| {
        std::os::unix::fs::symlink(target, project.folder().join(path)).expect("a link");
    };
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY link /\n")]);
    link(&project, "/etc/passwd", "link");
    assert!(project.error().contains("`link` is a symbolic link"), "{}", project.error());
    fs_err::remove_file(project.folder().join("link")).expect("removed");
    let _socket = std::os::unix::net::UnixListener::bind(project.folder().join("link"));
    assert!(project.error().contains("`link` is neither a file nor a folder"));

    // Folders that lead out, by name, as a template, in a folder and for a pattern.
    for (source, path) in [
        ("lnk/hostname", "lnk"),
        ("lnk/hostname", "lnk/x"),
        ("d", "d/lnk"),
        ("x", "x.hbs"),
        ("d/*", "d/lnk"),
    ] {
        let text = format!("FROM a\nCOPY {source} /\n");
        let project = Project::new(&[("Dockerfile.hbs", &text), ("d/file", "")]);
        let path = if path == "lnk/x" { "lnk" } else { path };
        link(&project, "/etc", path);
        let expected = format!("`{path}` is a symbolic link");
        assert!(project.error().contains(&expected), "{source}: {}", project.error());
    }

    let project = Project::new(&[("x", "")]);
    link(&project, "/etc/hostname", "Dockerfile.hbs");
    insta::assert_snapshot!(project.error());
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\n"), ("partials/x.hbs", "")]);
    link(&project, "/etc/hostname", "partials/y.hbs");
    insta::assert_snapshot!(project.error());
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\n")]);
    link(&project, "/etc", "partials");
    insta::assert_snapshot!(project.error());
}

#[test]
fn the_templates_folder_may_be_a_link_within_the_repository() {
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY d/x /\n"), ("d/x", "")]);
    let elsewhere = project.0.path().join("elsewhere");
    fs_err::rename(project.folder(), &elsewhere).expect("moved");
    std::os::unix::fs::symlink(&elsewhere, project.folder()).expect("a link");
    assert_eq!(paths(&project.contexts()[0]), ["d/x"]);

    // A link that comes after the matrix was read is seen too.
    let matrix = project.matrix();
    let outside = tempfile::tempdir().expect("a folder");
    fs_err::remove_file(project.folder()).expect("removed");
    std::os::unix::fs::symlink(outside.path(), project.folder()).expect("a link");
    let told = Renderer::new(&matrix).expect_err("a link").to_string();
    assert!(told.contains("leads out of the repository"), "{told}");
}

#[test]
fn git_and_env_files_are_in_no_context() {
    let open = [("Dockerfile.hbs", "FROM a\nCOPY . /\n"), ("d/x", ""), (".environment", "")];
    let private = [
        (".env", "TOKEN=1"),
        (".env.local", "TOKEN=1"),
        (".env.hbs/x", ""),
        (".envrc", ""),
        ("d/.env", "TOKEN=1"),
        ("d/.git/config", "TOKEN=1"),
        (".git", "gitdir: x"),
    ];
    let project = Project::new(&[open.as_slice(), &private].concat());
    let without = Project::new(&open).contexts();
    for (context, without) in project.contexts().iter().zip(&without) {
        let same = (&context.dockerfile, &context.files);
        assert_eq!(same, (&without.dockerfile, &without.files));
    }
    assert_eq!(paths(&project.contexts()[0]), [".environment", "d/x"]);
    let matrix = project.matrix();
    let mut renderer = Renderer::new(&matrix).expect("templates");
    renderer.render_all(&matrix.variants.iter().collect::<Vec<_>>()).expect("contexts");
    let left_out = renderer.left_out().into_iter().collect::<Vec<_>>();
    assert_eq!(left_out, [".env", ".env.hbs", ".env.local", ".envrc", ".git", "d/.env", "d/.git"]);

    let named = [
        "COPY .env /",
        "COPY d/.git/config /",
        "ADD [\".env.local\", \"/\"]",
        "COPY .env* /",
        "RUN --mount=type=bind,source=.env,target=/x true",
    ];
    let told = named.map(|line| {
        let dockerfile = format!("FROM a\n{line}\n");
        let files = [("Dockerfile.hbs", dockerfile.as_str()), (".env", ""), ("x", "")];
        let mut files = files.to_vec();
        files.extend(private.iter().skip(1).copied());
        Project::new(&files).error()
    });
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn the_rendered_dockerfile_keeps_its_place() {
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY Dockerfile /\n")]);
    insta::assert_snapshot!(project.error());
    let project =
        Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY . /\n"), ("Dockerfile/x", "a file")]);
    assert!(project.error().contains("`Dockerfile` is what"), "{}", project.error());
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY d /\n"), ("d/Dockerfile", "")]);
    assert_eq!(paths(&project.contexts()[0]), ["d/Dockerfile"]);
}

#[test]
fn templates_are_copied_by_the_name_of_what_they_render_to() {
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY x.hbs /\n"), ("x.hbs", "")]);
    insta::assert_snapshot!(project.error());
    let both = [("Dockerfile.hbs", "FROM a\nCOPY x /\n"), ("x", ""), ("x.hbs", "")];
    insta::assert_snapshot!(Project::new(&both).error());
}

#[test]
fn a_copied_folder_brings_all_but_partials_and_dockerfiles() {
    let project = Project::new(&[
        ("Dockerfile.hbs", "FROM a\nCOPY . /\n"),
        ("partials/x.hbs", ""),
        ("d/my.Dockerfile.hbs", "FROM {{python}}\n"),
        ("d/partials/y", ""),
    ]);
    let contexts = project.contexts();
    assert_eq!(paths(&contexts[0]), ["d/my.Dockerfile", "d/partials/y"]);
    assert_eq!(&*contexts[0].files[0].content, b"FROM 3.9\n");
}

#[test]
fn a_pattern_that_matches_a_folder_brings_what_is_in_it() {
    let project = Project::new(&[
        ("Dockerfile.hbs", "FROM a\nCOPY d* /\n"),
        ("d1/deep/x", ""),
        ("d2", ""),
        ("e/d3", ""),
    ]);
    assert_eq!(paths(&project.contexts()[0]), ["d1/deep/x", "d2"]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_template() {
    let project = Project::new(&[
        ("Dockerfile.hbs", "\u{feff}FROM a\n{{> x}}\n"),
        ("partials/x.hbs", "\u{feff}RUN b\n"),
    ]);
    assert_eq!(project.contexts()[0].dockerfile, "FROM a\nRUN b\n");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let project = Project::new(&[("Dockerfile.hbs", "")]);
    fs_err::write(project.folder().join("Dockerfile.hbs"), b"FROM a\n\xff\n").expect("a file");
    insta::assert_snapshot!(project.error());
    let code = Report::from(project.render().expect_err("a mistake")).exit_code();
    assert_eq!(code, crate::error::ExitCode::Matrix);
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\n"), ("partials/x.hbs/y", "")]);
    insta::assert_snapshot!(project.error());
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

#[test]
fn a_context_tells_what_it_was_rendered_from() {
    let project = Project::new(&[
        (
            "Dockerfile.hbs",
            "FROM python:{{python}}\n  {{> both}}\n{{#if gpu}}\n{{> cuda}}\n{{/if}}\nCOPY x y /\n",
        ),
        ("partials/both.hbs", "RUN a\n{{#if gpu}}{{> deep}}\n{{/if}}"),
        ("partials/deep.hbs", "RUN {{cuda}}"),
        ("partials/cuda.hbs", "ENV CUDA={{cuda}}\n"),
        ("partials/in_file.hbs", "x"),
        ("partials/unused.hbs", "{{#if gpu}}{{/if}}"),
        ("x", "x"),
        ("y.hbs", "{{> in_file}}"),
    ]);
    let contexts = project.contexts();
    let rendered = "FROM python:3.9\n  RUN a\nRUN 12.8\nENV CUDA=12.8\nCOPY x y /\n";
    assert_eq!(contexts[1].dockerfile, rendered);
    let templates = |context: &BuildContext| -> Vec<String> {
        context.origin.templates.keys().cloned().collect()
    };
    let common = ["Dockerfile.hbs", "partials/both.hbs", "partials/in_file.hbs", "y.hbs"];
    assert_eq!(templates(&contexts[0]), common);
    let mut of_gpu = [&common[..], &["partials/cuda.hbs", "partials/deep.hbs"]].concat();
    of_gpu.sort_unstable();
    assert_eq!(templates(&contexts[1]), of_gpu);
    let origin = &contexts[1].origin;
    assert_eq!(origin.templates["partials/deep.hbs"], Digest::of(b"RUN {{cuda}}"));
    assert_eq!(origin.folder, "dockerfiles");
    assert_eq!(origin.variables["cuda"].axes, ["gpu"]);
    assert_eq!(origin.variables["packages"].value, r#"["curl","git"]"#);
}

#[test]
fn pins_are_rendered_and_can_be_added_later() {
    let project = Project::new(&[(
        "Dockerfile.hbs",
        "FROM python:{{python}} AS a\nFROM b:1\nCOPY --from=a x /\n",
    )]);
    let matrix = project.matrix();
    let variants: Vec<_> = matrix.variants.iter().collect();
    let pin = |name: &str| (name.parse().expect(name), Digest::of(name.as_bytes()));
    let (python, other) = (pin("docker.io/library/python:3.9"), pin("docker.io/library/b:1"));
    let renderer = Renderer::new(&matrix).expect("templates");
    let mut pinned = renderer.pinned([python.clone()].into()).render_all(&variants).expect("all");
    let expected = format!("FROM python:3.9@{} AS a\nFROM b:1\nCOPY --from=a x /\n", python.1);
    assert_eq!(pinned[0].dockerfile, expected);
    assert_eq!(pinned[0].upstreams[0].digest, Some(python.1));
    assert_eq!(pinned[0].upstreams[1].digest, None);
    assert_eq!(pinned[2].dockerfile, project.contexts()[2].dockerfile);
    pinned[0].pin(&[other.clone()].into());
    assert_eq!(pinned[0].dockerfile, expected.replace("b:1", &format!("b:1@{}", other.1)));
    let known = pinned[0].upstreams.iter().map(Upstream::familiar);
    assert_eq!(known.collect::<Vec<_>>(), ["python:3.9", "b:1"]);
    assert!(pinned[0].upstreams.iter().all(|upstream| upstream.digest.is_some()));
}
