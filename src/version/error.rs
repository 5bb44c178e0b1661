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
    #[error("`{}` cannot be written{}", .path.display(), if *.restored { "; no file is changed" } else { "" })]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
        /// Whether all files are as they were.
        restored: bool,
    },
    /// A file was changed by somebody else in the meantime.
    #[error("`{}` has changed since it was read; no file is changed", .0.display())]
    Changed(PathBuf),
    /// Two edits are of one file.
    #[error("`{}` and `{}` are one file, which can be written once; no file is changed", .first.display(), .second.display())]
    OneFile {
        /// One of its names.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
    /// The file is not what its ending says.
    #[error("cannot find the version in `{}`", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1, at which its reader stopped.
        line: usize,
        /// What its reader says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What says where the version is does not go with a file of this kind.
    #[error("cannot find the version in `{}`: {rule}", .path.display())]
    Place {
        /// The file.
        path: PathBuf,
        /// What is needed.
        rule: &'static str,
    },
    /// The key or the match of the pattern does not exist.
    #[error("`{}` has no {what}", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The key or pattern.
        what: String,
        /// Where the version lives instead, if the file says so.
        hint: Option<String>,
    },
    /// The constant is not assigned exactly once, as one text.
    #[error("{}", constant(.path, .name, .places))]
    Constant {
        /// The file.
        path: PathBuf,
        /// The constant.
        name: String,
        /// The line and column of each assignment, from 1, and whether it looks like a comment.
        places: Vec<(usize, usize, bool)>,
    },
    /// It is there more than once.
    #[error("`{}` {what} more than once, on lines {}", .path.display(), join(.lines))]
    Ambiguous {
        /// The file.
        path: PathBuf,
        /// What the file does.
        what: String,
        /// Where.
        lines: Vec<usize>,
    },
    /// What is there is not a version.
    #[error("the version at `{place}` is refused")]
    Invalid {
        /// The file and the line.
        place: String,
        /// Why.
        #[source]
        source: InvalidVersion,
    },
    /// The new version is not one, or cannot be written at a place.
    #[error("`{version}` cannot be written{}", .place.iter().map(|place| format!(" at `{place}`")).collect::<String>())]
    Unwritable {
        /// What was wanted.
        version: String,
        /// The file and the line.
        place: Option<String>,
        /// Why not.
        #[source]
        source: InvalidVersion,
    },
    /// The place has another prefix than the tags have.
    #[error(
        "`{version}` cannot be written at `{place}`: it does not begin with the `prefix` of that place, `{prefix}`"
    )]
    Prefix {
        /// The version of the tags.
        version: String,
        /// The file and the line.
        place: String,
        /// The prefix.
        prefix: String,
    },
    /// A package of the workspace requires another version of the raised one.
    #[error("the requirement `{requirement}` at `{place}` does not allow {version}")]
    Requirement {
        /// The file and the line.
        place: String,
        /// The requirement, as the file has it.
        requirement: String,
        /// The new version.
        version: String,
    },
    /// Places say different versions.
    #[error("the places of the version disagree:{}", list(.0))]
    Disagree(Vec<(String, String)>),
}

impl VersionError {
    /// The line of its file that it is about, from 1.
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
                "`file` in `[version]` is relative to the matrix file; `--version-tag` does without it"
            }
            Self::Missing { hint, .. } => return hint.clone(),
            Self::Constant { places, .. } if places.is_empty() => return None,
            Self::Constant { name, .. } => {
                return Some(format!(
                    "assign one literal text once, or replace `constant` with a `pattern` that matches once, \
                     such as `pattern = '^{name} = \"(?P<version>[^\"]*)\"'`"
                ));
            }
            Self::Ambiguous { .. } => "leave one of them, so that it is clear which one counts",
            Self::Requirement { .. } => {
                "require the present version there, such as `version = \"1.2.3\"`: basegen then raises the requirement too"
            }
            Self::Changed(_) => "run the command again",
            Self::Disagree(_) => "`basegen bump VERSION` gives all of them one version",
            Self::Write { .. }
            | Self::OneFile { .. }
            | Self::Syntax { .. }
            | Self::Place { .. }
            | Self::Unwritable { .. }
            | Self::Prefix { .. }
            | Self::Invalid { .. } => {
                return None;
            }
        };
        Some(hint.to_owned())
    }
}
