//! Prints a plan as a table, as Markdown and as JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::{Plan, PublicationStatus, Target};
use crate::matrix::{Matrix, Value};

/// Returns the image names, one per line.
#[must_use]
pub fn names(plan: &Plan<'_>) -> String {
    plan.version_tags().map(|reference| format!("{reference}\n")).collect()
}

/// Returns the image names with all tags, one per line.
#[must_use]
pub fn all_names(plan: &Plan<'_>) -> String {
    let references = plan.targets.iter().flat_map(Target::references);
    references.map(|reference| format!("{reference}\n")).collect()
}

/// Returns a Markdown table with a column for each axis and the image name.
#[must_use]
pub fn markdown(plan: &Plan<'_>) -> String {
    let axes: Vec<&str> = plan.matrix.axes.iter().map(|axis| axis.name.as_str()).collect();
    let mut text =
        format!("| {} | image |\n|{}\n", axes.join(" | "), " --- |".repeat(axes.len() + 1));
    for target in &plan.targets {
        for index in 0..axes.len() {
            let value = &plan.matrix.value(target.variant, index).value;
            write!(text, "| {} ", cell(value)).expect("writing to memory does not fail");
        }
        writeln!(text, "| `{}` |", target.reference).expect("writing to memory does not fail");
    }
    text
}

/// Returns a value as a cell of a Markdown table.
pub(super) fn cell(value: &Value) -> &str {
    match value {
        Value::Bool(true) => "yes",
        Value::Bool(false) => "",
        Value::Text(text) => text,
    }
}

/// Returns the plan as JSON. `schema` increases when the meaning of a field changes.
#[must_use]
pub fn json(plan: &Plan<'_>, statuses: Option<&[PublicationStatus]>) -> String {
    let targets: Vec<_> = plan
        .targets
        .iter()
        .enumerate()
        .map(|(index, target)| record(plan.matrix, target, statuses.map(|all| &all[index])))
        .collect();
    let plan = json!({
        "schema": 1,
        "version": plan.version,
        "whole": plan.whole,
        "targets": targets,
    });
    let mut text = serde_json::to_string_pretty(&plan).expect("a plan is JSON");
    text.push('\n');
    text
}

fn record(
    matrix: &Matrix,
    target: &Target<'_>,
    status: Option<&PublicationStatus>,
) -> serde_json::Value {
    let axes: serde_json::Map<_, _> = matrix
        .axes
        .iter()
        .enumerate()
        .map(|(index, axis)| {
            (axis.name.clone(), matrix.value(target.variant, index).value.to_json())
        })
        .collect();
    let mut record = json!({
        "status": status,
        "id": target.id(),
        "axes": axes,
        "reference": target.reference,
        "aliases": target.aliases,
        "replicas": target.version_tags().skip(1).collect::<Vec<_>>(),
        "dockerfile": target.dockerfile,
        "platforms": &*target.platforms,
        "labels": target.labels,
        "compression": target.compression,
    });
    if let Some(fields) = record.as_object_mut() {
        if status.is_none() {
            fields.shift_remove("status");
        }
        if target.replicas.is_empty() {
            fields.shift_remove("replicas");
        }
    }
    record
}
