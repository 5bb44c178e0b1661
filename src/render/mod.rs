//! Renders Dockerfile templates and collects the files that Dockerfiles copy.
//!
//! [`Renderer::render_all`] renders one [`BuildContext`] for each variant. Templates are
//! [handlebars](https://handlebarsjs.com) without escaping, in strict mode: an undefined name is an error, also in a
//! condition (`check`, `helpers`). A small Dockerfile parser (`dockerfile`) finds the copied files (`copied`), the
//! upstream images (`images`) and values that would become instructions (`values`). Errors point to the template.

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
mod flattened;
mod folder;
mod folders;
mod function;
mod generated;
mod given;
mod helpers;
mod here_document;
mod images;
mod library;
mod limits;
mod links;
mod on_disk;
mod options;
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
mod unused;
mod upstream;
mod values;
mod words;

pub(crate) use arguments::{Arguments, UNKNOWN};
pub(crate) use copied::sources;
pub(crate) use dockerfile::{Instruction, Misuse, parse, stage};
pub(crate) use flags::flags;
pub(crate) use given::uses_argument;
pub(crate) use images::check_images;

pub use context::{BuildContext, Origin, OriginVariable};
pub use error::RenderError;
pub use files::MAX_CONTEXT;
pub(crate) use files::{check_path, check_source};
pub use folder::{Difference, FolderError, Rendered, RenderedFile, list, write};
pub(crate) use folders::DEFAULT_PATTERNS;
pub use links::first_link;
pub use options::{ContextFile, DockerfileOptions, NamedContext};
pub use parents::Parent;
pub use places::TemplateLine;
pub use remote::Unverified;
pub use stages::{FinalStage, shells};
pub use steps::Step;
pub(crate) use steps::layers_of_variant;
pub use unused::{UnusedContents, unused_contents};
pub use upstream::{Pins, Upstream, familiar};
pub(crate) use words::{split, unquoted};

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rayon::prelude::*;
use serde_json::Value as Json;

use crate::files::Access;
use crate::image::{Digest, Platform};
use crate::matrix::{ContextSource, Matrix, PackageManager, Pattern, Relations, Variant};
use copied::Source;
use files::{Files, Found};
use folders::Folders;
use parents::Parents;
use parts::Parts;
use templates::{Templates, Used};

/// The name of a generated Dockerfile in messages.
const GENERATED: &str = "Dockerfile";

/// For each context that is a folder, by its name, the files that a build needs from it.
type FoundIn<'a> = BTreeMap<Option<String>, (&'a Files, Vec<Found>)>;

/// Renders the variants of one matrix.
#[derive(Debug)]
pub struct Renderer<'a> {
    matrix: &'a Matrix,
    templates: Templates<'a>,
    folders: Folders<'a>,
    pins: Pins,
    relations: Relations<'a>,
}

