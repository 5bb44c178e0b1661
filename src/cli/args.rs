//! The arguments of all commands.

mod build;
mod change;
mod export;
mod look;
mod use_image;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::allow::Entitlement;

pub(super) use build::{
    BuildArgs, EngineArgs, NamingArgs, OutputArgs, Progress, ProgressArgs, RunningArgs,
    SelectionArgs,
};
pub(super) use change::{
    BumpArgs, InitArgs, MergeArgs, PrereleaseKind, PruneArgs, ReleaseArgs, UpdateArgs,
};
pub(super) use export::{ExportBakeArgs, ExportCommand};
pub(super) use look::{
    AnswerFormat, AuthCheckArgs, AuthCommand, ChangedArgs, CheckArgs, ExplainArgs, FindingsFormat,
    JobsArgs, LintArgs, ListArgs, PlanArgs, PlanFormat, PlannedArgs, RenderArgs, StatusArgs,
    TextFormat,
};
pub(super) use use_image::{ServerArgs, UseArgs};

/// Generate, build and publish matrices of base images.
///
/// Without a command, builds the selected variants: `basegen --python 3.11 --gpu --push`.
#[derive(Debug, Parser)]
#[command(
    name = "basegen",
    version,
    after_help = "`basegen --help` describes the options in detail and lists the exit codes."
)]
#[command(after_long_help = crate::error::ExitCode::help())]
#[command(
    subcommand_help_heading = "Commands (without one, basegen builds)",
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(flatten)]
    pub(super) global: GlobalArgs,
    #[command(flatten)]
    pub(super) build: BuildArgs,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a matrix and a workflow, or import existing files
    Init(InitArgs),
    /// List the images, and their state in the registry
    Plan(PlanArgs),
    /// Print the names of the images, one per line
    List(ListArgs),
    /// Print, write or compare Dockerfiles and build contexts
    Render(RenderArgs),
    /// Publish the images that several jobs have staged
    ///
    /// Each variant must be in one of the files or unchanged in its registry. Builds nothing and
    /// needs no engine.
    Merge(MergeArgs),
    /// Compare a release with its registry
    Status(StatusArgs),
    /// List or delete stale staging tags and engine images
    Prune(PruneArgs),
    /// Pin base images in basegen.lock to their current digests
    Update(UpdateArgs),
    /// Bump the version in all of its places
    Bump(BumpArgs),
    /// Publish all images and update the repository
    ///
    /// Published images are not built again; if all are published, no engine is needed. Without
    /// --pr, writes the version to all of its places in the working tree. With --pr, commits it to a
    /// branch on top of the base branch on GitHub, and opens or updates the pull request of this
    /// matrix.
    Release(Box<ReleaseArgs>),
    /// Check version, lock, generated files, contracts and registry
    Check(CheckArgs),
    /// Check the Dockerfiles against the rules of platforms
    ///
    /// Applies the rules of the contracts in matrix.toml, rules for every Dockerfile, and as notes
    /// the list that fal gives to verify before a deployment. Needs neither an engine nor a network:
    /// the rules about the content of images run as checks when these are built.
    Lint(LintArgs),
    /// Compare version and images with a git revision
    ///
    /// For workflows that decide whether to release: reports whether the version has changed and
    /// which images must be built. To see only the images and the reasons, use `plan --since`.
    Changed(ChangedArgs),
    /// Show why a variant is in the matrix, and its inputs
    Explain(ExplainArgs),
    /// Print the configuration of a platform for a published image
    ///
    /// For Baseten, Cerebrium or fal, with the digest of the image. Reads the image from its
    /// registry. Warns about properties that the platform refuses.
    Use(UseArgs),
    /// Export the plan to bake
    Export {
        #[command(subcommand)]
        command: ExportCommand,
    },
    /// Test the credentials for the registries
    Auth {
        #[command(subcommand)]
        command: AuthCommand,
    },
    /// Print the JSON schema of matrix.toml
    Schema,
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command
    Man {
        /// The folder to write to
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

// The help of a command lists these options after its own.
#[derive(Debug, Args)]
#[command(next_display_order = 900)]
pub(super) struct GlobalArgs {
    /// Matrix file
    #[arg(short, long = "file", value_name = "FILE", default_value = "matrix.toml", global = true)]
    pub(super) file: PathBuf,
    /// Exception, such as fs.read=PATH (repeatable)
    ///
    /// One of fs.read=PATH, fs.write=PATH, fs=PATH, credentials.plain-http=HOST and credentials.github=HOST.
    /// `fs` lets the matrix name files outside its repository. `credentials.plain-http` lets credentials travel
    /// to a host without TLS. `credentials.github` names the host of a GitHub Enterprise Server, which may then
    /// receive the token for pull requests.
    #[arg(long, value_name = "ENTITLEMENT", global = true)]
    pub(super) allow: Vec<Entitlement>,
    /// Build argument, such as NAME=VALUE (repeatable)
    ///
    /// NAME alone takes the value from the environment, if it is set. The Dockerfiles that declare the argument get it.
    #[arg(long, value_name = "NAME[=VALUE]", global = true)]
    pub(super) build_arg: Vec<String>,
    /// Print results, warnings and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Show the output of build steps
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,
}
