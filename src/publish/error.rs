//! Why a release cannot be published.

use crate::error::{self, ExitCode, Explain, one_line};
use crate::image::{Digest, Platform, Reference, ReferenceError, Repository, Size};
use crate::plan::Lost;
use crate::registry::{Authentication, RegistryError, RegistryErrorKind};

/// Why a release, or a part of it, cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Version tags point to images of different content. Nothing was built or tagged.
    #[error(
        "{} is already published with different content ({}):{}",
        version.as_deref().unwrap_or("this version"),
        count(references.len(), "tag"),
        list(references, Reference::to_string)
    )]
    Conflict {
        /// The version, if it is known.
        version: Option<String>,
        references: Vec<Reference>,
        /// Whether images are rebuilt even if they exist.
        force: bool,
    },
    /// Version tags exist, and cannot be compared with the images of the matrix.
    #[error(
        "cannot compare this release with {} of its version:{}",
        count(references.len(), "tag"),
        list(&references.iter().zip(reasons).collect::<Vec<_>>(), |(tag, reason)| format!("{tag}: {reason}"))
    )]
    Incomparable {
        references: Vec<Reference>,
        /// For each tag, why the image of the matrix is unknown.
        reasons: Vec<String>,
    },
    /// Another run has set version tags since this one began. This run has set none.
    #[error(
        "another run has set {} of this version since this run began:{}",
        count(references.len(), "tag"),
        list(references, Reference::to_string)
    )]
    Overtaken { references: Vec<Reference> },
    /// The tag of the release set is that of another matrix in the same repository. Nothing was built or tagged.
    #[error("`{set}` is the release set of another matrix")]
    OtherMatrix { set: Reference },
    /// Unpinned targets cannot be staged: jobs on several machines would build them from different inputs.
    #[error("the inputs of {} are not pinned:{}", count(targets.len(), "variant"), list(targets, String::clone))]
    Unpinned {
        /// The ids of the targets.
        targets: Vec<String>,
    },
    /// Images are missing, or differ from those in the metadata files of the jobs.
    #[error(
        "{} of {total} images cannot be published:{}",
        absent.len(),
        list(absent, |(id, absence)| format!("{id}: {absence}"))
    )]
    NotStaged {
        /// The ids of the targets, each with the reason.
        absent: Vec<(String, Absence)>,
        /// The number of images of the release.
        total: usize,
    },
    /// Some repositories refuse pushes. Nothing was built.
    #[error(
        "cannot push to {} of {total} repositories:{}",
        refused.len(),
        list(refused, |(repository, error)| format!("{repository}: {}", one_line(error.kind())))
    )]
    PushRefused {
        /// The repositories, each with the reason.
        refused: Vec<(Repository, RegistryError)>,
        /// The number of repositories of the release.
        total: usize,
    },
    /// Images have lost GPUs. Nothing was built or tagged.
    #[error(
        "{} fewer GPUs than the published {}:{}",
        if images.len() == 1 { "an image supports" } else { "images support" },
        if images.len() == 1 { "one" } else { "ones" },
        list(images, |(target, lost)| format!("{target}: {}", Lost::list(lost)))
    )]
    LostGpus {
        /// The ids of the targets, each with its losses.
        images: Vec<(String, Vec<Lost>)>,
    },
    /// Images are larger than the matrix permits. They are staged, and no tag was set.
    #[error(
        "{} larger than `max_size` permits:{}",
        if images.len() == 1 { "an image is" } else { "images are" },
        list(images, Oversized::to_string)
    )]
    Oversized { images: Vec<Oversized> },
    /// Two images have printed the same alias. All images are staged, and no tag was set.
    #[error("`{first}` and `{second}` have both printed the alias `{reference}`")]
    AliasClash {
        /// The ids of the targets.
        first: String,
        second: String,
        reference: Reference,
    },
    /// An image has no label with the aliases that its commands have printed. No tag was set.
    #[error("the image of {target} does not list the aliases that its commands have printed")]
    NoAliases {
        /// The id of the target.
        target: String,
    },
    /// The platforms of an image have printed different aliases. No tag was set.
    #[error("the platforms of the image of {target} have printed different aliases")]
    PlatformAliases {
        /// The id of the target.
        target: String,
    },
    /// The output of a command in the image makes an alias invalid. No tag was set.
    #[error("an alias of {target} is invalid with the output of its command: {source}")]
    InvalidAlias {
        /// The id of the target.
        target: String,
        source: ReferenceError,
    },
    /// An image that was pushed is missing.
    #[error("`{repository}@{digest}` was pushed but is missing in the registry")]
    Lost { repository: Repository, digest: Digest },
    /// An image that is mirrored is missing.
    #[error("`{repository}@{digest}`, which {target} mirrors, does not exist")]
    NoSource {
        /// The id of the target.
        target: String,
        repository: Repository,
        digest: Digest,
    },
    /// Tags that this run has set point to different images a moment later.
    #[error(
        "{} of this release {} to a different image than this run has set:{}",
        count(references.len(), "tag"),
        if references.len() == 1 { "points" } else { "point" },
        list(references, Reference::to_string)
    )]
    Mixed { references: Vec<Reference> },
    /// Some tags could not be set.
    #[error(
        "{} of {total} tags could not be set:{}",
        failed.len(),
        list(failed, |(tag, error)| format!("{tag}: {}", one_line(error)))
    )]
    Tags {
        /// The tags, each with the reason.
        failed: Vec<(Reference, RegistryError)>,
        /// The number of tags to set.
        total: usize,
    },
    /// The run was interrupted while it set tags.
    #[error("interrupted: {} of {total} tags were left to set", total - done)]
    Interrupted {
        /// The number of tags that were set.
        done: usize,
        /// The number of tags to set.
        total: usize,
    },
    /// The tag of a release set points to something else.
    #[error("`{reference}` is not a release set: {problem}")]
    NotASet { reference: Reference, problem: String },
    /// A release set lists an image outside the repositories of the matrix.
    #[error(
        "the release set `{set}` lists `{image}`, which is outside the repositories of this matrix"
    )]
    ForeignImage {
        /// The tag of the set.
        set: Reference,
        image: Box<Reference>,
    },
    /// A registry refused or failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Explain for PublishError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Conflict { .. }
            | Self::Incomparable { .. }
            | Self::Overtaken { .. }
            | Self::OtherMatrix { .. }
            | Self::Mixed { .. } => ExitCode::Conflict,
            Self::LostGpus { .. } | Self::Oversized { .. } => ExitCode::Verify,
            Self::Interrupted { .. } => ExitCode::Interrupted,
            Self::Registry(error) => error.exit_code(),
            Self::Unpinned { .. } | Self::AliasClash { .. } | Self::InvalidAlias { .. } => {
                ExitCode::Matrix
            }
            Self::PushRefused { .. }
            | Self::Lost { .. }
            | Self::NoSource { .. }
            | Self::NoAliases { .. }
            | Self::PlatformAliases { .. }
            | Self::Tags { .. }
            | Self::NotASet { .. }
            | Self::ForeignImage { .. }
            | Self::NotStaged { .. } => ExitCode::Registry,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::LostGpus { .. } => {
                "use versions of these libraries that have the machine code, or permit the loss with `drop_sm` in \
                 `[image]` or `[[set]]`. Nothing was built or tagged"
            }
            Self::Oversized { .. } => {
                "remove content, or raise `max_size`. All images are staged: the next run builds only \
                 those that change. No tags were set"
            }
            Self::Conflict { force: true, .. } => {
                "a rebuilt image has another digest. Bump the version: `basegen bump patch`; or pass \
                 `--overwrite` to move the tags. To finish a run that was stopped, rerun it without \
                 `--force` or `--no-cache`"
            }
            Self::Conflict { force: false, .. } => {
                "bump the version: `basegen bump patch`; or pass `--overwrite` to move the tags. \
                 `basegen plan` lists the changes. Nothing was built or tagged"
            }
            Self::Overtaken { .. } => {
                "this run has set no tag. Decide which run is right, and give the other a new version"
            }
            Self::OtherMatrix { .. } => {
                "give this matrix a `name` in `[publish]`: its release sets then have tags of their own. If \
                 it is the same matrix, and all names of its images have changed, publish with \
                 `--overwrite`. Nothing was built or tagged"
            }
            Self::Incomparable { .. } => {
                "run `basegen update` where the base images can be looked up, and commit \
                 `basegen.lock`; or pass `--overwrite` to move the tags. Nothing was built or tagged"
            }
            Self::Mixed { .. } => {
                "another run has moved the tags. Decide which run is right, and rerun it with \
                 `--overwrite`. The release set was not written"
            }
            Self::Tags { failed, .. } if failed.iter().any(|(_, error)| is_immutable(error)) => {
                "all images are in the registry, under their version tags. The repository makes its \
                 tags immutable: remove `aliases` from `[image]`, or exclude them from the \
                 repository's rule"
            }
            Self::Tags { .. } | Self::Interrupted { .. } => {
                "all images are in the registry; rerun the same command to set the missing tags"
            }
            Self::Unpinned { .. } => {
                "run `basegen update`, and commit `basegen.lock`. An `ADD` of a URL needs \
                 `--checksum`, of a Git repository a commit. Nothing was built or tagged"
            }
            Self::NotStaged { .. } => {
                "run `basegen --stage` to build and check only the missing images, then merge again \
                 with its file too. No tags were set"
            }
            Self::PushRefused { refused, .. } => return Some(push_hint(refused.first()?.1.kind())),
            Self::Lost { .. } => "rerun the same command to push it again",
            Self::AliasClash { .. } => {
                "limit one of them with `when` in `[[alias]]`, or let the commands print different tags. \
                 All images are staged, and no tags were set"
            }
            Self::InvalidAlias { .. } => {
                "change `tag` of the `[[alias]]`. All images are staged, and no tags were set"
            }
            Self::NoAliases { .. } => "rebuild it with `--force`. No tags were set",
            Self::PlatformAliases { .. } => {
                "let the command print the same on all platforms. If it prints what has changed between their builds, \
                 rebuild all platforms with `--stage --force`. No tags were set"
            }
            Self::NoSource { .. } => {
                "`basegen auth check` shows whether its registry refuses to show it. Pin another image with `mirror` in \
                 the matrix. No tags were set"
            }
            Self::NotASet { .. } => {
                "use the newer basegen if one wrote it; otherwise delete the tag and publish again"
            }
            Self::ForeignImage { set, .. } => {
                return Some(format!(
                    "check who may push to `{}`. After a change of `repository` in `[image]`, check \
                     out the commit of that release. The image was not looked up",
                    set.repository
                ));
            }
            Self::Registry(error) => return error.hint(),
        };
        Some(hint.to_owned())
    }
}

