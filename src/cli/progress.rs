//! How a run is shown, from arguments and surroundings.

use std::path::{Path, PathBuf};

use crate::report::{Display, Printer, ReportRequest, RunReport, Style, Verbosity};

use super::Environment;
use super::args::{GlobalArgs, Progress, RunningArgs};

/// How many runs' logs are kept in the folder that basegen chooses itself.
const RUNS_KEPT: usize = 20;

/// The report of a run.
pub(super) fn report(
    args: &RunningArgs,
    global: &GlobalArgs,
    environment: &Environment,
    printer: &Printer,
) -> RunReport {
    let is_actions = environment.variable("GITHUB_ACTIONS") == Some("true");
    let display = match args.progress {
        Progress::Auto => Display::automatic(
            environment.stderr_is_terminal(),
            environment.variable("TERM"),
            is_actions,
        ),
        Progress::Tty => Display::Terminal,
        Progress::Plain => Display::Plain,
        Progress::Json => Display::Json,
        Progress::Github => Display::GitHub,
    };
    let verbosity = match (global.quiet, global.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    let style = Style { color: environment.stderr_color(), verbosity, width: environment.width() };
    let request = ReportRequest {
        display,
        style,
        logs: args.log_dir.clone().unwrap_or_else(|| log_folder(environment)),
        step_summary: environment.path("GITHUB_STEP_SUMMARY").filter(|_| is_actions),
    };
    RunReport::new(request, printer.clone())
}

/// A folder for the logs of this run; those of long ago are removed.
fn log_folder(environment: &Environment) -> PathBuf {
    let state = environment
        .path("XDG_STATE_HOME")
        .or_else(|| environment.path("HOME").map(|home| home.join(".local/state")));
    let runs = state.unwrap_or_else(std::env::temp_dir).join("basegen/logs");
    remove_old(&runs);
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    runs.join(format!("{now}-{}", std::process::id()))
}

/// Removes all but the newest runs; their names sort by time. A log that cannot be removed
/// is no reason not to build.
fn remove_old(runs: &Path) {
    let Ok(entries) = fs_err::read_dir(runs) else { return };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let old = folders.len().saturating_sub(RUNS_KEPT - 1);
    for folder in &folders[..old] {
        let _ = fs_err::remove_dir_all(folder);
    }
}
