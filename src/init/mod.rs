//! Creates the files of a new repository, for starter images or for images that are imported from Truss, Cerebrium or a
//! Dockerfile.
//!
//! `Import::load` reads one file: an [`ImportedImage`] and the files that it copies. `assemble` combines the imports
//! with what [`Project`] says about the folder, and renders the result once. Each key or instruction of an imported file
//! gets a [`Finding`], which says whether it was imported or why it was skipped.

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
mod reader;
mod template;
mod truss;
mod workflow;

pub(crate) use assemble::assemble;
pub(crate) use error::InitError;
pub(crate) use import::Import;
pub use project::{Project, VersionPlace};
pub use workflow::needs_action;

use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The path, as the user wrote it.
    pub path: PathBuf,
    pub text: String,
}

/// The result of importing one key or instruction of an [`Origin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub line: usize,
    /// The full key, such as `resources.accelerator`, or the instruction.
    pub what: String,
    pub outcome: Outcome,
}

/// Whether a key or instruction was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Where it was imported to.
    Imported(String),
    /// The reason, as part of a sentence about the key.
    Skipped(String),
}

/// An image that an origin describes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportedImage {
    /// The value of the axis `image`.
    pub name: String,
    /// The results for all keys or instructions of the origin.
    pub findings: Vec<Finding>,
    /// The Python versions; empty if the base image has its own Python.
    pub pythons: Vec<String>,
    /// Whether it has a variant with CUDA's libraries.
    pub gpu: bool,
    /// The template of its Dockerfile.
    pub template: String,
    /// The copied files: the path below the origin's folder, and the path below the templates' folder.
    pub copies: Vec<(String, String)>,
    /// The generated files: the path below the templates' folder, and the content.
    pub files: Vec<(String, String)>,
    /// The ids of the secrets that its steps mount.
    pub secrets: Vec<String>,
    /// Hosts of registries, each with the keys of its table `[registries."host"]`.
    pub registries: Vec<(String, Vec<(String, String)>)>,
}

/// A file of the new repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// The path, relative to the repository.
    pub path: String,
    pub content: Vec<u8>,
    pub executable: bool,
}
