use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::diagnostic::{Diagnostic, SourceError, SourceFile, nearest};
use super::model::Matrix;
use super::schema::MatrixFile;
use super::secrets;
use crate::error::{ExitCode, Explain};

/// The largest matrix file that is read, in bytes.
const MAX_SIZE: u64 = 4 * 1024 * 1024;

/// Why a matrix could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such file.
    #[error("there is no matrix file at `{0}`")]
    Missing(PathBuf),
    /// There is something else.
    #[error("`{0}` is not a file")]
    NoFile(PathBuf),
    /// The file cannot be read, or is not a text.
    #[error("the matrix file cannot be read")]
    Read(#[source] std::io::Error),
    /// The file is larger than any matrix.
    #[error("`{0}` is {1} bytes long, and no matrix file: the bound is {MAX_SIZE}")]
    Size(PathBuf, u64),
    /// What the file says is wrong.
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl Explain for LoadError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Read(_) => ExitCode::Failure,
            Self::Missing(_) | Self::NoFile(_) | Self::Size(..) | Self::Source(_) => {
                ExitCode::Matrix
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(_) => Some("name another one with `-f FILE`".to_owned()),
            _ => None,
        }
    }
}

/// Reads the matrix file at `path`.
pub fn load(path: &Path) -> Result<Matrix, LoadError> {
    let size = match fs_err::metadata(path) {
        // What is neither a file nor empty has no size to trust: a device, a pipe.
        Ok(metadata) if !metadata.is_file() => return Err(LoadError::NoFile(path.to_owned())),
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(LoadError::Missing(path.to_owned()));
        }
        Err(error) => return Err(LoadError::Read(error)),
    };
    if size > MAX_SIZE {
        return Err(LoadError::Size(path.to_owned(), size));
    }
    let text = fs_err::read_to_string(path).map_err(LoadError::Read)?;
    Ok(parse(path, &text)?)
}

/// Reads a matrix from `text`; `path` is the name under which errors speak of it, and the
/// place that the paths in it are relative to.
pub fn parse(path: &Path, text: &str) -> Result<Matrix, SourceError> {
    let source = SourceFile::new(path, text);
    let file: MatrixFile = from_toml(&source)?;
    Matrix::from_file(source, &file)
}

/// Reads a TOML file; what is wrong with it is told in the same way whichever file it is.
pub(crate) fn from_toml<T: DeserializeOwned>(source: &SourceFile) -> Result<T, SourceError> {
    toml::from_str(&source.text).map_err(|error| {
        let shown = SourceFile::new(&source.path, &secrets::conceal_registries(&source.text));
        SourceError::new(&shown, vec![explain(&error, &source.text)])
    })
}

/// The error of the TOML reader as one of ours, with the key that was meant.
fn explain(error: &toml::de::Error, text: &str) -> Diagnostic {
    let message = error.message().trim();
    let span = error.span().unwrap_or(0..text.len().min(1));
    if message.contains("$__toml_private_datetime") {
        return Diagnostic::new(span, "a date is no value here", "write it in quotes");
    }
    let Some((unknown, known)) = unknown_name(message) else {
        return Diagnostic::new(span, message, "");
    };
    let help =
        nearest(unknown, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
    let kind = if message.starts_with("unknown field") { "key" } else { "name" };
    let label = format!("known are {}", super::validate::quoted_list(&known));
    Diagnostic::new(span, format!("unknown {kind} `{unknown}`"), label).maybe_help(help)
}

/// Takes serde's words for a name that it does not know apart:
/// ``unknown field `x`, expected one of `a`, `b` ``.
fn unknown_name(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message
        .strip_prefix("unknown field `")
        .or_else(|| message.strip_prefix("unknown variant `"))?;
    let (unknown, expected) = rest.split_once("`, ")?;
    Some((unknown, expected.split('`').skip(1).step_by(2).collect()))
}
