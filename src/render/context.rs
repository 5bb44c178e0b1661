use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::dockerfile::parse;
use super::parents::Parent;
use super::places::TemplateLine;
use super::remote::{Unverified, unverified};
use super::secrets::mounted;
use super::steps::{Step, layers, steps};
use super::upstream::{Pins, Upstream, pin};
use crate::image::Digest;

/// The build context of a variant: a Dockerfile and the files that it copies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildContext {
    pub dockerfile: String,
    /// The name of the Dockerfile in errors, such as `server.Dockerfile`.
    pub dockerfile_name: String,
    /// The files, sorted by path. Variants with the same file share its content.
    pub files: Vec<ContextFile>,
    /// The upstream images and URLs, in the order of the Dockerfile.
    pub upstreams: Vec<Upstream>,
    /// The images of the same matrix that the Dockerfile names, each once. It contains their
    /// [placeholders](Parent::placeholder).
    pub parents: Vec<Parent>,
    pub origin: Origin,
    /// The template line of each line of the Dockerfile.
    pub lines: Arc<[TemplateLine]>,
}

impl BuildContext {
    /// Adds the digests of `pins` to upstreams without a digest, also in the Dockerfile.
    pub fn pin(&mut self, pins: &Pins) {
        if let Ok(instructions) = parse(&self.dockerfile) {
            let (dockerfile, upstreams) = pin(&self.dockerfile, &instructions, pins);
            self.dockerfile = dockerfile;
            self.upstreams = upstreams;
        }
    }

    /// Returns the Dockerfile with a `name` for each image of the same matrix; without one, the placeholder stays.
    #[must_use]
    pub fn with_parents(&self, name: impl Fn(&Parent) -> Option<String>) -> String {
        let mut dockerfile = self.dockerfile.clone();
        for parent in &self.parents {
            if let Some(name) = name(parent) {
                dockerfile = dockerfile.replace(&parent.placeholder(), &name);
            }
        }
        dockerfile
    }

    /// Returns the template line of line `number` of the Dockerfile, from 1. `None` for lines that were not
    /// rendered, such as those of checks.
    #[must_use]
    pub fn template_line(&self, number: usize) -> Option<&TemplateLine> {
        // A pin can join two lines of a continued name.
        let is_whole = self.dockerfile.lines().count() == self.lines.len();
        self.lines.get(number.checked_sub(1)?).filter(|_| is_whole)
    }

    /// Returns the place of line `number` of the Dockerfile, from 1: in its template if it has one.
    #[must_use]
    pub fn place(&self, number: usize) -> String {
        match self.template_line(number) {
            Some(TemplateLine { file, line, column }) => format!("{file}:{line}:{column}"),
            None => format!("{}:{number}", self.dockerfile_name),
        }
    }

    /// Returns the sources of `ADD` without a checksum or commit, whose content can change.
    #[must_use]
    pub fn unverified(&self) -> Vec<Unverified> {
        // Most Dockerfiles have none and need not be parsed again.
        if !self.upstreams.iter().any(Upstream::is_url) {
            return Vec::new();
        }
        parse(&self.dockerfile).map(|all| unverified(&all)).unwrap_or_default()
    }

    /// Returns the ids of the secrets that build steps mount.
    #[must_use]
    pub fn secrets(&self) -> BTreeSet<String> {
        parse(&self.dockerfile).map(|instructions| mounted(&instructions)).unwrap_or_default()
    }

    /// Returns the layers of the image, in no particular order. Images that have one of them in common share its blob.
    /// All layers of an upstream image count as one, which is that of every tag of its repository.
    #[must_use]
    pub fn layers(&self) -> Vec<Step> {
        layers(&self.dockerfile)
    }

    /// Returns the expensive build steps of the image, in no particular order.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        steps(&self.dockerfile)
    }
}

/// A file of a [`BuildContext`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextFile {
    /// The path relative to the root of the context, with `/` as separator.
    pub path: String,
    /// Whether the file is executable: mode 0755, otherwise 0644.
    pub executable: bool,
    pub content: Arc<[u8]>,
}

/// The sources of a rendered context. They explain changes, but do not identify the image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The folder of the templates, such as `dockerfiles`; empty for the folder of the matrix file.
    pub folder: String,
    /// The rendered templates and partials by their paths in that folder.
    pub templates: BTreeMap<String, Digest>,
    pub variables: BTreeMap<String, OriginVariable>,
}

/// A variable of a rendered context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginVariable {
    /// The axes on which the variable depends.
    pub axes: Vec<String>,
    /// The value: a plain string, or JSON.
    pub value: String,
}
