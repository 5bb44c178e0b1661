//! Errors, hints and exit codes.
//!
//! Each room defines its own error types. All of them implement [`Explain`], and convert to a [`Report`], which `main`
//! prints once: the message, its causes and a hint.

mod data;
mod file;

pub(crate) use data::{DataFault, JsonError, type_name};
pub use file::FileError;

use std::error::Error;
use std::fmt;
use std::io;
use std::process;

/// The exit codes of `basegen`. [`ExitCode::TABLE`] lists their numbers and meanings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitCode {
    Success,
    /// A file cannot be read or written, or another error of the environment.
    Failure,
    /// The command line is wrong.
    Usage,
    /// `matrix.toml`, the version constant or a template is wrong.
    Matrix,
    /// The selection matches nothing in the matrix.
    Selection,
    /// No engine can be reached, or it lacks a feature.
    Engine,
    /// At least one variant failed to build.
    Build,
    /// At least one variant was built but could not be pushed or written.
    Export,
    /// A difference was found: by `--check`, by `changed`, or between a release and its registry.
    Drift,
    /// At least one image failed a check.
    Verify,
    /// A registry rejected a request, or cannot be reached.
    Registry,
    /// A version tag already points to a different image.
    Conflict,
    /// `basegen check` found a problem.
    Check,
    /// The forge rejected a request, or cannot be reached.
    Forge,
    Interrupted,
}

impl ExitCode {
    /// Every code with its number and its meaning, in numeric order, for `--help` and the docs.
    pub const TABLE: [(Self, u8, &'static str); 15] = [
        (Self::Success, 0, "success"),
        (Self::Failure, 1, "a file cannot be read or written, or the environment is wrong"),
        (Self::Usage, 2, "the command line is wrong"),
        (Self::Matrix, 3, "matrix.toml, the version constant or a template is wrong"),
        (Self::Selection, 4, "the selection matches nothing in the matrix"),
        (Self::Engine, 5, "no engine can be reached, or it lacks a feature"),
        (Self::Build, 6, "at least one variant failed to build"),
        (Self::Export, 7, "a variant was built, but could not be pushed or written"),
        (Self::Drift, 8, "`--check`, `status` or `changed` found a difference"),
        (Self::Registry, 9, "a registry rejected a request, or cannot be reached"),
        (Self::Verify, 10, "an image failed a check"),
        (Self::Conflict, 11, "a version tag already points to a different image"),
        (Self::Check, 12, "`basegen check` found a problem"),
        (Self::Forge, 13, "the forge rejected the pull request, or cannot be reached"),
        (Self::Interrupted, 130, "interrupted"),
    ];

    /// Returns the table for `--help`.
    pub(crate) fn help() -> String {
        let rows = Self::TABLE.map(|(_, number, meaning)| format!("  {number:<3}  {meaning}"));
        format!("Exit codes:\n{}", rows.join("\n"))
    }

    /// Returns the exit code of the process.
    #[must_use]
    pub fn number(self) -> u8 {
        let row = Self::TABLE.iter().find(|(code, ..)| *code == self);
        row.map_or(1, |(_, number, _)| *number)
    }
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        code.number().into()
    }
}

/// An error with an exit code and optionally a hint.
pub trait Explain: Error + Send + Sync + 'static {
    fn exit_code(&self) -> ExitCode;

    /// Returns advice: an imperative sentence or a command.
    fn hint(&self) -> Option<String> {
        None
    }
}

pub struct Report(Box<dyn Explain>);

