//! The arguments of `basegen export`, which writes the plan for other tools.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{NamingArgs, SelectionArgs};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ExportCommand {
    /// A file for `docker buildx bake`, which builds the images to the same digests on the same engine
    ///
    /// Without a target, bake builds the images, and pushes them with `--push`; `bake check` runs
    /// the checks of `[[verify]]`. Run it in the folder that basegen writes:
    /// `basegen export bake -o build && cd build && docker buildx bake`.
    Bake(ExportBakeArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportBakeArgs {
    /// The folder for docker-bake.json and the contexts
    #[arg(short, long, value_name = "DIR")]
    pub(in crate::cli) output: PathBuf,
    /// Do not look up base images that basegen.lock does not pin
    #[arg(long)]
    pub(in crate::cli) offline: bool,
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
    #[command(flatten)]
    pub(in crate::cli) naming: NamingArgs,
}
