//! Formats the failures of a run. Variants with the same failure share one block.

use std::fmt::Write;

use crate::event::{Failure, FailureKind};

use super::command::instruction;
use super::record::{Failed, Record};
use super::style::Style;
use super::text::{clean, wrap};

/// Variants with the same failure, such as that of a shared step.
pub(super) struct Group<'a> {
    /// The first variant, or the first one with log lines.
    pub(super) first: &'a Failed,
    /// The ids of all variants, in plan order.
    pub(super) targets: Vec<&'a str>,
}

impl Group<'_> {
    /// Returns the title: `3.9-server`, or `3.9-server and 47 more`.
    pub(super) fn title(&self) -> String {
        let name = clean(self.targets.first().copied().unwrap_or_default());
        match self.targets.len() {
            0 | 1 => name.into_owned(),
            many => format!("{name} and {} more", many - 1),
        }
    }
}

/// Groups the failures of `record`.
pub(super) fn groups(record: &Record) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for failed in &record.failed {
        match groups.iter_mut().find(|group| is_same(group.first, failed)) {
            Some(group) => {
                group.targets.push(&failed.target);
                if group.first.lines.is_empty() && !failed.lines.is_empty() {
                    group.first = failed;
                }
            }
            None => groups.push(Group { first: failed, targets: vec![&failed.target] }),
        }
    }
    groups
}

/// Returns true if two variants have the same failure. The number and the line of a shared step may
/// differ.
fn is_same(one: &Failed, other: &Failed) -> bool {
    let key = |failed: &Failed| {
        let Failure { kind, step, source, exit_code, platform, .. } = failed.failure.clone();
        // Messages may contain the target.
        let message = failed.failure.message.replace(&failed.target, "");
        let step = step.map(|step| step.name);
        let text = source.map(|source| source.text);
        (kind, step, text, exit_code, platform, message)
    };
    key(one) == key(other)
}

/// Formats all failures of `record`. The text is empty if there are none.
#[must_use]
pub fn failures(record: &Record, style: Style) -> String {
    let mut text = String::new();
    for group in groups(record) {
        block(&mut text, &group, style);
        text.push('\n');
    }
    text
}

/// Returns the message of a failure, without the part of BuildKit that repeats the step and the exit code:
/// `process "/bin/sh -c …" did not complete successfully: exit code: 1`.
pub(super) fn cause(failure: &Failure) -> &str {
    let message = failure.message.as_str();
    let repeats = failure.step.is_some()
        && failure.exit_code.is_some_and(|code| {
            message.ends_with(&format!("did not complete successfully: exit code: {code}"))
        });
    match message.split_once("process \"").filter(|_| repeats) {
        Some((before, _)) => before.trim_end_matches([':', ' ']),
        None => message,
    }
}

fn block(text: &mut String, group: &Group<'_>, style: Style) {
    let failure = &group.first.failure;
    let verb = match failure.kind {
        FailureKind::Build => "failed",
        FailureKind::Verify => "failed a check",
        FailureKind::Export => "failed to export",
        FailureKind::Engine => "failed on the engine",
    };
    let title = style.strong(group.title());
    let _ = write!(text, "{} {title} {verb}", style.bad("✗"));
    let cause = cause(failure);
    if !cause.is_empty() {
        let _ = write!(text, ": {}", clean(cause));
    }
    text.push('\n');
    if group.targets.len() > 1 {
        let lines = wrap(&group.targets, style.width.saturating_sub(13).max(20));
        field(text, style, "variants", lines.iter().map(String::as_str));
    }
    if let Some(step) = &failure.step {
        field(text, style, "step", [instruction(step).as_str()]);
    }
    if let Some(source) = &failure.source {
        let place = source.place();
        field(text, style, "at", [clean(&place).as_ref(), clean(&source.text).as_ref()]);
    }
    if let Some(platform) = &failure.platform {
        field(text, style, "platform", [platform.to_string().as_str()]);
    }
    if let Some(code) = failure.exit_code {
        field(text, style, "exit code", [code.to_string().as_str()]);
    }
    if !group.first.lines.is_empty() {
        let lines = group.first.lines.iter().map(String::as_str);
        field(text, style, "last lines", lines);
    }
    if let Some(log) = &group.first.log {
        field(text, style, "full log", [clean(&log.display().to_string()).as_ref()]);
    }
    if let Some(hint) = &failure.hint {
        field(
            text,
            style,
            "hint",
            hint.lines().map(clean).collect::<Vec<_>>().iter().map(AsRef::as_ref),
        );
    }
}

