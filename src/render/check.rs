//! Finds undefined names, helpers and partials in a template, also in branches that no variant renders.

use std::collections::{BTreeSet, HashSet};

use handlebars::template::{DecoratorTemplate, HelperTemplate, Parameter, TemplateElement};
use handlebars::{Path, PathSeg, Template};
use serde_json::Value as Json;

use super::helpers::{HELPERS, is_helper};
use super::library::Library;
use super::limits::bodies;
use super::syntax::{find, offset};
use crate::matrix::{Diagnostic, SourceError, SourceFile, did_you_mean};

/// The maximum depth of nested partials.
const MAX_DEPTH: usize = 50;

/// The maximum number of template elements checked. A partial counts once for each scope it is used in.
const MAX_VISITED: usize = 50_000;

/// The maximum number of errors shown.
const MAX_FOUND: usize = 100;

/// Checks every name, helper and partial in `template` and in the partials it includes.
pub(super) fn check(
    template: &Template,
    source: &SourceFile,
    library: &Library<'_>,
) -> Result<(), SourceError> {
    let mut inline = HashSet::new();
    let partials = library.partials().filter_map(|name| library.partial(name));
    for template in partials.map(|(template, _)| template).chain([template]) {
        collect_inline(template, &mut inline);
    }
    let (stack, found) = (Vec::new(), Vec::new());
    let mut checker =
        Checker { library, inline, checked: HashSet::new(), visited: 0, stack, found };
    let scope = Scope::Variant(BTreeSet::new());
    checker.template(template, Place { source, scope: &scope, begin: (1, 1) });
    checker.error()
}

/// The names available at a location.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Scope {
    /// Axes and variables, and the parameters of a partial.
    Variant(BTreeSet<String>),
    /// The entries of a value that is known at rendering only.
    Item,
}

/// The location of a name.
#[derive(Clone, Copy)]
struct Place<'a> {
    source: &'a SourceFile,
    scope: &'a Scope,
    /// The line and column of the tag, from 1.
    begin: (usize, usize),
}

/// An error with its location and the undefined name.
struct Found {
    source: SourceFile,
    start: usize,
    name: String,
    diagnostic: Diagnostic,
}

struct Checker<'a> {
    library: &'a Library<'a>,
    /// The names of inline partials.
    inline: HashSet<String>,
    /// The checked partials with their scopes.
    checked: HashSet<(String, Scope)>,
    /// The number of elements checked so far.
    visited: usize,
    /// The stack of partials being checked.
    stack: Vec<String>,
    found: Vec<Found>,
}

