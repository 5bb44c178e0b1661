//! What can be said on the command line.

mod build;
mod change;
mod export;
mod look;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::allow::Entitlement;

pub(super) use build::{
    BuildArgs, EngineArgs, NamingArgs, OutputArgs, Progress, RunningArgs, SelectionArgs,
    TellingArgs,
};
pub(super) use change::{
    BumpArgs, InitArgs, MergeArgs, PrereleaseKind, PruneArgs, ReleaseArgs, UpdateArgs,
};
pub(super) use export::{ExportBakeArgs, ExportCommand};
pub(super) use look::{
    AnswerFormat, AuthCheckArgs, AuthCommand, ChangedArgs, CheckArgs, ExplainArgs, FindingsFormat,
    JobsArgs, ListArgs, PlanArgs, PlanFormat, PlannedArgs, RenderArgs, StatusArgs, TextFormat,
};

/// Generate, build and publish matrices of base images.
///
/// Without a command, builds the selected variants: `basegen --python 3.11 --gpu --push`.
#[derive(Debug, Parser)]
#[command(name = "basegen", version, after_help = crate::error::ExitCode::help())]
#[command(subcommand_help_heading = "Other commands", disable_help_subcommand = true)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub(super) global: GlobalArgs,
    /// The main call.
    #[command(flatten)]
    pub(super) build: BuildArgs,
    /// Another command.
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what would be built and what it would be called
    Plan(PlanArgs),
    /// Print the names of the images, one a line
    List(ListArgs),
    /// Write the Dockerfile, pinned by basegen.lock, and the context of each variant, or compare them
    Render(RenderArgs),
    /// Join what several jobs have staged with --stage, and publish it with --push
    ///
    /// Every variant must be in one of the files, or in its registry unchanged. Nothing is built,
    /// and no engine is needed.
    Merge(MergeArgs),
    /// Tell whether a release is still what it was published as
    Status(StatusArgs),
    /// List, or delete, what is kept of images that the matrix no longer makes
    Prune(PruneArgs),
    /// Pin the upstream images in basegen.lock to what registries have now
    Update(UpdateArgs),
    /// Raise the version, in every place that says it
    Bump(BumpArgs),
    /// Publish the whole matrix, and bring the repository in step with it
    ///
    /// What is published already is not published again, and no engine is needed then. Without
    /// --pr, the version is written to all its places in the working tree; with it, it is committed
    /// to a branch of its own, on top of what the base branch has on GitHub, and a pull request is
    /// opened, or the open one of this matrix is updated.
    Release(Box<ReleaseArgs>),
    /// Tell what is out of step: version, lock, generated files, and what registries have
    Check(CheckArgs),
    /// Tell whether the version and the images have changed since a git revision
    Changed(ChangedArgs),
    /// Tell why a variant is, or is not, in the matrix, and what it is made of
    Explain(ExplainArgs),
    /// Begin a repository: a matrix, its templates and a workflow, that build at once
    Init(InitArgs),
    /// Write the plan for other tools
    Export {
        #[command(subcommand)]
        command: ExportCommand,
    },
    /// See who basegen is to registries, and what that allows
    Auth {
        #[command(subcommand)]
        command: AuthCommand,
    },
    /// Print the JSON schema of matrix.toml
    Schema,
    /// Print a shell's completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write those of all commands
    Man {
        /// The folder to write to
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(super) struct GlobalArgs {
    /// The matrix file
    #[arg(short, long = "file", value_name = "FILE", default_value = "matrix.toml", global = true)]
    pub(super) file: PathBuf,
    /// Allow an exception: fs.read=PATH, fs.write=PATH, fs=PATH, credentials.plain-http=HOST,
    /// credentials.github=HOST; can be repeated
    ///
    /// `fs` lets the matrix name files outside its repository. `credentials.plain-http` lets credentials travel
    /// to a host without TLS. `credentials.github` names the host of a GitHub Enterprise Server, which may then
    /// receive the token for pull requests.
    #[arg(long, value_name = "ENTITLEMENT", global = true)]
    pub(super) allow: Vec<Entitlement>,
    /// Print results, warnings and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Show what the build steps write
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,
}
