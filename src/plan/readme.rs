//! Updates the table of images in a README.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::export::cell;
use super::{Plan, markdown};
use crate::error::{ExitCode, Explain};
use crate::files::{Checkout, MAX_PROJECT_FILE, ReadError};
use crate::matrix::{Axis, Value};
use crate::version::{FileEdit, file_identity};

/// The beginning of the line before the table, which ends with `-->`.
const BEGIN: &str = "<!-- images:";

/// The line after the table.
const END: &str = "<!-- end of images -->";

#[derive(Debug, thiserror::Error)]
pub enum ReadmeError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("`{}` has no line that begins with `{marker}`", .path.display())]
    NoMarker { path: PathBuf, marker: &'static str },
    /// A marker line occurs more than once, on these `lines`, from 1.
    #[error(
        "`{}` has {} lines that begin with `{marker}` instead of one: lines {}",
        .path.display(), .lines.len(), joined(.lines)
    )]
    Markers { path: PathBuf, marker: &'static str, lines: Vec<usize> },
    #[error("in `{}` the table of images ends on line {end}, before it begins on line {begin}", .path.display())]
    Order { path: PathBuf, begin: usize, end: usize },
}

impl ReadmeError {
    /// Returns the line of the error, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        match self {
            Self::Read(error) => error.line(),
            Self::NoMarker { .. } => 1,
            Self::Markers { lines, .. } => lines.last().copied().unwrap_or(1),
            Self::Order { end, .. } => *end,
        }
    }
}

impl Explain for ReadmeError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Read(error) => error.exit_code(),
            Self::NoMarker { .. } | Self::Markers { .. } | Self::Order { .. } => ExitCode::Matrix,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read(error) => error.hint(),
            Self::NoMarker { .. } | Self::Markers { .. } | Self::Order { .. } => Some(format!(
                "write the lines `{BEGIN} … -->` and `{END}` once each, before and after the table"
            )),
        }
    }
}

/// Adds the edit to `edits` that updates the table in the README of `[generated]`, in `checkout`. `plan` must contain the
/// whole matrix. An existing edit of the file is extended.
pub fn with_readme(
    plan: &Plan<'_>,
    checkout: &Checkout,
    mut edits: Vec<FileEdit>,
) -> Result<Vec<FileEdit>, ReadmeError> {
    let Some(readme) = &plan.matrix.generated.readme else { return Ok(edits) };
    let path = PathBuf::from(readme.get_ref());
    let folder = checkout.folder();
    let id = file_identity(folder, &path);
    if let Some(edit) = edits.iter_mut().find(|edit| file_identity(folder, &edit.path) == id) {
        edit.after = filled(&path, &edit.after, &table(plan))?;
        return Ok(edits);
    }
    let before = checkout.read_text(&path, MAX_PROJECT_FILE)?;
    let after = filled(&path, &before, &table(plan))?;
    if before != after {
        edits.push(FileEdit { path, before, after });
    }
    Ok(edits)
}

/// Returns a Markdown table of the images. Images that differ only in the value of the longest axis share a row:
/// `acme/base:<python>-gpu-v1.2.3`, with the values in the last column.
fn table(plan: &Plan<'_>) -> String {
    let axes = &plan.matrix.axes;
    // Of several axes of one length, `max_by_key` returns the last, so the order is reversed.
    let Some(longest) = (0..axes.len())
        .rev()
        .filter(|&axis| is_text(&axes[axis]))
        .max_by_key(|&axis| axes[axis].values.len())
    else {
        return markdown(plan);
    };
    let placeholder = format!("<{}>", axes[longest].name);
    let mut rows: IndexMap<String, Vec<String>> = IndexMap::new();
    for target in &plan.targets {
        let mut row = String::from("|");
        for axis in (0..axes.len()).filter(|&axis| axis != longest) {
            write!(row, " {} |", cell(&plan.matrix.value(target.variant, axis).value))
                .expect("writing to memory does not fail");
        }
        let value = cell(&plan.matrix.value(target.variant, longest).value);
        let image = target.reference.to_string();
        let (repository, tag) = image.rsplit_once(':').unwrap_or((&image, ""));
        write!(row, " `{repository}:{}` |", tag.replacen(value, &placeholder, 1))
            .expect("writing to memory does not fail");
        rows.entry(row).or_default().push(value.to_owned());
    }
    let others = axes.iter().enumerate().filter(|(index, _)| *index != longest);
    let names = others.map(|(_, axis)| axis.name.as_str()).chain(["image", &axes[longest].name]);
    let header = names.collect::<Vec<_>>().join(" | ");
    let mut text = format!("| {header} |\n|{}\n", " --- |".repeat(axes.len() + 1));
    for (row, values) in rows {
        writeln!(text, "{row} {} |", values.join(", ")).expect("writing to memory does not fail");
    }
    text
}

