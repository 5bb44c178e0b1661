use std::collections::HashMap;
use std::path::{Path, PathBuf};

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, JsonTruthy, Output, RenderContext,
    RenderError as HandlebarsError, RenderErrorReason, Renderable, Template, TemplateError,
    no_escape,
};
use serde_json::Value as Json;

use super::check::check_names;
use super::error::RenderError;
use crate::matrix::{Diagnostic, SourceError, SourceFile, nearest};

/// The folder of the partials within that of the templates.
pub(super) const PARTIALS: &str = "partials";

/// The templates of a folder, compiled and checked.
#[derive(Debug)]
pub(super) struct Templates {
    folder: PathBuf,
    handlebars: Handlebars<'static>,
    sources: HashMap<String, SourceFile>,
    known: Vec<String>,
}

impl Templates {
    /// Reads the partials: `partials/cuda.hbs` is what `{{> cuda}}` means.
    pub(super) fn read(folder: &Path, known: Vec<String>) -> Result<Self, RenderError> {
        let mut handlebars = Handlebars::new();
        handlebars.set_strict_mode(true);
        handlebars.register_escape_fn(no_escape);
        handlebars.register_helper("if", Box::new(Condition { positive: true }));
        handlebars.register_helper("unless", Box::new(Condition { positive: false }));
        let sources = HashMap::new();
        let mut templates = Self { folder: folder.to_owned(), handlebars, sources, known };
        let partials = folder.join(PARTIALS);
        if !partials.is_dir() {
            return Ok(templates);
        }
        let entries = fs_err::read_dir(&partials).map_err(RenderError::Read)?;
        let paths: Result<Vec<PathBuf>, _> =
            entries.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut paths = paths.map_err(RenderError::Read)?;
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "hbs")) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            templates.register(&name, path)?;
        }
        Ok(templates)
    }

    /// Reads a template, unless that has been done.
    pub(super) fn load(&mut self, name: &str) -> Result<(), RenderError> {
        if self.sources.contains_key(name) {
            return Ok(());
        }
        let path = self.folder.join(name);
        if !path.is_file() {
            return Err(RenderError::NoTemplate(path));
        }
        self.register(name, &path)
    }

    fn register(&mut self, name: &str, path: &Path) -> Result<(), RenderError> {
        let source = read_source(path)?;
        let template = compile(name, &source)?;
        check_names(&template, &source, &self.known)?;
        self.handlebars.register_template(name, template);
        self.sources.insert(name.to_owned(), source);
        Ok(())
    }

    /// Renders a template that was loaded.
    pub(super) fn render(
        &self,
        name: &str,
        variables: &Json,
        variant: &str,
    ) -> Result<String, RenderError> {
        let rendered = self.handlebars.render(name, variables);
        rendered.map_err(|error| RenderError::Variant {
            variant: variant.to_owned(),
            error: self.explain(name, &error),
        })
    }

    /// Renders a file that a Dockerfile copies; its template is compiled for this alone.
    pub(super) fn render_file(
        &self,
        path: &Path,
        variables: &Json,
        variant: &str,
    ) -> Result<String, RenderError> {
        let source = read_source(path)?;
        let name = path.to_string_lossy().into_owned();
        let template = compile(&name, &source)?;
        check_names(&template, &source, &self.known)?;
        let context = Context::wraps(variables).expect("JSON is a context");
        let mut state = RenderContext::new(Some(&name));
        let rendered = template.renders(&self.handlebars, &context, &mut state);
        rendered.map_err(|error| {
            let diagnostic = explain(&error, &source, &self.known);
            RenderError::Variant {
                variant: variant.to_owned(),
                error: SourceError::new(&source, vec![diagnostic]),
            }
        })
    }

    fn explain(&self, name: &str, error: &HandlebarsError) -> SourceError {
        let name = error.template_name.as_deref().unwrap_or(name);
        let source = self.sources.get(name).cloned();
        let source = source.unwrap_or_else(|| SourceFile::new(Path::new(name), ""));
        let diagnostic = explain(error, &source, &self.known);
        SourceError::new(&source, vec![diagnostic])
    }
}

fn read_source(path: &Path) -> Result<SourceFile, RenderError> {
    let text = fs_err::read_to_string(path).map_err(RenderError::Read)?;
    Ok(SourceFile::new(path, &text))
}

fn compile(name: &str, source: &SourceFile) -> Result<Template, SourceError> {
    Template::compile_with_name(&*source.text, name.to_owned()).map_err(|error: TemplateError| {
        let (line, column) = error.pos().unwrap_or((1, 1));
        let at = offset(&source.text, line, column);
        let reason = error.reason().to_string();
        let reason = reason.lines().next().unwrap_or_default().to_owned();
        SourceError::new(source, vec![Diagnostic::new(at..at + 1, reason, "")])
    })
}

fn explain(error: &HandlebarsError, source: &SourceFile, known: &[String]) -> Diagnostic {
    let at = offset(&source.text, error.line_no.unwrap_or(1), error.column_no.unwrap_or(1));
    let end = source.text[at..].find("}}").map_or(at + 1, |length| at + length + 2);
    match error.reason() {
        RenderErrorReason::MissingVariable(Some(name)) => {
            let is_known = known.iter().any(|other| other == name);
            let label = match is_known {
                true => "other variants have it, this one has not",
                false => "neither an axis nor a variable",
            };
            let near = nearest(name, known.iter().map(String::as_str));
            let near = near.filter(|_| !is_known).map(|near| format!("did you mean `{near}`?"));
            Diagnostic::new(at..end, format!("`{name}` has no value"), label).maybe_help(near)
        }
        reason => Diagnostic::new(at..end, reason.to_string(), ""),
    }
}

/// Where a line and a column, both from 1, are in a text.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = text[start..].char_indices().nth(column.saturating_sub(1));
    rest.map_or(text.len(), |(offset, _)| start + offset)
}

/// `if` and `unless` that refuse a name without a value: handlebars' own take it for false,
/// even in strict mode, and a misspelt switch would silently be off.
struct Condition {
    positive: bool,
}

impl HelperDef for Condition {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        state: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let value = helper.param(0).ok_or(RenderErrorReason::ParamNotFoundForIndex("if", 0))?;
        if value.is_value_missing() {
            let name = value.relative_path().cloned();
            return Err(RenderErrorReason::MissingVariable(name).into());
        }
        let holds = value.value().is_truthy(false) == self.positive;
        match if holds { helper.template() } else { helper.inverse() } {
            Some(template) => template.render(registry, context, state, out),
            None => Ok(()),
        }
    }
}
