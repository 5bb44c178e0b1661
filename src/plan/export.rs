//! Prints a plan as a table, as Markdown and as JSON.

use std::fmt::Write as _;

use super::{Plan, PlanRecord, PublicationStatus, PublishedState, Target, TargetRecord};
use crate::matrix::{Matrix, Value};

/// Returns the image names, one per line.
#[must_use]
pub fn names(plan: &Plan<'_>) -> String {
    plan.targets.iter().map(|target| format!("{}\n", target.reference)).collect()
}

/// Returns a table with the id and the image of each target. With `statuses`, it shows the publication status,
/// otherwise the Dockerfile and the platforms.
#[must_use]
pub fn table(plan: &Plan<'_>, statuses: Option<&[PublicationStatus]>) -> String {
    let header = ["VARIANT", "IMAGE", "DOCKERFILE", "PLATFORMS"].map(str::to_owned);
    let rows = plan.targets.iter().map(|target| {
        let platforms: Vec<String> = target.platforms.iter().map(ToString::to_string).collect();
        let (id, image) = (target.id().to_owned(), target.reference.to_string());
        [id, image, target.dockerfile.clone(), platforms.join(",")]
    });
    let mut rows: Vec<Vec<String>> =
        std::iter::once(header).chain(rows).map(|row| row.to_vec()).collect();
    if let Some(statuses) = statuses {
        let words = statuses.iter().map(|status| {
            (status.state.word().to_owned(), status.reasons.first().cloned().unwrap_or_default())
        });
        let words = std::iter::once(("STATE".to_owned(), "WHY".to_owned())).chain(words);
        for (row, (state, reason)) in rows.iter_mut().zip(words) {
            row.truncate(2);
            row.extend([state, reason]);
        }
    }
    let mut text = columns(&rows);
    let version = plan.version.as_ref().map(|version| format!(", version {version}"));
    let all = plan.matrix.variants.len();
    let states = statuses.map(state_counts).unwrap_or_default();
    writeln!(text, "\n{} of {all} variants{}{states}", rows.len() - 1, version.unwrap_or_default())
        .expect("writing to memory does not fail");
    text
}

/// Counts the states: `: 2 changed, 46 published`.
fn state_counts(statuses: &[PublicationStatus]) -> String {
    use PublishedState::{Changed, Missing, New, Published};
    let counts = [New, Changed, Missing, Published].map(|state| {
        let count = statuses.iter().filter(|status| status.state == state).count();
        (count > 0).then(|| format!("{count} {}", state.word()))
    });
    format!(": {}", counts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// Aligns rows in columns, without spaces at the ends of lines.
#[must_use]
pub fn columns(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
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
    let targets = plan.targets.iter().enumerate().map(|(index, target)| {
        let status = statuses.map(|statuses| &statuses[index]);
        record(plan.matrix, target, status)
    });
    let targets = targets.collect();
    let record =
        PlanRecord { schema: 1, version: plan.version.as_ref(), whole: plan.whole, targets };
    let mut text = serde_json::to_string_pretty(&record).expect("a plan is JSON");
    text.push('\n');
    text
}

fn record<'a>(
    matrix: &Matrix,
    target: &'a Target<'a>,
    status: Option<&'a PublicationStatus>,
) -> TargetRecord<'a> {
    let values = matrix.axes.iter().enumerate().map(|(index, axis)| {
        (axis.name.clone(), matrix.value(target.variant, index).value.to_json())
    });
    TargetRecord {
        status,
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
