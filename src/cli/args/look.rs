//! The commands that look, and change nothing.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{NamingArgs, SelectionArgs};

#[derive(Debug, Args)]
pub(in crate::cli) struct PlanArgs {
    #[command(flatten)]
    pub(in crate::cli) planned: PlannedArgs,
    /// How the plan is written
    #[arg(long, value_enum, default_value_t = PlanFormat::Table)]
    pub(in crate::cli) format: PlanFormat,
    #[command(flatten)]
    pub(in crate::cli) jobs: JobsArgs,
}

/// The jobs of a workflow that the variants are divided among.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Jobs for GitHub Actions")]
pub(in crate::cli) struct JobsArgs {
    /// The number of jobs at most [default: one for every eight variants, at most 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(in crate::cli) shards: Option<u16>,
    /// The label of the runners that build a platform; may be repeated [default: `ubuntu-24.04-arm`
    /// for arm64, `ubuntu-24.04` for others]
    #[arg(long, value_name = "OS/ARCH=LABEL")]
    pub(in crate::cli) runner: Vec<String>,
    /// Do not fail when tags of the version point to images of different content:
    /// `merge --overwrite` moves them
    #[arg(long)]
    pub(in crate::cli) overwrite: bool,
}

/// Of what a plan tells.
#[derive(Debug, Args)]
pub(in crate::cli) struct PlannedArgs {
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
    #[command(flatten)]
    pub(in crate::cli) naming: NamingArgs,
    /// Only the variants whose images differ from those at a git revision, and why; needs no
    /// engine and no network
    #[arg(long, value_name = "REV")]
    pub(in crate::cli) since: Option<String>,
    /// Do not ask the registries what is published
    #[arg(long)]
    pub(in crate::cli) offline: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum PlanFormat {
    /// For people
    Table,
    /// For documents
    Markdown,
    /// For programs
    Json,
    /// For GitHub Actions: what must be built, divided among jobs, as outputs of the step
    Github,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
    #[command(flatten)]
    pub(in crate::cli) naming: NamingArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RenderArgs {
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
    /// Write each variant to DIR/<variant>/; without it, print the Dockerfiles
    #[arg(short, long, value_name = "DIR")]
    pub(in crate::cli) output: Option<PathBuf>,
    /// Write nothing; compare with what DIR holds, and fail where it differs
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    pub(in crate::cli) check: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StatusArgs {
    /// The version of the release [default: the one that `[version]` tells of]
    #[arg(value_name = "VERSION", conflicts_with = "version_tag")]
    pub(in crate::cli) version: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) naming: NamingArgs,
    /// How the findings are written
    #[arg(long, value_enum, default_value_t = TextFormat::Table)]
    pub(in crate::cli) format: TextFormat,
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
    /// A variant as `plan` lists it, the tag of an image or a part of it, an image's whole name, or
    /// `axis=value`, several joined by commas
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: String,
    #[command(flatten)]
    pub(in crate::cli) naming: NamingArgs,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(in crate::cli) struct CheckArgs {
    /// Ask no registry
    #[arg(long)]
    pub(in crate::cli) offline: bool,
    /// Write the generated files, and pin what is not pinned, before looking
    #[arg(long)]
    pub(in crate::cli) fix: bool,
    /// Find fault with upstream images that moved since they were pinned
    #[arg(long, conflicts_with = "offline")]
    pub(in crate::cli) strict: bool,
    /// Find fault with a version that is not released
    #[arg(long, conflicts_with = "offline")]
    pub(in crate::cli) released: bool,
    /// Report images that differ from those of their published version as notes: a later release
    /// bumps the version
    #[arg(long, conflicts_with = "offline")]
    pub(in crate::cli) allow_unbumped: bool,
    /// How the findings are written
    #[arg(long, value_enum, default_value_t = FindingsFormat::Text)]
    pub(in crate::cli) format: FindingsFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum FindingsFormat {
    /// For people, one a line; under GitHub Actions annotations beside them
    Text,
    /// For programs
    Json,
    /// GitHub's annotations
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
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = AnswerFormat::Text)]
    pub(in crate::cli) format: AnswerFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum AnswerFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// Outputs of a step of GitHub Actions, to the file that `GITHUB_OUTPUT` names, or printed
    Github,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AuthCommand {
    /// Tell for each registry of the matrix which credential was found and what it allows
    ///
    /// The registries are those that the images are pushed to and those that their bases are
    /// pulled from. Nothing is pushed: an upload is begun and given up.
    Check(AuthCheckArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AuthCheckArgs {
    /// Only these registries
    #[arg(value_name = "HOST")]
    pub(in crate::cli) hosts: Vec<String>,
    /// The registry to push to, instead of the matrix' own
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(in crate::cli) registry: Option<String>,
    /// The repository to push to, instead of the matrix' own; `{{axis}}` stands for a value
    #[arg(long, value_name = "REPOSITORY")]
    pub(in crate::cli) repository: Option<String>,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = TextFormat::Table)]
    pub(in crate::cli) format: TextFormat,
}
