//! Joins the metadata files of several jobs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Row;
use super::metadata::TargetMetadata;
use crate::error::{ExitCode, Explain, list};

/// The number of problems that an error lists.
const SHOWN: usize = 12;

/// The images that one job has staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFile {
    /// The path of the file, for messages.
    pub name: String,
    /// The version of the job's plan.
    pub version: Option<String>,
    /// The images by the ids of their variants.
    pub images: BTreeMap<String, TargetMetadata>,
    /// The variants whose build failed or was cancelled.
    pub failed: BTreeSet<String>,
    /// Whether the job rebuilt images that were in the registry.
    pub forced: bool,
}

/// A staged image and the metadata file that lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The path of the file.
    pub file: String,
    pub image: TargetMetadata,
    /// Whether it was rebuilt to replace an image of the registry.
    pub forced: bool,
    /// Whether another file lists a different image with the same fingerprint.
    pub disputed: bool,
}

/// The metadata files contradict each other or the plan.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the metadata files of the jobs do not form one release of this matrix:{}",
    list(SHOWN, .0)
)]
pub struct JoinError(Vec<String>);

impl Explain for JoinError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }

    fn hint(&self) -> Option<String> {
        Some(
            "run all jobs and `basegen merge` on one commit, and give them the same `--version-tag`, \
             `--registry`, `--repository` and `--platform`"
                .to_owned(),
        )
    }
}

/// Returns the staged images of `rows`, in their order; `None` for a row that no file lists. The error lists all
/// problems at once.
pub fn join(
    rows: &[Row],
    version: Option<&str>,
    files: &[JobFile],
) -> Result<Vec<Option<Joined>>, JoinError> {
    let known: HashMap<&str, usize> =
        rows.iter().map(|row| row.job.target.as_str()).zip(0..).collect();
    let mut joined: Vec<Option<Joined>> = vec![None; rows.len()];
    let mut problems = Vec::new();
    for file in files {
        if file.version.as_deref() != version {
            let named = |version: Option<&str>| match version {
                Some(version) => format!("version `{version}`"),
                None => "no version".to_owned(),
            };
            let (theirs, ours) = (named(file.version.as_deref()), named(version));
            problems.push(format!("`{}` has {theirs}, but this matrix has {ours}", file.name));
        }
        for (id, image) in &file.images {
            let Some(at) = known.get(id.as_str()).copied() else {
                problems.push(format!(
                    "`{}` lists {id}, which is not a selected variant of this matrix",
                    file.name
                ));
                continue;
            };
            let row = &rows[at];
            if row.fingerprint.is_none() {
                problems.push(format!("{id} is based on an image that is not pinned"));
            } else if image.fingerprint != row.fingerprint {
                problems.push(format!("`{}` lists {id} with different inputs", file.name));
            } else {
                let disputed = joined[at]
                    .as_ref()
                    .is_some_and(|other| other.disputed || other.image.digest != image.digest);
                let one = joined[at].take().filter(|other| !other.image.kept);
                let (name, forced) = (file.name.clone(), file.forced && !image.kept);
                let one = one.unwrap_or_else(|| Joined {
                    file: name,
                    image: image.clone(),
                    forced,
                    disputed,
                });
                joined[at] = Some(Joined { disputed, ..one });
            }
        }
    }
    if problems.is_empty() { Ok(joined) } else { Err(JoinError(problems)) }
}
