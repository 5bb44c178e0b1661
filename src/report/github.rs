//! The display for GitHub Actions: a folded group for each variant, and annotations for failures.
//!
//! The runner executes lines that begin with `::` or contain `##[`, see [workflow commands][commands]. The
//! output of builds must never contain such a line.
//!
//! [commands]: https://docs.github.com/actions/reference/workflow-commands-for-github-actions

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use fs_err::File;

use crate::event::{Event, Listener};

use super::command::line;
use super::failure::{Group, cause, groups};
use super::lines;
use super::logs::Logs;
use super::printer::{Stream, StreamLock};
use super::record::Record;
use super::style::Style;
use super::text::clean;
pub use super::workflow_command::Command;

/// Writes the log of each variant when the variant ends, so that concurrent builds do not interleave.
///
/// It reads the files of `Logs`, and must therefore receive events after it.
pub struct GitHub {
    stream: Stream,
    style: Style,
    logs: Arc<Logs>,
}

impl GitHub {
    /// Creates a display that writes groups with the content of `logs` to `stream`.
    #[must_use]
    pub fn new(stream: Stream, style: Style, logs: Arc<Logs>) -> Self {
        Self { stream, style, logs }
    }

    fn group(&self, target: &str, mark: &str, text: &str) {
        let mut stream = self.stream.lock();
        let title = format!("{mark} {}  {text}", clean(target));
        let Some(path) = self.logs.path(target) else {
            stream.line(&title);
            return;
        };
        stream.command(&Command::new("group", &[], &title));
        copy(&path, &mut stream);
        stream.command(&Command::new("endgroup", &[], ""));
    }
}

impl Listener for GitHub {
    fn hear(&self, event: &Event) {
        let is_shown = match event {
            Event::TargetFailed { .. } => true,
            // Variants that never started are listed at the end of the run.
            Event::TargetCancelled { target, .. } => {
                self.style.is_normal() && self.logs.path(target).is_some()
            }
            _ => self.style.is_normal(),
        };
        if !is_shown {
            return;
        }
        if let Event::Warning { target, message } = event {
            let properties: Vec<_> = target.iter().map(|id| ("title", id.clone())).collect();
            let command = Command::new("warning", &properties, message);
            self.stream.lock().command(&command);
            return;
        }
        if let Some(opening) = lines::of_run(event, self.style) {
            self.stream.lock().line(&opening);
        }
        if let (Some(target), Some((mark, text))) =
            (event.target(), lines::ending(event, self.style))
        {
            self.group(target, &mark, &text);
        }
    }
}

fn copy(path: &Path, stream: &mut StreamLock<'_>) {
    let Ok(file) = File::open(path) else {
        return;
    };
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let text = String::from_utf8_lossy(&line);
        stream.line(&text);
        line.clear();
    }
}

/// Returns an annotation for each failure of `record`, for the page of the workflow run.
#[must_use]
pub fn annotations(record: &Record) -> Vec<Command> {
    groups(record).iter().map(annotation).collect()
}

/// Returns an annotation for a line of a file.
#[must_use]
pub fn at_line(name: &'static str, file: &str, line: usize, message: &str) -> Command {
    Command::new(name, &[("file", file.to_owned()), ("line", line.to_string())], message)
}

fn annotation(group: &Group<'_>) -> Command {
    let failure = &group.first.failure;
    let mut properties = vec![("title", format!("{} failed", group.title()))];
    let mut message = match (cause(failure), &failure.step, failure.exit_code) {
        ("", Some(step), Some(code)) => format!("{}: exit code {code}", line(step)),
        (cause, ..) => cause.to_owned(),
    };
    if let Some(source) = &failure.source {
        properties.push(("file", source.file.clone()));
        properties.push(("line", source.line.to_string()));
        properties.extend(source.column.map(|column| ("col", column.to_string())));
        let _ = write!(message, "\n{}", source.text);
    }
    for line in &group.first.lines {
        let _ = write!(message, "\n  {line}");
    }
    if let Some(hint) = &failure.hint {
        let _ = write!(message, "\nhint: {hint}");
    }
    Command::new("error", &properties, &message)
}

/// Returns an annotation for the error of a command, in the format of [`crate::error::Report`].
#[must_use]
pub fn failure(error: &str) -> Command {
    let message = error.strip_prefix("error: ").unwrap_or(error);
    Command::new("error", &[("title", "basegen failed".to_owned())], message)
}

#[cfg(test)]
mod tests {
    use super::super::record::Recorder;
    use super::super::style::Verbosity;
    use super::super::tests::scripted::{
        Written, failed, failure as build_failure, log, run_of_three, run_started, warning,
    };
    use super::*;

    struct Output {
        text: String,
        record: Record,
    }

    fn annotation_lines(record: &Record) -> String {
        annotations(record).iter().map(|command| format!("{command}\n")).collect()
    }

    fn report(verbosity: Verbosity, events: &[Event]) -> Output {
        let directory = tempfile::tempdir().expect("a directory");
        let logs = Arc::new(Logs::new(directory.path().to_owned()));
        let recorder = Recorder::new(Arc::clone(&logs));
        let written = Written::default();
        let style = Style { verbosity, ..Style::default() };
        let github = GitHub::new(written.stream_for_actions(), style, Arc::clone(&logs));
        for event in events {
            logs.hear(event);
            recorder.hear(event);
            github.hear(event);
        }
        Output { text: written.text(), record: recorder.record() }
    }

    #[test]
    fn each_variant_is_a_group() {
        let output = report(Verbosity::Normal, &run_of_three());
        insta::assert_snapshot!(format!("{}{}", output.text, annotation_lines(&output.record)));
    }

    #[test]
    fn quiet_shows_only_failures() {
        let output = report(Verbosity::Quiet, &run_of_three());
        let groups: Vec<&str> =
            output.text.lines().filter(|line| line.starts_with("::group")).collect();
        assert_eq!(groups.len(), 1);
        assert!(groups[0].contains("3.9-server"));
    }

    #[test]
    fn the_output_of_builds_contains_no_workflow_commands() {
        let hostile = [
            "::set-env name=PATH::/tmp",
            "  ::add-mask::x",
            "progress\r::error::owned",
            "##[add-path]/tmp",
            "text ##[set-output name=a]b",
            "::endgroup::",
            "100%0A::error::x",
        ];
        let mut events = vec![run_started(&["a:b,c%"])];
        events.extend(hostile.map(|line| log("a:b,c%", 1, line)));
        let mut failure = build_failure();
        failure.message = "100%\r\n::error::x, y: z".to_owned();
        failure.source.as_mut().expect("a source").file = "a,b:c%/Dockerfile\n".to_owned();
        events.extend([
            warning(Some("a:b\n::error::x"), "first\n::error::second"),
            failed("a:b,c%", failure),
            failed("::error::id", build_failure()),
        ]);
        let output = report(Verbosity::Normal, &events);
        let text = format!("{}{}", output.text, annotation_lines(&output.record));
        let commands: Vec<&str> = text
            .lines()
            .filter(|line| line.trim_start().starts_with("::"))
            .filter_map(|line| line.trim_start()[2..].split([' ', ':']).next())
            .collect();
        assert_eq!(commands, ["warning", "group", "endgroup", "error", "error"]);
        assert!(!text.contains("##["), "{text}");
        assert!(!text.contains('\r'), "{text:?}");
        insta::assert_snapshot!(text);
    }
}
