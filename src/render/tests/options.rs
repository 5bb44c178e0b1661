//! Build arguments, targets, inline Dockerfiles and contexts of their own.

use std::path::Path;

use super::{MATRIX, Project, paths};
use crate::error::Report;
use crate::matrix::{self, Matrix};
use crate::render::{BuildContext, NamedContext, RenderError, Renderer};

/// Adds keys to `[image]`, and tables to the matrix.
fn matrix_with(project: &Project, image: &str, tables: &str) -> Matrix {
    let text = MATRIX.replace("[variables]", &format!("{image}\n[variables]"));
    let path = project.0.path().join("matrix.toml");
    matrix::parse(&path, &format!("{text}{tables}")).unwrap_or_else(|error| panic!("{error}"))
}

fn render(matrix: &Matrix) -> Result<Vec<BuildContext>, RenderError> {
    let variants: Vec<_> = matrix.variants.iter().collect();
    Renderer::new(matrix)?.render_all(&variants)
}

fn contexts(project: &Project, image: &str, tables: &str) -> Vec<BuildContext> {
    render(&matrix_with(project, image, tables)).unwrap_or_else(|error| panic!("{error}"))
}

fn error(project: &Project, image: &str, tables: &str) -> String {
    let error = render(&matrix_with(project, image, tables)).expect_err("a mistake");
    let text = Report::from(error).to_string();
    text.replace(&format!("{}/", project.0.path().display()), "")
}

fn write(project: &Project, path: &str, text: &str) {
    let path = project.0.path().join(path);
    fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    fs_err::write(path, text).expect("a file");
}

#[test]
fn an_inline_dockerfile_is_a_template() {
    let project = Project::new(&[("requirements.txt", "x\n")]);
    fs_err::create_dir_all(project.folder()).expect("a folder");
    let inline = |text: &str| {
        let matrix = MATRIX
            .replace("dockerfile = \"Dockerfile.hbs\"", &format!("dockerfile = '''\n{text}'''"));
        matrix::parse(&project.0.path().join("matrix.toml"), &matrix).expect("a matrix")
    };
    let text = "FROM python:{{python}}\n{{#if gpu}}\nENV CUDA={{cuda}}\n{{/if}}\nCOPY requirements.txt /\n";
    let rendered = render(&inline(text)).expect("contexts");
    assert_eq!(rendered[1].dockerfile, "FROM python:3.9\nENV CUDA=12.8\nCOPY requirements.txt /\n");
    assert_eq!(paths(&rendered[1]), ["requirements.txt"]);
    let line = rendered[1].template_line(3).expect("a line");
    assert!(line.file.ends_with("matrix.toml") && line.line == 9, "{line:?}");
    assert!(rendered[1].origin.templates.is_empty());

    let refused = ["FROM a\nCOPY requirement.txt /\n", "FROM {{pyton}}\n", "FROM a\n{{#if gpu}}\n"]
        .map(|text| {
            let error = Report::from(render(&inline(text)).expect_err("a mistake")).to_string();
            error.replace(&format!("{}/", project.0.path().display()), "")
        });
    insta::assert_snapshot!(refused.join("\n\n"));
}

#[test]
fn arguments_must_be_declared() {
    let text = "ARG V=3.9\nFROM python:$V AS one\nARG DIR\nCOPY $DIR /\nFROM a AS two\n";
    let project = Project::new(&[("Dockerfile.hbs", text), ("d/x", ""), ("e/y", "")]);
    let args = "args = { V = \"{{python}}\", DIR = \"d\" }\ntarget = \"one\"";
    let set = "[[set]]\nwhen = { gpu = true }\nargs = { DIR = \"e\" }\n";
    let rendered = contexts(&project, args, set);
    let first = &rendered[0];
    assert_eq!(
        first
            .options
            .arguments
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>(),
        ["DIR=d", "V=3.9"]
    );
    assert_eq!((paths(first), paths(&rendered[1])), (vec!["d/x"], vec!["e/y"]));
    assert_eq!(rendered[2].upstreams[0].familiar(), "python:3.11");
    assert_eq!(first.options.target.as_deref(), Some("one"));

    let faults = [
        "args = { DIR = \"d\", VERSION = \"1\" }",
        "args = { DIR = \"d\", DIRR = \"1\" }",
        "args = { DIR = \"d\" }\ntarget = \"on\"",
    ];
    insta::assert_snapshot!(faults.map(|image| error(&project, image, "")).join("\n\n"));
}

