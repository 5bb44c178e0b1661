//! What a run looks like from outside: listeners to [events](crate::event), and the end
//! of the story.
//!
//! [`RunReport`] puts together what a run needs: the full logs, the record of what came
//! of it, and one [`Display`]. Nothing here reads the environment, and only [`Printer`]
//! writes to stdout and stderr, but for [`Terminal`], which owns stderr while it draws.

mod board;
mod command;
mod failure;
pub mod format;
pub mod github;
mod guard;
mod json;
mod lines;
mod logs;
pub mod markdown;
mod mask;
mod outputs;
mod plain;
mod printer;
mod record;
mod screen;
mod style;
mod summary;
mod tail;
mod terminal;
#[cfg(test)]
mod testing;
mod text;

pub use failure::failures;
pub use github::GitHub;
pub use guard::{Guard, escape_json};
pub use json::{Json, SCHEMA};
pub use logs::Logs;
pub use mask::Mask;
pub use outputs::{MAX_OUTPUTS, Outputs};
pub use plain::Plain;
pub use printer::{Printer, Stream, StreamLock};
pub use record::{Failed, Finished, Record, Unchanged};
pub use style::{ColorSignals, Style, Verbosity};
pub use summary::{cancelled, published, totals};
pub use terminal::Terminal;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::event::{Event, Events, Listener};

use mask::Masked;
use record::Recorder;

/// How a run is shown while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Display {
    /// Bars that move.
    Terminal,
    /// Prefixed lines.
    Plain,
    /// One event a line, as JSON.
    Json,
    /// GitHub Actions' groups and annotations.
    GitHub,
}

impl Display {
    /// What suits stderr best: bars need a terminal that can move its cursor.
    #[must_use]
    pub fn automatic(is_terminal: bool, term: Option<&str>, is_github_actions: bool) -> Self {
        if is_github_actions {
            Self::GitHub
        } else if is_terminal && term != Some("dumb") {
            Self::Terminal
        } else {
            Self::Plain
        }
    }
}

/// How a run shall be reported.
#[derive(Debug, Clone)]
pub struct ReportRequest {
    /// How it is shown while it goes on.
    pub display: Display,
    /// In what dress.
    pub style: Style,
    /// Where every target's full log goes.
    pub logs: PathBuf,
    /// The file that `GITHUB_STEP_SUMMARY` names, where a job summary is wanted.
    pub step_summary: Option<PathBuf>,
    /// What is never told.
    pub mask: Mask,
}

/// The report of one run.
pub struct RunReport {
    request: ReportRequest,
    printer: Printer,
    logs: Arc<Logs>,
    recorder: Arc<Recorder>,
    listener: Arc<dyn Listener>,
}

impl RunReport {
    /// A report that shows itself through `printer`.
    #[must_use]
    pub fn new(request: ReportRequest, mut printer: Printer) -> Self {
        printer.mask(&request.mask);
        if request.display == Display::GitHub {
            printer = printer.for_actions();
        }
        let logs = Arc::new(Logs::new(request.logs.clone()));
        let recorder = Arc::new(Recorder::new(Arc::clone(&logs)));
        // The logs come first: the others read them when a target ends.
        let mut listeners: Vec<Arc<dyn Listener>> = vec![logs.clone(), recorder.clone()];
        listeners.extend(display(&request, &printer, &logs));
        let listener: Arc<dyn Listener> = Arc::new(Fanout(listeners));
        let listener = Arc::new(Masked { mask: request.mask.clone(), listener });
        Self { request, printer, logs, recorder, listener }
    }

    /// Where the run says what happens.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::to(Arc::clone(&self.listener))
    }

    /// What the run has come to so far, in plan order.
    #[must_use]
    pub fn record(&self) -> Record {
        self.recorder.record()
    }

    /// Notes how many bytes images are, by their targets' ids, for the end of the story.
    pub fn note_sizes(&self, sizes: impl IntoIterator<Item = (String, u64)>) {
        self.recorder.note_sizes(sizes.into_iter());
    }

    /// Notes that the images of these targets were built elsewhere for this run, and for each
    /// whether no step had to run.
    pub fn note_staged(&self, targets: impl IntoIterator<Item = (String, bool)>) {
        self.recorder.note_staged(targets.into_iter());
    }

    /// Tells the end on stderr, after everything else was printed: what was cancelled,
    /// each failure in full, the totals. Programs that read JSON have it all already. Whether the
    /// images are `named` by their references is for the job summary.
    pub fn conclude(&self, named: bool) {
        let record = self.record();
        let mut text = self.troubles(&record, named);
        text.push_str(&self.ending(&record));
        match self.request.display {
            Display::Json => {}
            Display::GitHub => {
                self.printer.message(&text);
                self.printer.err.commands(&github::annotations(&record));
            }
            Display::Terminal | Display::Plain => self.printer.message(&text),
        }
    }

    fn ending(&self, record: &Record) -> String {
        let style = self.request.style;
        if style.verbosity == Verbosity::Quiet {
            return failures(record, style);
        }
        let cancelled = cancelled(record, style);
        let failures = failures(record, style);
        format!("{cancelled}{failures}{}\n", totals(record, style))
    }

    /// What kept the report itself from being complete; the run does not fail for it.
    fn troubles(&self, record: &Record, named: bool) -> String {
        let summary = self.request.step_summary.as_deref();
        let summary = summary.and_then(|path| markdown::append(path, record, named).err());
        let summary = summary.map(|error| format!("no job summary: {error}"));
        let logs = self.logs.trouble();
        let logs = logs.map(|error| format!("logs are incomplete: {error}"));
        [logs, summary]
            .into_iter()
            .flatten()
            .map(|trouble| lines::warning(None, &trouble, self.request.style) + "\n")
            .collect()
    }
}

