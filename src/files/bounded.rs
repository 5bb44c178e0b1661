use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use fs_err::File;

use super::outside::Outside;
use crate::error::{ExitCode, Explain};

/// The maximum size of files in basegen's own formats, in bytes.
pub const MAX_TEXT: u64 = 4 << 20;

/// The maximum size of other files of the project, such as a README or lock file of another tool, in bytes.
pub const MAX_PROJECT_FILE: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("failed to read `{}`", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The path is not a regular file. `kind` includes an article.
    #[error("failed to read `{}`: it is {kind}, not a file", path.display())]
    NotAFile { path: PathBuf, kind: &'static str },
    /// The file exceeds `limit` bytes.
    #[error("failed to read `{}`: it is larger than {}", path.display(), size(*limit))]
    TooLarge { path: PathBuf, limit: u64 },
    /// The file begins with a byte order mark of UTF-16 or UTF-32.
    #[error("failed to read `{}`: it is {encoding}, not UTF-8", path.display())]
    Encoding { path: PathBuf, encoding: &'static str },
    /// The file is not UTF-8. `line` and `column` are from 1, `offset` is in bytes.
    #[error(
        "failed to read `{}`: it is not UTF-8 at line {line}, column {column} (byte {offset})",
        path.display()
    )]
    NotText { path: PathBuf, line: usize, column: usize, offset: usize },
    /// The file is outside of the repository.
    #[error(transparent)]
    Outside(#[from] Outside),
}

impl ReadError {
    /// Returns true if the file does not exist.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Returns the line of the error, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        if let Self::NotText { line, .. } = self { *line } else { 1 }
    }
}

impl Explain for ReadError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Io { .. } => ExitCode::Failure,
            _ => ExitCode::Matrix,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Encoding { .. } | Self::NotText { .. } => {
                Some("save the file as UTF-8".to_owned())
            }
            Self::Outside(outside) => outside.hint(),
            Self::Io { .. } | Self::NotAFile { .. } | Self::TooLarge { .. } => None,
        }
    }
}

/// Reads a regular file of at most `limit` bytes.
///
/// The type is checked before the file is opened, because opening a named pipe would block.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let kind = std::fs::metadata(path).map_err(|error| failed(path, error))?.file_type();
    if !kind.is_file() {
        return Err(ReadError::NotAFile { path: path.to_owned(), kind: describe(kind) });
    }
    read_stream(path, limit)
}

/// Reads at most `limit` bytes of a path on the command line, which can be a pipe such as `<(command)`.
pub fn read_stream(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let file = File::open(path).map_err(|error| failed(path, error))?;
    take(&file, path, limit)
}

fn take(file: &File, path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| failed(path, error))?;
    if bytes.len() as u64 > limit {
        return Err(ReadError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// Reads a regular file of at most `limit` bytes that is UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String, ReadError> {
    let bytes = read(path, limit)?;
    if let Some(encoding) = foreign_encoding(&bytes) {
        return Err(ReadError::Encoding { path: path.to_owned(), encoding });
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..offset]);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let line = before.matches('\n').count() + 1;
        ReadError::NotText { path: path.to_owned(), line, column, offset }
    })
}

/// Removes the path from the cause, because the error itself contains it.
fn failed(path: &Path, error: io::Error) -> ReadError {
    let source = error.raw_os_error().map_or(error, io::Error::from_raw_os_error);
    ReadError::Io { path: path.to_owned(), source }
}

fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mebibytes => format!("{mebibytes} MiB"),
    }
}

fn describe(kind: std::fs::FileType) -> &'static str {
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// Returns the encoding of a byte order mark other than UTF-8.
fn foreign_encoding(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Report;

    fn read_error(bytes: &[u8], limit: u64) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs_err::write(&path, bytes).expect("a file");
        let message = Report::from(read_text(&path, limit).expect_err("an error")).to_string();
        message.replace(&folder.path().display().to_string(), "")
    }

    #[test]
    fn bytes_that_are_not_text_have_a_location() {
        let messages = [
            read_error(b"\xff\xfea\0", 100),
            read_error(b"\xfe\xff\0a", 100),
            read_error(b"\xff\xfe\0\0a\0\0\0", 100),
            read_error(
                "ä\r\nxä\0".as_bytes().iter().copied().chain([0xff]).collect::<Vec<_>>().as_slice(),
                100,
            ),
            read_error(&vec![b'a'; (1 << 20) + 1], 1 << 20),
        ];
        insta::assert_snapshot!(messages.join("\n\n"));
    }

    #[test]
    fn reads_a_file_whose_size_is_the_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs_err::write(&path, "abc").expect("a file");
        assert_eq!(read_text(&path, 3).expect("a text"), "abc");
        assert!(matches!(read(&path, 2), Err(ReadError::TooLarge { .. })));
        assert!(read(&folder.path().join("gone"), 2).expect_err("a missing file").is_missing());
    }

    #[test]
    fn rejects_everything_but_regular_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        let pipe = folder.path().join("pipe");
        let status = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
        assert!(status.success());
        let kinds =
            [folder.path(), &socket, &pipe, Path::new("/dev/zero")].map(|path| {
                match read(path, 1).expect_err("not a file") {
                    ReadError::NotAFile { kind, .. } => kind,
                    other => panic!("{other}"),
                }
            });
        assert_eq!(kinds, ["a folder", "a socket", "a named pipe", "a device"]);
    }
}
