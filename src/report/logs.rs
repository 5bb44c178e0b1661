//! Writes the full log of each target to a file.

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

/// The maximum length of a file name without `.log`, in bytes. File systems allow 255.
const MAX_STEM: usize = 120;

/// Writes `<directory>/<target>.log` for every target with output.
///
/// The lines have the form `#<step> <line>`, since concurrent steps interleave. Files are open only during
/// the build of their target.
pub struct Logs {
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<String, BufWriter<File>>,
    paths: HashMap<String, PathBuf>,
    /// The first error. Logging ends after it.
    error: Option<io::Error>,
}

impl Logs {
    /// Creates logs in `directory`. The directory is created with the first file.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, state: Mutex::default() }
    }

    /// Returns the log file of `target`, if there is one.
    #[must_use]
    pub fn path(&self, target: &str) -> Option<PathBuf> {
        lock(&self.state).paths.get(target).cloned()
    }

    /// Returns the error that ended logging, if any.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        lock(&self.state).error.as_ref().map(ToString::to_string)
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
            // The target has more output after its end.
            let file = File::options().append(true).open(path)?;
            return Ok(BufWriter::new(file));
        }
        fs::create_dir_all(&self.directory)?;
        let path = log_path(&self.directory, target);
        let file = File::create(&path)?;
        state.paths.insert(target.to_owned(), path);
        Ok(BufWriter::new(file))
    }

    fn update(&self, state: &mut State, event: &Event) -> io::Result<()> {
        let Some(target) = event.target() else {
            return Ok(());
        };
        if let Some(entry) = entry(event) {
            self.write(state, target, &entry)?;
        }
        if matches!(event, Event::StepFinished { .. })
            && let Some(file) = state.open.get_mut(target)
        {
            // For readers of the unfinished log, and in case the run is killed.
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
        if state.error.is_some() {
            return;
        }
        if let Err(error) = self.update(&mut state, event) {
            state.open.clear();
            state.error = Some(error);
        }
    }
}

/// Returns the log line for `event`, if it has one.
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

/// Returns the log file of `target`. If the id is no safe file name, a digest makes the name unique.
fn log_path(directory: &Path, target: &str) -> PathBuf {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_safe = !target.is_empty()
        && target.len() <= MAX_STEM
        && !target.starts_with(['.', '-'])
        && target.chars().all(is_plain)
        // File names on macOS are not case-sensitive.
        && !target.contains(|c: char| c.is_ascii_uppercase());
    if is_safe {
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
    use super::super::tests::scripted::{log, run_of_three, send};
    use super::*;

    #[test]
    fn a_log_contains_every_step_of_its_target() {
        let directory = tempfile::tempdir().expect("a directory");
        let logs = Logs::new(directory.path().join("logs"));
        send(&logs, &run_of_three());
        let path = logs.path("3.11-gpu-server").expect("a log");
        assert_eq!(path, directory.path().join("logs/3.11-gpu-server.log"));
        insta::assert_snapshot!(fs::read_to_string(path).expect("a log"));
        assert!(lock(&logs.state).open.is_empty());
        assert_eq!(logs.path("3.12-server"), None, "a cancelled target has no output");
    }

    #[test]
    fn control_characters_are_removed() {
        let line = "a\r::error::b\n#9 done\u{1b}[2J";
        let entry = entry(&log("x", 3, line)).expect("an entry");
        assert_eq!(entry, "#3 a ::error::b #9 done");
    }

    #[test]
    fn unsafe_names_become_unique_file_names() {
        let directory = Path::new("logs");
        let paths = ["../../etc/passwd", "a/b", "a_b", "A_b", "", "-rf", &"x".repeat(500)]
            .map(|target| log_path(directory, target));
        for path in &paths {
            assert_eq!(path.parent(), Some(directory), "{}", path.display());
            assert!(path.as_os_str().len() < 200, "{}", path.display());
        }
        let folded: std::collections::HashSet<String> =
            paths.iter().map(|path| path.display().to_string().to_lowercase()).collect();
        assert_eq!(folded.len(), paths.len());
    }

    #[test]
    fn an_unusable_directory_ends_logging() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let logs = Logs::new(file.path().join("logs"));
        send(&logs, &run_of_three());
        assert!(logs.error().is_some());
        assert_eq!(logs.path("3.11-gpu-server"), None);
    }
}
