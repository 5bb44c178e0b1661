use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use handlebars::{
    Context, Handlebars, RenderContext, RenderError as RenderFault, RenderErrorReason, Template,
    TemplateError, no_escape,
};
use serde_json::Value as Json;

use super::check::check;
use super::dockerfile::Misuse;
use super::error::RenderError;
use super::explain::explain;
use super::generated::PARTS;
use super::helpers;
use super::library::Library;
use super::limits::{self, MAX_TEMPLATE};
use super::links::first_link;
use super::parents::{BEGIN, END, Parents, has_placeholder};
use super::parts::{self, Parts};
use super::places::{self, TemplateLine};
use super::syntax::{diagnose, offset};
use super::values::{Rendered, is_mark};
use crate::files::{ReadError, read_text};
use crate::image::Digest;
use crate::matrix::{Diagnostic, Matrix, NoVariant, SourceError, SourceFile, is_image_call};

/// The folder of the partials in the folder of the templates.
pub(super) const PARTIALS: &str = "partials";

/// The name of the matrix file among the templates that lines come from. No template has it.
const MATRIX: &str = " matrix";

/// The templates used by a rendering: their paths in the folder of the templates, and their digests.
pub(super) type Used = BTreeMap<String, Digest>;

/// The compiled templates of a folder.
#[derive(Debug)]
pub(super) struct Templates<'a> {
    library: Library<'a>,
    folder: PathBuf,
    /// The Dockerfile templates that the matrix file contains, by name.
    inline: HashMap<String, &'a SourceFile>,
    /// The names of the templates that write marks. The index is the number in the mark.
    marked: Vec<String>,
    /// The digests of Dockerfile templates and partials, by name.
    digests: HashMap<String, Digest>,
    /// The templates of copied files, compiled on first use.
    copied: Mutex<HashMap<PathBuf, Arc<Compiled>>>,
}

#[derive(Debug)]
struct Compiled {
    template: Template,
    source: SourceFile,
    digest: Digest,
}

impl<'a> Templates<'a> {
    /// Compiles the partials. `{{> cuda}}` includes `partials/cuda.hbs`.
    pub(super) fn read(matrix: &'a Matrix) -> Result<Self, RenderError> {
        let mut handlebars = Handlebars::new();
        handlebars.set_strict_mode(true);
        handlebars.register_escape_fn(no_escape);
        helpers::register(&mut handlebars);
        let mut templates = Self {
            library: Library::new(matrix, handlebars),
            folder: matrix.templates(),
            inline: matrix.inline_dockerfiles().collect(),
            marked: Vec::new(),
            digests: HashMap::new(),
            copied: Mutex::default(),
        };
        templates.marked.push(MATRIX.to_owned());
        templates.library.sources.insert(MATRIX.to_owned(), matrix.source.clone());
        for path in templates.partial_files()? {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let compiled = templates.compile(&name, &path)?;
            templates.register(&name, compiled, true);
            templates.library.partials.insert(name);
        }
        for part in PARTS {
            templates.add_part(part)?;
        }
        Ok(templates)
    }

    /// Adds the partial of a generated part, unless the folder has one of that name.
    fn add_part(&mut self, name: &str) -> Result<(), RenderError> {
        if self.library.partials.contains(name) {
            return Ok(());
        }
        let source = SourceFile::new(Path::new(name), &parts::template(name));
        let template = compile(name, &source)?;
        self.library.handlebars.register_template(name, template);
        self.library.sources.insert(name.to_owned(), source);
        self.library.partials.insert(name.to_owned());
        Ok(())
    }

