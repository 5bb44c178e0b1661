//! The job summary of a run in GitHub's Markdown.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::image::{Digest, Reference, Size};

use super::failure::{Group, groups};
use super::format;
use super::outputs;
use super::record::Record;
use super::style::Style;
use super::summary::totals;
use super::text::clean;

/// The maximum size of the summary, in bytes. GitHub refuses summaries over 1 MiB, and other steps may add
/// to it.
const MAX_BYTES: usize = 900 * 1024;

/// Appends the summary of `record` to the file of `GITHUB_STEP_SUMMARY`. `is_tagged` selects references instead
/// of repositories.
pub fn append(path: &Path, record: &Record, is_tagged: bool) -> io::Result<()> {
    add(path, &render(record, is_tagged))
}

/// Appends Markdown to the file of `GITHUB_STEP_SUMMARY`.
pub fn add(path: &Path, text: &str) -> io::Result<()> {
    outputs::append(path, text)
}

/// Formats the totals, the failures, and a table of the images.
#[must_use]
pub fn render(record: &Record, is_tagged: bool) -> String {
    let mut text = format!("### basegen\n\n{}\n\n", totals(record, Style::default()));
    let failures = groups(record).into_iter().map(|group| failure(&group));
    fill(&mut text, failures, "failures");
    let rows: Vec<String> = images(record, is_tagged);
    if !rows.is_empty() {
        text.push_str("| variant | image | digest | size | state | time |\n");
        text.push_str("|---|---|---|--:|---|--:|\n");
        fill(&mut text, rows.into_iter(), "variants");
        text.push('\n');
    }
    text
}

/// Adds parts up to the maximum size, and the number of omitted parts.
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

/// Returns a table row for each variant.
fn images(record: &Record, is_tagged: bool) -> Vec<String> {
    let image = |target: &str, references: &[Reference], digest: &Digest, state, time: &str| {
        let names: Vec<String> = if is_tagged {
            references.iter().map(|reference| code(&reference.to_string())).collect()
        } else {
            references.iter().take(1).map(|first| code(&first.repository.to_string())).collect()
        };
        let size = record.sizes.get(target).map(|size| Size(*size).to_string()).unwrap_or_default();
        let (target, digest) = (escape(target), code(&digest.to_string()));
        format!("| {target} | {} | {digest} | {size} | {state} | {time} |\n", names.join("<br>"))
    };
    let finished = record.finished.iter().map(|row| {
        let state = if row.cached { "built from cache" } else { "built" };
        let time = format::duration(row.elapsed);
        image(&row.target, &row.references, &row.digest, state, &time)
    });
    let unchanged = record.unchanged.iter().map(|row| {
        let state = if record.staged.contains_key(&row.target) {
            "staged"
        } else if row.checked {
            "unchanged, checked"
        } else {
            "unchanged"
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
    finished.chain(unchanged).chain(failed).chain(cancelled).collect()
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
        // Not a code fence, which a line of the log could end.
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

/// Converts `text` to one line and escapes all characters with a meaning in Markdown, HTML or GitHub, such
/// as `|` in tables and `@` in mentions.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in clean(text).chars() {
        match character {
            '&' | '<' | '>' | '|' | '`' | '@' | '*' | '_' | '[' | ']' | '\\' | '#' | '~' | '!'
            | '$' | '"' => {
                let _ = write!(escaped, "&#{};", u32::from(character));
            }
            // Prevents links.
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
    use super::super::tests::scripted::{failure as build_failure, run_of_three};
    use super::*;

    fn record() -> Record {
        let recorder = Recorder::new(Arc::new(Logs::new("unused".into())));
        for event in run_of_three() {
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
    fn hostile_text_is_escaped() {
        let mut record = record();
        record.finished[0].target = "a|b`c`<img src=x onerror=y>@octocat #1 $x$ ![i](j)".to_owned();
        record.failed[0].target = "**bold** https://example.com".to_owned();
        record.failed[0].lines =
            vec!["</pre><script>x</script>".to_owned(), "```\n| a |".to_owned()];
        insta::assert_snapshot!(render(&record, true));
    }

    #[test]
    fn a_summary_does_not_exceed_the_limit_of_github() {
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
        assert!(text.contains("more failures"), "the number of omitted failures");
    }

    #[test]
    fn appends_the_summary() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs_err::write(file.path(), "before\n").expect("written");
        append(file.path(), &record(), true).expect("appended");
        let text = fs_err::read_to_string(file.path()).expect("text");
        assert!(text.starts_with("before\n### basegen"), "{text}");
    }
}
