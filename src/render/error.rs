use std::path::PathBuf;

use crate::error::{ExitCode, Explain};
use crate::files::ReadError;
use crate::matrix::SourceError;

#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A template contains a character that basegen uses for marks, first on `line`.
    #[error("`{}`, line {line}: templates cannot contain the noncharacters U+FDD0 to U+FDD9", path.display())]
    Mark { path: PathBuf, line: usize },
    /// A template, or a folder that contains it, is a link, which could point to any file.
    #[error("`{}` is a symbolic link; templates must be regular files", .0.display())]
    Link(PathBuf),
    #[error("there is no template `{}`", .0.display())]
    NoTemplate(PathBuf),
    /// A template has a syntax error or an undefined name.
    #[error(transparent)]
    Template(#[from] SourceError),
    /// A template fails for one variant, or renders to an invalid Dockerfile.
    #[error("failed to render `{variant}`: {error}")]
    Variant { variant: String, error: SourceError },
    /// No Dockerfile declares an argument of the command line.
    #[error("no Dockerfile of the selected variants declares the argument `{name}`")]
    NoArgument {
        name: String,
        /// The declared argument that it most likely misspells, as a question.
        near: Option<String>,
    },
    /// The files of a context exceed `limit` MiB.
    #[error("the context of `{variant}` is larger than {limit} MiB; its largest files are:{}", list(.largest))]
    TooLarge {
        variant: String,
        limit: u64,
        /// Paths and sizes in bytes, largest first.
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
            Self::NoArgument { .. } => ExitCode::Usage,
            _ => ExitCode::Matrix,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Read(error) => return error.hint(),
            Self::NoTemplate(_) => "create it, or correct `dockerfile` or `templates` in `[image]`",
            Self::NoArgument { near, .. } => return near.clone(),
            Self::TooLarge { .. } => "fetch large files in a build step instead of copying them",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
