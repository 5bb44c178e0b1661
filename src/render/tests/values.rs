//! Values that would change a Dockerfile.

use super::{MATRIX, Project};
use crate::error::Report;
use crate::matrix;
use crate::render::Renderer;

#[test]
fn values_do_not_become_instructions() {
    let given = "RUN pip {{ver}}{{#each packages}} {{this}}{{/each}}\n";
    let render = |line: &str| {
        let text = format!("FROM python:{{{{python}}}}\n{line}\n");
        let project =
            Project::new(&[("Dockerfile.hbs", &text), ("partials/given.hbs", given), ("x", "")]);
        let matrix = MATRIX.replace(
            "[variables]",
            "[variables]\nlist = [\"RUN\", \"curl evil\"]\nfiles = \"--from=evil/image:1 /etc/passwd\"\n\
             base = \"--platform=linux/arm64 evil/other:1 AS x\"\noption = \"--pre\"\nempty = \"\"",
        );
        let matrix = matrix::parse(&project.0.path().join("matrix.toml"), &matrix);
        let matrix = matrix.expect("a matrix");
        let rendered = Renderer::new(&matrix)
            .and_then(|mut all| all.render_all(&[&matrix.variants[0]]))
            .map(|contexts| contexts[0].dockerfile.clone());
        let folder = format!("{}/", project.0.path().display());
        rendered.unwrap_or_else(|error| Report::from(error).to_string().replace(&folder, ""))
    };
    let lines = [
        "{{#each list}}{{this}} {{/each}}",
        "COPY {{files}} /app/",
        "FROM {{base}}",
        "{{lookup list 0}} x",
        // These are accepted.
        "RUN pip install {{option}}{{empty}}\n  {{> given ver=option}}",
        "COPY x /\n{{#each list}}# {{this}}\n{{/each}}",
    ];
    insta::assert_snapshot!(lines.map(render).join("\n----\n"));
}

#[test]
fn parameters_of_partials_are_not_values() {
    let project = Project::new(&[
        (
            "Dockerfile.hbs",
            "{{> stage from=\"python:3.10 AS base\"}}\n{{> call cmd=\"COPY\" flags=\"--from=base\"}}\n",
        ),
        ("partials/stage.hbs", "FROM {{from}}\n"),
        ("partials/call.hbs", "{{cmd}} {{flags}} /a /b\n"),
    ]);
    let expected = "FROM python:3.10 AS base\nCOPY --from=base /a /b\n";
    assert_eq!(project.contexts()[0].dockerfile, expected);
}

#[test]
fn templates_cannot_contain_marks() {
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nRUN echo \u{fdd0}x\u{fdd1} y\n")]);
    insta::assert_snapshot!(project.error());
}