impl Report {
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        self.0.exit_code()
    }

    /// Returns the error and a line for each cause, without the hint.
    #[must_use]
    pub fn message(&self) -> String {
        let mut message = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            // Libraries repeat the message of an error that they wrap.
            let text = error.to_string();
            if !message.ends_with(&text) {
                message.push_str("\n  caused by: ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        message
    }
}

impl<E: Explain> From<E> for Report {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Report {
    /// Writes `error: …`, a line for each cause and the hint, without a final newline.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "error: {}", self.message())?;
        let hint = self.0.hint().or_else(|| full_disk(&*self.0).map(str::to_owned));
        if let Some(hint) = hint {
            write!(formatter, "\n\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Returns the hint if `error` or one of its causes is a full disk of this machine.
fn full_disk(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::StorageFull) => {
                return Some("a disk of this machine is full: free some space, and run again");
            }
            Some(io::ErrorKind::QuotaExceeded) => {
                return Some("your quota on a disk of this machine is used up: free some space");
            }
            _ => cause = error.source(),
        }
    }
    None
}

/// Returns a line for each of the first `most` items and one with the number of the others. Each begins with a line break.
pub(crate) fn list<T: fmt::Display>(
    most: usize,
    items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
) -> String {
    let items = items.into_iter();
    let more = items.len().saturating_sub(most);
    let more = (more > 0).then(|| format!("\n  and {more} more"));
    items.take(most).map(|item| format!("\n  {item}")).chain(more).collect()
}

/// Returns `error` and its causes in one line.
#[must_use]
pub fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Transport errors often repeat the text of their cause.
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

/// Parts of the names of URL parameters that contain secrets.
const SECRET_PARAMETERS: [&str; 12] = [
    "accesskeyid",
    "apikey",
    "api_key",
    "credential",
    "passwd",
    "password",
    "secret",
    "signature",
    "token",
    "x-amz-",
    "x-goog-",
    "_state",
];

/// The queries of URLs to redact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queries {
    /// All queries. Registries and engines sign their URLs.
    All,
    /// Queries with a parameter whose name means a secret.
    Secret,
}

/// Replaces queries of URLs by `…`. Returns `None` if there is nothing to redact.
#[must_use]
pub fn redact_queries(text: &str, queries: Queries) -> Option<String> {
    let (mut shown, mut rest, mut is_redacted) = (String::new(), text, false);
    while let Some(at) = rest.find('?') {
        let (before, query) = rest.split_at(at + 1);
        let is_end = |c: char| c.is_whitespace() || "\"'`<>()[]{}\\".contains(c);
        let query = &query[..query.find(is_end).unwrap_or(query.len())];
        shown.push_str(before);
        let is_left_out =
            query.contains('=') && (queries == Queries::All || has_secret_parameter(query));
        shown.push_str(if is_left_out { "…" } else { query });
        is_redacted |= is_left_out;
        rest = &rest[at + 1 + query.len()..];
    }
    shown.push_str(rest);
    is_redacted.then_some(shown)
}

fn has_secret_parameter(query: &str) -> bool {
    let mut parameters = query.split(['&', ';']).filter_map(|parameter| parameter.split_once('='));
    parameters.any(|(name, _)| is_secret_parameter(name))
}

/// Returns true if the value of a URL parameter with this name is a secret.
pub(crate) fn is_secret_parameter(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(name.as_str(), "auth" | "code" | "key" | "sig")
        || SECRET_PARAMETERS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signed URLs and upload states grant access.
    #[test]
    fn queries_of_urls_are_left_out() {
        for (text, all, secret) in [
            (
                "PUT \"https://r.io/v2/a/blobs/uploads/1?_state=abc&digest=x\": 404",
                "PUT \"https://r.io/v2/a/blobs/uploads/1?…\": 404",
                "PUT \"https://r.io/v2/a/blobs/uploads/1?…\": 404",
            ),
            ("GET /b?X-Amz-Signature=1f and /c?sig=2", "GET /b?… and /c?…", "GET /b?… and /c?…"),
            ("https://a.b/c?version=1", "https://a.b/c?…", "https://a.b/c?version=1"),
            ("is it there? a=b, no?", "is it there? a=b, no?", "is it there? a=b, no?"),
        ] {
            let redacted =
                |queries| redact_queries(text, queries).unwrap_or_else(|| text.to_owned());
            assert_eq!(
                (redacted(Queries::All), redacted(Queries::Secret)),
                (all.into(), secret.into())
            );
        }
    }

    #[test]
    fn every_exit_code_has_its_own_number() {
        let mut numbers: Vec<u8> = ExitCode::TABLE.iter().map(|row| row.1).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), ExitCode::TABLE.len());
        assert!(numbers.is_sorted());
    }
}
