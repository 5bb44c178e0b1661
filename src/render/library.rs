use std::collections::{BTreeSet, HashMap};

use handlebars::{Handlebars, Template};
use serde_json::Value as Json;

use crate::matrix::{Matrix, SourceFile};

/// The names that templates can use: axes, variables and partials.
#[derive(Debug)]
pub(super) struct Library<'a> {
    matrix: &'a Matrix,
    known: Vec<&'a str>,
    /// The compiled Dockerfile templates and partials.
    pub(super) handlebars: Handlebars<'static>,
    /// The files of the compiled templates, by name.
    pub(super) sources: HashMap<String, SourceFile>,
    /// The names of the partials.
    pub(super) partials: BTreeSet<String>,
}

impl<'a> Library<'a> {
    pub(super) fn new(matrix: &'a Matrix, handlebars: Handlebars<'static>) -> Self {
        let known = matrix.known_names();
        let (sources, partials) = (HashMap::new(), BTreeSet::new());
        Self { matrix, known, handlebars, sources, partials }
    }

    /// Returns the names of all axes and variables of the matrix.
    pub(super) fn known(&self) -> &[&str] {
        &self.known
    }

    /// Returns the names of the partials, sorted.
    pub(super) fn partials(&self) -> impl Iterator<Item = &str> {
        self.partials.iter().map(String::as_str)
    }

    /// Returns a partial and its file.
    pub(super) fn partial(&self, name: &str) -> Option<(&Template, &SourceFile)> {
        self.partials.get(name)?;
        Some((self.handlebars.get_template(name)?, self.sources.get(name)?))
    }

    /// Returns true if a variant has a value at `path`: a variable, its entry, and so on. This is slow, because it
    /// computes the variables of all variants; only entries, which are rare, need it.
    pub(super) fn any_has(&self, path: &[&str]) -> bool {
        self.matrix.variants.iter().any(|variant| {
            let variables = Json::from(self.matrix.variables(variant));
            path.iter().try_fold(&variables, |value, part| entry(value, part)).is_some()
        })
    }
}

fn entry<'a>(value: &'a Json, part: &str) -> Option<&'a Json> {
    match value {
        Json::Array(list) => list.get(part.parse::<usize>().ok()?),
        other => other.get(part),
    }
}
