//! Finds the names in a template that nothing defines, in branches that no variant takes too.

use handlebars::template::{Parameter, TemplateElement};
use handlebars::{Path, PathSeg, Template};

use crate::matrix::{Diagnostic, SourceError, SourceFile, nearest};

/// Checks every name that `template` uses outside of loops, where names are those of the
/// item; rendering is strict about these.
pub(super) fn check_names(
    template: &Template,
    source: &SourceFile,
    known: &[String],
) -> Result<(), SourceError> {
    let mut used = Vec::new();
    collect(template, &mut used);
    let mut diagnostics = Vec::new();
    for (name, line) in used {
        if known.contains(&name) || diagnostics.iter().any(|(told, _)| *told == name) {
            continue;
        }
        let start = find(&source.text, &name, line);
        let near = nearest(&name, known.iter().map(String::as_str));
        let help = near.map(|near| format!("did you mean `{near}`?"));
        let message = format!("nothing is called `{name}`");
        let diagnostic =
            Diagnostic::new(start..start + name.len(), message, "neither an axis nor a variable");
        diagnostics.push((name, diagnostic.maybe_help(help)));
    }
    if diagnostics.is_empty() {
        return Ok(());
    }
    let diagnostics = diagnostics.into_iter().map(|(_, diagnostic)| diagnostic).collect();
    Err(SourceError::new(source, diagnostics))
}

/// The names, each with its line.
fn collect(template: &Template, used: &mut Vec<(String, usize)>) {
    for (index, element) in template.elements.iter().enumerate() {
        let line = template.mapping.get(index).map_or(1, |mapping| mapping.0);
        collect_element(element, line, used);
    }
}

fn collect_element(element: &TemplateElement, line: usize, used: &mut Vec<(String, usize)>) {
    use TemplateElement as Element;
    match element {
        Element::Expression(helper) | Element::HtmlExpression(helper) => {
            // With parameters it is a helper's call, and its name the helper's.
            if helper.params.is_empty() {
                collect_parameter(&helper.name, line, used);
            }
            for parameter in helper.params.iter().chain(helper.hash.values()) {
                collect_parameter(parameter, line, used);
            }
        }
        Element::HelperBlock(helper) => {
            for parameter in helper.params.iter().chain(helper.hash.values()) {
                collect_parameter(parameter, line, used);
            }
            let is_scope = matches!(helper.name.as_name(), Some("each" | "with"));
            if let Some(template) = helper.template.as_ref().filter(|_| !is_scope) {
                collect(template, used);
            }
            if let Some(template) = &helper.inverse {
                collect(template, used);
            }
        }
        Element::PartialExpression(partial) | Element::PartialBlock(partial) => {
            for parameter in partial.params.iter().chain(partial.hash.values()) {
                collect_parameter(parameter, line, used);
            }
        }
        _ => {}
    }
}

fn collect_parameter(parameter: &Parameter, line: usize, used: &mut Vec<(String, usize)>) {
    match parameter {
        Parameter::Name(name) => used.push((name.clone(), line)),
        Parameter::Path(Path::Relative((segments, _))) => {
            if let Some(PathSeg::Named(name)) = segments.first() {
                used.push((name.clone(), line));
            }
        }
        Parameter::Subexpression(inner) => collect_element(inner.as_element(), line, used),
        _ => {}
    }
}

/// The first place of `name` as a word on or after `line`.
fn find(text: &str, name: &str, line: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let found = text[start..].match_indices(name).find(|(at, _)| {
        let (before, after) = (&text[..start + at], &text[start + at + name.len()..]);
        !before.ends_with(is_word) && !after.starts_with(is_word)
    });
    found.map_or(start, |(at, _)| start + at)
}
