use std::path::{Path, PathBuf};

use super::diagnostic::{SourceError, SourceFile};
use super::document::from_toml;
use super::model::Matrix;
use super::schema::MatrixFile;
use super::variable_files::variable_paths;
use crate::error::{ExitCode, Explain};
use crate::files::{Allowed, Checkout, MAX_TEXT, ReadError, read_text};

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("there is no matrix file at `{0}`")]
    Missing(PathBuf),
    #[error(transparent)]
    Read(ReadError),
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl Explain for LoadError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Read(error) => error.exit_code(),
            Self::Missing(_) | Self::Source(_) => ExitCode::Matrix,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(path) => Some(match found_above(path) {
                Some(above) => {
                    let above = above.display();
                    format!("found `{above}`: run basegen in its folder, or pass `-f {above}`")
                }
                None => "create one with `basegen init`, or pass another with `-f FILE`".to_owned(),
            }),
            Self::Read(error) => error.hint(),
            Self::Source(_) => None,
        }
    }
}

/// Returns the path of a file with this name in a folder above the current one.
fn found_above(path: &Path) -> Option<PathBuf> {
    const LEVELS: usize = 8;
    let name = path.file_name().filter(|name| path == Path::new(name))?;
    let mut folder = PathBuf::new();
    for _ in 0..LEVELS {
        folder.push("..");
        let above = folder.join(name);
        if above.is_file() {
            return Some(above);
        }
    }
    None
}

/// Loads the matrix file at `path`. Paths in it must stay in its repository.
pub fn load(path: &Path) -> Result<Matrix, LoadError> {
    load_with(path, Allowed::default())
}

/// Loads the matrix file at `path`. Paths in it must stay in its repository or be `allowed`.
pub fn load_with(path: &Path, allowed: Allowed) -> Result<Matrix, LoadError> {
    load_in(path, Checkout::find(folder(path), allowed))
}

/// Loads the matrix file at `path`, which is in the folder of `checkout`.
pub fn load_in(path: &Path, checkout: Checkout) -> Result<Matrix, LoadError> {
    let name = path.file_name().map_or(path, Path::new);
    let text = checkout.read_text(name, MAX_TEXT).map_err(|error| {
        if error.is_missing() {
            LoadError::Missing(path.to_owned())
        } else {
            LoadError::Read(error)
        }
    })?;
    Ok(parse_in(path, &text, checkout)?)
}

/// Parses a matrix from `text`. Errors show `path`, and paths in the matrix are relative to its folder.
pub fn parse(path: &Path, text: &str) -> Result<Matrix, SourceError> {
    parse_in(path, text, Checkout::find(folder(path), Allowed::default()))
}

/// Returns the paths of the files from which the matrix file at `path` has variables, relative to its folder. Returns none
/// if [`load_in`] refuses the matrix file.
pub(crate) fn data_files(path: &Path) -> Vec<String> {
    let text = read_text(path, MAX_TEXT).unwrap_or_default();
    let file = from_toml::<MatrixFile>(&SourceFile::new(path, &text));
    file.map(|file| variable_paths(&file).map(str::to_owned).collect()).unwrap_or_default()
}

fn parse_in(path: &Path, text: &str, checkout: Checkout) -> Result<Matrix, SourceError> {
    let source = SourceFile::new(path, text);
    let file: MatrixFile = from_toml(&source)?;
    Matrix::from_file(source, checkout, &file)
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}