    /// Returns the paths of the partials, sorted.
    fn partial_files(&self) -> Result<Vec<PathBuf>, RenderError> {
        self.refuse_link(Path::new(PARTIALS))?;
        let partials = self.folder.join(PARTIALS);
        if !partials.is_dir() {
            return Ok(Vec::new());
        }
        let unreadable = |source| ReadError::Io { path: partials.clone(), source };
        let mut paths = Vec::new();
        for entry in fs_err::read_dir(&partials).map_err(unreadable)? {
            let path = Path::new(PARTIALS).join(entry.map_err(unreadable)?.file_name());
            if path.extension().is_some_and(|extension| extension == "hbs") {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// Compiles and checks a Dockerfile template, unless it is loaded already.
    pub(super) fn load(&mut self, path: &str) -> Result<(), RenderError> {
        let name = dockerfile_name(path);
        if self.library.sources.contains_key(&name) {
            return Ok(());
        }
        let compiled = match self.inline.get(path) {
            Some(source) => compile_source(&name, SourceFile::clone(source))?,
            None => self.compile_file(&name, path)?,
        };
        limits::on_large_stack(|| check(&compiled.template, &compiled.source, &self.library))?;
        self.register(&name, compiled, false);
        Ok(())
    }

    fn compile_file(&self, name: &str, path: &str) -> Result<Compiled, RenderError> {
        self.refuse_link(Path::new(path))?;
        let on_disk = self.folder.join(path);
        if !on_disk.exists() {
            return Err(RenderError::NoTemplate(on_disk));
        }
        self.compile(name, Path::new(path))
    }

    fn register(&mut self, name: &str, mut compiled: Compiled, is_partial: bool) {
        places::mark(&mut compiled.template, &compiled.source, self.marked.len());
        limits::fence(&mut compiled.template);
        if is_partial {
            limits::wrap(&mut compiled.template);
        }
        self.marked.push(name.to_owned());
        self.library.handlebars.register_template(name, compiled.template);
        self.library.sources.insert(name.to_owned(), compiled.source);
        self.digests.insert(name.to_owned(), compiled.digest);
    }

    /// Compiles the template at `path` in the folder.
    fn compile(&self, name: &str, path: &Path) -> Result<Compiled, RenderError> {
        self.refuse_link(path)?;
        compile_source(name, read_source(&self.folder.join(path))?)
    }

    fn refuse_link(&self, path: &Path) -> Result<(), RenderError> {
        match first_link(&self.folder, path) {
            Some(link) => Err(RenderError::Link(self.folder.join(link))),
            None => Ok(()),
        }
    }

    /// Renders a loaded Dockerfile template. Returns also the ids of the images of the matrix that it names.
    pub(super) fn render<'p>(
        &self,
        path: &str,
        variables: &Json,
        parts: &Parts<'_>,
        parents: &Parents<'p>,
        used: &mut Used,
    ) -> Result<(Rendered, Vec<&'p str>), RenderError> {
        let name = dockerfile_name(path);
        let template = self.library.handlebars.get_template(&name).expect("the template is loaded");
        if !self.inline.contains_key(path) {
            used.insert(path.to_owned(), self.digests[&name].clone());
        }
        let mut ids = Vec::new();
        let image = |call: &str| parents.name(call, &mut ids);
        let source = &self.library.sources[&name];
        let rendered = self.render_template(template, source, variables, parts, image, used)?;
        Ok((rendered, ids))
    }

    /// Renders a template of `source` and adds its partials to `used`. `image` returns the name for a call of the helper
    /// `image`.
    fn render_template(
        &self,
        template: &Template,
        source: &SourceFile,
        variables: &Json,
        parts: &Parts<'_>,
        image: impl FnMut(&str) -> Result<String, NoVariant>,
        used: &mut Used,
    ) -> Result<Rendered, RenderError> {
        let rendered = Context::wraps(variables).and_then(|context| {
            let mut state = RenderContext::new(template.name.as_ref());
            limits::render(template, &self.library.handlebars, &context, &mut state)
        });
        let rendered = rendered.map_err(|error| {
            let name = error.template_name.as_deref();
            let source = name.and_then(|name| self.library.sources.get(name)).unwrap_or(source);
            let diagnostic = explain(&error, source, variables, self.library.known());
            variant_error(&parts.variant.id, source, diagnostic)
        })?;
        let marked = parts.insert(rendered)?;
        let rendered = self.without_marks(&marked, source, &parts.variant.id, image)?;
        let numbers: BTreeSet<usize> = rendered.marks.iter().map(|mark| mark.template).collect();
        for name in numbers.into_iter().map(|number| &self.marked[number]) {
            if self.library.partials.contains(name) {
                used.insert(format!("{PARTIALS}/{name}.hbs"), self.digests[name].clone());
            }
        }
        Ok(rendered)
    }

    /// Generates the Dockerfile of a variant without a template. Returns also the ids of the images of the matrix that it
    /// names.
    pub(super) fn generated<'p>(
        &self,
        variables: &Json,
        parts: &Parts<'_>,
        parents: &Parents<'p>,
    ) -> Result<(Rendered, Vec<&'p str>), RenderError> {
        let mut ids = Vec::new();
        let source = &self.library.sources[MATRIX];
        let mut marked = parts.dockerfile()?;
        let base = parts.matrix.contents(parts.variant).base;
        if is_image_call(&base) {
            let call = (base.as_str(), base.span());
            let name = self.name_variant(call, variables, parents, &mut ids)?;
            marked = marked.replacen(base.as_str(), &name, 1);
        }
        let image = |call: &str| parents.name(call, &mut ids);
        Ok((self.without_marks(&marked, source, &parts.variant.id, image)?, ids))
    }

    /// Returns the placeholder of the image that a call of the helper `image` at a place of the matrix file names, and adds the id of
    /// its variant to `ids`.
    pub(super) fn name_variant<'p>(
        &self,
        (call, span): (&str, Range<usize>),
        variables: &Json,
        parents: &Parents<'p>,
        ids: &mut Vec<&'p str>,
    ) -> Result<String, RenderError> {
        let refuse = |message: String, help: Option<String>| {
            let diagnostic = Diagnostic::new(span.clone(), message, "").maybe_help(help);
            variant_error(&parents.variant().id, &self.library.sources[MATRIX], diagnostic)
        };
        let marked = self.call(call, variables).map_err(|error| match error.reason() {
            RenderErrorReason::NestedError(cause) => refuse(cause.to_string(), None),
            other => refuse(other.to_string(), None),
        })?;
        let arguments = marked.trim_start_matches(BEGIN).trim_end_matches(END);
        parents.name(arguments, ids).map_err(|NoVariant { message, help }| refuse(message, help))
    }

