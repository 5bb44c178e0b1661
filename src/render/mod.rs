//! Templates into Dockerfiles and the files that they copy.
//!
//! Templates are [handlebars](https://handlebarsjs.com) without escaping, and strict: a name
//! that nothing defines is an error wherever it stands, in a condition too. What a variant's
//! Dockerfile copies is what its context holds, and nothing else.

mod check;
mod context;
mod copied;
mod dockerfile;
mod error;
mod explain;
mod files;
mod helpers;
mod links;
mod stages;
mod templates;

pub use context::{BuildContext, ContextFile};
pub use error::RenderError;
pub use files::MAX_CONTEXT;
pub use links::first_link;
pub use stages::FinalStage;

use rayon::prelude::*;

use crate::matrix::{Matrix, Variant};
use files::Files;
use templates::Templates;

/// Renders the variants of one matrix.
#[derive(Debug)]
pub struct Renderer<'a> {
    matrix: &'a Matrix,
    templates: Templates<'a>,
    files: Files,
}

impl<'a> Renderer<'a> {
    /// Reads the templates' folder of `matrix`: its partials, and what is rendered later.
    pub fn new(matrix: &'a Matrix) -> Result<Self, RenderError> {
        let dockerfiles = matrix.variants.iter().map(|variant| matrix.dockerfile(variant));
        let files = Files::new(&matrix.templates(), dockerfiles);
        Ok(Self { matrix, templates: Templates::read(matrix)?, files })
    }

    /// The contexts of `variants`, in their order; rendered in parallel.
    pub fn render_all(&mut self, variants: &[&Variant]) -> Result<Vec<BuildContext>, RenderError> {
        for variant in variants {
            self.templates.load(&self.matrix.dockerfile(variant))?;
        }
        let renderer = &*self;
        let rendered: Vec<Result<BuildContext, RenderError>> =
            variants.par_iter().map(|variant| renderer.render(variant)).collect();
        // Not collected in parallel: of several errors, the same one is told each time.
        rendered.into_iter().collect()
    }

    fn render(&self, variant: &Variant) -> Result<BuildContext, RenderError> {
        let id = variant.id.as_str();
        let variables = self.matrix.variables(variant).into();
        let template = self.matrix.dockerfile(variant);
        let text = self.templates.render(&template, &variables, id)?;
        let name = template.strip_suffix(".hbs").unwrap_or(&template);
        let name = name.rsplit('/').next().unwrap_or(name).to_owned();
        let in_dockerfile = |error| RenderError::in_dockerfile(id, &name, &text, error);
        let instructions = dockerfile::parse(&text).map_err(in_dockerfile)?;
        let sources = copied::sources(&instructions).map_err(in_dockerfile)?;
        let mut files = Vec::new();
        for source in &sources {
            let found = self.files.find(source).map_err(in_dockerfile)?;
            files.extend(found);
        }
        let files =
            self.files.read(files, id, |path| self.templates.render_file(path, &variables, id))?;
        Ok(BuildContext { dockerfile: text, dockerfile_name: name, files })
    }
}

#[cfg(test)]
mod tests;
