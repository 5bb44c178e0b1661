//! Shows the progress and the outcome of runs.
//!
//! [`RunReport`] connects the listeners of a run's [events](crate::event): the `Logs`, the recorder of the
//! [`Record`], and one [`Display`], such as the live table of `Terminal`. At the end it prints failures and
//! totals. Only [`Printer`] writes to stdout and stderr, except for `Terminal` while it draws.

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
mod text;
mod workflow_command;

pub use guard::{Guard, escape_json};
pub use mask::Mask;
pub use outputs::{MAX_OUTPUTS, Outputs};
pub use printer::{Printer, Stream};
pub use record::{Failed, Finished, Record, Unchanged};
pub use style::{ColorSignals, Style, Verbosity};
pub use summary::published;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::event::{Event, Events, Listener};

use self::failure::failures;
use self::github::GitHub;
use self::json::Json;
use self::logs::Logs;
use self::mask::Masked;
use self::plain::Plain;
use self::record::Recorder;
use self::summary::{cancelled, totals};
use self::terminal::Terminal;

/// The presentation of a run in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Display {
    Terminal,
    Plain,
    Json,
    /// Groups and annotations for GitHub Actions.
    GitHub,
}

impl Display {
    /// Returns the default display for stderr. The live table needs a terminal with cursor control.
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

/// The options of a report.
#[derive(Debug, Clone)]
pub struct ReportRequest {
    pub display: Display,
    pub style: Style,
    /// The folder of the full logs.
    pub logs: PathBuf,
    /// The file of `GITHUB_STEP_SUMMARY`, if a job summary should be written.
    pub step_summary: Option<PathBuf>,
    /// Hides secrets in all output.
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
    /// Creates a report that prints through `printer`.
    #[must_use]
    pub fn new(request: ReportRequest, mut printer: Printer) -> Self {
        printer.mask(&request.mask);
        if request.display == Display::GitHub {
            printer = printer.for_actions();
        }
        let logs = Arc::new(Logs::new(request.logs.clone()));
        let recorder = Arc::new(Recorder::new(Arc::clone(&logs)));
        // The logs come first: other listeners read them at the end of a target.
        let mut listeners: Vec<Arc<dyn Listener>> = vec![logs.clone(), recorder.clone()];
        listeners.extend(display(&request, &printer, &logs));
        let listener: Arc<dyn Listener> = Arc::new(Fanout(listeners));
        let listener = Arc::new(Masked { mask: request.mask.clone(), listener });
        Self { request, printer, logs, recorder, listener }
    }

    /// Returns the sink for the events of the run.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::to(Arc::clone(&self.listener))
    }

    /// Returns the outcome so far, in plan order.
    #[must_use]
    pub fn record(&self) -> Record {
        self.recorder.record()
    }

    /// Records the sizes of images in bytes, by target id.
    pub fn record_sizes(&self, sizes: impl IntoIterator<Item = (String, u64)>) {
        self.recorder.record_sizes(sizes.into_iter());
    }

    /// Records the targets whose images other jobs have built for this run, and whether all steps were
    /// cached.
    pub fn record_staged(&self, targets: impl IntoIterator<Item = (String, bool)>) {
        self.recorder.record_staged(targets.into_iter());
    }

    /// Prints the cancelled targets, the failures and the totals to stderr, after all other output. The JSON
    /// display omits them. `is_tagged` selects references instead of repositories in the job summary.
    pub fn conclude(&self, is_tagged: bool) {
        let record = self.record();
        let mut text = self.problems(&record, is_tagged);
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

    /// Writes the job summary and returns warnings about incomplete reports. The run does not fail.
    fn problems(&self, record: &Record, is_tagged: bool) -> String {
        let mut warnings = String::new();
        let mut warn = |problem: &str| {
            warnings.push_str(&lines::warning(None, problem, self.request.style));
            warnings.push('\n');
        };
        if let Some(error) = self.logs.error() {
            warn(&format!("logs are incomplete: {error}"));
        }
        if let Some(path) = &self.request.step_summary
            && let Err(error) = markdown::append(path, record, is_tagged)
        {
            warn(&format!("failed to write the job summary: {error}"));
        }
        warnings
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
        // Failures are printed at the end.
        _ if style.verbosity == Verbosity::Quiet => None,
        Display::Terminal => Some(Arc::new(Terminal::stderr(style))),
        Display::Plain => Some(Arc::new(Plain::new(stream, style))),
    }
}

/// Forwards every event to several listeners in order.
struct Fanout(Vec<Arc<dyn Listener>>);

impl Listener for Fanout {
    fn hear(&self, event: &Event) {
        for listener in &self.0 {
            listener.hear(event);
        }
    }
}

#[cfg(test)]
mod tests;
