//! Creates the files of a new repository, for starter images or for images that are imported from Truss, Cerebrium, fal or
//! a Dockerfile.
//!
//! `Import::load` reads one file: an [`ImportedImage`], whose settings are keys of the matrix file. `assemble` combines the
//! imports with what [`Project`] says about the folder, and renders the result once, which also finds the files that the images
//! copy. Each key or instruction of an imported file gets a [`Finding`], which says whether it was imported.

mod assemble;
mod base;
mod cerebrium;
mod credentials;
mod dockerfile;
mod error;
mod fal;
mod import;
mod literal;
mod matrix_file;
mod project;
mod python;
mod reader;
mod truss;
mod workflow;

pub(crate) use assemble::assemble;
pub(crate) use error::InitError;
pub(crate) use import::Import;
pub use project::{Project, VersionPlace};
pub use workflow::needs_action;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::render::RenderedFile;

/// The files of a repository, by path.
type Files = BTreeMap<PathBuf, RenderedFile>;

/// The largest file that can be imported, in bytes.
const MAX_ORIGIN: u64 = 1 << 20;

/// Where the paths in a file lead.
const PATHS: &str =
    "paths are relative to the build context: the folder of this file, or that of `--context`";

/// The result of importing one key or instruction of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The line, from 1.
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
    /// It describes an image, or is unknown, and was left out. The reason, as part of a sentence about the key.
    LeftOut(String),
    /// It describes something other than an image, such as the scaling of a server.
    Unrelated(String),
}

/// An image that a file describes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImportedImage {
    /// The value of the axis `image`.
    pub name: String,
    /// The results for all keys or instructions of the file.
    pub findings: Vec<Finding>,
    pub python: Python,
    /// Whether it is for GPUs.
    pub gpu: bool,
    /// The settings by key of the matrix file.
    pub settings: toml::Table,
    /// The template of its Dockerfile, if it has a file of its own.
    pub template: Option<String>,
    /// The patterns of files that this Dockerfile does not copy: the text of a `<dockerfile>.dockerignore`.
    pub ignore_file: Option<String>,
    /// The folder that the image copies files from.
    pub context: PathBuf,
    /// The paths of the context that its Dockerfile copies: files, folders and wildcards. The root is empty.
    pub sources: Vec<String>,
    /// The files with packages, relative to the context.
    pub package_files: Vec<String>,
    /// The secrets that its steps mount, with the environment variables that contain them.
    pub secrets: Vec<(String, String)>,
    pub logins: Vec<Login>,
}

/// The Python of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Python {
    /// The base image has its own Python.
    #[default]
    OfBase,
    /// The file requests no version.
    Any,
    /// A version, such as `3.11`.
    Version(String),
}

impl ImportedImage {
    /// Reports that a key or instruction was imported to `to`.
    fn import(&mut self, what: &str, line: usize, to: impl Into<String>) {
        self.report(what, line, Outcome::Imported(to.into()));
    }

    /// Reports that a key or instruction was left out.
    fn leave_out(&mut self, what: &str, line: usize, reason: impl Into<String>) {
        self.report(what, line, Outcome::LeftOut(reason.into()));
    }

    /// Reports that a key describes something other than the image.
    fn skip(&mut self, what: &str, line: usize, reason: impl Into<String>) {
        self.report(what, line, Outcome::Unrelated(reason.into()));
    }

    fn report(&mut self, what: &str, line: usize, outcome: Outcome) {
        self.findings.push(Finding { line, what: what.to_owned(), outcome });
    }
}

/// The credentials of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub host: String,
    /// The line of the file, from 1.
    pub line: usize,
    /// The keys of the table `[registries."host"]`.
    pub keys: Vec<(String, String)>,
}
