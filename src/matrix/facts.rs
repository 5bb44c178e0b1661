//! Where the variables of a variant come from.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::model::{Matrix, Variant};

/// A variable of a variant, and the place that had the last word on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact<'a> {
    /// Its value.
    pub value: &'a Json,
    /// The place.
    pub source: FactSource<'a>,
}

/// A place that gives variables to variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactSource<'a> {
    /// `[variables]`, for all of them.
    Variables,
    /// A value of the axis of this name.
    Axis(&'a str),
    /// A `[[set]]`.
    Set {
        /// Its line in the matrix file.
        line: usize,
        /// The axes that its conditions are about.
        axes: Vec<&'a str>,
    },
    /// The variant's own `[[extra]]`.
    Extra {
        /// Its line in the matrix file.
        line: usize,
    },
}

impl FactSource<'_> {
    /// The axes that a variant has the variable by: none where every variant has it.
    #[must_use]
    pub fn axes(&self) -> Vec<&str> {
        match self {
            Self::Variables | Self::Extra { .. } => Vec::new(),
            Self::Axis(axis) => vec![axis],
            Self::Set { axes, .. } => axes.clone(),
        }
    }
}

impl Matrix {
    /// The variables of a variant by name: those of [`Matrix::variables`] that are no axes.
    #[must_use]
    pub fn facts<'a>(&'a self, variant: &'a Variant) -> BTreeMap<&'a str, Fact<'a>> {
        let mut facts = BTreeMap::new();
        add(&mut facts, &self.variables, &FactSource::Variables);
        for (axis, value) in self.axes.iter().zip(&variant.values) {
            add(&mut facts, &axis.values[*value].variables, &FactSource::Axis(&axis.name));
        }
        for set in self.sets.iter().filter(|set| set.when.admits(&variant.values)) {
            let axes = set.when.conditions.iter().map(|(axis, ..)| self.axes[*axis].name.as_str());
            let source = FactSource::Set { line: set.line, axes: axes.collect() };
            add(&mut facts, &set.variables, &source);
        }
        if let Some(extra) = &variant.extra {
            add(&mut facts, &extra.variables, &FactSource::Extra { line: extra.line });
        }
        facts
    }
}

fn add<'a>(
    facts: &mut BTreeMap<&'a str, Fact<'a>>,
    variables: &'a Map<String, Json>,
    source: &FactSource<'a>,
) {
    for (name, value) in variables {
        facts.insert(name, Fact { value, source: source.clone() });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::matrix::parse;

    #[test]
    fn the_last_word_has_a_place() {
        let text = r#"[image]
repository = "a"
dockerfile = "d"
platforms = ["linux/amd64"]
[variables]
one = "everywhere"
two = "everywhere"
[axes]
python = ["3.9"]
gpu = [false, { value = true, variables = { cuda = "12.6", driver = "12.0" } }]
[[set]]
when = { gpu = true, python = ">=3.9" }
variables = { cuda = "12.8", one = "set" }
[[extra]]
axes = { python = "3.14", gpu = true }
variables = { cuda = "13.0" }
"#;
        let matrix = parse(Path::new("matrix.toml"), text).expect("a matrix");
        let told: Vec<String> = matrix
            .variants
            .iter()
            .flat_map(|variant| {
                let facts = matrix.facts(variant).into_iter();
                let told = facts.map(|(name, fact)| {
                    format!("{} {name} {} {:?}", variant.id, fact.value, fact.source)
                });
                told.collect::<Vec<_>>()
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        3.9 one "everywhere" Variables
        3.9 two "everywhere" Variables
        3.9-gpu cuda "12.8" Set { line: 11, axes: ["gpu", "python"] }
        3.9-gpu driver "12.0" Axis("gpu")
        3.9-gpu one "set" Set { line: 11, axes: ["gpu", "python"] }
        3.9-gpu two "everywhere" Variables
        3.14-gpu cuda "13.0" Extra { line: 14 }
        3.14-gpu driver "12.0" Axis("gpu")
        3.14-gpu one "set" Set { line: 11, axes: ["gpu", "python"] }
        3.14-gpu two "everywhere" Variables
        "#);
        for variant in &matrix.variants {
            let variables = matrix.variables(variant);
            let facts = matrix.facts(variant);
            assert!(facts.iter().all(|(name, fact)| variables[*name] == *fact.value));
            assert_eq!(variables.len(), facts.len() + matrix.axes.len());
        }
    }
}
