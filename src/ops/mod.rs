//! The operations of basegen, one file each, callable without the command line.
//!
//! `ops::<command>::run(&Context, XRequest) -> Result<XOutcome, Report>` does the work of a command: it decides, asks
//! registries, engines and GitHub, and writes files. It neither parses arguments nor writes to a terminal. `cli` turns
//! arguments into the request and the outcome into text and an exit code. [`Context`] owns what operations share; start
//! reading there, then with [`plan`], the simplest operation.

pub mod auth;
pub mod build;
pub mod bump;
pub mod changed;
pub mod check;
pub mod context;
mod error;
pub mod explain;
pub mod export;
pub mod finding;
pub mod follow;
mod github;
pub mod init;
pub mod inputs;
pub mod jobs;
pub mod lint;
mod local;
pub mod lookup;
pub mod merge;
mod outcome;
pub mod owners;
pub mod plan;
pub mod prune;
mod publish;
pub mod pull_request;
pub mod recipe;
pub mod registries;
pub mod release;
pub mod release_drift;
pub mod release_edits;
mod release_notes;
pub mod release_set;
pub mod render;
pub mod selection;
pub mod signals;
pub mod since;
pub mod status;
pub mod update;
pub mod use_image;

pub use context::{Context, GitHubStep, Messages, Settings, Variables};
pub use error::{ArgumentError, NoVersion};
pub use recipe::Recipe;
pub use selection::NameOptions;
