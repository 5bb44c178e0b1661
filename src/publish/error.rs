use std::fmt;

use crate::error::{ExitCode, Explain, one_line};
use crate::image::{Digest, Reference, Repository};
use crate::registry::{RegistryError, RegistryErrorKind};

/// Why a release could not be made, or not be made whole.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Version tags stand for other images; nothing was done.
    #[error(
        "{} is already published with different content ({}):{}",
        version.as_deref().unwrap_or("this version"),
        count(references),
        List(references)
    )]
    Taken {
        /// The version, where it is known.
        version: Option<String>,
        /// The tags.
        references: Vec<Reference>,
        /// Whether the images are to be built anew whatever is there.
        force: bool,
    },
    /// Version tags exist, and cannot be compared with the images of the matrix.
    #[error(
        "cannot compare this release with {} of its version:{}",
        count(references),
        Unknown(references, reasons)
    )]
    Incomparable {
        /// The tags.
        references: Vec<Reference>,
        /// For each, why the image of the matrix is unknown.
        reasons: Vec<String>,
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
    /// Variants cannot be staged: jobs on several machines would build them of different inputs.
    #[error("the inputs of {} are not pinned:{}", variants(targets), Ids(targets))]
    Unpinned {
        /// The variants.
        targets: Vec<String>,
    },
    /// Images that are to be named are not there, or not what the jobs' files say.
    #[error(
        "{} of {total} images cannot be published:{}",
        absent.len(),
        Absences(absent)
    )]
    NotStaged {
        /// The variants, each with what is wrong.
        absent: Vec<(String, Absence)>,
        /// How many were to be named.
        total: usize,
    },
    /// Nothing can be pushed to some repositories; nothing was built.
    #[error("cannot push to {} of {total} repositories:{}", refused.len(), Refusals(refused))]
    PushRefused {
        /// Those, each with the reason.
        refused: Vec<(Repository, RegistryError)>,
        /// How many are to be pushed to.
        total: usize,
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
    /// A release set lists an image outside the repositories of the matrix.
    #[error(
        "the release set `{set}` lists `{image}`, which is outside the repositories of this matrix"
    )]
    ForeignImage {
        /// The tag of the set.
        set: Reference,
        /// The image.
        image: Box<Reference>,
    },
    /// A registry refused or failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Explain for PublishError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Taken { .. }
            | Self::Incomparable { .. }
            | Self::Overtaken { .. }
            | Self::Mixed { .. } => ExitCode::Conflict,
            Self::Interrupted { .. } => ExitCode::Interrupted,
            Self::Registry(error) => error.exit_code(),
            Self::Unpinned { .. } => ExitCode::Matrix,
            Self::PushRefused { .. }
            | Self::Lost { .. }
            | Self::Tags { .. }
            | Self::NoSet(_)
            | Self::NotASet { .. }
            | Self::ForeignImage { .. }
            | Self::NotStaged { .. } => ExitCode::Registry,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Taken { force: true, .. } => "what is built anew is another image: give it a \
                 new version, or pass `--overwrite` to move the tags. To finish a run that was \
                 stopped, run the same without `--force` or `--no-cache`"
                .to_owned(),
            Self::Overtaken { .. } => "this run has set no tag. See which run is right, and give \
                 the other a new version"
                .to_owned(),
            Self::Taken { force: false, .. } => "bump the version: `basegen bump patch`; or pass \
                 `--overwrite` to move the tags. `basegen plan` lists the changes. Nothing was \
                 built or tagged"
                .to_owned(),
            Self::Incomparable { .. } => "run `basegen update` where the base images can be \
                 looked up, and commit `basegen.lock`; or pass `--overwrite` to move the tags. \
                 Nothing was built or tagged"
                .to_owned(),
            Self::Mixed { .. } => "another run must have moved them, and the release set was not \
                 written. See which run is right, and run that again with `--overwrite`"
                .to_owned(),
            Self::Tags { failed, .. } if failed.iter().any(is_immutable) => {
                "all images are in the \
                 registry, under their version tags. The repository makes its tags immutable: \
                 remove `aliases` from `[image]`, or exclude them from the repository's rule"
                    .to_owned()
            }
            Self::Tags { .. } | Self::Interrupted { .. } => {
                "all images are in the registry; run the same again for the tags that are missing"
                    .to_owned()
            }
            Self::Unpinned { .. } => {
                "run `basegen update`, and commit `basegen.lock`. An `ADD` of a URL needs \
                 `--checksum`, of a Git repository a commit. Nothing was built or tagged"
                    .to_owned()
            }
            Self::NotStaged { .. } => {
                "nothing was tagged. `basegen --stage` builds and checks what is missing, \
                 and no more; then merge again, with its file too"
                    .to_owned()
            }
            Self::PushRefused { refused, .. } => push_hint(refused.first()?.1.kind()),
            Self::Lost { .. } => "run the same again: it is pushed anew".to_owned(),
            Self::NoSet(_) => "a whole matrix that is pushed writes one".to_owned(),
            Self::NotASet { .. } => "if a newer basegen wrote it, use that one; otherwise delete the tag and publish again"
                .to_owned(),
            Self::ForeignImage { set, .. } => format!(
                "the image was not looked up. Check who may push to `{}`. After a change of \
                 `repository` in `[image]`, check out the commit of that release",
                set.repository
            ),
            Self::Registry(error) => return error.hint(),
        })
    }
}

