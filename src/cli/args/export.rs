//! `basegen export`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{JobsArgs, NamingArgs, PlannedArgs, SelectionArgs};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ExportCommand {
    /// A file for `docker buildx bake`, which builds the images to the same digests on the same engine
    ///
    /// Without a target, bake builds the images, and pushes them with `--push`; `bake check` runs
    /// the checks of `[[verify]]`. The file on stdout takes its files from the templates' folder:
    /// `basegen export bake | docker buildx bake -f -`.
    Bake(ExportBakeArgs),
    /// The jobs of a release for GitHub Actions, as `plan --format github` writes them
    Github(ExportGithubArgs),
    /// The same document as that of `plan --format json`
    Json(PlannedArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportBakeArgs {
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
    #[command(flatten)]
    pub(in crate::cli) naming: NamingArgs,
    /// Write docker-bake.json and all that it needs to DIR, in which bake is then called; without
    /// it, print the file
    #[arg(short, long, value_name = "DIR")]
    pub(in crate::cli) output: Option<PathBuf>,
    /// Do not ask registries for the upstream images that basegen.lock does not pin
    #[arg(long)]
    pub(in crate::cli) offline: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportGithubArgs {
    #[command(flatten)]
    pub(in crate::cli) planned: PlannedArgs,
    #[command(flatten)]
    pub(in crate::cli) jobs: JobsArgs,
}
