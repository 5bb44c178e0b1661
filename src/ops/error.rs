//! Errors that several operations share.

use crate::error::{ExitCode, Explain};

/// An argument whose value is refused.
#[derive(Debug, thiserror::Error)]
#[error("`{flag} {value}` is refused: {reason}")]
pub struct ArgumentError {
    flag: &'static str,
    value: String,
    reason: String,
}

impl ArgumentError {
    /// Creates the error for `value` of `flag`.
    pub fn new(flag: &'static str, value: &str, reason: &dyn std::fmt::Display) -> Self {
        Self { flag, value: value.to_owned(), reason: reason.to_string() }
    }
}

impl Explain for ArgumentError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Usage
    }
}

/// The matrix has no version.
#[derive(Debug, thiserror::Error)]
#[error("the matrix has no `[version]` table")]
pub struct NoVersion;

impl Explain for NoVersion {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Matrix
    }

    fn hint(&self) -> Option<String> {
        Some("add `[version]` with `file` and the place of the version in that file".to_owned())
    }
}
