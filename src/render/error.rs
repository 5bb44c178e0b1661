use std::path::PathBuf;

use crate::error::{ExitCode, Explain};
use crate::files::ReadError;
use crate::matrix::SourceError;

/// Why a variant cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A template or a file that it needs cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A template holds a character that basegen marks texts with.
    #[error("`{}`, line {line}, holds one of U+FDD0 to U+FDD3, which are no characters of a text", path.display())]
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
    /// A template fails for one variant, or renders to an invalid Dockerfile.
    #[error("failed to render `{variant}`: {error}")]
    Variant {
        /// The variant.
        variant: String,
        /// Where and why.
        error: SourceError,
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

impl Explain for RenderError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Read(error) => error.exit_code(),
            _ => ExitCode::Matrix,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Read(error) => return error.hint(),
            Self::NoTemplate(_) => "`[image] dockerfile` names it, relative to `[image] templates`",
            Self::TooLarge { .. } => "fetch large files in a build step instead of copying them",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
