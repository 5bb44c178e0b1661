//! A plan as a table for people. Rows are grouped by repository, so that they fit 80 columns.

use std::fmt::Write as _;

use indexmap::IndexMap;

use super::{Plan, PublicationStatus, PublishedState};

/// The width that reasons are wrapped at, in columns.
const WIDTH: usize = 80;

/// The indent of a reason below its row.
const INDENT: usize = 6;

/// Formats a plan: the id and the tag of each target, with its publication status, the reason for
/// it and its growth if `statuses` are known, and with its Dockerfile and platforms otherwise. Values that all
/// targets share are in the last line.
#[must_use]
pub fn table(plan: &Plan<'_>, statuses: Option<&[PublicationStatus]>) -> String {
    let mut header = vec!["VARIANT", "TAG"];
    let mut summary =
        vec![format!("{} of {} variants", plan.targets.len(), plan.matrix.variants.len())];
    summary.extend(plan.version.as_ref().map(|version| format!("version {version}")));
    let mut rows: Vec<Vec<String>> = plan
        .targets
        .iter()
        .map(|target| vec![target.id().to_owned(), target.reference.tag.to_string()])
        .collect();
    if let Some(statuses) = statuses {
        header.push("STATE");
        for (row, status) in rows.iter_mut().zip(statuses) {
            row.push(status.state.word().to_owned());
        }
    } else {
        let dockerfiles = plan
            .targets
            .iter()
            .map(|target| target.dockerfile.clone().unwrap_or_else(|| "generated".to_owned()));
        let platforms = plan.targets.iter().map(|target| {
            target.platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        });
        add_column("DOCKERFILE", dockerfiles.collect(), &mut header, &mut rows, &mut summary);
        add_column("PLATFORMS", platforms.collect(), &mut header, &mut rows, &mut summary);
    }
    rows.insert(0, header.into_iter().map(str::to_owned).collect());
    let lines = columns(&rows);
    let mut lines = lines.lines();
    let mut text = format!("  {}\n", lines.next().unwrap_or_default());
    for (repository, targets) in by_repository(plan, lines) {
        let _ = writeln!(text, "\n{repository}");
        for (at, line) in targets {
            let _ = writeln!(text, "  {line}");
            let reason = statuses.and_then(|statuses| statuses[at].reasons.first());
            text.extend(reason.map(|reason| wrap(reason)));
            let growth = statuses.and_then(|statuses| statuses[at].growth.as_ref());
            text.extend(growth.map(|growth| wrap(&growth.to_string())));
        }
    }
    let counts = statuses.map(count).unwrap_or_default();
    let _ = writeln!(text, "\n{}{counts}", summary.join(", "));
    text
}

/// Adds a column, or its value to the summary if all rows have the same.
fn add_column(
    title: &'static str,
    cells: Vec<String>,
    header: &mut Vec<&'static str>,
    rows: &mut [Vec<String>],
    summary: &mut Vec<String>,
) {
    let first = cells.first().cloned();
    if cells.iter().all(|cell| Some(cell) == first.as_ref()) {
        summary.extend(first);
        return;
    }
    header.push(title);
    for (row, cell) in rows.iter_mut().zip(cells) {
        row.push(cell);
    }
}

/// Groups the lines of targets by their repositories, in the order of their first targets.
fn by_repository<'a>(
    plan: &Plan<'_>,
    lines: impl Iterator<Item = &'a str>,
) -> IndexMap<String, Vec<(usize, &'a str)>> {
    let mut groups: IndexMap<String, Vec<(usize, &str)>> = IndexMap::new();
    for (at, (target, line)) in plan.targets.iter().zip(lines).enumerate() {
        let repositories: Vec<String> = target.repositories().map(ToString::to_string).collect();
        groups.entry(repositories.join(", ")).or_default().push((at, line));
    }
    groups
}

/// Counts the targets in each state: `: 2 changed, 46 published`.
fn count(statuses: &[PublicationStatus]) -> String {
    use PublishedState::{Changed, New, Published, Retag};
    let counts = [New, Changed, Retag, Published].map(|state| {
        let count = statuses.iter().filter(|status| status.state == state).count();
        (count > 0).then(|| format!("{count} {}", state.word()))
    });
    format!(": {}", counts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// Breaks a text into indented lines.
fn wrap(text: &str) -> String {
    let mut lines = String::new();
    let mut width = WIDTH;
    for word in text.split(' ') {
        let length = word.chars().count();
        if width + 1 + length > WIDTH {
            if !lines.is_empty() {
                lines.push('\n');
            }
            lines.push_str(&" ".repeat(INDENT));
            width = INDENT + length;
        } else {
            lines.push(' ');
            width += 1 + length;
        }
        lines.push_str(word);
    }
    lines.push('\n');
    lines
}

/// Formats rows in columns as wide as their widest texts, without spaces at the ends of lines.
#[must_use]
pub fn columns(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
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
