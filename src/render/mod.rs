//! Renders Dockerfile templates and collects the files that Dockerfiles copy.
//!
//! [`Renderer::render_all`] renders one [`BuildContext`] for each variant. Templates are
//! [handlebars](https://handlebarsjs.com) without escaping, in strict mode: an undefined name is an error, also in a
//! condition (`check`, `helpers`). A small Dockerfile parser (`dockerfile`) finds the copied files (`copied`), the
//! upstream images (`upstream`) and values that would become instructions (`values`). Errors point to the template.

mod arguments;
mod check;
mod compare;
mod context;
mod copied;
mod dockerfile;
mod error;
mod explain;
mod files;
mod flags;
mod folder;
mod function;
mod generated;
mod helpers;
mod here_document;
mod inline;
mod library;
mod limits;
mod links;
mod parameters;
mod parents;
mod parts;
mod places;
mod remote;
mod secrets;
mod stages;
mod steps;
mod syntax;
mod templates;
mod upstream;
mod values;
mod wildcard;
mod words;

pub(crate) use arguments::{Arguments, UNKNOWN};
pub(crate) use copied::sources;
pub(crate) use dockerfile::{Instruction, Misuse, parse};
pub(crate) use flags::flags;

pub use context::{BuildContext, ContextFile, Origin, OriginVariable};
pub use error::RenderError;
pub use files::MAX_CONTEXT;
pub(crate) use files::is_private;
pub use folder::{Difference, FolderError, Rendered, RenderedFile, list, write};
pub use links::first_link;
pub use parents::Parent;
pub use places::TemplateLine;
pub use remote::Unverified;
pub use stages::{FinalStage, shells};
pub use steps::Step;
pub(crate) use steps::layers_of_variant;
pub use upstream::{Pins, Upstream, familiar};
pub(crate) use upstream::{check_images, stage};
pub use wildcard::Wildcard;
pub(crate) use words::{split, unquoted};

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rayon::prelude::*;
use serde_json::Value as Json;

use crate::files::Access;
use crate::image::Digest;
use crate::matrix::{Matrix, PackageManager, Relations, Variant};
use files::Files;
use parents::Parents;
use parts::Parts;
use templates::{Templates, Used};

/// The name of a generated Dockerfile in messages.
const GENERATED: &str = "Dockerfile";

/// Renders the variants of one matrix.
#[derive(Debug)]
pub struct Renderer<'a> {
    matrix: &'a Matrix,
    templates: Templates<'a>,
    files: Files,
    pins: Pins,
    relations: Relations<'a>,
}

impl<'a> Renderer<'a> {
    /// Compiles the partials of `matrix`.
    pub fn new(matrix: &'a Matrix) -> Result<Self, RenderError> {
        matrix.checkout.resolve(Path::new(&matrix.image.templates), Access::Read)?;
        let dockerfiles = matrix.variants.iter().filter_map(|variant| matrix.dockerfile(variant));
        let files = Files::new(&matrix.templates(), dockerfiles);
        let (templates, relations) = (Templates::read(matrix)?, Relations::new(matrix));
        Ok(Self { matrix, templates, files, pins: Pins::new(), relations })
    }

