use std::path::{Path, PathBuf};

use super::InvalidVersion;
use crate::error::{ExitCode, Explain};
use crate::files::ReadError;

/// Why a version could not be read or edited.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file cannot be written.
    #[error("failed to write `{}`{}", .path.display(), if *.restored { "; no file was changed" } else { "" })]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
        restored: bool,
    },
    /// Another program has changed a file.
    #[error("`{}` was changed by another program; no file was written", .0.display())]
    Changed(PathBuf),
    /// Two edits have the same file.
    #[error("`{}` and `{}` are the same file, and their edits conflict; no file was changed", .first.display(), .second.display())]
    OneFile { first: PathBuf, second: PathBuf },
    /// The syntax of the file is invalid.
    #[error("cannot find the version in `{}`", .path.display())]
    Syntax {
        path: PathBuf,
        /// The line of the error, from 1.
        line: usize,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The keys of the place do not match the kind of file.
    #[error("cannot find the version in `{}`: {rule}", .path.display())]
    Place { path: PathBuf, rule: &'static str },
    /// The key or the match of the pattern does not exist.
    #[error("`{}` has no {what}", .path.display())]
    Missing {
        path: PathBuf,
        what: String,
        /// A hint about the actual place of the version.
        hint: Option<String>,
    },
    /// The constant is not assigned exactly once, as one text.
    #[error("{}", constant(.path, .name, .places))]
    Constant {
        path: PathBuf,
        name: String,
        /// The line and column of each assignment, from 1, and whether it looks like a comment.
        places: Vec<(usize, usize, bool)>,
    },
    /// The key or pattern occurs several times.
    #[error("`{}` {what} more than once, on lines {}", .path.display(), join(.lines))]
    Ambiguous { path: PathBuf, what: String, lines: Vec<usize> },
    /// The text is not a version.
    #[error("invalid version at `{place}`")]
    Invalid {
        /// The file and the line.
        place: String,
        #[source]
        source: InvalidVersion,
    },
    /// The new version is invalid, or a place cannot express it.
    #[error("`{version}` cannot be written{}", .place.iter().map(|place| format!(" at `{place}`")).collect::<String>())]
    Unwritable {
        version: String,
        /// The file and the line.
        place: Option<String>,
        #[source]
        source: InvalidVersion,
    },
    /// The prefix of the place differs from that of the tags.
    #[error("`{version}` cannot be written at `{place}`: the `prefix` of that place is `{prefix}`")]
    Prefix {
        /// The version of the tags.
        version: String,
        /// The file and the line.
        place: String,
        prefix: String,
    },
    /// The places have different versions.
    #[error("the version differs between its places:{}", list(.0))]
    Disagree(Vec<(String, String)>),
}

impl VersionError {
    /// The line of the error in its file, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        match self {
            Self::Ambiguous { lines, .. } => lines.last().copied().unwrap_or(1),
            Self::Invalid { place, .. } => {
                place.rsplit(':').next().and_then(|line| line.parse().ok()).unwrap_or(1)
            }
            Self::Constant { places, .. } => places.last().map_or(1, |(line, ..)| *line),
            Self::Read(error) => error.line(),
            Self::Syntax { line, .. } => *line,
            _ => 1,
        }
    }
}

fn constant(path: &Path, name: &str, places: &[(usize, usize, bool)]) -> String {
    let path = path.display();
    match places {
        [] => format!("`{path}` has no assignment to `{name}`"),
        [(line, column, true)] => {
            format!(
                "`{name}` is assigned only in a comment or docstring, at {path}:{line}:{column}"
            )
        }
        [(line, column, false)] => {
            format!("the value of `{name}` at {path}:{line}:{column} is not a single literal text")
        }
        many => {
            let place = |(line, column, is_comment): &(usize, usize, bool)| {
                let note = if *is_comment { " (comment or docstring)" } else { "" };
                format!("\n  {path}:{line}:{column}{note}")
            };
            let places: String = many.iter().map(place).collect();
            format!("`{name}` is assigned {} times:{places}", many.len())
        }
    }
}

fn join(lines: &[usize]) -> String {
    lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn list(places: &[(String, String)]) -> String {
    let width = places.iter().map(|(_, text)| text.len()).max().unwrap_or(0);
    places.iter().map(|(place, text)| format!("\n  {text:width$}  at {place}")).collect()
}

impl Explain for VersionError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Write { .. } | Self::Changed(_) | Self::OneFile { .. } => ExitCode::Failure,
            Self::Unwritable { .. } => ExitCode::Usage,
            _ => ExitCode::Matrix,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Read(error) if !error.is_missing() => return error.hint(),
            Self::Read(_) => {
                "`file` in `[version]` is relative to the matrix file; pass `--version-tag` to ignore it"
            }
            Self::Missing { hint, .. } => return hint.clone(),
            Self::Constant { places, .. } if places.is_empty() => return None,
            Self::Constant { name, .. } => {
                return Some(format!(
                    "assign one literal text once, or replace `constant` with a `pattern` that matches once, \
                     such as `pattern = '^{name} = \"(?P<version>[^\"]*)\"'`"
                ));
            }
            Self::Ambiguous { .. } => "remove all but one of them",
            Self::Changed(_) => "run the command again",
            Self::Disagree(_) => "run `basegen bump VERSION` to set all of them",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
