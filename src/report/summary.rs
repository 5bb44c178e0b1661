//! What a run came to in one line, and its images line by line.

use std::fmt::Write;

use crate::event::CancelReason;
use crate::image::{Digest, Reference};

use super::format;
use super::lines;
use super::record::Record;
use super::style::Style;
use super::text::wrap;

/// The totals of a run: `4 built (1 cached), 44 unchanged (2 checked), 1 failed in 3m12s`.
#[must_use]
pub fn totals(record: &Record, style: Style) -> String {
    let mut parts = Vec::new();
    if record.kept.is_empty() || !record.finished.is_empty() {
        let built = style.good(format!("{} built", record.finished.len()));
        parts.push(match record.finished.iter().filter(|one| one.cached).count() {
            0 => built,
            cached => format!("{built} ({cached} cached)"),
        });
    }
    let staged = record.kept.iter().filter(|kept| record.staged.contains_key(&kept.target)).count();
    if staged > 0 {
        parts.push(style.good(format!("{staged} staged")));
    }
    if record.kept.len() > staged {
        let unchanged = style.good(format!("{} unchanged", record.kept.len() - staged));
        parts.push(match record.kept.iter().filter(|kept| kept.checked).count() {
            0 => unchanged,
            checked => format!("{unchanged} ({checked} checked)"),
        });
    }
    if !record.failed.is_empty() {
        parts.push(style.bad(format!("{} failed", record.failed.len())));
    }
    if !record.cancelled.is_empty() {
        parts.push(style.warn(format!("{} cancelled", record.cancelled.len())));
    }
    match record.tags {
        None => {}
        Some(0) => parts.push("all tags set before".to_owned()),
        Some(tags) => parts.push(format!("{} set", format::count(tags, "tag"))),
    }
    format!("{} in {}", parts.join(", "), format::duration(record.elapsed))
}

/// The cancelled variants by name, or nothing where there are none.
#[must_use]
pub fn cancelled(record: &Record, style: Style) -> String {
    let mut text = String::new();
    for reason in [CancelReason::Interrupted, CancelReason::FailFast] {
        let targets: Vec<&str> = record
            .cancelled
            .iter()
            .filter(|(_, why)| *why == reason)
            .map(|(target, _)| target.as_str())
            .collect();
        if targets.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{} {}", style.warn("-"), lines::cancelled(reason));
        for line in wrap(&targets, style.width.saturating_sub(2).max(20)) {
            let _ = writeln!(text, "  {line}");
        }
        text.push('\n');
    }
    text
}

/// One line for each reference: `baseten/truss-server-base:3.9-v0.2.2@sha256:…`, which
/// names the tag for people and is pulled by the digest.
#[must_use]
pub fn published<'a>(
    references: impl IntoIterator<Item = &'a Reference>,
    digest: &Digest,
) -> String {
    references.into_iter().map(|reference| format!("{reference}@{digest}\n")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::record::Finished;
    use super::*;

    fn finished(target: &str, cached: bool) -> Finished {
        let reference = |tag: &str| {
            let text = format!("baseten/truss-server-base:{tag}");
            text.parse().expect("a reference")
        };
        Finished {
            target: target.to_owned(),
            digest: Digest::of(target.as_bytes()),
            references: vec![reference(&format!("{target}-v0.2.2")), reference(target)],
            cached,
            elapsed: Duration::from_secs(12),
        }
    }

    fn record(finished: Vec<Finished>, cancelled: usize) -> Record {
        let cancelled =
            (0..cancelled).map(|n| (format!("3.{n}-server"), CancelReason::Interrupted));
        Record {
            total: 48,
            finished,
            cancelled: cancelled.collect(),
            elapsed: Duration::from_secs(192),
            ..Record::default()
        }
    }

    #[test]
    fn totals_name_what_happened_only() {
        let style = Style::default();
        let all = record(vec![finished("3.9", false), finished("3.11-gpu", true)], 0);
        assert_eq!(totals(&all, style), "2 built (1 cached) in 3m12s");
        assert_eq!(totals(&record(vec![], 2), style), "0 built, 2 cancelled in 3m12s");
    }

    #[test]
    fn cancelled_variants_are_listed_briefly() {
        assert_eq!(cancelled(&record(vec![], 0), Style::default()), "");
        insta::assert_snapshot!(cancelled(&record(vec![], 14), Style::default()));
    }

    #[test]
    fn every_reference_has_a_line() {
        let finished = [finished("3.9", false), finished("3.11-gpu", true)];
        let lines = finished.iter().map(|one| published(&one.references, &one.digest));
        insta::assert_snapshot!(lines.collect::<String>());
    }
}