impl<'a> Renderer<'a> {
    /// Compiles the partials of `matrix`.
    pub fn new(matrix: &'a Matrix) -> Result<Self, RenderError> {
        matrix.checkout.resolve(Path::new(&matrix.image.templates), Access::Read)?;
        let (templates, folders) = (Templates::read(matrix)?, Folders::new(matrix));
        let relations = Relations::new(matrix);
        Ok(Self { matrix, templates, folders, pins: Pins::new(), relations })
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

    /// Renders `variants` for their platforms in parallel, and returns their contexts in the same order.
    pub fn render_all(&mut self, variants: &[&Variant]) -> Result<Vec<BuildContext>, RenderError> {
        let rows: Vec<_> = variants.iter().map(|variant| (*variant, &*variant.platforms)).collect();
        self.render_for(&rows)
    }

    /// Renders variants, each for some platforms, in parallel, and returns their contexts in the same order.
    pub fn render_for(
        &mut self,
        rows: &[(&Variant, &[Platform])],
    ) -> Result<Vec<BuildContext>, RenderError> {
        for (variant, _) in rows {
            if let Some(template) = self.matrix.dockerfile(variant) {
                self.templates.load(&template)?;
            }
            self.folders.open(variant)?;
        }
        let renderer = &*self;
        let rendered: Vec<Result<BuildContext, RenderError>> = rows
            .par_iter()
            .map(|(variant, platforms)| renderer.render(variant, platforms))
            .collect();
        // Collected in order, so that the same one of several errors is returned each time.
        rendered.into_iter().collect()
    }

    /// Refuses build arguments of the command line that none of `contexts` declares.
    pub fn check_arguments(&self, contexts: &[BuildContext]) -> Result<(), RenderError> {
        given::check_given(&self.matrix.build.arguments, contexts)
    }

    /// Returns the files and folders that contexts omit because they often contain credentials, relative to their
    /// context.
    #[must_use]
    pub fn left_out(&self) -> BTreeSet<String> {
        self.folders.private()
    }

    fn render(
        &self,
        variant: &Variant,
        platforms: &[Platform],
    ) -> Result<BuildContext, RenderError> {
        if let Some(image) = self.matrix.mirror(variant) {
            return Ok(self.mirror(variant, image));
        }
        if !self.matrix.has_platform_variables() {
            return self.render_on(variant, None);
        }
        let contexts = platforms
            .iter()
            .map(|platform| Ok((platform.clone(), self.render_on(variant, Some(platform))?)));
        Ok(BuildContext::of_platforms(contexts.collect::<Result<Vec<_>, RenderError>>()?))
    }

    fn render_on(
        &self,
        variant: &Variant,
        platform: Option<&Platform>,
    ) -> Result<BuildContext, RenderError> {
        let id = variant.id.as_str();
        let variables: Json = self.matrix.variables_on(variant, platform).into();
        let template = self.matrix.dockerfile(variant);
        let mut used = Used::default();
        let read = |path: &str| self.read_text(path, variant, &variables);
        let parts = Parts::new(self.matrix, variant, &read);
        let images = Parents::new(&self.relations, variant);
        let (rendered, mut ids) = match &template {
            Some(path) => self.templates.render(path, &variables, &parts, &images, &mut used)?,
            None => self.templates.generated(&variables, &parts, &images)?,
        };
        let in_dockerfile =
            |misuse| self.templates.misuse(template.as_deref(), &rendered, id, misuse);
        let instructions = dockerfile::parse(&rendered.text).map_err(in_dockerfile)?;
        rendered.check(&instructions).map_err(in_dockerfile)?;
        let mut options = given::options_of(self.matrix, variant, &instructions)?;
        check_images(&rendered.text, &instructions, &options).map_err(in_dockerfile)?;
        let written = (rendered.text.as_str(), &*instructions);
        let text = self.name_contexts(&images, &variables, written, &mut options, &mut ids)?;
        let instructions = match &text {
            Cow::Owned(text) => dockerfile::parse(text).map_err(in_dockerfile)?,
            Cow::Borrowed(_) => instructions,
        };
        let parents = parents::parents(&text, &instructions, &ids).map_err(in_dockerfile)?;
        let sources = copied::sources(&instructions, &options).map_err(in_dockerfile)?;
        // Contexts that the Dockerfile does not use are not inputs of the image.
        let is_used =
            |name: &String| sources.iter().any(|from| from.context.as_ref() == Some(name));
        options.contexts.retain(|name, _| is_used(name));
        let found = self.find(variant, &sources).map_err(in_dockerfile)?;
        let files = read_files(found, id, &mut options, &mut |path| {
            self.templates.render_file(path, &variables, &parts, &mut used)
        })?;
        let (dockerfile, upstreams) = images::pin(&text, &instructions, &mut options, &self.pins);
        let mut origin = self.origin(variant, used);
        origin.parts = parts.included.take();
        if template.is_none() {
            self.add_packages(variant, &mut origin);
        }
        Ok(BuildContext {
            dockerfile,
            dockerfile_name: dockerfile_name(template.as_deref()),
            options,
            files,
            upstreams,
            parents,
            platforms: BTreeMap::new(),
            origin,
            lines: self.templates.lines(&rendered).into(),
        })
    }

    /// Replaces the named contexts of a Dockerfile that are images of the matrix by the placeholders of these, and adds
    /// the ids of their variants to `ids`.
    fn name_contexts<'t>(
        &'t self,
        images: &Parents<'t>,
        variables: &Json,
        dockerfile: (&'t str, &[Instruction]),
        options: &mut DockerfileOptions,
        ids: &mut Vec<&'t str>,
    ) -> Result<Cow<'t, str>, RenderError> {
        let named = self.matrix.named_contexts(images.variant());
        let call = |name: &str| match named.get(name)?.get_ref() {
            ContextSource::Variant(call) => Some((call.as_str(), named[name].span())),
            _ => None,
        };
        let (text, instructions) = dockerfile;
        let has_all = options.contexts.len();
        options.contexts.retain(|name, _| call(name).is_none());
        if options.contexts.len() == has_all {
            return Ok(Cow::Borrowed(text));
        }
        let placeholder = |name: &str| {
            let call = call(name);
            call.map(|call| self.templates.name_variant(call, variables, images, ids)).transpose()
        };
        images::replace(text, instructions, options, placeholder).map(Cow::Owned)
    }

