use std::fmt;

use super::JournalError;
use crate::error::{ExitCode, Explain, one_line};
use crate::image::{Digest, Reference};
use crate::registry::RegistryError;

/// Why a release could not be made, or not be made whole.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Version tags stand for other images; nothing was done.
    #[error(
        "{} there already, and {} not what this matrix makes:{}",
        is_are(references),
        is(references),
        List(references)
    )]
    Taken {
        /// The tags.
        references: Vec<Reference>,
        /// Whether the images are to be built anew whatever is there.
        force: bool,
    },
    /// Another run has set version tags since this one began; it set none.
    #[error(
        "another run has set {} of this version meanwhile:{}",
        count(references),
        List(references)
    )]
    Overtaken {
        /// The tags.
        references: Vec<Reference>,
    },
    /// An image that was pushed is not there.
    #[error("`{}` was pushed, and is not there", reference.pinned(digest))]
    Lost {
        /// Its version tag.
        reference: Reference,
        /// Its digest.
        digest: Digest,
    },
    /// Tags that were set stand for something else a moment later.
    #[error(
        "{} of this release {} not what this run has set:{}",
        count(references),
        is(references),
        List(references)
    )]
    Mixed {
        /// The tags.
        references: Vec<Reference>,
    },
    /// Some tags could not be set.
    #[error("{} of {total} tags could not be set:{}", failed.len(), Failures(failed))]
    Tags {
        /// Those, each with the reason.
        failed: Vec<(Reference, RegistryError)>,
        /// How many were to be set.
        total: usize,
    },
    /// The run was interrupted while tags were set.
    #[error("interrupted: {} of {total} tags were left to set", total - done)]
    Interrupted {
        /// How many are.
        done: usize,
        /// How many were to be.
        total: usize,
    },
    /// The release set that was asked for does not exist.
    #[error("there is no release set `{0}`")]
    NoSet(Reference),
    /// What is behind the tag of a release set is something else.
    #[error("`{reference}` is not a release set: {problem}")]
    NotASet {
        /// The tag.
        reference: Reference,
        /// What is wrong.
        problem: String,
    },
    /// A registry refused or failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The journal could not be kept.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Explain for PublishError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Taken { .. } | Self::Overtaken { .. } | Self::Mixed { .. } => ExitCode::Conflict,
            Self::Interrupted { .. } => ExitCode::Interrupted,
            Self::Registry(error) => error.exit_code(),
            Self::Journal(error) => error.exit_code(),
            Self::Lost { .. } | Self::Tags { .. } | Self::NoSet(_) | Self::NotASet { .. } => {
                ExitCode::Registry
            }
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Taken { force: true, .. } => "what is built anew is another image: give it a \
                 new version, or pass `--overwrite` to move the tags"
                .to_owned(),
            Self::Overtaken { .. } => "this run has set no tag. See which run is right, and give \
                 the other a new version"
                .to_owned(),
            Self::Taken { force: false, .. } => "nothing was built or tagged. Give the release a \
                 new version, or pass `--overwrite` to move the tags; `basegen plan` says what \
                 has changed"
                .to_owned(),
            Self::Mixed { .. } => "another run must have moved them, and the release set was not \
                 written. See which run is right, and run that again with `--overwrite`"
                .to_owned(),
            Self::Tags { .. } | Self::Interrupted { .. } => {
                "all images are in the registry; run the same again for the tags that are missing"
                    .to_owned()
            }
            Self::Lost { .. } => "run the same again: it is pushed anew".to_owned(),
            Self::NoSet(_) => "a whole matrix that is pushed writes one".to_owned(),
            Self::NotASet { .. } => return None,
            Self::Registry(error) => return error.hint(),
            Self::Journal(error) => return error.hint(),
        })
    }
}

/// How many of a list are shown.
const SHOWN: usize = 5;

/// References, a line each, and how many more.
struct List<'a>(&'a [Reference]);

impl fmt::Display for List<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for reference in self.0.iter().take(SHOWN) {
            write!(formatter, "\n  {reference}")?;
        }
        more(formatter, self.0.len())
    }
}

/// References and why each failed.
struct Failures<'a>(&'a [(Reference, RegistryError)]);

impl fmt::Display for Failures<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (reference, error) in self.0.iter().take(SHOWN) {
            write!(formatter, "\n  {reference}: {}", one_line(error))?;
        }
        more(formatter, self.0.len())
    }
}

fn more(formatter: &mut fmt::Formatter<'_>, count: usize) -> fmt::Result {
    match count.saturating_sub(SHOWN) {
        0 => Ok(()),
        more => write!(formatter, "\n  … and {more} more"),
    }
}

fn count(references: &[Reference]) -> String {
    match references.len() {
        1 => "a tag".to_owned(),
        many => format!("{many} tags"),
    }
}

fn is_are(references: &[Reference]) -> String {
    format!("{} of this version {}", count(references), is(references))
}

fn is(references: &[Reference]) -> &'static str {
    if references.len() == 1 { "is" } else { "are" }
}
