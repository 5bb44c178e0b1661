//! The metadata file of a run: `--metadata-file` writes it, and `basegen merge` reads it.

use std::path::Path;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::JobFile;
use crate::error::{ExitCode, Explain, FileError, JsonError};
use crate::files::{self, MAX_PROJECT_FILE, ReadError};
use crate::image::{Digest, Platform, Reference};
use crate::plan::Fingerprint;

/// The content of a metadata file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) schema: u32,
    /// The version of the plan.
    pub(crate) version: Option<String>,
    /// Whether all images of the matrix are published.
    #[serde(skip_deserializing)]
    pub(crate) whole: bool,
    /// Whether the run staged images instead of publishing them.
    #[serde(default)]
    pub(crate) staged: bool,
    /// Whether the run rebuilt images that were in the registry.
    #[serde(default)]
    pub(crate) forced: bool,
    /// The images, by the ids of their targets, in plan order.
    pub(crate) targets: IndexMap<String, TargetMetadata>,
    /// The targets whose build failed.
    pub(crate) failed: Vec<String>,
    /// The targets whose build was cancelled.
    pub(crate) cancelled: Vec<String>,
    /// The release set in the first registry, if the run wrote one.
    #[serde(skip_deserializing)]
    pub(crate) set: Option<SetMetadata>,
    /// The release sets in the other registries.
    #[serde(skip_deserializing, skip_serializing_if = "Vec::is_empty")]
    pub(crate) other_sets: Vec<SetMetadata>,
}

/// One image of a metadata file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetMetadata {
    /// The digest of the image.
    pub digest: Digest,
    /// The tags that point to the image, with its digest.
    #[serde(skip_deserializing)]
    pub references: IndexMap<String, Digest>,
    /// Whether every step of the build was cached.
    pub cached: bool,
    /// Whether the image was in the registry before the run.
    pub kept: bool,
    /// The fingerprint of its inputs; `None` if they are uncertain.
    #[serde(default)]
    pub fingerprint: Option<Fingerprint>,
    #[serde(skip_deserializing)]
    pub platforms: Vec<Platform>,
    /// The compressed size in bytes, if known.
    #[serde(default)]
    pub size: Option<u64>,
}

/// The release set of a [`Metadata`] file.
#[derive(Debug, Serialize)]
pub(crate) struct SetMetadata {
    pub(crate) reference: Reference,
    pub(crate) digest: Digest,
}

/// A metadata file that `merge` cannot use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MetadataError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file has another format.
    #[error("`{name}` is not a file of `basegen --stage --metadata-file`")]
    Format {
        name: String,
        #[source]
        source: JsonError,
    },
    /// The file was written by an incompatible version of basegen.
    #[error("`{name}` has format {found}, but this basegen reads format {}", Metadata::SCHEMA)]
    Schema { name: String, found: u32 },
    /// The run published its images or wrote them elsewhere.
    #[error("`{name}` is from a run without `--stage`")]
    NotStaged { name: String },
    /// A target has an image, and has failed.
    #[error("`{name}` lists `{id}` both as staged and as failed")]
    Contradiction { name: String, id: String },
}

impl Explain for MetadataError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Read(error) => return error.hint(),
            Self::Format { .. } => "the job may have been killed while it ran; run it again",
            Self::Contradiction { .. } => "run the job again",
            Self::NotStaged { .. } => "pass the files that `basegen --stage --metadata-file` wrote",
            Self::Schema { .. } => "run the jobs and `basegen merge` with the same basegen",
        };
        Some(hint.to_owned())
    }
}

impl Metadata {
    /// The version of the format.
    pub(crate) const SCHEMA: u32 = 1;

    /// Fails if `path` cannot be written. Call this before a run, whose results would be lost.
    pub(crate) fn check(path: &Path) -> Result<(), FileError> {
        files::create_beside(path).map(drop).map_err(writing(path))
    }

    /// Writes the file, or nothing if that fails.
    pub(crate) fn write(&self, path: &Path) -> Result<(), FileError> {
        let text = serde_json::to_string_pretty(self).expect("metadata is JSON");
        files::replace(path, format!("{text}\n").as_bytes(), false).map_err(writing(path))
    }
}

fn writing(path: &Path) -> impl FnOnce(std::io::Error) -> FileError {
    FileError::failed_to(format!("write the metadata file `{}`", path.display()))
}

impl JobFile {
    /// Reads the metadata file of a job that staged images.
    pub(crate) fn read(path: &Path) -> Result<Self, MetadataError> {
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }

        let name = path.display().to_string();
        let text = files::read(path, MAX_PROJECT_FILE)?;
        let format = |error: serde_json::Error| MetadataError::Format {
            name: name.clone(),
            source: error.into(),
        };
        let Schema { schema } = serde_json::from_slice(&text).map_err(format)?;
        if schema != Metadata::SCHEMA {
            return Err(MetadataError::Schema { name, found: schema });
        }
        let metadata: Metadata = serde_json::from_slice(&text).map_err(format)?;
        if !metadata.staged {
            return Err(MetadataError::NotStaged { name });
        }
        let mut unstaged = metadata.failed.iter().chain(&metadata.cancelled);
        if let Some(id) = unstaged.find(|id| metadata.targets.contains_key(*id)) {
            let id = id.clone();
            return Err(MetadataError::Contradiction { name, id });
        }
        Ok(Self {
            images: metadata.targets.into_iter().collect(),
            version: metadata.version,
            forced: metadata.forced,
            failed: metadata.failed.into_iter().chain(metadata.cancelled).collect(),
            name,
        })
    }
}
