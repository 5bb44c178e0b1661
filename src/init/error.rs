use std::error::Error;
use std::io;
use std::path::PathBuf;

use crate::error::{ExitCode, Explain};
use crate::files::ReadError;
use crate::matrix::SourceError;

/// A new repository that cannot be created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The syntax of an imported file is invalid.
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("`{path}` is not {expected}")]
    Kind { path: String, expected: &'static str },
    #[error("`{first}` and `{second}` both have the name `{name}`")]
    SameName { first: String, second: String, name: String },
    #[error("`{first}` and `{second}` have different credentials for the {kind} `{name}`")]
    Credentials { first: String, second: String, kind: &'static str, name: String },
    #[error("{}", count_left_out(*.0))]
    LeftOut(usize),
    #[error("{}", list_existing(.0))]
    Exists(Vec<PathBuf>),
    #[error("the generated matrix does not render")]
    Unsound(#[source] Cause),
    #[error("failed to create a temporary folder")]
    Temporary(#[source] io::Error),
    #[error("failed to try out the generated files")]
    Trial(#[source] Cause),
}

/// An error and its causes, with other names for the paths of the temporary folder where they happened.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Cause {
    text: String,
    source: Option<Box<Self>>,
}

impl Cause {
    /// Replaces the first of each pair of `names` by the second, in their order.
    pub(super) fn new(error: &dyn Error, names: &[(String, String)]) -> Self {
        let replace = |text: String, (from, to): &(String, String)| text.replace(from, to);
        let text = names.iter().fold(error.to_string(), replace);
        let source = error.source().map(|source| Box::new(Self::new(source, names)));
        Self { text, source }
    }
}

fn count_left_out(count: usize) -> String {
    match count {
        1 => "a key or instruction was left out".to_owned(),
        _ => format!("{count} keys or instructions were left out"),
    }
}

fn list_existing(paths: &[PathBuf]) -> String {
    if let [path] = paths {
        return format!("`{}` already exists", path.display());
    }
    let names: Vec<String> = paths.iter().map(|path| format!("\n  {}", path.display())).collect();
    format!("{} files already exist:{}", paths.len(), names.concat())
}

impl Explain for InitError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Read(error) => return error.hint(),
            Self::Kind { .. } => {
                "pass `--from` a Truss config.yaml, a cerebrium.toml, a Dockerfile or the app.py of a fal app"
            }
            Self::SameName { .. } => "rename one of them in its file, or move it to another folder",
            Self::Credentials { .. } => "use the same ones, or create a folder for each image",
            Self::LeftOut(_) => "remove them, or import without `--strict`",
            Self::Exists(paths) if paths.len() == 1 => "pass `--force` to replace it",
            Self::Exists(_) => "pass `--force` to replace them",
            Self::Unsound(_) => "remove the part that cannot be rendered from the imported file",
            _ => return None,
        };
        Some(format!("{hint}; nothing was written"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_do_not_name_the_temporary_folder() {
        let cause = io::Error::other("`/tmp/x/dockerfiles/a` and /tmp/x/../../app/b");
        let names = [("/tmp/x/", ""), ("../../app", "app")];
        let names = names.map(|(from, to)| (from.to_owned(), to.to_owned()));
        let cause = Cause::new(&InitError::Temporary(cause), &names);
        assert_eq!(cause.to_string(), "failed to create a temporary folder");
        let source = Error::source(&cause).expect("a cause");
        assert_eq!(source.to_string(), "`dockerfiles/a` and app/b");
    }
}
