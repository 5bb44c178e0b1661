use std::io;

use super::{ExitCode, Explain};

/// A file, folder or stream that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action}")]
pub struct FileError {
    action: String,
    #[source]
    source: io::Error,
}

impl FileError {
    /// Returns a conversion from the cause, for `map_err`. The message is `failed to {action}`.
    pub fn failed_to(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self { action, source }
    }

    /// Converts the failed start of the async runtime.
    #[must_use]
    pub fn runtime(source: io::Error) -> Self {
        Self { action: "start the async runtime".to_owned(), source }
    }

    /// Converts a failed write to the file of `GITHUB_OUTPUT`.
    #[must_use]
    pub fn outputs(source: io::Error) -> Self {
        Self { action: "write to the file in `GITHUB_OUTPUT`".to_owned(), source }
    }

    /// Converts a failed write to the file of `GITHUB_STEP_SUMMARY`.
    #[must_use]
    pub fn summary(source: io::Error) -> Self {
        Self { action: "write the summary of the step".to_owned(), source }
    }
}

impl Explain for FileError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }
}
