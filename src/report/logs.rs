//! Each target's full log as a file, and how a step's part of it reads.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use fs_err as fs;
use fs_err::File;

use crate::event::{Event, Listener};
use crate::image::Digest;

use super::format;
use super::printer::lock;
use super::text::clean;

/// The longest stem of a log's file name, in bytes; file systems stop at 255.
const MAX_STEM: usize = 120;

/// Writes `<directory>/<target>.log` for every target that has something to log.
///
/// A file is open only while its target is being built, and holds every line as
/// `#<step> <line>`, since steps that run side by side write in turns.
pub struct Logs {
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<String, BufWriter<File>>,
    paths: HashMap<String, PathBuf>,
    /// The first failure to write; logs are given up after it, the run is not.
    trouble: Option<io::Error>,
}

impl Logs {
    /// Logs go to `directory`, which is created with the first of them.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, state: Mutex::default() }
    }

    /// The log of `target`, where it has one.
    #[must_use]
    pub fn path(&self, target: &str) -> Option<PathBuf> {
        lock(&self.state).paths.get(target).cloned()
    }

    /// Why logs are missing, where some are.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        lock(&self.state).trouble.as_ref().map(ToString::to_string)
    }

    fn write(&self, state: &mut State, target: &str, entry: &str) -> io::Result<()> {
        if !state.open.contains_key(target) {
            let file = self.open(state, target)?;
            state.open.insert(target.to_owned(), file);
        }
        match state.open.get_mut(target) {
            Some(file) => writeln!(file, "{entry}"),
            None => Ok(()),
        }
    }

    fn open(&self, state: &mut State, target: &str) -> io::Result<BufWriter<File>> {
        if let Some(path) = state.paths.get(target) {
            // The target spoke again after its end: its log goes on.
            let file = File::options().append(true).open(path)?;
            return Ok(BufWriter::new(file));
        }
        fs::create_dir_all(&self.directory)?;
        let path = log_path(&self.directory, target);
        let file = File::create(&path)?;
        state.paths.insert(target.to_owned(), path);
        Ok(BufWriter::new(file))
    }

    fn note(&self, state: &mut State, event: &Event) -> io::Result<()> {
        let Some(target) = event.target() else {
            return Ok(());
        };
        if let Some(entry) = entry(event) {
            self.write(state, target, &entry)?;
        }
        if matches!(event, Event::StepFinished { .. })
            && let Some(file) = state.open.get_mut(target)
        {
            // For whoever follows the file, and for a run that is killed.
            file.flush()?;
        }
        if event.ends_target()
            && let Some(mut file) = state.open.remove(target)
        {
            file.flush()?;
        }
        Ok(())
    }
}

impl Listener for Logs {
    fn hear(&self, event: &Event) {
        let mut state = lock(&self.state);
        if state.trouble.is_some() {
            return;
        }
        if let Err(error) = self.note(&mut state, event) {
            state.open.clear();
            state.trouble = Some(error);
        }
    }
}

/// What `event` adds to its target's log, as one line.
pub(super) fn entry(event: &Event) -> Option<String> {
    let (step, text) = match event {
        Event::StepStarted { step, .. } => (step.number, clean(&step.name).into_owned()),
        Event::Log { step, line, .. } => (*step, clean(line).into_owned()),
        Event::StepFinished { step, cached, elapsed, error, .. } => {
            let text = match (error, cached) {
                (Some(error), _) => format!("failed: {}", clean(error)),
                (None, true) => format!("{} cached", clean(&step.name)),
                (None, false) => format!("done {}", format::duration(*elapsed)),
            };
            (step.number, text)
        }
        _ => return None,
    };
    Some(format!("#{step} {text}"))
}

/// Where `target`'s log is: under its own name where that can be a file's name, else
/// under one that no other target has.
fn log_path(directory: &Path, target: &str) -> PathBuf {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_own = !target.is_empty()
        && target.len() <= MAX_STEM
        && !target.starts_with(['.', '-'])
        && target.chars().all(is_plain)
        // Two names that differ in case alone are one file on macOS.
        && !target.contains(|c: char| c.is_ascii_uppercase());
    if is_own {
        return directory.join(format!("{target}.log"));
    }
    let plain: String =
        target.chars().map(|c| if is_plain(c) { c } else { '_' }).take(MAX_STEM).collect();
    let digest = Digest::of(target.as_bytes()).hex();
    let stem = plain.trim_start_matches(['.', '-']);
    directory.join(format!("{stem}-{}.log", &digest[..12]))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{log, run_of_three, tell};
    use super::*;

    #[test]
    fn a_log_holds_every_step_of_its_target() {
        let directory = tempfile::tempdir().expect("a directory");
        let logs = Logs::new(directory.path().join("logs"));
        tell(&logs, &run_of_three());
        let path = logs.path("3.11-gpu-server").expect("a log");
        assert_eq!(path, directory.path().join("logs/3.11-gpu-server.log"));
        insta::assert_snapshot!(fs::read_to_string(path).expect("a log"));
        assert!(lock(&logs.state).open.is_empty());
        assert_eq!(logs.path("3.12-server"), None, "a cancelled target said nothing");
    }

    #[test]
    fn a_hostile_line_stays_one_line() {
        let line = "a\r::error::b\n#9 done\u{1b}[2J";
        let entry = entry(&log("x", 3, line)).expect("an entry");
        assert_eq!(entry, "#3 a ::error::b #9 done");
    }

    #[test]
    fn names_that_are_no_file_names_get_their_own() {
        let directory = Path::new("logs");
        let named = ["../../etc/passwd", "a/b", "a_b", "A_b", "", "-rf", &"x".repeat(500)]
            .map(|target| log_path(directory, target));
        for path in &named {
            assert_eq!(path.parent(), Some(directory), "{}", path.display());
            assert!(path.as_os_str().len() < 200, "{}", path.display());
        }
        let folded: std::collections::HashSet<String> =
            named.iter().map(|path| path.display().to_string().to_lowercase()).collect();
        assert_eq!(folded.len(), named.len());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_told_and_nothing_more() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let logs = Logs::new(file.path().join("logs"));
        tell(&logs, &run_of_three());
        assert!(logs.trouble().is_some());
        assert_eq!(logs.path("3.11-gpu-server"), None);
    }
}
