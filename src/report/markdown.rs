//! The job summary: what a run came to, as GitHub's Markdown.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use fs_err::File;

use crate::image::{Digest, Reference};

use super::failure::{Group, groups};
use super::format;
use super::record::Record;
use super::style::Style;
use super::summary::totals;
use super::text::clean;

/// GitHub refuses a step's summary of more than 1 MiB; what others wrote to it counts too.
const MAX_BYTES: usize = 900 * 1024;

/// Appends `record` to the file that `GITHUB_STEP_SUMMARY` names; the images are told by their
/// references where they are `named` so.
pub fn append(path: &Path, record: &Record, named: bool) -> io::Result<()> {
    add(path, &render(record, named))
}

/// Appends Markdown to that file.
pub fn add(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// `record` as Markdown: the totals, the failures, a table of the images.
#[must_use]
pub fn render(record: &Record, named: bool) -> String {
    let mut text = format!("### basegen\n\n{}\n\n", totals(record, Style::default()));
    let failures = groups(record).into_iter().map(|group| failure(&group));
    fill(&mut text, failures, "failures");
    let rows: Vec<String> = images(record, named);
    if !rows.is_empty() {
        text.push_str("| variant | image | digest | size | state | time |\n");
        text.push_str("|---|---|---|--:|---|--:|\n");
        fill(&mut text, rows.into_iter(), "variants");
        text.push('\n');
    }
    text
}

/// Adds `parts` as long as there is room, and says how many there was none for.
fn fill(text: &mut String, parts: impl ExactSizeIterator<Item = String>, noun: &str) {
    let count = parts.len();
    for (index, part) in parts.enumerate() {
        if text.len() + part.len() > MAX_BYTES {
            let _ = writeln!(text, "\n… and {} more {noun}\n", count - index);
            return;
        }
        text.push_str(&part);
    }
}

/// A row for each variant: what it is called, or else where it is, what it is, and what became of
/// it.
fn images(record: &Record, named: bool) -> Vec<String> {
    let image = |target: &str, references: &[Reference], digest: &Digest, state, time: &str| {
        let tags: Vec<String> = match named {
            true => references.iter().map(|reference| code(&reference.to_string())).collect(),
            false => references
                .first()
                .map(|one| code(&one.repository.to_string()))
                .into_iter()
                .collect(),
        };
        let size = record.sizes.get(target).map(|size| format::bytes(*size)).unwrap_or_default();
        let (target, digest) = (escape(target), code(&digest.to_string()));
        format!("| {target} | {} | {digest} | {size} | {state} | {time} |\n", tags.join("<br>"))
    };
    let finished = record.finished.iter().map(|row| {
        let state = if row.cached { "built from cache" } else { "built" };
        let time = format::duration(row.elapsed);
        image(&row.target, &row.references, &row.digest, state, &time)
    });
    let kept = record.unchanged.iter().map(|row| {
        let state = match record.staged.contains_key(&row.target) {
            true => "staged",
            false if row.checked => "unchanged, checked",
            false => "unchanged",
        };
        image(&row.target, &row.references, &row.digest, state, "")
    });
    let none = |target: &str, state: &str, time: &str| {
        format!("| {} |  |  |  | {state} | {time} |\n", escape(target))
    };
    let failed = record.failed.iter().map(|row| {
        let time = format::duration(row.elapsed);
        none(&row.target, "failed", &time)
    });
    let cancelled = record.cancelled.iter().map(|(target, _)| none(target, "cancelled", ""));
    finished.chain(kept).chain(failed).chain(cancelled).collect()
}

fn failure(group: &Group<'_>) -> String {
    let failure = &group.first.failure;
    let mut text = format!("**✗ {}** {}\n\n", escape(&group.title()), escape(&failure.message));
    if group.targets.len() > 1 {
        let targets: Vec<String> = group.targets.iter().map(|target| escape(target)).collect();
        let _ = writeln!(text, "Variants: {}\n", targets.join(", "));
    }
    if let Some(source) = &failure.source {
        let _ = writeln!(text, "{} {}\n", code(&source.place()), code(&source.text));
    }
    if !group.first.lines.is_empty() {
        let lines: Vec<String> = group.first.lines.iter().map(|line| escape(line)).collect();
        // HTML, since a fence could be ended by a line of the log.
        let _ = writeln!(text, "<pre>{}</pre>\n", lines.join("\n"));
    }
    if let Some(hint) = &failure.hint {
        let _ = writeln!(text, "Hint: {}\n", escape(hint));
    }
    text
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

/// `text` on one line without any character that Markdown, HTML or GitHub reads as more
/// than itself: tables end at `|`, and `@name` would be somebody.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in clean(text).chars() {
        match character {
            '&' | '<' | '>' | '|' | '`' | '@' | '*' | '_' | '[' | ']' | '\\' | '#' | '~' | '!'
            | '$' | '"' => {
                let _ = write!(escaped, "&#{};", u32::from(character));
            }
            // Bare addresses become links; broken apart, they stay text.
            ':' => escaped.push_str("&#58;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::event::Listener;

    use super::super::logs::Logs;
    use super::super::record::{Failed, Recorder};
    use super::super::testing::{failure as build_failure, run_of_three};
    use super::*;

    fn record() -> Record {
        let recorder = Recorder::new(Arc::new(Logs::new("unused".into())));
        for event in run_of_three() {
            // Logs are heard of by the recorder too; no file is wanted here.
            recorder.hear(&event);
        }
        recorder.record()
    }

    #[test]
    fn a_run_is_a_table() {
        insta::assert_snapshot!(render(&record(), true));
        insta::assert_snapshot!(render(&record(), false));
    }

    #[test]
    fn hostile_text_is_text() {
        let mut record = record();
        record.finished[0].target = "a|b`c`<img src=x onerror=y>@octocat #1 $x$ ![i](j)".to_owned();
        record.failed[0].target = "**bold** https://example.com".to_owned();
        record.failed[0].lines =
            vec!["</pre><script>x</script>".to_owned(), "```\n| a |".to_owned()];
        insta::assert_snapshot!(render(&record, true));
    }

    #[test]
    fn a_summary_has_room_for_what_github_takes() {
        let mut record = record();
        let one = record.failed[0].clone();
        record.failed = (0..500)
            .map(|number| Failed {
                target: format!("{number}"),
                failure: crate::event::Failure { exit_code: Some(number), ..build_failure() },
                lines: vec!["<".repeat(500); 10],
                ..one.clone()
            })
            .collect();
        let text = render(&record, true);
        assert!(text.len() < 1024 * 1024, "{}", text.len());
        assert!(text.contains("more failures"), "the rest is counted");
    }

    #[test]
    fn a_summary_is_appended() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs_err::write(file.path(), "before\n").expect("written");
        append(file.path(), &record(), true).expect("appended");
        let text = fs_err::read_to_string(file.path()).expect("text");
        assert!(text.starts_with("before\n### basegen"), "{text}");
    }
}
