//! The arguments of commands that change something.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{AnswerFormat, EngineArgs, NamingArgs, ProgressArgs, RunningArgs, SelectionArgs};

#[derive(Debug, Args)]
pub(in crate::cli) struct MergeArgs {
    /// The files that jobs wrote with `--stage --metadata-file`
    #[arg(value_name = "FILE")]
    pub(in crate::cli) files: Vec<PathBuf>,
    /// Set the version tags, aliases and the release set
    #[arg(long)]
    pub(in crate::cli) push: bool,
    /// Move tags that point to other images
    #[arg(long, requires = "push")]
    pub(in crate::cli) overwrite: bool,
    /// Write the joined metadata to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) metadata_file: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) display: ProgressArgs,
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
    #[command(flatten)]
    pub(in crate::cli) naming: NamingArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BumpArgs {
    /// `patch`, `minor`, `major`, `prerelease`, or the new version itself; `follow` for the version of the product in
    /// `[version.follows]`, if an image has changed
    #[arg(value_name = "LEVEL|VERSION|follow")]
    pub(in crate::cli) to: String,
    /// Kind of pre-release [default: that of the current version, or rc]; with `patch`, `minor` or
    /// `major`, the first pre-release of the next version
    #[arg(long, value_enum, value_name = "KIND")]
    pub(in crate::cli) pre: Option<PrereleaseKind>,
    /// Bump only if an image differs from the one that the registry has under the current version
    #[arg(long)]
    pub(in crate::cli) if_changed: bool,
    /// With --if-changed: since this git revision, without asking the registries
    #[arg(long, value_name = "REV", requires = "if_changed")]
    pub(in crate::cli) since: Option<String>,
    /// Accept a VERSION that is lower than the current one
    #[arg(long)]
    pub(in crate::cli) allow_downgrade: bool,
    /// Print the edits as a diff, and write nothing
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = AnswerFormat::Text)]
    pub(in crate::cli) format: AnswerFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum PrereleaseKind {
    /// 1.2.3-dev.1, 1.2.3.dev1
    Dev,
    /// 1.2.3-alpha.1, 1.2.3a1
    Alpha,
    /// 1.2.3-beta.1, 1.2.3b1
    Beta,
    /// 1.2.3-rc.1, 1.2.3rc1
    Rc,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(in crate::cli) struct ReleaseArgs {
    /// The version, or `patch`, `minor`, `major` or `prerelease` to bump it if an image has changed
    /// since its release, or `follow` for the version of the product then [default: that of `[version]`]
    #[arg(value_name = "VERSION|LEVEL|follow")]
    pub(in crate::cli) to: Option<String>,
    /// Open or update a pull request instead of changing the working tree
    #[arg(long)]
    pub(in crate::cli) pr: bool,
    /// Base branch of the pull request [default: that of the matrix, or the repository's]
    #[arg(long, value_name = "BRANCH", requires = "pr")]
    pub(in crate::cli) base: Option<String>,
    /// Open the pull request as a draft
    #[arg(long, requires = "pr")]
    pub(in crate::cli) draft: bool,
    /// Also write the full text of the pull request to FILE
    #[arg(long, value_name = "FILE", requires = "pr")]
    pub(in crate::cli) notes: Option<PathBuf>,
    /// Print the diff and the text of the pull request; publish and change nothing
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Move tags that point to other images
    #[arg(long)]
    pub(in crate::cli) overwrite: bool,
    /// Write images, tags and digests to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) metadata_file: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) running: RunningArgs,
    #[command(flatten)]
    pub(in crate::cli) engine: EngineArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct UpdateArgs {
    /// Only these images, such as `python:3.11-slim-bookworm` or all tags of `python`; others keep
    /// their pins
    #[arg(value_name = "IMAGE")]
    pub(in crate::cli) images: Vec<String>,
    /// Write nothing, and fail if a pin would change
    #[arg(long)]
    pub(in crate::cli) check: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PruneArgs {
    /// Delete the listed tags and images
    #[arg(long)]
    pub(in crate::cli) yes: bool,
    /// Registry [default: those of the matrix]
    ///
    /// Repeatable, or several joined by commas.
    #[arg(long, value_name = "HOST[:PORT][/PATH]", value_delimiter = ',')]
    pub(in crate::cli) registry: Vec<String>,
    /// Repository [default: that of the matrix]
    ///
    /// `{{axis}}` inserts the value of an axis.
    #[arg(long, value_name = "REPOSITORY")]
    pub(in crate::cli) repository: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) engine: EngineArgs,
}

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct InitArgs {
    /// The folder of the repository; created if it does not exist
    #[arg(value_name = "DIR", default_value = ".")]
    pub(in crate::cli) folder: PathBuf,
    /// Import images from a config.yaml of Truss, a cerebrium.toml, a Dockerfile or the app.py of a fal app (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) from: Vec<PathBuf>,
    /// The folder that imported images copy files from, instead of the folder of the imported file
    #[arg(long, value_name = "DIR", requires = "from")]
    pub(in crate::cli) context: Option<PathBuf>,
    /// Registry of the images, for the matrix and the login of the workflow
    ///
    /// Without the option, it is ghcr.io if the git remote `origin` is on GitHub, and Docker Hub otherwise.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(in crate::cli) registry: Option<String>,
    /// Repository of the images, such as acme/base
    ///
    /// With `--from`, the name of each image follows: `--repository acme` for acme/server. Without the option, it is that
    /// of the git remote `origin` on GitHub, or the name of the folder.
    #[arg(long, value_name = "REPOSITORY")]
    pub(in crate::cli) repository: Option<String>,
    /// Replace existing files
    #[arg(long)]
    pub(in crate::cli) force: bool,
    /// Fail and write nothing if a key or instruction of an imported file is left out
    ///
    /// Keys that describe something other than an image, such as the scaling of a server, do not count.
    #[arg(long, requires = "from")]
    pub(in crate::cli) strict: bool,
    /// List the files and write nothing
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
}
