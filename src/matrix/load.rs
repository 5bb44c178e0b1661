use std::path::{Path, PathBuf};

use super::diagnostic::{SourceError, SourceFile};
use super::document::from_toml;
use super::model::Matrix;
use super::schema::MatrixFile;
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
