//! `[variables.from]`: variables from a file in names, Dockerfiles and reports.

use insta::assert_snapshot;

use crate::harness::project::{Project, commit, git, output, stdout};

const MATRIX: &str = r#"[image]
repository = "acme/python"
tag = "{{release.version}}-{{distro}}"
dockerfile = "Dockerfile.hbs"

[axes]
python = ["3.13", "3.14"]
distro = ["slim", "alpine"]

[variables.from]
file = "versions.json"
key = "{{python}}"
as = "release"
"#;

const VERSIONS: &str = r#"{
  "3.13": {
    "version": "3.13.9",
    "checksums": { "source": { "sha256": "aa11" } },
    "unused": "x"
  },
  "3.14": {
    "version": "3.14.0",
    "checksums": { "source": { "sha256": "bb22" } }
  }
}
"#;

fn project() -> Project {
    let project = Project::new();
    project.write("matrix.toml", MATRIX);
    project.write("versions.json", VERSIONS);
    project.write(
        "dockerfiles/Dockerfile.hbs",
        "FROM debian:{{distro}}\nENV PYTHON_VERSION={{release.version}}\n\
         ADD --checksum=sha256:{{release.checksums.source.sha256}} https://python.example/{{release.version}}.tar.xz /\n",
    );
    project
}

#[test]
fn templates_and_names_use_the_variables_of_a_file() {
    let project = project();
    assert_snapshot!(stdout(project.basegen("list")));
    assert_snapshot!(stdout(project.basegen("render --python 3.14 --only distro=slim")));
    assert_snapshot!(stdout(project.basegen("explain 3.13-slim")));
}

/// The version in a tag is that of the release, also if a file has a variable of this name.
#[test]
fn the_version_of_a_file_is_in_templates_only() {
    let project = project();
    let matrix = MATRIX
        .replace("as = \"release\"\n", "")
        .replace("{{release.version}}", "{{python}}-{{version}}");
    project.write("matrix.toml", &format!("{matrix}[version]\nfile = \"VERSION\"\n"));
    project.write("VERSION", "1.2.3\n");
    let template = "FROM debian:{{distro}}\nENV PYTHON_VERSION={{version}}\n";
    project.write("dockerfiles/Dockerfile.hbs", template);
    let selected = "--python 3.14 --only distro=slim";
    assert_snapshot!(stdout(project.basegen(&format!("list {selected}"))), @"acme/python:3.14-1.2.3-slim");
    let rendered = stdout(project.basegen(&format!("render {selected}")));
    assert!(rendered.contains("ENV PYTHON_VERSION=3.14.0"), "{rendered}");
    let labels = matrix.replace("[axes]", "labels = { version = \"{{version}}\" }\n\n[axes]");
    project.write("matrix.toml", &labels);
    assert_snapshot!(output(project.basegen("list")));
}

#[test]
fn a_changed_variable_affects_the_variants_that_use_it() {
    let project = project();
    git(project.path(), &["init", "--quiet"]);
    commit(&project, "first");
    project.write("versions.json", &VERSIONS.replace("\"x\"", "\"y\"").replace("  ", "\t"));
    let since = "plan --since first";
    assert_snapshot!(stdout(project.basegen(since)), @"0 of 4 variants differ from first");
    project.write("versions.json", &VERSIONS.replace("3.14.0", "3.14.1").replace("bb22", "bb33"));
    assert_snapshot!(stdout(project.basegen(since)));
}
