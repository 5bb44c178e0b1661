//! Joining what several jobs have staged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::Row;
use crate::error::{ExitCode, Explain};
use crate::image::Digest;
use crate::plan::Fingerprint;

/// What one job says that it has staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFile {
    /// The file that says so, for people.
    pub name: String,
    /// The version that the job was for.
    pub version: Option<String>,
    /// The images, by the ids of their variants.
    pub images: BTreeMap<String, JobImage>,
    /// The variants that the job could not build, or was kept from.
    pub failed: BTreeSet<String>,
    /// Whether the job was to build images anew that were there.
    pub forced: bool,
}

/// One image of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobImage {
    /// What was pushed.
    pub digest: Digest,
    /// What it was made of.
    pub fingerprint: Option<Fingerprint>,
    /// Its bytes in the registry, where they are known.
    pub size: Option<u64>,
    /// Whether it was there before the job.
    pub kept: bool,
    /// Whether no step had to run for it.
    pub cached: bool,
}

/// An image and the file that tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The job's file.
    pub file: String,
    /// The image.
    pub image: JobImage,
    /// Whether it was built anew to replace what was there.
    pub forced: bool,
    /// Whether another file says another image, made of the same.
    pub disputed: bool,
}

/// The files of the jobs do not fit together, or do not fit the plan.
#[derive(Debug, PartialEq, Eq)]
pub struct JoinError(Vec<String>);

impl std::error::Error for JoinError {}

impl fmt::Display for JoinError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// How many problems are told.
        const SHOWN: usize = 12;
        formatter.write_str("the jobs' files do not make one release of this matrix:")?;
        for problem in self.0.iter().take(SHOWN) {
            write!(formatter, "\n  {problem}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(formatter, "\n  … and {more} more"),
        }
    }
}

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

/// The images of `rows` as `files` tell of them, in the rows' order; `None` for a row that none
/// of them has staged. All that is wrong is told at once.
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
                Some(version) => format!("the version `{version}`"),
                None => "no version".to_owned(),
            };
            let (theirs, ours) = (named(file.version.as_deref()), named(version));
            problems.push(format!("`{}` is of {theirs}, and this matrix of {ours}", file.name));
        }
        for (id, image) in &file.images {
            let Some(at) = known.get(id.as_str()).copied() else {
                problems.push(format!("{id} of `{}` is not among the variants here", file.name));
                continue;
            };
            let row = &rows[at];
            if row.fingerprint.is_none() {
                problems.push(format!("{id} is built on an image that is not pinned"));
            } else if image.fingerprint != row.fingerprint {
                problems.push(format!("{id} of `{}` is made of something else", file.name));
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
    match problems.is_empty() {
        true => Ok(joined),
        false => Err(JoinError(problems)),
    }
}