    /// Renders a call of the helper `image` in the matrix file. Returns its arguments between marks.
    fn call(&self, text: &str, variables: &Json) -> Result<String, RenderFault> {
        let mut template = Template::compile(text)?;
        helpers::strict(&mut template);
        let context = Context::wraps(variables)?;
        let mut state = RenderContext::new(None);
        limits::render(&template, &self.library.handlebars, &context, &mut state)
    }

    /// Removes the marks from a rendered text. `image` returns the name for a call of the helper `image`.
    fn without_marks(
        &self,
        marked: &str,
        source: &SourceFile,
        variant: &str,
        mut image: impl FnMut(&str) -> Result<String, NoVariant>,
    ) -> Result<Rendered, RenderError> {
        let mut refused = None;
        let rendered = Rendered::new(marked, |call, at| {
            image(call).unwrap_or_else(|reason| {
                refused.get_or_insert((at, reason));
                String::new()
            })
        });
        let Some((at, NoVariant { message, help })) = refused else { return Ok(rendered) };
        let line = rendered.text[..at].matches('\n').count() + 1;
        let (source, span) = self.template_line(&rendered, line).unwrap_or((source, 0..0));
        let diagnostic = Diagnostic::new(span, message, "").maybe_help(help);
        Err(variant_error(variant, source, diagnostic))
    }

    /// Returns the template line of each line of a rendered Dockerfile.
    pub(super) fn lines(&self, rendered: &Rendered) -> Vec<TemplateLine> {
        places::lines(&rendered.text, &rendered.marks, &self.marked_sources())
    }

    /// Returns the error for a fault in a Dockerfile rendered from the template at `path`. It points to the template.
    pub(super) fn misuse(
        &self,
        path: Option<&str>,
        rendered: &Rendered,
        variant: &str,
        misuse: Misuse,
    ) -> RenderError {
        let place = self.template_line(rendered, misuse.line);
        let (source, span) = place.unwrap_or_else(|| {
            let source = &self.library.sources[&path.map_or(MATRIX.to_owned(), dockerfile_name)];
            (source, 0..source.text.lines().next().unwrap_or_default().trim_end().len())
        });
        let written = &source.text[span.clone()];
        let line = rendered.text.lines().nth(misuse.line - 1).unwrap_or_default().trim();
        let label = if line == written || line.is_empty() || has_placeholder(line) {
            String::new()
        } else {
            format!("rendered as `{line}`")
        };
        let diagnostic = Diagnostic::new(span, misuse.what, label);
        variant_error(variant, source, diagnostic)
    }