#[test]
fn arguments_of_the_command_line_override_others() {
    let text = "FROM a\n{{#if gpu}}\nARG CUDA\n{{/if}}\nARG V\n";
    let project = Project::new(&[("Dockerfile.hbs", text)]);
    let given = |arguments: &[(&str, &str)]| {
        let mut matrix = matrix_with(&project, "args = { V = \"1\" }", "");
        let arguments =
            arguments.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        matrix.build.arguments = arguments.collect();
        let variants: Vec<_> = matrix.variants.iter().collect();
        let mut renderer = Renderer::new(&matrix)?;
        let contexts = renderer.render_all(&variants)?;
        renderer.check_arguments(&contexts).map(|()| contexts)
    };
    let rendered = given(&[("V", "2"), ("CUDA", "12")]).expect("contexts");
    assert_eq!(rendered[0].options.arguments.len(), 1);
    assert_eq!(rendered[0].options.arguments["V"], "2");
    assert_eq!(rendered[1].options.arguments["CUDA"], "12");
    let error = given(&[("CUDDA", "12")]).expect_err("a misspelled argument");
    insta::assert_snapshot!(Report::from(error), @r"
    error: no Dockerfile of the selected variants declares the argument `CUDDA`

    hint: did you mean `CUDA`?
    ");
}

#[test]
fn a_context_is_copied_as_it_is() {
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY . /\n"), ("x", "")]);
    write(&project, "app/Dockerfile", "FROM app\n");
    write(&project, "app/page.hbs", "{{not a template}}");
    write(&project, "app/__pycache__/x.pyc", "");
    write(&project, "app/.env", "");
    let rendered = contexts(&project, "context = \"app\"", "");
    assert_eq!(paths(&rendered[0]), ["Dockerfile", "page.hbs"]);
    assert_eq!(rendered[0].origin.context.as_deref(), Some("app"));
    let all = contexts(&project, "context = \"app\"\ndockerignore = []", "");
    assert_eq!(paths(&all[0]), ["Dockerfile", "__pycache__/x.pyc", "page.hbs"]);
    insta::assert_snapshot!(error(&project, "context = \"ap\"", ""), @r#"
    error: there is no folder `ap`
     --> matrix.toml:6:11
      |
    6 | context = "ap"
      |           ^^^^
      |
      = help: create it, or correct the path, which is relative to the matrix file
    "#);
}

#[test]
fn named_contexts_are_used_like_stages() {
    let text = "FROM tools AS one\nCOPY --from=scripts *.sh /\nRUN --mount=from=scripts,source=d,target=/d x\n";
    let project = Project::new(&[("Dockerfile.hbs", text)]);
    for path in ["shared/a.sh", "shared/b.txt", "shared/d/x", "shared/d/y.md", "other/z"] {
        write(&project, path, "");
    }
    write(&project, "shared/.dockerignore", "**/*.md\n");
    let tables = "[build.contexts]\nscripts = \"shared\"\ntools = \"docker-image://acme/tools:{{python}}\"\nunused = \"other\"\n";
    let rendered = contexts(&project, "", tables);
    let options = &rendered[0].options;
    assert_eq!(options.contexts.keys().collect::<Vec<_>>(), ["scripts", "tools"]);
    let NamedContext::Files(files) = &options.contexts["scripts"] else { panic!("a folder") };
    assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a.sh", "d/x"]);
    assert_eq!(rendered[0].upstreams[0].familiar(), "acme/tools:3.9");

    let named = |text: &str| {
        write(&project, "dockerfiles/Dockerfile.hbs", text);
        error(&project, "", tables)
    };
    insta::assert_snapshot!(
        [
            named("FROM a\nCOPY --from=script a.sh /\n"),
            named("FROM a\nCOPY --from=scripts b.sh /\n"),
            named("FROM a AS tools\n"),
        ]
        .join("\n\n")
    );
}

#[test]
fn images_of_the_matrix_are_named_contexts() {
    let text = "ARG BASE=tools\n{{#if gpu}}\nFROM $BASE AS one\nCOPY --from=tools /a /a\n\
                RUN --mount=from=tools,target=/t x\n{{else}}\nFROM a\n{{/if}}\n";
    let project = Project::new(&[("Dockerfile.hbs", text)]);
    let table = |call: &str| format!("[build.contexts]\ntools = '{{{{image {call}}}}}'\n");
    // The variant without a GPU does not use the context, which would be itself.
    let rendered = contexts(&project, "", &table("gpu=false"));
    assert!(rendered[0].parents.is_empty() && rendered[1].options.contexts.is_empty());
    let [parent] = &rendered[1].parents[..] else { panic!("one parent") };
    assert_eq!((parent.id.as_str(), parent.line), ("3.9", 2));
    assert_eq!(
        rendered[1].with_parents(|parent| Some(format!("<{}>", parent.id))),
        "ARG BASE=tools\nFROM <3.9> AS one\nCOPY --from=<3.9> /a /a\n\
         RUN --mount=from=<3.9>,target=/t x\n"
    );

    let refused = ["gpu", "gpu=true", "\"3.8\"", "gpus=false"];
    let refused = refused.map(|call| error(&project, "", &table(call)));
    let dockerfiles = ["FROM a\nCOPY --from=tool /a /\n", "FROM a AS tools\n"].map(|text| {
        write(&project, "dockerfiles/Dockerfile.hbs", text);
        error(&project, "", &table("gpu=false"))
    });
    insta::assert_snapshot!([&refused[..], &dockerfiles].concat().join("\n\n"));
}

#[test]
fn platforms_can_have_other_variables() {
    let project = Project::new(&[
        ("Dockerfile.hbs", "FROM {{arch}}/python\n{{#if gpu}}\nCOPY x /\n{{/if}}\n"),
        ("x.hbs", "{{arch}}\n"),
    ]);
    let tables = "[platform.\"linux/arm64\".variables]\narch = \"arm\"\n[[set]]\nwhen = { gpu = false }\nvariables = { arch = \"x\" }\n";
    let matrix =
        MATRIX.replace("[\"linux/amd64\"]", "[\"linux/amd64\", \"linux/arm64\", \"linux/s390x\"]");
    let matrix = matrix.replace("[variables]", "[variables]\narch = \"amd\"");
    let matrix = format!("{matrix}{tables}");
    let matrix = matrix::parse(&project.0.path().join("matrix.toml"), &matrix).expect("a matrix");
    let rendered = render(&matrix).expect("contexts");
    assert_eq!(rendered[0].dockerfile, "FROM x/python\n");
    let context = &rendered[1];
    let platforms: Vec<String> = context.platforms.keys().map(ToString::to_string).collect();
    assert_eq!(platforms, ["linux/arm64"]);
    let arm = &context.platforms["linux/arm64".parse().as_ref().expect("a platform")];
    assert_eq!(arm.dockerfile, "FROM arm/python\nCOPY x /\n");
    assert_eq!(
        (&*context.files[0].content, &*arm.files[0].content),
        (&b"amd\n"[..], &b"arm\n"[..])
    );
    let names: Vec<&str> = context.upstreams.iter().map(super::super::Upstream::familiar).collect();
    assert_eq!(names, ["amd/python:latest", "arm/python:latest"]);
}

#[test]
fn ignored_files_are_in_no_context() {
    let project = Project::new(&[
        ("server.Dockerfile.hbs", "FROM a\nCOPY . /\n"),
        ("a.md", ""),
        ("b.txt.hbs", ""),
        ("d/c.md", ""),
        ("d/link.md/x", ""),
    ]);
    std::os::unix::fs::symlink("/etc/passwd", project.folder().join("d/passwd.md"))
        .expect("a link");
    let matrix = |image: &str| {
        let text = MATRIX.replace("Dockerfile.hbs\"", &format!("server.Dockerfile.hbs\"\n{image}"));
        matrix::parse(&project.0.path().join("matrix.toml"), &text).expect("a matrix")
    };
    let found = |image: &str| {
        let rendered = render(&matrix(image)).unwrap_or_else(|error| panic!("{error}"));
        rendered[0].files.iter().map(|file| file.path.clone()).collect::<Vec<_>>()
    };
    write(&project, "dockerfiles/.dockerignore", "**/*.md\n!a.md\n");
    assert_eq!(found(""), ["a.md", "b.txt"]);
    write(
        &project,
        "dockerfiles/server.Dockerfile.dockerignore",
        "# templates have no .hbs\n*.txt\nd\n",
    );
    assert_eq!(found(""), ["a.md"]);
    write(&project, "ignored", "*\n!b*\n");
    assert_eq!(found("dockerignore = \"ignored\""), ["b.txt"]);
    assert_eq!(found("dockerignore = [\"d\", \"a.md\", \"server*\"]"), ["b.txt"]);

    let refused = |copy: &str, image: &str| {
        write(&project, "dockerfiles/server.Dockerfile.hbs", &format!("FROM a\nCOPY {copy} /\n"));
        let text = Report::from(render(&matrix(image)).expect_err(copy)).to_string();
        text.replace(&format!("{}/", project.0.path().display()), "")
    };
    let refused = [
        refused("b.txt", ""),
        refused("d", ""),
        refused("d/*.md", "dockerignore = [\"**/*.md\"]"),
        refused("a.md", "dockerignore = [\"*.md\"]"),
        refused("a.md", "dockerignore = \"gone\""),
    ];
    insta::assert_snapshot!(refused.join("\n\n"));
}

#[test]
fn patterns_that_buildkit_refuses_have_a_place() {
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\n"), (".dockerignore", "*.md\n[a\n")]);
    insta::assert_snapshot!(error(&project, "", ""));
    let text = MATRIX.replace("[variables]", "dockerignore = [\"a\", \"!\"]\n[variables]");
    let error = matrix::parse(Path::new("matrix.toml"), &text).expect_err("a bad pattern");
    insta::assert_snapshot!(Report::from(error));
}
