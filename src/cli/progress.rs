//! The report of a run: its display and the folder of its logs.

use std::path::{Path, PathBuf};

use crate::error::FileError;
use crate::report::{Display, Mask, ReportRequest, RunReport};

use super::Session;
use super::args::{Progress, ProgressArgs};

/// The number of runs whose logs are kept in the default folder.
const RUNS_KEPT: usize = 20;

/// Creates the report of a run.
pub(super) fn report(
    args: &ProgressArgs,
    session: &Session,
    mask: Mask,
) -> Result<RunReport, FileError> {
    let Session { context, printer, display, style } = session;
    let display = match args.progress {
        Progress::Auto => *display,
        Progress::Tty => Display::Terminal,
        Progress::Plain => Display::Plain,
        Progress::Json => Display::Json,
        Progress::Github => Display::GitHub,
    };
    let request = ReportRequest {
        display,
        style: *style,
        logs: match &args.log_dir {
            Some(folder) => folder.clone(),
            None => log_folder(context.settings.state_folder.as_deref())?,
        },
        mask,
        step_summary: context.settings.github.step_summary.clone(),
    };
    Ok(RunReport::new(request, printer.clone()))
}

/// Returns a folder for the logs of this run: below the user's state folder, whose old logs it removes, or for a user
/// without a home a new temporary folder.
fn log_folder(state: Option<&Path>) -> Result<PathBuf, FileError> {
    let Some(state) = state else {
        let folder = tempfile::Builder::new().prefix("basegen-logs-").tempdir();
        return folder
            .map(tempfile::TempDir::keep)
            .map_err(FileError::failed_to("create a folder for the logs"));
    };
    let runs = state.join("logs");
    remove_old(&runs);
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    Ok(runs.join(format!("{now}-{}", std::process::id())))
}

/// Removes the logs of all but the newest runs; their names sort by time. A failure is ignored: it must not stop a build.
fn remove_old(runs: &Path) {
    let is_folder = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_dir());
    if !is_folder(runs) {
        return;
    }
    let Ok(entries) = fs_err::read_dir(runs) else { return };
    let of_runs = entries.flatten().filter(|entry| is_run(&entry.file_name().to_string_lossy()));
    let mut folders: Vec<PathBuf> =
        of_runs.map(|entry| entry.path()).filter(|path| is_folder(path)).collect();
    folders.sort();
    let old = folders.len().saturating_sub(RUNS_KEPT - 1);
    for folder in &folders[..old] {
        let _ = fs_err::remove_dir_all(folder);
    }
}

/// Returns true for a name as [`log_folder`] creates it: `20260102T030405Z-678`.
fn is_run(name: &str) -> bool {
    let Some((time, process)) = name.split_once('-') else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let time = time.strip_suffix('Z').and_then(|time| time.split_once('T'));
    is_number(process) && time.is_some_and(|(date, time)| is_number(date) && is_number(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_runs_are_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let name = |day: usize| format!("202601{day:02}T000000Z-{day}");
        for day in 1..=25 {
            fs_err::create_dir(folder.path().join(name(day))).expect("a folder");
        }
        fs_err::create_dir(folder.path().join("0-mine")).expect("a folder");
        fs_err::write(folder.path().join("20250101T000000Z-1"), "").expect("a file");
        remove_old(folder.path());
        let left = fs_err::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, RUNS_KEPT - 1 + 2);
        assert!(!folder.path().join(name(6)).exists() && folder.path().join(name(7)).exists());
    }

    #[test]
    fn old_logs_behind_a_symbolic_link_are_not_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let other = tempfile::tempdir().expect("a folder");
        for day in 10..40 {
            fs_err::create_dir(other.path().join(format!("202601{day}T0Z-1"))).expect("a folder");
        }
        let link = folder.path().join("logs");
        std::os::unix::fs::symlink(other.path(), &link).expect("a link");
        remove_old(&link);
        assert_eq!(fs_err::read_dir(other.path()).expect("a folder").count(), 30);
    }
}