impl fmt::Debug for RunReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = &self.request;
        formatter.debug_tuple("RunReport").field(request).finish()
    }
}

fn display(
    request: &ReportRequest,
    printer: &Printer,
    logs: &Arc<Logs>,
) -> Option<Arc<dyn Listener>> {
    let style = request.style;
    let stream = printer.err.clone();
    match request.display {
        Display::Json => Some(Arc::new(Json::new(stream, SystemTime::now))),
        Display::GitHub => Some(Arc::new(GitHub::new(stream, style, Arc::clone(logs)))),
        // Failures are told at the end, and there is nothing else to tell.
        _ if style.verbosity == Verbosity::Quiet => None,
        Display::Terminal => Some(Arc::new(Terminal::stderr(style))),
        Display::Plain => Some(Arc::new(Plain::new(stream, style))),
    }
}

/// Several listeners, each told of every event in this order.
pub struct Fanout(pub Vec<Arc<dyn Listener>>);

impl Listener for Fanout {
    fn hear(&self, event: &Event) {
        for listener in &self.0 {
            listener.hear(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Written, run_of_three};
    use super::*;

    fn report(display: Display, verbosity: Verbosity) -> (String, String) {
        let directory = tempfile::tempdir().expect("a directory");
        let (out, err) = (Written::default(), Written::default());
        let printer = Printer { out: out.stream(), err: err.stream(), quiet: false };
        let style = Style { verbosity, ..Style::default() };
        let request = ReportRequest {
            display,
            style,
            logs: directory.path().join("logs"),
            step_summary: Some(directory.path().join("summary.md")),
            mask: Mask::none(),
        };
        let report = RunReport::new(request, printer.clone());
        for event in run_of_three() {
            report.events().emit(&event);
        }
        let record = report.record();
        for one in &record.finished {
            printer.result(&published(&one.references, &one.digest));
        }
        report.conclude(true);
        let summary = fs_err::read_to_string(directory.path().join("summary.md"));
        assert!(summary.is_ok_and(|text| text.starts_with("### basegen")));
        let place = directory.path().display().to_string();
        (out.text(), err.text().replace(&place, "DIRECTORY"))
    }

    #[test]
    fn results_go_to_stdout_and_the_story_to_stderr() {
        let (out, err) = report(Display::Plain, Verbosity::Normal);
        insta::assert_snapshot!(format!("{out}---\n{err}"));
    }

    #[test]
    fn quiet_tells_failures_alone() {
        let (_, err) = report(Display::Plain, Verbosity::Quiet);
        insta::assert_snapshot!(err);
    }

    #[test]
    fn json_is_followed_by_nothing_else() {
        let (_, err) = report(Display::Json, Verbosity::Normal);
        let is_object = |line: &str| line.starts_with("{\"schema\":1,\"time\":\"");
        assert!(err.lines().all(is_object), "{err}");
    }

    #[test]
    fn github_gets_its_annotations_last() {
        let (_, err) = report(Display::GitHub, Verbosity::Normal);
        let last = err.lines().last().unwrap_or_default();
        assert!(last.starts_with("::error title=3.9-server failed,"), "{last}");
    }

    #[test]
    fn the_display_follows_where_stderr_goes() {
        let displays = [
            Display::automatic(true, Some("xterm"), false),
            Display::automatic(true, Some("dumb"), false),
            Display::automatic(false, None, false),
            Display::automatic(true, Some("xterm"), true),
        ];
        let expected = [Display::Terminal, Display::Plain, Display::Plain, Display::GitHub];
        assert_eq!(displays, expected);
    }
}
