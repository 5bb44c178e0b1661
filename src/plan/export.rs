//! A plan as text: for people, and for other programs.

use std::fmt::Write as _;

use super::{Plan, PlanRecord, Target, TargetRecord};
use crate::matrix::{Matrix, Value};

/// The names alone, one a line.
#[must_use]
pub fn names(plan: &Plan<'_>) -> String {
    plan.targets.iter().map(|target| format!("{}\n", target.reference)).collect()
}

/// A table: the id, what the image is called, its Dockerfile and its platforms.
#[must_use]
pub fn table(plan: &Plan<'_>) -> String {
    let header = ["VARIANT", "IMAGE", "DOCKERFILE", "PLATFORMS"].map(str::to_owned);
    let rows = plan.targets.iter().map(|target| {
        [
            target.id().to_owned(),
            target.reference.to_string(),
            target.dockerfile.clone(),
            target.platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        ]
    });
    let rows: Vec<[String; 4]> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 3] = std::array::from_fn(width);
    let mut text = String::new();
    for [id, image, dockerfile, platforms] in &rows {
        let [a, b, c] = widths;
        writeln!(text, "{id:a$}  {image:b$}  {dockerfile:c$}  {platforms}")
            .expect("writing to memory does not fail");
    }
    let version = plan.version.as_ref().map(|version| format!(", version {version}"));
    let all = plan.matrix.variants.len();
    writeln!(text, "\n{} of {all} variants{}", plan.targets.len(), version.unwrap_or_default())
        .expect("writing to memory does not fail");
    text
}

/// A Markdown table: a column for each axis, and what the image is called.
#[must_use]
pub fn markdown(plan: &Plan<'_>) -> String {
    let axes: Vec<&str> = plan.matrix.axes.iter().map(|axis| axis.name.as_str()).collect();
    let mut text =
        format!("| {} | image |\n|{}\n", axes.join(" | "), " --- |".repeat(axes.len() + 1));
    for target in &plan.targets {
        for index in 0..axes.len() {
            let value = match &plan.matrix.value(target.variant, index).value {
                Value::Bool(true) => "yes",
                Value::Bool(false) => "",
                Value::Text(text) => text,
            };
            write!(text, "| {value} ").expect("writing to memory does not fail");
        }
        writeln!(text, "| `{}` |", target.reference).expect("writing to memory does not fail");
    }
    text
}

/// JSON with everything that a plan holds; `schema` counts up when a field's meaning changes.
#[must_use]
pub fn json(plan: &Plan<'_>) -> String {
    let targets: Vec<_> = plan.targets.iter().map(|target| record(plan.matrix, target)).collect();
    let record =
        PlanRecord { schema: 1, version: plan.version.as_ref(), whole: plan.whole, targets };
    let mut text = serde_json::to_string_pretty(&record).expect("a plan is JSON");
    text.push('\n');
    text
}

fn record<'a>(matrix: &Matrix, target: &'a Target<'a>) -> TargetRecord<'a> {
    let values = matrix.axes.iter().enumerate().map(|(index, axis)| {
        (axis.name.clone(), matrix.value(target.variant, index).value.to_json())
    });
    TargetRecord {
        id: target.id(),
        axes: values.collect(),
        reference: &target.reference,
        aliases: &target.aliases,
        dockerfile: &target.dockerfile,
        platforms: &target.platforms,
        labels: &target.labels,
        compression: target.compression,
    }
}