fn is_text(axis: &Axis) -> bool {
    axis.values.iter().all(|value| matches!(value.value, Value::Text(_)))
}

/// Replaces the text between the two marker lines by `table` and blank lines.
fn filled(path: &Path, text: &str, table: &str) -> Result<String, ReadmeError> {
    let begin = only(path, text, BEGIN, |line| line.starts_with(BEGIN) && line.ends_with("-->"))?;
    let end = only(path, text, END, |line| line == END)?;
    if end.number < begin.number {
        let (begin, end) = (begin.number, end.number);
        return Err(ReadmeError::Order { path: path.to_owned(), begin, end });
    }
    let newline = if text[begin.start..begin.end].ends_with("\r\n") { "\r\n" } else { "\n" };
    let table = format!("\n{}\n\n", table.trim_end()).replace('\n', newline);
    Ok(format!("{}{table}{}", &text[..begin.end], &text[end.start..]))
}

/// A line of a text.
struct Line {
    /// The number of the line, from 1.
    number: usize,
    start: usize,
    /// The offset after the line.
    end: usize,
}

fn only(
    path: &Path,
    text: &str,
    marker: &'static str,
    is_marker: impl Fn(&str) -> bool,
) -> Result<Line, ReadmeError> {
    let (mut found, mut start) = (Vec::new(), 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let end = start + line.len();
        if is_marker(line.trim()) {
            found.push(Line { number: index + 1, start, end });
        }
        start = end;
    }
    let path = path.to_owned();
    if found.len() > 1 {
        let lines = found.iter().map(|line| line.number).collect();
        return Err(ReadmeError::Markers { path, marker, lines });
    }
    found.pop().ok_or(ReadmeError::NoMarker { path, marker })
}

fn joined(lines: &[usize]) -> String {
    lines.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Report;

    fn updated(text: &str) -> String {
        match filled(Path::new("README.md"), text, "| a |\n| b |\n") {
            Ok(text) => text,
            Err(error) => Report::from(error).to_string(),
        }
    }

    #[test]
    fn the_table_is_written_between_its_markers() {
        let begin = "<!-- images: generated by `basegen check --fix` -->";
        let empty = format!("# Us\n\n{begin}\n{END}\n\nEnd");
        let full = format!("# Us\n\n{begin}\n\n| a |\n| b |\n\n{END}\n\nEnd");
        assert_eq!(updated(&empty), full);
        assert_eq!(updated(&full), full);
        let windows = |text: &str| text.replace('\n', "\r\n");
        assert_eq!(updated(&windows(&empty)), windows(&full));
        assert_eq!(
            updated(&format!("{begin}\n{END}")),
            format!("{begin}\n\n| a |\n| b |\n\n{END}")
        );
    }

    #[test]
    fn invalid_markers_are_refused() {
        let begin = "<!-- images: -->";
        let texts = [
            String::new(),
            format!("{begin}\n"),
            format!("{END}\n{begin}\n"),
            format!("{begin}\n{END}\n{begin}\n"),
        ];
        insta::assert_snapshot!(texts.map(|text| updated(&text)).join("\n\n"));
    }
}
