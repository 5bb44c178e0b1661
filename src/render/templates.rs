use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use handlebars::{
    Context, Handlebars, RenderContext, RenderError as HandlebarsError, Template, TemplateError,
    no_escape,
};
use serde_json::Value as Json;

use super::check::check;
use super::dockerfile::Misuse;
use super::error::RenderError;
use super::explain::{explain, offset};
use super::helpers;
use super::limits::{self, MAX_TEMPLATE};
use super::links::first_link;
use super::places::{self, TemplateLine};
use super::syntax::diagnose;
use super::values::{Rendered, is_mark};
use crate::files::{ReadError, read_text};
use crate::image::Digest;
use crate::matrix::{Diagnostic, Matrix, SourceError, SourceFile};

/// The folder of the partials within that of the templates.
pub(super) const PARTIALS: &str = "partials";

/// The templates that something was rendered from: their paths below the templates' folder,
/// and their digests.
pub(super) type Used = BTreeMap<String, Digest>;

/// The templates of a folder, compiled and checked.
#[derive(Debug)]
pub(super) struct Templates<'a> {
    matrix: &'a Matrix,
    folder: PathBuf,
    handlebars: Handlebars<'static>,
    sources: HashMap<String, SourceFile>,
    partials: BTreeSet<String>,
    /// The names of the templates that write marks, by their numbers.
    marked: Vec<String>,
    /// The digest of each template that was compiled before rendering began, by its name.
    digests: HashMap<String, Digest>,
    known: Vec<&'a str>,
    /// Templates of files that Dockerfiles copy, which many variants share.
    copied: Mutex<HashMap<PathBuf, Arc<Compiled>>>,
}

#[derive(Debug)]
struct Compiled {
    template: Template,
    source: SourceFile,
    digest: Digest,
}

impl<'a> Templates<'a> {
    /// Reads the partials: `partials/cuda.hbs` is what `{{> cuda}}` means.
    pub(super) fn read(matrix: &'a Matrix) -> Result<Self, RenderError> {
        let mut handlebars = Handlebars::new();
        handlebars.set_strict_mode(true);
        handlebars.register_escape_fn(no_escape);
        helpers::register(&mut handlebars);
        let mut templates = Self {
            matrix,
            folder: matrix.templates(),
            handlebars,
            sources: HashMap::new(),
            partials: BTreeSet::new(),
            marked: Vec::new(),
            digests: HashMap::new(),
            known: matrix.known_names(),
            copied: Mutex::default(),
        };
        for path in templates.partial_files()? {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let compiled = templates.compile(&name, &path)?;
            templates.register(&name, compiled, true);
            templates.partials.insert(name);
        }
        Ok(templates)
    }

    /// The partials' paths below the folder, sorted.
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

    /// Reads the template of a Dockerfile, unless that has been done.
    pub(super) fn load(&mut self, path: &str) -> Result<(), RenderError> {
        let name = of_dockerfile(path);
        if self.sources.contains_key(&name) {
            return Ok(());
        }
        self.refuse_link(Path::new(path))?;
        let on_disk = self.folder.join(path);
        if !on_disk.exists() {
            return Err(RenderError::NoTemplate(on_disk));
        }
        let compiled = self.compile(&name, Path::new(path))?;
        limits::on_large_stack(|| check(&compiled.template, &compiled.source, self))?;
        self.register(&name, compiled, false);
        Ok(())
    }

    fn register(&mut self, name: &str, mut compiled: Compiled, is_partial: bool) {
        places::mark(&mut compiled.template, &compiled.source, self.marked.len());
        limits::fence(&mut compiled.template);
        if is_partial {
            limits::wrap(&mut compiled.template);
        }
        self.marked.push(name.to_owned());
        self.handlebars.register_template(name, compiled.template);
        self.sources.insert(name.to_owned(), compiled.source);
        self.digests.insert(name.to_owned(), compiled.digest);
    }

    /// Compiles the template at `path` below the folder.
    fn compile(&self, name: &str, path: &Path) -> Result<Compiled, RenderError> {
        self.refuse_link(path)?;
        let source = read_source(&self.folder.join(path))?;
        let mut template = compile(name, &source)?;
        helpers::strict(&mut template);
        let digest = Digest::of(source.text.as_bytes());
        Ok(Compiled { template, source, digest })
    }

    fn refuse_link(&self, path: &Path) -> Result<(), RenderError> {
        match first_link(&self.folder, path) {
            Some(link) => Err(RenderError::Link(self.folder.join(link))),
            None => Ok(()),
        }
    }

    /// Renders the template of a Dockerfile, which was loaded.
    pub(super) fn render(
        &self,
        path: &str,
        variables: &Json,
        variant: &str,
        used: &mut Used,
    ) -> Result<Rendered, RenderError> {
        let name = of_dockerfile(path);
        let template = self.handlebars.get_template(&name).expect("it was loaded");
        let rendered = self.renders(template, variables, used);
        used.extend(self.digests.get(&name).map(|digest| (path.to_owned(), digest.clone())));
        rendered.map_err(|error| self.explain(&name, &error, variables, variant))
    }

    /// Renders a template, and adds to `used` the partials that it came by.
    fn renders(
        &self,
        template: &Template,
        variables: &Json,
        used: &mut Used,
    ) -> Result<Rendered, HandlebarsError> {
        let context = Context::wraps(variables)?;
        let mut state = RenderContext::new(template.name.as_ref());
        let rendered = limits::renders(template, &self.handlebars, &context, &mut state)?;
        let rendered = Rendered::new(&rendered);
        let numbers: BTreeSet<usize> = rendered.marks.iter().map(|mark| mark.template).collect();
        for name in numbers.into_iter().map(|number| &self.marked[number]) {
            if self.partials.contains(name)
                && let Some(digest) = self.digests.get(name)
            {
                used.insert(format!("{PARTIALS}/{name}.hbs"), digest.clone());
            }
        }
        Ok(rendered)
    }

