use std::path::{Path, PathBuf};

use crate::error::{ExitCode, Explain};

/// The kind of access to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// A path that leads out of the repository or into its `.git`.
#[derive(Debug, thiserror::Error)]
#[error("`{}` leads {} to `{}`", path.display(), if *is_git { "into the git directory," } else { "out of the repository," }, real.display())]
pub struct Outside {
    pub(super) path: PathBuf,
    pub(super) real: PathBuf,
    pub(super) access: Access,
    pub(super) is_git: bool,
}

impl Outside {
    #[must_use]
    pub fn real(&self) -> &Path {
        &self.real
    }
}

impl Explain for Outside {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Matrix
    }

    fn hint(&self) -> Option<String> {
        let entitlement = match self.access {
            Access::Read => "fs.read",
            Access::Write => "fs.write",
        };
        Some(format!(
            "use a file in the repository, or pass `--allow {entitlement}={}`",
            self.real.display()
        ))
    }
}
