//! Joins the metadata files of several jobs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Row;
use super::metadata::TargetMetadata;
use crate::error::{ExitCode, Explain, list};
use crate::image::Platform;

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
pub struct ListedImage {
    /// The path of the file.
    pub file: String,
    pub image: TargetMetadata,
    /// Whether it was rebuilt to replace an image of the registry.
    pub forced: bool,
    /// Whether another file lists a different image with the same fingerprint.
    pub disputed: bool,
}

/// The images of a row that metadata files list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// The image for all platforms.
    pub image: Option<ListedImage>,
    /// The images for single platforms, which have yet to be joined.
    pub platforms: BTreeMap<Platform, ListedImage>,
}

impl Listed {
    /// Returns whether all steps of the image were cached; `None` if no job has built it.
    #[must_use]
    pub fn was_cached(&self) -> Option<bool> {
        let all = self.image.iter().chain(self.platforms.values());
        let mut built = all.map(|joined| &joined.image).filter(|image| !image.kept).peekable();
        built.peek()?;
        Some(built.all(|image| image.cached))
    }
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

/// Returns the images of `rows` that files list, in their order. The error lists all problems at once.
pub fn join(
    rows: &[Row],
    version: Option<&str>,
    files: &[JobFile],
) -> Result<Vec<Listed>, JoinError> {
    let known: HashMap<&str, usize> =
        rows.iter().map(|row| row.job.target.as_str()).zip(0..).collect();
    let mut listed: Vec<Listed> = vec![Listed::default(); rows.len()];
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
            } else if image.fingerprint == row.fingerprint {
                let image = preferred(listed[at].image.take(), file, image);
                listed[at].image = Some(image);
            } else if let Some(platform) = row.platform_of(image.fingerprint.as_ref()) {
                let platforms = &mut listed[at].platforms;
                let image = preferred(platforms.remove(platform), file, image);
                platforms.insert(platform.clone(), image);
            } else {
                problems.push(format!("`{}` lists {id} with different inputs", file.name));
            }
        }
    }
    if problems.is_empty() { Ok(listed) } else { Err(JoinError(problems)) }
}

/// Returns the image to use of `known`, which other files list, and the `image` of `file`.
fn preferred(known: Option<ListedImage>, file: &JobFile, image: &TargetMetadata) -> ListedImage {
    let is_other = |known: &ListedImage| known.disputed || known.image.digest != image.digest;
    let disputed = known.as_ref().is_some_and(is_other);
    let known = known.filter(|known| !known.image.kept).unwrap_or_else(|| ListedImage {
        file: file.name.clone(),
        image: image.clone(),
        forced: file.forced && !image.kept,
        disputed,
    });
    ListedImage { disputed, ..known }
}