    #[must_use]
    pub fn matrix(&self) -> &'a Matrix {
        self.matrix
    }

    /// Sets the digests that are added to image names in rendered Dockerfiles.
    #[must_use]
    pub fn pinned(self, pins: Pins) -> Self {
        Self { pins, ..self }
    }

    /// Renders `variants` in parallel, and returns their contexts in the same order.
    pub fn render_all(&mut self, variants: &[&Variant]) -> Result<Vec<BuildContext>, RenderError> {
        for variant in variants {
            if let Some(template) = self.matrix.dockerfile(variant) {
                self.templates.load(&template)?;
            }
        }
        let renderer = &*self;
        let rendered: Vec<Result<BuildContext, RenderError>> =
            variants.par_iter().map(|variant| renderer.render(variant)).collect();
        // Collected in order, so that the same one of several errors is returned each time.
        rendered.into_iter().collect()
    }

    /// Returns the files and folders that contexts omit because they often contain credentials, relative to the folder
    /// of the templates.
    #[must_use]
    pub fn left_out(&self) -> BTreeSet<String> {
        self.files.private()
    }

    fn render(&self, variant: &Variant) -> Result<BuildContext, RenderError> {
        let id = variant.id.as_str();
        let variables: Json = self.matrix.variables(variant).into();
        let template = self.matrix.dockerfile(variant);
        let mut used = Used::default();
        let read = |path: &str| self.read_text(path, variant, &variables);
        let parts = Parts { matrix: self.matrix, variant, read: &read };
        let images = Parents::new(&self.relations, variant);
        let (rendered, ids) = match &template {
            Some(path) => self.templates.render(path, &variables, &parts, &images, &mut used)?,
            None => self.templates.generated(&variables, &parts, &images)?,
        };
        let name = template.as_deref().unwrap_or(GENERATED);
        let name = name.strip_suffix(".hbs").unwrap_or(name);
        let name = name.rsplit('/').next().unwrap_or(name).to_owned();
        let in_dockerfile =
            |misuse| self.templates.misuse(template.as_deref(), &rendered, id, misuse);
        let instructions = dockerfile::parse(&rendered.text).map_err(in_dockerfile)?;
        rendered.check(&instructions).map_err(in_dockerfile)?;
        check_images(&rendered.text, &instructions).map_err(in_dockerfile)?;
        let parents =
            parents::parents(&rendered.text, &instructions, &ids).map_err(in_dockerfile)?;
        let sources = copied::sources(&instructions).map_err(in_dockerfile)?;
        let mut files = Vec::new();
        for source in &sources {
            let found = self.files.find(source).map_err(in_dockerfile)?;
            files.extend(found);
        }
        let files = self.files.read(files, id, |path| {
            self.templates.render_file(path, &variables, &parts, &mut used)
        })?;
        let (dockerfile, upstreams) = upstream::pin(&rendered.text, &instructions, &self.pins);
        let mut origin = self.origin(variant, used);
        if template.is_none() {
            self.add_packages(variant, &mut origin);
        }
        let lines = self.templates.lines(&rendered).into();
        Ok(BuildContext {
            dockerfile,
            dockerfile_name: name,
            files,
            upstreams,
            parents,
            origin,
            lines,
        })
    }

    /// Reads a file of the build context, such as one with packages. An error is the reason.
    fn read_text(&self, path: &str, variant: &Variant, variables: &Json) -> Result<String, String> {
        let source = copied::Source { path: path.to_owned(), line: 1, parents: false };
        let found = self.files.find(&source).map_err(|misuse| misuse.what)?;
        let parts = Parts { matrix: self.matrix, variant, read: &|_| Ok(String::new()) };
        let render =
            |path: &Path| self.templates.render_file(path, variables, &parts, &mut Used::default());
        let files =
            self.files.read(found, &variant.id, render).map_err(|error| error.to_string())?;
        match files.as_slice() {
            [file] if file.path == copied::normalized(path) => {
                String::from_utf8(file.content.to_vec())
                    .map_err(|_| format!("`{path}` is not text in UTF-8"))
            }
            _ => Err(format!("`{path}` is not a file")),
        }
    }

    /// Adds the packages of a generated Dockerfile to the variables, by package manager.
    fn add_packages(&self, variant: &Variant, origin: &mut Origin) {
        let contents = self.matrix.contents(variant);
        for manager in PackageManager::ALL {
            let layers = contents.packages(manager);
            let axes: BTreeSet<&str> =
                layers.iter().flat_map(|layer| layer.source.axes()).collect();
            let items = layers.iter().flat_map(|layer| &layer.items);
            let items: Vec<String> = items.map(ToString::to_string).collect();
            if !items.is_empty() {
                let axes = axes.into_iter().map(str::to_owned).collect();
                let variable = OriginVariable { axes, value: items.join(", ") };
                origin.variables.entry(manager.key().to_owned()).or_insert(variable);
            }
        }
    }

    fn origin(&self, variant: &Variant, templates: BTreeMap<String, Digest>) -> Origin {
        let variables = self.matrix.facts(variant).into_iter().map(|(name, fact)| {
            let axes = fact.source.axes().into_iter().map(str::to_owned).collect();
            let value = match fact.value {
                Json::String(text) => text.clone(),
                other => other.to_string(),
            };
            (name.to_owned(), OriginVariable { axes, value })
        });
        let folder = copied::normalized(&self.matrix.image.templates);
        Origin { folder, templates, variables: variables.collect() }
    }
}

#[cfg(test)]
mod tests;