impl Checker<'_> {
    fn template(&mut self, template: &Template, place: Place<'_>) {
        for (index, element) in template.elements.iter().enumerate() {
            self.visited += 1;
            let mapping = template.mapping.get(index);
            let begin = mapping.map_or(place.begin, |mapping| (mapping.0, mapping.1));
            self.element(element, Place { begin, ..place });
        }
    }

    fn element(&mut self, element: &TemplateElement, place: Place<'_>) {
        use TemplateElement as Element;
        match element {
            Element::Expression(helper) | Element::HtmlExpression(helper) => {
                self.call(helper, place);
            }
            Element::HelperBlock(helper) => {
                self.call(helper, place);
                let enters = matches!(helper.name.as_name(), Some("each" | "with"));
                let scope = if enters { &Scope::Item } else { place.scope };
                if let Some(template) = &helper.template {
                    self.template(template, Place { scope, ..place });
                }
                if let Some(template) = &helper.inverse {
                    self.template(template, place);
                }
            }
            Element::PartialExpression(partial) | Element::PartialBlock(partial) => {
                self.partial(partial, place);
            }
            Element::DecoratorExpression(decorator) | Element::DecoratorBlock(decorator) => {
                if let Some(template) = &decorator.template {
                    self.template(template, Place { scope: &Scope::Item, ..place });
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, helper: &HelperTemplate, place: Place<'_>) {
        if let Some(name) = helper.name.as_name()
            && !is_helper(name)
        {
            self.report(name, place, format!("unknown helper `{name}`"), "", HELPERS);
        }
        for parameter in helper.params.iter().chain(helper.hash.values()) {
            self.parameter(parameter, place);
        }
    }

    fn parameter(&mut self, parameter: &Parameter, place: Place<'_>) {
        match parameter {
            Parameter::Path(Path::Relative((segments, raw))) => {
                let is_root = raw.starts_with("@root");
                let segments = segments.iter().skip(usize::from(is_root));
                // `../name` begins with a segment that is not a name.
                let names: Option<Vec<&str>> = segments.map(named).collect();
                match place.scope {
                    Scope::Item if !is_root => {}
                    scope => self.path(&names.unwrap_or_default(), scope, place),
                }
            }
            Parameter::Subexpression(inner) => self.element(inner.as_element(), place),
            _ => {}
        }
    }

    /// Checks a path such as `table.entry`, split into its parts.
    fn path(&mut self, path: &[&str], scope: &Scope, place: Place<'_>) {
        let Some((first, entries)) = path.split_first() else {
            return;
        };
        if matches!(scope, Scope::Variant(given) if given.contains(*first)) {
            return;
        }
        let known = self.library.known();
        if !known.contains(first) {
            let message = format!("unknown name `{first}`");
            let label = "neither an axis nor a variable";
            self.report(first, place, message, label, known.iter().copied());
        } else if !entries.is_empty() && !self.library.any_has(path) {
            let message = format!("`{first}` has no entry `{}` in any variant", entries.join("."));
            self.report(&path.join("."), place, message, "", []);
        }
    }

    fn partial(&mut self, partial: &DecoratorTemplate, place: Place<'_>) {
        for parameter in partial.params.iter().chain(partial.hash.values()) {
            self.parameter(parameter, place);
        }
        let scope = match place.scope {
            Scope::Variant(given) if partial.params.is_empty() => {
                Scope::Variant(given.iter().chain(partial.hash.keys()).cloned().collect())
            }
            _ => Scope::Item,
        };
        if let Some(body) = &partial.template {
            self.template(body, Place { scope: &scope, ..place });
        }
        match partial.name.as_name() {
            None => self.parameter(&partial.name, place),
            Some(name) if name == "@partial-block" || self.inline.contains(name) => {}
            // If the partial does not exist, the body of the block is rendered.
            Some(name) if partial.template.is_some() && self.library.partial(name).is_none() => {}
            Some(name) => self.included(name, &scope, place),
        }
    }

    fn included(&mut self, name: &str, scope: &Scope, place: Place<'_>) {
        let library = self.library;
        let Some((template, source)) = library.partial(name) else {
            let message = format!("unknown partial `{name}`");
            let label = "partials are files in `partials/`";
            return self.report(name, place, message, label, library.partials());
        };
        if self.stack.len() >= MAX_DEPTH {
            let message = format!("partials are nested more than {MAX_DEPTH} deep");
            return self.report(name, place, message, "the limit is reached here", []);
        }
        if self.visited > MAX_VISITED {
            let message = "the partials of this template are too large together";
            let label = format!("the limit of {MAX_VISITED} elements is reached here");
            return self.report(name, place, message.to_owned(), &label, []);
        }
        if self.stack.iter().any(|outer| outer == name) {
            let message = format!("the partial `{name}` includes itself");
            return self.report(name, place, message, "this would never end", []);
        }
        if self.checked.insert((name.to_owned(), scope.clone())) {
            self.stack.push(name.to_owned());
            self.template(template, Place { source, scope, begin: (1, 1) });
            self.stack.pop();
        }
    }

    fn report<'n>(
        &mut self,
        name: &str,
        place: Place<'_>,
        message: String,
        label: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) {
        let is_known = |found: &Found| found.name == name && found.source.path == place.source.path;
        if self.found.len() >= MAX_FOUND || self.found.iter().any(is_known) {
            return;
        }
        // A table and its entry can also be separated by `/`.
        let (text, table) = (&place.source.text, name.split('.').next().unwrap_or(name));
        let begin = offset(text, place.begin.0, place.begin.1);
        let start = find(text, name, begin).or_else(|| find(text, table, begin)).unwrap_or(begin);
        let diagnostic = Diagnostic::new(start..start + name.len(), message, label)
            .maybe_help(did_you_mean(name, known));
        let (source, name) = (place.source.clone(), name.to_owned());
        self.found.push(Found { source, start, name, diagnostic });
    }

    /// Returns the errors in the first file that has any: an error is about one file.
    fn error(mut self) -> Result<(), SourceError> {
        let Some(source) = self.found.first().map(|first| first.source.clone()) else {
            return Ok(());
        };
        self.found.retain(|found| found.source.path == source.path);
        self.found.sort_by_key(|found| found.start);
        let diagnostics = self.found.into_iter().map(|found| found.diagnostic).collect();
        Err(SourceError::new(&source, diagnostics))
    }
}

fn named(segment: &PathSeg) -> Option<&str> {
    match segment {
        PathSeg::Named(name) => Some(name),
        _ => None,
    }
}

/// Collects the names of `{{#*inline "name"}}`.
fn collect_inline(template: &Template, names: &mut HashSet<String>) {
    for element in &template.elements {
        if let TemplateElement::DecoratorBlock(block) = element
            && let Some(Parameter::Literal(Json::String(name))) = block.params.first()
        {
            names.insert(name.clone());
        }
        bodies(element).for_each(|template| collect_inline(template, names));
    }
}