    /// Returns the line of a template for a line of a rendered Dockerfile, from 1.
    fn template_line(
        &self,
        rendered: &Rendered,
        line: usize,
    ) -> Option<(&SourceFile, Range<usize>)> {
        let sources = self.marked_sources();
        let mut places = places::places(&rendered.text, &rendered.marks, &sources);
        let (template, at) = places.nth(line - 1)?;
        let source = sources[template];
        let written = source.text[at..].lines().next().unwrap_or_default().trim_end();
        Some((source, at..at + written.len()))
    }

    fn marked_sources(&self) -> Vec<&SourceFile> {
        self.marked.iter().map(|name| &self.library.sources[name]).collect()
    }

    /// Renders the template of a copied file, at `path` in the folder.
    pub(super) fn render_file(
        &self,
        path: &Path,
        variables: &Json,
        parts: &Parts<'_>,
        used: &mut Used,
    ) -> Result<String, RenderError> {
        let compiled = self.copied(path)?;
        used.insert(path.to_string_lossy().into_owned(), compiled.digest.clone());
        let (template, source) = (&compiled.template, &compiled.source);
        let image = |_: &str| {
            Err(NoVariant {
                message: "`image` is the name of an image, so only Dockerfiles can use it"
                    .to_owned(),
                help: None,
            })
        };
        let rendered = self.render_template(template, source, variables, parts, image, used)?;
        Ok(rendered.text)
    }

    fn copied(&self, path: &Path) -> Result<Arc<Compiled>, RenderError> {
        let lock = || self.copied.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = lock().get(path) {
            return Ok(Arc::clone(compiled));
        }
        let mut compiled = self.compile(&format!("copied/{}", path.display()), path)?;
        limits::on_large_stack(|| check(&compiled.template, &compiled.source, &self.library))?;
        limits::fence(&mut compiled.template);
        let compiled = Arc::new(compiled);
        lock().insert(path.to_owned(), Arc::clone(&compiled));
        Ok(compiled)
    }
}

fn variant_error(variant: &str, source: &SourceFile, diagnostic: Diagnostic) -> RenderError {
    let error = SourceError::new(source, vec![diagnostic]);
    RenderError::Variant { variant: variant.to_owned(), error }
}

/// Returns the name of a Dockerfile template. The name of a partial contains no `/`, so they never collide.
fn dockerfile_name(path: &str) -> String {
    format!("Dockerfile/{path}")
}

fn read_source(path: &Path) -> Result<SourceFile, RenderError> {
    let text = read_text(path, MAX_TEMPLATE)?;
    // A byte order mark would be rendered into the Dockerfile.
    Ok(SourceFile::new(path, text.strip_prefix('\u{feff}').unwrap_or(&text)))
}

fn compile_source(name: &str, source: SourceFile) -> Result<Compiled, RenderError> {
    if let Some(at) = source.text.find(is_mark) {
        return Err(RenderError::Mark { path: source.path.clone(), line: source.line(at) });
    }
    let mut template = compile(name, &source)?;
    helpers::strict(&mut template);
    let digest = Digest::of(source.text.as_bytes());
    Ok(Compiled { template, source, digest })
}

fn compile(name: &str, source: &SourceFile) -> Result<Template, SourceError> {
    let parsed = limits::check_text(source)
        .map_err(|diagnostic| vec![diagnostic])
        .and_then(|()| limits::on_large_stack(|| parse(name, source)));
    parsed.map_err(|diagnostics| SourceError::new(source, diagnostics))
}

fn parse(name: &str, source: &SourceFile) -> Result<Template, Vec<Diagnostic>> {
    let parsed = Template::compile_with_name(&*source.text, name.to_owned());
    let template = parsed.map_err(|error: TemplateError| {
        let (line, column) = error.pos().unwrap_or((1, 1));
        diagnose(&source.text, offset(&source.text, line, column))
    })?;
    limits::check_depth(&template, source).map_err(|diagnostic| vec![diagnostic])?;
    Ok(template)
}
