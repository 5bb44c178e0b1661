//! The arguments of commands that change nothing.
//!
//! Options of a command come before flattened groups, whose heading in the help would apply to them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{NamingArgs, SelectionArgs};

#[derive(Debug, Args)]
pub(in crate::cli) struct PlanArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t = PlanFormat::Table)]
    pub(in crate::cli) format: PlanFormat,
    #[command(flatten)]
    pub(in crate::cli) planned: PlannedArgs,
    #[command(flatten)]
    pub(in crate::cli) jobs: JobsArgs,
}

/// The jobs of a workflow.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Jobs for GitHub Actions")]
pub(in crate::cli) struct JobsArgs {
    /// Maximum number of jobs [default: one for every eight images, at most 20]
    ///
    /// There is at least one for each platform with runners of its own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(in crate::cli) shards: Option<u16>,
    /// Label of the runners for a platform (repeatable) [default: `ubuntu-24.04-arm` for arm64,
    /// `ubuntu-24.04` for others]
    #[arg(long, value_name = "OS/ARCH=LABEL")]
    pub(in crate::cli) runner: Vec<String>,
    /// Do not fail if tags of the version point to other images; `merge --overwrite` moves them
    #[arg(long)]
    pub(in crate::cli) overwrite: bool,
}

/// The images of a plan.
#[derive(Debug, Args)]
pub(in crate::cli) struct PlannedArgs {
    /// Only variants whose images differ from those of a git revision, with the reasons
    ///
    /// Needs neither an engine nor a network. `basegen changed` compares the version too, and its
    /// exit code and outputs are for workflows.
    #[arg(long, value_name = "REV")]
    pub(in crate::cli) since: Option<String>,
    /// Do not look up images in the registry
    #[arg(long)]
    pub(in crate::cli) offline: bool,
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
    #[command(flatten)]
    pub(in crate::cli) naming: NamingArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum PlanFormat {
    /// For people
    Table,
    /// For documents
    Markdown,
    /// For programs
    Json,
    /// The images to build, divided among jobs, as outputs of a step of GitHub Actions
    Github,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    /// List the aliases too, each below its image
    #[arg(long)]
    pub(in crate::cli) all_tags: bool,
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
    #[command(flatten)]
    pub(in crate::cli) naming: NamingArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RenderArgs {
    /// Write each variant to DIR/<variant>/ [default: print the Dockerfiles]
    #[arg(short, long, value_name = "DIR")]
    pub(in crate::cli) output: Option<PathBuf>,
    /// Write nothing, and fail if DIR differs
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    pub(in crate::cli) check: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StatusArgs {
    /// The version of the release [default: that of `[version]`]
    #[arg(value_name = "VERSION", conflicts_with = "version_tag")]
    pub(in crate::cli) version: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = TextFormat::Table)]
    pub(in crate::cli) format: TextFormat,
    #[command(flatten)]
    pub(in crate::cli) naming: NamingArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum TextFormat {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArgs {
    /// The id of a variant, the tag or name of an image, a part of them, or values of axes:
    /// `python=3.11,gpu=true`
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: String,
    #[command(flatten)]
    pub(in crate::cli) naming: NamingArgs,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(in crate::cli) struct CheckArgs {
    /// Leave out the checks that need registries
    #[arg(long)]
    pub(in crate::cli) offline: bool,
    /// Write generated files and missing pins first
    #[arg(long)]
    pub(in crate::cli) fix: bool,
    /// Fail if a pinned base image has a new digest
    #[arg(long, conflicts_with = "offline")]
    pub(in crate::cli) strict: bool,
    /// Fail if the version is not released
    #[arg(long, conflicts_with = "offline")]
    pub(in crate::cli) released: bool,
    /// Report changed images of a published version as notes, if a later release bumps the version
    #[arg(long, conflicts_with = "offline")]
    pub(in crate::cli) allow_unbumped: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = FindingsFormat::Text)]
    pub(in crate::cli) format: FindingsFormat,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct LintArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t = FindingsFormat::Text)]
    pub(in crate::cli) format: FindingsFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum FindingsFormat {
    /// Text, one finding per line; on GitHub Actions also annotations
    Text,
    /// For programs
    Json,
    /// Annotations of GitHub Actions
    Github,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ChangedArgs {
    /// The commit, branch or tag to compare with
    #[arg(long, value_name = "REV")]
    pub(in crate::cli) since: String,
    /// Exit with 8 if anything has changed
    #[arg(long)]
    pub(in crate::cli) exit_code: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = AnswerFormat::Text)]
    pub(in crate::cli) format: AnswerFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum AnswerFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// Outputs of a step of GitHub Actions, in the file of `GITHUB_OUTPUT`, or printed
    Github,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AuthCommand {
    /// Show the credential for each registry of the matrix, and the access that it gives
    ///
    /// The registries are those of the images and of their base images. Pushes nothing: an upload
    /// is begun and cancelled.
    Check(AuthCheckArgs),
}

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct AuthCheckArgs {
    /// Only these registries
    #[arg(value_name = "HOST")]
    pub(in crate::cli) hosts: Vec<String>,
    /// Registry to push to [default: those of the matrix]
    ///
    /// Repeatable, or several joined by commas.
    #[arg(long, value_name = "HOST[:PORT][/PATH]", value_delimiter = ',')]
    pub(in crate::cli) registry: Vec<String>,
    /// Repository to push to [default: that of the matrix]
    ///
    /// `{{axis}}` inserts the value of an axis.
    #[arg(long, value_name = "REPOSITORY")]
    pub(in crate::cli) repository: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = TextFormat::Table)]
    pub(in crate::cli) format: TextFormat,
}