/// Returns true if the registry refuses to move a tag.
pub(super) fn is_immutable(error: &RegistryError) -> bool {
    matches!(error.kind(), RegistryErrorKind::TagImmutable { .. })
}

/// Returns the hint for a refused push.
fn push_hint(refusal: &RegistryErrorKind) -> String {
    let remedy = match refusal {
        RegistryErrorKind::Denied { host, authentication: Authentication::Credential, .. } => {
            format!(
                "give the credential for `{host}` the right to push; `basegen auth check` shows which \
             one is used"
            )
        }
        other => other.hint().unwrap_or_else(|| "run `basegen auth check`".to_owned()),
    };
    format!("{remedy}. Nothing was built")
}

/// Why an image cannot be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Absence {
    /// Neither a metadata file nor the registry has it.
    #[error("no job has staged it, and it is not in its registry")]
    Nowhere,
    /// Its build failed in the job of this file.
    #[error("its build failed according to `{0}`")]
    Failed(String),
    /// It has not passed the current checks.
    #[error("its image has not passed its current checks")]
    Unchecked,
    /// A metadata file lists an image that is not in the registry.
    #[error("`{file}` lists {digest}, which is not in its registry")]
    Vanished {
        file: String,
        /// The digest in that file.
        digest: Digest,
    },
    /// A metadata file lists an image that the registry does not list as staged.
    #[error(
        "`{file}` lists {digest}, which is not the image that its registry lists as built and checked"
    )]
    Other {
        file: String,
        /// The digest in that file.
        digest: Digest,
    },
    /// Platforms of the image are missing, each with the reason.
    #[error("{}", .0.iter().map(|(platform, absence)| format!("for {platform}: {absence}")).collect::<Vec<_>>().join("; "))]
    Platforms(Vec<(Platform, Absence)>),
}

/// The number of layers that are listed of an image that is too large.
const LISTED_LAYERS: usize = 3;

/// An image that is larger than its limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{target} has {size}, {} more than its limit of {limit}; its largest layers: {}", Size(size.0 - limit.0), list_layers(layers))]
pub struct Oversized {
    /// The id of the target.
    pub target: String,
    /// The compressed size of its layers for one platform.
    pub size: Size,
    pub limit: Size,
    /// The largest layers with their sizes, the largest first.
    pub layers: Vec<(Digest, Size)>,
}

fn list_layers(layers: &[(Digest, Size)]) -> String {
    let layers = layers.iter().take(LISTED_LAYERS);
    layers.map(|(digest, size)| format!("{size} {digest}")).collect::<Vec<_>>().join(", ")
}

/// How many items of a list are shown.
const SHOWN: usize = 5;

/// Returns a line for each of the first items, and the number of the others.
fn list<T>(items: &[T], line: impl Fn(&T) -> String) -> String {
    error::list(SHOWN, items.iter().map(line))
}

/// Formats a number of things: `a tag`, `2 tags`.
fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("a {noun}") } else { format!("{number} {noun}s") }
}
