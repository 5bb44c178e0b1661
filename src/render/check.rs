//! Finds the names in a template that nothing defines, in branches that no variant takes too.

use std::collections::{BTreeSet, HashSet};

use handlebars::template::{DecoratorTemplate, HelperTemplate, Parameter, TemplateElement};
use handlebars::{Path, PathSeg, Template};
use serde_json::Value as Json;

use super::explain::offset;
use super::helpers::{HELPERS, is_helper};
use super::syntax::find;
use super::templates::Templates;
use crate::matrix::{Diagnostic, SourceError, SourceFile, nearest};

/// How deep partials include each other.
const MAX_WITHIN: usize = 50;

/// How many elements of templates are checked, again for each way that a partial is used.
const MAX_VISITED: usize = 50_000;

/// How many mistakes are shown.
const MAX_FOUND: usize = 100;

/// Checks every name, helper and partial that `template` uses, and the partials as it uses them.
pub(super) fn check(
    template: &Template,
    source: &SourceFile,
    templates: &Templates<'_>,
) -> Result<(), SourceError> {
    let mut inline = HashSet::new();
    let partials = templates.partials().filter_map(|name| templates.partial(name));
    for template in partials.map(|(template, _)| template).chain([template]) {
        collect_inline(template, &mut inline);
    }
    let (within, found) = (Vec::new(), Vec::new());
    let mut checker =
        Checker { templates, inline, checked: HashSet::new(), visited: 0, within, found };
    let scope = Scope::Variant(BTreeSet::new());
    checker.template(template, Place { source, scope: &scope, begin: (1, 1) });
    checker.error()
}

/// What names mean somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Scope {
    /// Axes and variables, and what a partial was given besides.
    Variant(BTreeSet<String>),
    /// The entries of some value, which rendering alone knows.
    Item,
}

/// Where in which file a name is used.
#[derive(Clone, Copy)]
struct Place<'a> {
    source: &'a SourceFile,
    scope: &'a Scope,
    /// The line and column where the tag begins, from 1.
    begin: (usize, usize),
}

/// A mistake: the file, where in it, and the name that nothing defines.
struct Found {
    source: SourceFile,
    start: usize,
    name: String,
    diagnostic: Diagnostic,
}

struct Checker<'a> {
    templates: &'a Templates<'a>,
    /// The partials that templates define within themselves.
    inline: HashSet<String>,
    /// The partials that were checked, and for which names.
    checked: HashSet<(String, Scope)>,
    /// How many elements of templates were checked, again for each way that a partial is used.
    visited: usize,
    /// The partials that the current place is in.
    within: Vec<String>,
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
            self.refuse(name, place, format!("there is no helper `{name}`"), "", HELPERS);
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
                // One that goes up, `../name`, begins with what is no name.
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

    /// Checks `table.entry`, its parts split.
    fn path(&mut self, path: &[&str], scope: &Scope, place: Place<'_>) {
        let Some((first, entries)) = path.split_first() else {
            return;
        };
        if matches!(scope, Scope::Variant(given) if given.contains(*first)) {
            return;
        }
        let known = self.templates.known();
        if !known.contains(first) {
            let message = format!("nothing is called `{first}`");
            self.refuse(
                first,
                place,
                message,
                "neither an axis nor a variable",
                known.iter().copied(),
            );
        } else if !entries.is_empty() && !self.templates.any_has(path) {
            let message = format!("no variant's `{first}` has `{}`", entries.join("."));
            self.refuse(&path.join("."), place, message, "", []);
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
            // Without the partial, the body of its block takes its place.
            Some(name) if partial.template.is_some() && self.templates.partial(name).is_none() => {}
            Some(name) => self.included(name, &scope, place),
        }
    }

    fn included(&mut self, name: &str, scope: &Scope, place: Place<'_>) {
        let templates = self.templates;
        let Some((template, source)) = templates.partial(name) else {
            let message = format!("there is no partial `{name}`");
            let label = "a partial is a file of `partials/`";
            return self.refuse(name, place, message, label, templates.partials());
        };
        if self.within.len() >= MAX_WITHIN {
            let message = format!("partials include each other more than {MAX_WITHIN} deep");
            return self.refuse(name, place, message, "the limit is reached here", []);
        }
        if self.visited > MAX_VISITED {
            let message = "partials are used in too many ways";
            let label = format!("more than {MAX_VISITED} parts of templates were checked before");
            return self.refuse(name, place, message.to_owned(), &label, []);
        }
        if self.within.iter().any(|outer| outer == name) {
            let message = format!("the partial `{name}` includes itself");
            return self.refuse(name, place, message, "without an end", []);
        }
        if self.checked.insert((name.to_owned(), scope.clone())) {
            self.within.push(name.to_owned());
            self.template(template, Place { source, scope, begin: (1, 1) });
            self.within.pop();
        }
    }

    fn refuse<'n>(
        &mut self,
        name: &str,
        place: Place<'_>,
        message: String,
        label: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) {
        let is_told = |found: &Found| found.name == name && found.source.path == place.source.path;
        if self.found.len() >= MAX_FOUND || self.found.iter().any(is_told) {
            return;
        }
        // Between a table and its entry may stand a `/` too.
        let (text, table) = (&place.source.text, name.split('.').next().unwrap_or(name));
        let begin = offset(text, place.begin.0, place.begin.1);
        let start = find(text, name, begin).or_else(|| find(text, table, begin)).unwrap_or(begin);
        let help = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
        let diagnostic = Diagnostic::new(start..start + name.len(), message, label);
        self.found.push(Found {
            source: place.source.clone(),
            start,
            name: name.to_owned(),
            diagnostic: diagnostic.maybe_help(help),
        });
    }

    /// What is wrong with the first file with mistakes: an error is about one file.
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

/// The names of `{{#*inline "name"}}`.
fn collect_inline(template: &Template, names: &mut HashSet<String>) {
    for element in &template.elements {
        match element {
            TemplateElement::DecoratorBlock(block) => {
                if let Some(Parameter::Literal(Json::String(name))) = block.params.first() {
                    names.insert(name.clone());
                }
                block.template.iter().for_each(|template| collect_inline(template, names));
            }
            TemplateElement::PartialBlock(block) => {
                block.template.iter().for_each(|template| collect_inline(template, names));
            }
            TemplateElement::HelperBlock(helper) => {
                let bodies = helper.template.iter().chain(&helper.inverse);
                bodies.for_each(|template| collect_inline(template, names));
            }
            _ => {}
        }
    }
}
