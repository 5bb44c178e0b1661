use std::path::PathBuf;

use super::dockerfile::Misuse;
use crate::error::{ExitCode, Explain};
use crate::matrix::SourceError;

/// Why a variant cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A template or a file that it needs cannot be read.
    #[error("cannot read `{}`", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// A template is bytes that are no text.
    #[error("`{}` is no template: line {line} is not UTF-8", .path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first such line, from 1.
        line: usize,
    },
    /// A template holds a character that basegen marks values with.
    #[error("`{}`, line {line}, holds U+FDD0 or U+FDD1, which are no characters of a text", path.display())]
    Mark {
        /// The file.
        path: PathBuf,
        /// The first such line, from 1.
        line: usize,
    },
    /// A template is a link, or within a folder that is one, and could be any file.
    #[error("`{}` is a symbolic link; templates are files", .0.display())]
    Link(PathBuf),
    /// A template does not exist.
    #[error("there is no template `{}`", .0.display())]
    NoTemplate(PathBuf),
    /// A template cannot be read as one, or names what nothing defines.
    #[error(transparent)]
    Template(#[from] SourceError),
    /// A template fails for one variant.
    #[error("failed to render `{variant}`: {error}")]
    Variant {
        /// The variant.
        variant: String,
        /// Where and why.
        error: SourceError,
    },
    /// What was rendered is not a Dockerfile, or copies what it cannot have.
    #[error("`{file}` of `{variant}`, line {line}: {misuse}\n\n  {line} | {text}")]
    Dockerfile {
        /// The variant.
        variant: String,
        /// The Dockerfile's name.
        file: String,
        /// The line of the rendered file, from 1.
        line: usize,
        /// Its text.
        text: String,
        /// What is wrong.
        misuse: String,
    },
    /// The files are more than a context should hold.
    #[error("the context of `{variant}` is larger than {limit} MiB; its largest files are:{}", list(.largest))]
    TooLarge {
        /// The variant.
        variant: String,
        /// The bound.
        limit: u64,
        /// Paths and sizes in bytes, the largest first.
        largest: Vec<(String, u64)>,
    },
}

fn list(files: &[(String, u64)]) -> String {
    files.iter().map(|(path, size)| format!("\n  {path} ({} MiB)", size >> 20)).collect()
}

impl RenderError {
    pub(super) fn in_dockerfile(variant: &str, file: &str, text: &str, misuse: Misuse) -> Self {
        Self::Dockerfile {
            variant: variant.to_owned(),
            file: file.to_owned(),
            line: misuse.line,
            text: text.lines().nth(misuse.line - 1).unwrap_or_default().to_owned(),
            misuse: misuse.what,
        }
    }
}

impl Explain for RenderError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Read(..) => ExitCode::Failure,
            _ => ExitCode::Matrix,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoTemplate(_) => "`[image] dockerfile` names it, relative to `[image] templates`",
            Self::TooLarge { .. } => "fetch large files in a build step instead of copying them",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
