//! A new repository: from what a folder holds, or from what somebody has already, to the files
//! that basegen works with.
//!
//! What is read of a configuration or a Dockerfile ends in one of two lists: what was taken over,
//! and what was not, with the reason. Nothing is lost without a word.

mod assemble;
mod cerebrium;
mod compose;
mod credentials;
mod dockerfile;
mod error;
mod import;
mod literal;
mod node;
mod project;
mod read;
mod template;
mod truss;
mod workflow;

pub(crate) use assemble::assemble;
pub(crate) use error::InitError;
pub(crate) use import::{Import, read_text};
pub use project::{Project, VersionPlace};
pub use workflow::needs_action;

use std::path::PathBuf;

/// A file that a repository is begun from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its path as the user wrote it.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

/// What became of one key, or one instruction, of an [`Origin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its line, from 1.
    pub line: usize,
    /// The key with those above it, `resources.accelerator`, or an instruction.
    pub what: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// Whether something was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was, to where this says.
    Taken(String),
    /// It was not, for this reason.
    Left(String),
}

/// An image, as its origin asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// What it is called among others: a value of the axis `image`.
    pub name: String,
    /// What became of all that the origin says.
    pub findings: Vec<Finding>,
    /// The Python versions that it is for; none where its base decides.
    pub pythons: Vec<String>,
    /// Whether it is wanted with CUDA's libraries, too.
    pub gpu: bool,
    /// The template of its Dockerfile.
    pub template: String,
    /// The files that it copies: below the origin's folder, and below the templates' folder.
    pub copies: Vec<(String, String)>,
    /// The files that are made for it, below the templates' folder.
    pub files: Vec<(String, String)>,
    /// The names of the secrets that its steps mount.
    pub secrets: Vec<String>,
    /// How registries are logged in to: a host, and the keys of its `[registries."host"]`.
    pub registries: Vec<(String, Vec<(String, String)>)>,
    /// The lists of pip among `copies`: the line that names each, and where it is below the
    /// templates' folder.
    pub lists: Vec<(usize, String)>,
}

/// A file of the new repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Its path, relative to the repository.
    pub path: String,
    /// What it holds.
    pub content: Vec<u8>,
    /// Whether it may be executed.
    pub executable: bool,
}
