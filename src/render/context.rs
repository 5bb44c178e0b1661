use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::dockerfile::parse;
use super::images::pin;
use super::options::{ContextFile, DockerfileOptions, NamedContext};
use super::parents::Parent;
use super::places::TemplateLine;
use super::remote::{Unverified, unverified};
use super::secrets::mounted;
use super::steps::{Step, layers, steps};
use super::upstream::{Pins, Upstream};
use crate::image::{Digest, Platform};

/// The build context of a variant: a Dockerfile and the files that it copies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildContext {
    pub dockerfile: String,
    /// The name of the Dockerfile in errors, such as `server.Dockerfile`.
    pub dockerfile_name: String,
    pub options: DockerfileOptions,
    /// The files, sorted by path. Variants with the same file share its content.
    pub files: Vec<ContextFile>,
    /// The upstream images and URLs, in the order of the Dockerfile.
    pub upstreams: Vec<Upstream>,
    /// The images of the same matrix that the Dockerfile names, each once. It contains their
    /// [placeholders](Parent::placeholder).
    pub parents: Vec<Parent>,
    /// The contexts of platforms that differ from this one. Their upstreams are also here.
    pub platforms: BTreeMap<Platform, BuildContext>,
    pub origin: Origin,
    /// The template line of each line of the Dockerfile.
    pub lines: Arc<[TemplateLine]>,
}

impl BuildContext {
    /// Combines the contexts of platforms. The first is that of all platforms for which no other differs from it.
    pub(super) fn of_platforms(contexts: impl IntoIterator<Item = (Platform, Self)>) -> Self {
        let mut contexts = contexts.into_iter();
        let mut first = contexts.next().map(|(_, first)| first).unwrap_or_default();
        for (platform, context) in contexts {
            let is_same = context.dockerfile == first.dockerfile
                && context.options == first.options
                && context.files == first.files;
            if !is_same {
                first.add_upstreams(&context);
                for parent in &context.parents {
                    if !first.parents.iter().any(|known| known.id == parent.id) {
                        first.parents.push(parent.clone());
                    }
                }
                first.platforms.insert(platform, context);
            }
        }
        first
    }

    /// Returns this context and those of platforms that differ from it.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.platforms.values())
    }

    /// Returns the first parent whose platform a `FROM` selects, in the Dockerfile of any platform.
    #[must_use]
    pub fn selected_parent(&self) -> Option<&Parent> {
        self.all().flat_map(|context| &context.parents).find(|parent| parent.selects_platform)
    }

    /// Returns the context of a platform.
    #[must_use]
    pub fn on(&self, platform: &Platform) -> &Self {
        self.platforms.get(platform).unwrap_or(self)
    }

    /// Replaces the placeholders of images of the same matrix by names, also for platforms that differ.
    pub fn set_names(&mut self, name: &dyn Fn(&Parent) -> Option<String>) {
        self.dockerfile = self.with_parents(name);
        self.platforms.values_mut().for_each(|other| other.set_names(name));
    }

    fn add_upstreams(&mut self, other: &Self) {
        for upstream in &other.upstreams {
            if !self.upstreams.contains(upstream) {
                self.upstreams.push(upstream.clone());
            }
        }
    }

    /// Adds the digests of `pins` to upstreams without a digest, also in the Dockerfile.
    pub fn pin(&mut self, pins: &Pins) {
        let mut platforms = std::mem::take(&mut self.platforms);
        for context in platforms.values_mut() {
            context.pin(pins);
        }
        if let Ok(instructions) = parse(&self.dockerfile) {
            let (dockerfile, upstreams) =
                pin(&self.dockerfile, &instructions, &mut self.options, pins);
            self.dockerfile = dockerfile;
            self.upstreams = upstreams;
        }
        for context in platforms.values() {
            self.add_upstreams(context);
        }
        self.platforms = platforms;
    }

    /// Returns the named contexts that are folders, with their files.
    pub fn folders(&self) -> impl Iterator<Item = (&str, &[ContextFile])> {
        self.options.contexts.iter().filter_map(|(name, context)| match context {
            NamedContext::Files(files) => Some((name.as_str(), files.as_slice())),
            NamedContext::Image(_) => None,
        })
    }

    /// Returns the files of all contexts, and the name of each context; `None` is the main one.
    pub fn all_files(&self) -> impl Iterator<Item = (Option<&str>, &ContextFile)> {
        let named = self.folders();
        let named =
            named.flat_map(|(name, files)| files.iter().map(move |file| (Some(name), file)));
        self.files.iter().map(|file| (None, file)).chain(named)
    }

    /// Returns the template lines if all platforms have the same Dockerfile.
    #[must_use]
    pub fn common_lines(&self) -> Arc<[TemplateLine]> {
        if self.platforms.is_empty() { Arc::clone(&self.lines) } else { Arc::default() }
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

    /// Returns the sources of `ADD` without a checksum or commit, whose content can change. Those of platforms that
    /// differ are not among them.
    #[must_use]
    pub fn unverified(&self) -> Vec<Unverified> {
        // Most Dockerfiles have none and need not be parsed again.
        if !self.upstreams.iter().any(Upstream::is_url) {
            return Vec::new();
        }
        parse(&self.dockerfile).map(|all| unverified(&all, &self.options)).unwrap_or_default()
    }

    /// Returns the ids of the secrets that build steps mount.
    #[must_use]
    pub fn secrets(&self) -> BTreeSet<String> {
        let all = self.all().filter_map(|context| parse(&context.dockerfile).ok());
        all.flat_map(|instructions| mounted(&instructions)).collect()
    }

    /// Returns the layers of the image, in no particular order. Images that have one of them in common share its blob.
    /// All layers of an upstream image count as one, which is that of every tag of its repository.
    #[must_use]
    pub fn layers(&self) -> Vec<Step> {
        self.all().flat_map(|context| layers(&context.dockerfile, &context.options)).collect()
    }

    /// Returns true if the image may have layers of `COPY --link`.
    #[must_use]
    pub fn has_linked_layers(&self) -> bool {
        self.all().any(|context| context.dockerfile.contains("--link"))
    }

    /// Returns the expensive build steps of the image, in no particular order.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        self.all().flat_map(|context| steps(&context.dockerfile, &context.options)).collect()
    }
}

/// The sources of a rendered context. They explain changes, but do not identify the image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The folder of the templates, such as `dockerfiles`; empty for the folder of the matrix file.
    pub folder: String,
    /// The generated parts that the Dockerfile includes.
    pub parts: BTreeSet<&'static str>,
    /// The folder of the copied files, if it is not that of the templates.
    pub context: Option<String>,
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