    /// The template's line of each line of a rendered Dockerfile.
    pub(super) fn lines(&self, rendered: &Rendered) -> Vec<TemplateLine> {
        places::lines(&rendered.text, &rendered.marks, &self.marked_sources())
    }

    /// Returns the error for a misuse in a Dockerfile rendered from the template at `path`, shown
    /// at its place in the template.
    pub(super) fn misuse(
        &self,
        path: &str,
        rendered: &Rendered,
        variant: &str,
        misuse: Misuse,
    ) -> RenderError {
        let sources = self.marked_sources();
        let found = places::place_of_line(&rendered.text, &rendered.marks, &sources, misuse.line);
        let (source, at) = found.unwrap_or_else(|| (&self.sources[&of_dockerfile(path)], 0));
        let written = source.text[at..].lines().next().unwrap_or_default().trim_end();
        let line = rendered.text.lines().nth(misuse.line - 1).unwrap_or_default().trim();
        let label = match line == written || line.is_empty() {
            true => String::new(),
            false => format!("rendered as `{line}`"),
        };
        let diagnostic = Diagnostic::new(at..at + written.len(), misuse.what, label);
        RenderError::Variant {
            variant: variant.to_owned(),
            error: SourceError::new(source, vec![diagnostic]),
        }
    }

    fn marked_sources(&self) -> Vec<&SourceFile> {
        self.marked.iter().map(|name| &self.sources[name]).collect()
    }

    /// Renders a file that a Dockerfile copies, at `path` below the folder.
    pub(super) fn render_file(
        &self,
        path: &Path,
        variables: &Json,
        variant: &str,
        used: &mut Used,
    ) -> Result<String, RenderError> {
        let compiled = self.copied(path)?;
        let rendered = self.renders(&compiled.template, variables, used);
        used.insert(path.to_string_lossy().into_owned(), compiled.digest.clone());
        rendered.map(|rendered| rendered.text).map_err(|error| {
            let of_partial = error.template_name.as_deref().and_then(|name| self.sources.get(name));
            self.explain_in(of_partial.unwrap_or(&compiled.source), &error, variables, variant)
        })
    }

    fn copied(&self, path: &Path) -> Result<Arc<Compiled>, RenderError> {
        let lock = || self.copied.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = lock().get(path) {
            return Ok(Arc::clone(compiled));
        }
        let mut compiled = self.compile(&format!("copied/{}", path.display()), path)?;
        limits::on_large_stack(|| check(&compiled.template, &compiled.source, self))?;
        limits::fence(&mut compiled.template);
        let compiled = Arc::new(compiled);
        lock().insert(path.to_owned(), Arc::clone(&compiled));
        Ok(compiled)
    }

    fn explain(
        &self,
        name: &str,
        error: &HandlebarsError,
        variables: &Json,
        variant: &str,
    ) -> RenderError {
        let name = error.template_name.as_deref().unwrap_or(name);
        let source = self.sources.get(name).cloned();
        let source = source.unwrap_or_else(|| SourceFile::new(Path::new(name), ""));
        self.explain_in(&source, error, variables, variant)
    }

    fn explain_in(
        &self,
        source: &SourceFile,
        error: &HandlebarsError,
        variables: &Json,
        variant: &str,
    ) -> RenderError {
        let diagnostic = explain(error, source, variables, &self.known);
        RenderError::Variant {
            variant: variant.to_owned(),
            error: SourceError::new(source, vec![diagnostic]),
        }
    }

    /// The axes and variables of the matrix.
    pub(super) fn known(&self) -> &[&str] {
        &self.known
    }

    /// The names of the partials, sorted.
    pub(super) fn partials(&self) -> impl Iterator<Item = &str> {
        self.partials.iter().map(String::as_str)
    }

    /// A partial and the file that it is in.
    pub(super) fn partial(&self, name: &str) -> Option<(&Template, &SourceFile)> {
        self.partials.get(name)?;
        Some((self.handlebars.get_template(name)?, self.sources.get(name)?))
    }

    /// Whether some variant has a value at `path`: a variable, its entry, and so on. Asked
    /// for entries alone, which are rare; all variables of all variants are made for it.
    pub(super) fn any_has(&self, path: &[&str]) -> bool {
        self.matrix.variants.iter().any(|variant| {
            let variables = Json::from(self.matrix.variables(variant));
            path.iter().try_fold(&variables, |value, part| entry(value, part)).is_some()
        })
    }
}

/// The name of a Dockerfile's template. As a partial is called like its file, none has a `/`.
fn of_dockerfile(path: &str) -> String {
    format!("Dockerfile/{path}")
}

fn entry<'a>(value: &'a Json, part: &str) -> Option<&'a Json> {
    match value {
        Json::Array(list) => list.get(part.parse::<usize>().ok()?),
        other => other.get(part),
    }
}

fn read_source(path: &Path) -> Result<SourceFile, RenderError> {
    let text = read_text(path, MAX_TEMPLATE)?;
    if let Some(at) = text.find(is_mark) {
        let line = text[..at].split('\n').count();
        return Err(RenderError::Mark { path: path.to_owned(), line });
    }
    // A byte order mark would stand before `FROM`, or amid a file for a partial.
    Ok(SourceFile::new(path, text.strip_prefix('\u{feff}').unwrap_or(&text)))
}

fn compile(name: &str, source: &SourceFile) -> Result<Template, SourceError> {
    let parsed = limits::check_text(source)
        .map_err(|diagnostic| vec![diagnostic])
        .and_then(|()| limits::parsing(source, || parse(name, source)));
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