/// Writes `name` before the first line, and aligns the other lines.
fn field<'a>(
    text: &mut String,
    style: Style,
    name: &str,
    lines: impl IntoIterator<Item = &'a str>,
) {
    for (index, line) in lines.into_iter().enumerate() {
        let name = if index == 0 { name } else { "" };
        let _ = writeln!(text, "  {} {line}", style.dim(format!("{name:<10}")));
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::super::tests::scripted::failure;
    use super::*;

    fn failed(target: &str, failure: Failure, lines: &[&str]) -> Failed {
        Failed {
            target: target.to_owned(),
            failure,
            lines: lines.iter().map(ToString::to_string).collect(),
            log: Some(PathBuf::from(format!(".basegen/logs/{target}.log"))),
            elapsed: Duration::from_secs(8),
        }
    }

    fn record(failed: Vec<Failed>) -> Record {
        Record { failed, ..Record::default() }
    }

    #[test]
    fn a_failure_has_all_details() {
        let failure = Failure {
            platform: Some("linux/arm64".parse().expect("a platform")),
            hint: Some("torch 9 does not exist; see requirements.txt".to_owned()),
            ..failure()
        };
        let lines = ["Collecting torch==9", "ERROR: No matching distribution found for torch==9"];
        let record = record(vec![failed("3.9-server", failure, &lines)]);
        insta::assert_snapshot!(failures(&record, Style::default()));
    }

    #[test]
    fn a_shared_failure_is_shown_once() {
        let mut other = failure();
        other.exit_code = Some(100);
        let elsewhere = |target: &str, line| {
            let mut failure = failure();
            failure.message = format!("failed to build `{target}`: exit code: 1");
            failure.source.as_mut().expect("a source").line = line;
            failure.step.as_mut().expect("a step").number = line;
            failure
        };
        let mut all: Vec<Failed> = (9..=14)
            .flat_map(|minor| ["server", "gpu-server"].map(|kind| format!("3.{minor}-{kind}")))
            .zip(20..)
            .map(|(target, line)| failed(&target, elsewhere(&target, line), &[]))
            .collect();
        all[7].lines = vec!["no space left on device".to_owned()];
        all.insert(3, failed("3.10-training", other, &["E: Unable to locate package"]));
        insta::assert_snapshot!(failures(&record(all), Style::default()));
    }

    #[test]
    fn a_failure_without_a_step_is_short() {
        let failure = Failure {
            kind: FailureKind::Export,
            message: "push to ghcr.io/acme/base: 403 Forbidden: denied".to_owned(),
            step: None,
            source: None,
            exit_code: None,
            platform: None,
            hint: Some("run `docker login ghcr.io`\nor set `--registry`".to_owned()),
        };
        let mut failed = failed("3.9-server", failure, &[]);
        failed.log = None;
        insta::assert_snapshot!(failures(&record(vec![failed]), Style::default()));
    }

    #[test]
    fn control_characters_in_failures_are_removed() {
        let mut failure = failure();
        failure.message = "exit\u{1b}[2J\r\nerror: all is well".to_owned();
        failure.hint = Some("a\u{7}b".to_owned());
        let record = record(vec![failed("3.9\nserver", failure, &["x"])]);
        insta::assert_snapshot!(failures(&record, Style::default()));
    }
}