    /// Finds the files of `sources` in each context that is a folder.
    fn find(&self, variant: &Variant, sources: &[Source]) -> Result<FoundIn<'_>, Misuse> {
        let named = self.matrix.named_contexts(variant);
        let mut all = FoundIn::new();
        for source in sources {
            let folder = match source.context.as_deref().map(|name| named[name].get_ref()) {
                None => self.folders.main(variant),
                Some(ContextSource::Folder(folder)) => self.folders.named(folder),
                Some(ContextSource::Image(_) | ContextSource::Variant(_)) => continue,
            };
            let (_, found) = all.entry(source.context.clone()).or_insert((folder, Vec::new()));
            found.extend(folder.find(source)?.iter().cloned());
        }
        Ok(all)
    }

    /// Reads a file of the build context, such as one with packages. An error is the reason.
    fn read_text(&self, path: &str, variant: &Variant, variables: &Json) -> Result<String, String> {
        let source = Source { context: None, path: path.to_owned(), line: 1, parents: false };
        let folder = self.folders.main(variant);
        let found = folder.find(&source).map_err(|misuse| misuse.what)?;
        let parts = Parts::new(self.matrix, variant, &|_| Ok(String::new()));
        let mut render =
            |path: &Path| self.templates.render_file(path, variables, &parts, &mut Used::default());
        let files = folder.read(found.to_vec(), &variant.id, &mut render);
        let files = files.map_err(|error| error.to_string())?;
        let has_links = files.iter().any(|file| file.is_link);
        let mut regular = files.iter().filter(|file| !file.is_link);
        match (regular.next(), regular.next()) {
            (Some(file), None) if has_links || file.path == copied::normalized(path) => {
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

    /// Returns the context of a mirrored image: a Dockerfile of this image alone. It is pinned like all others, and local
    /// builds use it.
    fn mirror(&self, variant: &Variant, image: &Pattern) -> BuildContext {
        let image = image.fill(|name| self.matrix.name_part(variant, name));
        let mut context = BuildContext {
            dockerfile: format!("FROM {image}\n"),
            dockerfile_name: GENERATED.to_owned(),
            ..BuildContext::default()
        };
        context.pin(&self.pins);
        context
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
        let context = self.matrix.context(variant).map(|context| copied::normalized(&context));
        let (parts, variables) = (BTreeSet::new(), variables.collect());
        Origin { folder, parts, context, templates, variables }
    }
}

/// Reads the files that were found. Returns those of the main context, and puts the others into the named contexts of
/// `options`. `render` renders the template at a path.
fn read_files(
    found: FoundIn<'_>,
    variant: &str,
    options: &mut DockerfileOptions,
    render: &mut dyn FnMut(&Path) -> Result<String, RenderError>,
) -> Result<Vec<ContextFile>, RenderError> {
    let mut main = Vec::new();
    for (name, (folder, found)) in found {
        let files = folder.read(found, variant, render)?;
        match name {
            None => main = files,
            Some(name) => drop(options.contexts.insert(name, NamedContext::Files(files))),
        }
    }
    Ok(main)
}

/// Returns the name in messages of the Dockerfile that is rendered from the template at a path, or generated.
fn dockerfile_name(template: Option<&str>) -> String {
    let path = template.unwrap_or(GENERATED);
    let path = path.strip_suffix(".hbs").unwrap_or(path);
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests;
