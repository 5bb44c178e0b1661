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
mod helpers;
mod here_document;
mod library;
mod limits;
mod links;
mod parameters;
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
pub use places::TemplateLine;
pub use remote::Unverified;
pub use stages::{FinalStage, shells};
pub use steps::Step;
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
use crate::matrix::{Matrix, Variant};
use files::Files;
use templates::{Templates, Used};

/// Renders the variants of one matrix.
#[derive(Debug)]
pub struct Renderer<'a> {
    matrix: &'a Matrix,
    templates: Templates<'a>,
    files: Files,
    pins: Pins,
}

impl<'a> Renderer<'a> {
    /// Compiles the partials of `matrix`.
    pub fn new(matrix: &'a Matrix) -> Result<Self, RenderError> {
        matrix.checkout.resolve(Path::new(&matrix.image.templates), Access::Read)?;
        let dockerfiles = matrix.variants.iter().map(|variant| matrix.dockerfile(variant));
        let files = Files::new(&matrix.templates(), dockerfiles);
        Ok(Self { matrix, templates: Templates::read(matrix)?, files, pins: Pins::new() })
    }

    /// Sets the digests that are added to image names in rendered Dockerfiles.
    #[must_use]
    pub fn pinned(self, pins: Pins) -> Self {
        Self { pins, ..self }
    }

    /// Renders `variants` in parallel, and returns their contexts in the same order.
    pub fn render_all(&mut self, variants: &[&Variant]) -> Result<Vec<BuildContext>, RenderError> {
        for variant in variants {
            self.templates.load(&self.matrix.dockerfile(variant))?;
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
        let variables = self.matrix.variables(variant).into();
        let template = self.matrix.dockerfile(variant);
        let mut used = Used::default();
        let rendered = self.templates.render(&template, &variables, id, &mut used)?;
        let name = template.strip_suffix(".hbs").unwrap_or(&template);
        let name = name.rsplit('/').next().unwrap_or(name).to_owned();
        let in_dockerfile = |misuse| self.templates.misuse(&template, &rendered, id, misuse);
        let instructions = dockerfile::parse(&rendered.text).map_err(in_dockerfile)?;
        rendered.check(&instructions).map_err(in_dockerfile)?;
        check_images(&rendered.text, &instructions).map_err(in_dockerfile)?;
        let sources = copied::sources(&instructions).map_err(in_dockerfile)?;
        let mut files = Vec::new();
        for source in &sources {
            let found = self.files.find(source).map_err(in_dockerfile)?;
            files.extend(found);
        }
        let files = self
            .files
            .read(files, id, |path| self.templates.render_file(path, &variables, id, &mut used))?;
        let (dockerfile, upstreams) = upstream::pin(&rendered.text, &instructions, &self.pins);
        let origin = self.origin(variant, used);
        let lines = self.templates.lines(&rendered).into();
        Ok(BuildContext { dockerfile, dockerfile_name: name, files, upstreams, origin, lines })
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
        let folder = files::normalized(&self.matrix.image.templates);
        Origin { folder, templates, variables: variables.collect() }
    }
}

#[cfg(test)]
mod tests;
