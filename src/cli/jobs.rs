//! The metadata files of jobs, read back.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::{ExitCode, Explain, JsonError};
use crate::files::{self, MAX_PROJECT_FILE, ReadError};
use crate::image::Digest;
use crate::plan::Fingerprint;
use crate::publish::{JobFile, JobImage};

/// The format of the files.
const SCHEMA: u32 = 1;

/// A file that is not what a job has written.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobFileError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("`{name}` is not what `basegen --stage --metadata-file` writes")]
    Format {
        name: String,
        #[source]
        source: JsonError,
    },
    #[error(
        "`{name}` was written by another basegen: its format is {found}, and this one knows {SCHEMA}"
    )]
    Schema { name: String, found: u32 },
    #[error("`{name}` tells of a run that staged nothing")]
    NotStaged { name: String },
    #[error("`{name}` says of `{id}` that it was staged, and that it was not")]
    Contradiction { name: String, id: String },
}

impl Explain for JobFileError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read(error) => error.hint(),
            Self::Format { .. } => {
                Some("a job that did not come to its end may have left it".to_owned())
            }
            Self::Contradiction { .. } => Some("run its job again".to_owned()),
            Self::NotStaged { .. } => {
                Some("give the files that `basegen --stage --metadata-file` writes".to_owned())
            }
            Self::Schema { .. } => {
                Some("run the jobs and `basegen merge` with the same basegen".to_owned())
            }
        }
    }
}

#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

#[derive(Deserialize)]
struct Document {
    version: Option<String>,
    #[serde(default)]
    staged: bool,
    #[serde(default)]
    forced: bool,
    targets: BTreeMap<String, TargetDocument>,
    failed: Vec<String>,
    cancelled: Vec<String>,
}

#[derive(Deserialize)]
struct TargetDocument {
    digest: Digest,
    kept: bool,
    cached: bool,
    #[serde(default)]
    fingerprint: Option<Fingerprint>,
    #[serde(default)]
    size: Option<u64>,
}

/// Reads what a job has written to `path`.
pub(super) fn read(path: &Path) -> Result<JobFile, JobFileError> {
    let name = path.display().to_string();
    let text = files::read(path, MAX_PROJECT_FILE)?;
    let format = |error: serde_json::Error| JobFileError::Format {
        name: name.clone(),
        source: error.into(),
    };
    let Schema { schema } = serde_json::from_slice(&text).map_err(format)?;
    if schema != SCHEMA {
        return Err(JobFileError::Schema { name, found: schema });
    }
    let document: Document = serde_json::from_slice(&text).map_err(format)?;
    if !document.staged {
        return Err(JobFileError::NotStaged { name });
    }
    let mut unstaged = document.failed.iter().chain(&document.cancelled);
    if let Some(id) = unstaged.find(|id| document.targets.contains_key(*id)) {
        let id = id.clone();
        return Err(JobFileError::Contradiction { name, id });
    }
    let images = document.targets.into_iter().map(|(id, target)| {
        let TargetDocument { digest, kept, cached, fingerprint, size } = target;
        (id, JobImage { digest, fingerprint, size, kept, cached })
    });
    Ok(JobFile {
        images: images.collect(),
        version: document.version,
        forced: document.forced,
        failed: document.failed.into_iter().chain(document.cancelled).collect(),
        name,
    })
}
