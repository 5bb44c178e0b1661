use std::path::Path;

use crate::error::Report;
use crate::matrix::{Selection, parse};
use crate::plan::{Plan, PlanRequest};

const BASE: &str = r#"
[image]
repository = "acme/base"
dockerfile = "Dockerfile.hbs"

[axes]
python = ["3.13", "3.14"]
gpu = [false, { value = true, platforms = ["linux/amd64"], variables = { cuda = "12.8" } }]
"#;

/// Returns the images of a matrix, or its error.
fn planned(text: &str) -> String {
    let request = PlanRequest { version: "v1.2.0".parse().ok(), ..PlanRequest::default() };
    let matrix = match parse(Path::new("matrix.toml"), text.trim_start()) {
        Ok(matrix) => matrix,
        Err(error) => return Report::from(error).to_string(),
    };
    let selected = matrix.select(&Selection::default()).expect("all variants");
    let plan = match Plan::new(&matrix, &selected, request) {
        Ok(plan) => plan,
        Err(error) => return Report::from(error).to_string(),
    };
    let lines = plan.targets.iter().map(|target| {
        let names: Vec<String> = target.references().map(ToString::to_string).collect();
        format!(
            "{}: {}\n  {} {} {:?} {:?}",
            target.id(),
            names.join(" "),
            target.dockerfile,
            crate::image::Platform::list(&target.platforms),
            target.labels,
            target.compression.algorithm,
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn later_tables_override_settings() {
    let more = r#"
[image.labels]
vendor = "acme"
cuda = "none"

[[set]]
when = { gpu = true }
repository = "acme/cuda{{cuda}}"
labels = { cuda = "{{cuda}}" }
compression = "gzip"

[[set]]
when = { python = "3.14" }
tag = "{{variant}}-preview-{{version}}"
platforms = ["linux/amd64", "linux/arm64"]

[[extra]]
axes = { python = { value = "3.15", dockerfile = "next.Dockerfile.hbs" }, gpu = true }
tag = "next"
compression = "estargz"
labels = { vendor = "nobody" }
variables = { cuda = "13.0" }
"#;
    insta::assert_snapshot!(planned(&format!("{BASE}{more}")));
}

#[test]
fn placeholders_need_values() {
    let texts = [
        // Only variants with a GPU have the variable.
        BASE.replace("acme/base", "acme/{{cuda}}"),
        BASE.replace("acme/base", "acme/{{cuad}}"),
        format!("{BASE}[variables]\ncuda = [\"12.8\"]\n[image.labels]\ncuda = \"{{{{cuda}}}}\"\n"),
        format!("{BASE}[[verify]]\nname = \"cuda\"\nrun = \"test {{{{cuda}}}} = x\"\n"),
        format!("{BASE}[[verify]]\nname = \"cuda\"\nwhen = {{ gpu = true }}\nrun = \"test {{{{cuda}}}} = x\"\n"),
        BASE.replace("Dockerfile.hbs\"", "{{folder}}/Dockerfile.hbs\"")
            + "[variables]\nfolder = \"../secrets\"\n",
    ];
    insta::assert_snapshot!(texts.map(|text| planned(&text)).join("\n\n"));
}

#[test]
fn missing_settings_are_explained() {
    let texts = ["repository = \"acme/base\"\n", "dockerfile = \"Dockerfile.hbs\"\n"];
    insta::assert_snapshot!(texts.map(|text| planned(&BASE.replace(text, ""))).join("\n\n"));
}