fn is_immutable((_, error): &(Reference, RegistryError)) -> bool {
    matches!(error.kind(), RegistryErrorKind::TagImmutable { .. })
}

/// What to do about a refused push; nothing was built.
fn push_hint(refusal: &RegistryErrorKind) -> String {
    let remedy = match refusal {
        RegistryErrorKind::Denied { host, anonymous: false, clock: None, .. } => format!(
            "give the credential for `{host}` the right to push; `basegen auth check` shows which \
             one is used"
        ),
        other => other.hint().unwrap_or_else(|| "run `basegen auth check`".to_owned()),
    };
    format!("{remedy}. Nothing was built")
}

/// Why an image cannot be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// No job's file has it, and no registry.
    Nowhere,
    /// It failed in the job of this file.
    Failed(String),
    /// It was built, and has not passed the checks of today.
    Unchecked,
    /// What a job says that it has staged is not in the registry.
    Vanished {
        /// The job's file.
        file: String,
        /// What it says.
        digest: Digest,
    },
    /// What a job says that it has staged is another image than its registry knows as staged.
    Other {
        /// The job's file.
        file: String,
        /// What it says.
        digest: Digest,
    },
}

impl fmt::Display for Absence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => {
                formatter.write_str("no job's file has it, and neither has its registry")
            }
            Self::Failed(file) => write!(formatter, "it was not built, says `{file}`"),
            Self::Unchecked => formatter.write_str("its checks have not run on its image"),
            Self::Vanished { file, digest } => {
                write!(formatter, "`{file}` says {digest}, which is not in its registry")
            }
            Self::Other { file, digest } => {
                write!(
                    formatter,
                    "`{file}` says {digest}, which nothing in its registry says was built and \
                     checked for it"
                )
            }
        }
    }
}

/// How many of a list are shown.
const SHOWN: usize = 5;

/// Variants, a line each, and how many more.
struct Ids<'a>(&'a [String]);

impl fmt::Display for Ids<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for id in self.0.iter().take(SHOWN) {
            write!(formatter, "\n  {id}")?;
        }
        more(formatter, self.0.len())
    }
}

/// Variants and why each is not there.
struct Absences<'a>(&'a [(String, Absence)]);

impl fmt::Display for Absences<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, absence) in self.0.iter().take(SHOWN) {
            write!(formatter, "\n  {id}: {absence}")?;
        }
        more(formatter, self.0.len())
    }
}

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

/// References and why each cannot be compared.
struct Unknown<'a>(&'a [Reference], &'a [String]);

impl fmt::Display for Unknown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (reference, reason) in self.0.iter().zip(self.1).take(SHOWN) {
            write!(formatter, "\n  {reference}: {reason}")?;
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

/// Repositories and why each push is refused.
struct Refusals<'a>(&'a [(Repository, RegistryError)]);

impl fmt::Display for Refusals<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (repository, error) in self.0.iter().take(SHOWN) {
            write!(formatter, "\n  {repository}: {}", one_line(error.kind()))?;
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

fn variants(targets: &[String]) -> String {
    match targets.len() {
        1 => "a variant".to_owned(),
        many => format!("{many} variants"),
    }
}

fn count(references: &[Reference]) -> String {
    match references.len() {
        1 => "a tag".to_owned(),
        many => format!("{many} tags"),
    }
}

fn is(references: &[Reference]) -> &'static str {
    if references.len() == 1 { "is" } else { "are" }
}
