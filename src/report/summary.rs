//! The outcome of a run in one line, the cancelled targets, and the references of the images.

use std::fmt::Write;

use crate::event::CancelReason;
use crate::image::{Digest, Reference};

use super::format;
use super::lines;
use super::record::Record;
use super::style::Style;
use super::text::wrap;

/// Returns the outcome of a run in one line, such as
/// `Built and pushed 4 images (1 from cache), 44 unchanged, 48 tags set in 3m12s`.
#[must_use]
pub fn totals(record: &Record, style: Style) -> String {
    if let Some(text) = nothing_to_do(record) {
        return style.good(text);
    }
    let mut text = style.good(capitalized(&successes(record).join(", ")));
    if !record.failed.is_empty() {
        text.push_str(", ");
        text.push_str(&style.bad(format!("{} failed", record.failed.len())));
    }
    if !record.cancelled.is_empty() {
        text.push_str(", ");
        text.push_str(&style.warn(format!("{} cancelled", record.cancelled.len())));
    }
    format!("{text} in {}", format::duration(record.elapsed))
}

/// Returns the outcome of a run that changed nothing.
fn nothing_to_do(record: &Record) -> Option<String> {
    let Record { finished, failed, cancelled, unchanged, tags, .. } = record;
    let is_idle = finished.is_empty() && failed.is_empty() && cancelled.is_empty();
    let is_untouched = unchanged.iter().all(|row| !row.checked) && record.staged.is_empty();
    if !is_idle || !is_untouched || unchanged.is_empty() || tags.is_some_and(|tags| tags > 0) {
        return None;
    }
    let images = match unchanged.len() {
        1 => "the image is".to_owned(),
        count => format!("all {count} images are"),
    };
    let state = if tags.is_some() { "already published" } else { "up to date" };
    Some(format!("Nothing to do: {images} {state}"))
}

fn successes(record: &Record) -> Vec<String> {
    let staged =
        record.unchanged.iter().filter(|row| record.staged.contains_key(&row.target)).count();
    let unchanged = record.unchanged.len() - staged;
    let cached = record.finished.iter().filter(|row| row.cached).count();
    let checked = record.unchanged.iter().filter(|row| row.checked).count();
    let mut parts = Vec::new();
    if !record.finished.is_empty() {
        let verb = if record.tags.is_some() { "built and pushed" } else { "built" };
        let images = format::count(record.finished.len(), "image");
        parts.push(format!("{verb} {images}{}", detail(cached, "from cache")));
    } else if record.unchanged.is_empty() {
        parts.push("built no images".to_owned());
    }
    if staged > 0 {
        parts.push(format!("found {}", format::count(staged, "staged image")));
    }
    if unchanged > 0 {
        let images = format::count(unchanged, "image");
        let images = if parts.is_empty() { images } else { unchanged.to_string() };
        parts.push(format!("{images} unchanged{}", detail(checked, "checked")));
    }
    if record.checks_passed > 0 && record.failed.is_empty() {
        parts.push(format!("{} passed", format::count(record.checks_passed, "check")));
    }
    match record.tags {
        None => {}
        Some(0) => parts.push("all tags were already set".to_owned()),
        Some(tags) => parts.push(format!("{} set", format::count(tags, "tag"))),
    }
    parts
}

fn detail(count: usize, what: &str) -> String {
    if count == 0 { String::new() } else { format!(" ({count} {what})") }
}

fn capitalized(text: &str) -> String {
    text[..1].to_ascii_uppercase() + &text[1..]
}

/// Returns the names of the cancelled variants by reason; empty if there are none.
#[must_use]
pub fn cancelled(record: &Record, style: Style) -> String {
    let mut text = String::new();
    for reason in [CancelReason::Interrupted, CancelReason::FailFast, CancelReason::ParentFailed] {
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

/// Returns a line for each reference: `baseten/truss-server-base:3.9-v0.2.2@sha256:…`. Such a reference
/// shows the tag and is pulled by the digest.
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

    use super::super::record::{Finished, Unchanged};
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

    fn unchanged(count: usize, checked: usize) -> Vec<Unchanged> {
        let row = |index| {
            let Finished { target, digest, references, .. } = finished("3.9", false);
            Unchanged { target, digest, references, checked: index < checked }
        };
        (0..count).map(row).collect()
    }

    fn text(record: &Record) -> String {
        totals(record, Style::default())
    }

    #[test]
    fn totals_contain_only_nonzero_counts() {
        let mut all = record(vec![finished("3.9", false), finished("3.11-gpu", true)], 0);
        assert_eq!(text(&all), "Built 2 images (1 from cache) in 3m12s");
        all.tags = Some(46);
        all.unchanged = unchanged(44, 2);
        assert_eq!(
            text(&all),
            "Built and pushed 2 images (1 from cache), 44 unchanged (2 checked), 46 tags set \
             in 3m12s"
        );
        all.unchanged.clear();
        all.checks_passed = 4;
        assert_eq!(
            text(&all),
            "Built and pushed 2 images (1 from cache), 4 checks passed, 46 tags set in 3m12s"
        );
        assert_eq!(text(&record(vec![], 2)), "Built no images, 2 cancelled in 3m12s");
    }

    #[test]
    fn totals_without_builds() {
        let mut record = Record { tags: Some(8), unchanged: unchanged(8, 0), ..record(vec![], 0) };
        assert_eq!(text(&record), "8 images unchanged, 8 tags set in 3m12s");
        record.tags = Some(0);
        assert_eq!(text(&record), "Nothing to do: all 8 images are already published");
        record.tags = None;
        assert_eq!(text(&record), "Nothing to do: all 8 images are up to date");
        record.unchanged.truncate(1);
        assert_eq!(text(&record), "Nothing to do: the image is up to date");
        record.tags = Some(0);
        record.unchanged = unchanged(2, 1);
        assert_eq!(
            text(&record),
            "2 images unchanged (1 checked), all tags were already set in 3m12s"
        );
        record.staged = [("3.9".to_owned(), false)].into();
        record.tags = Some(2);
        assert_eq!(text(&record), "Found 2 staged images, 2 tags set in 3m12s");
    }

    #[test]
    fn cancelled_variants_are_listed_briefly() {
        assert_eq!(cancelled(&record(vec![], 0), Style::default()), "");
        insta::assert_snapshot!(cancelled(&record(vec![], 14), Style::default()));
    }

    #[test]
    fn every_reference_has_a_line() {
        let finished = [finished("3.9", false), finished("3.11-gpu", true)];
        let lines = finished.iter().map(|image| published(&image.references, &image.digest));
        insta::assert_snapshot!(lines.collect::<String>());
    }
}
