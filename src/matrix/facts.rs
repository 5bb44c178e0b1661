//! The variables of a variant and their sources.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::model::{Matrix, Variant};

/// The value of a variable and the source that sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact<'a> {
    pub value: &'a Json,
    pub source: FactSource<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactSource<'a> {
    /// The table `[variables]` of the matrix file.
    Variables,
    /// A value of the axis with this name.
    Axis(&'a str),
    /// A `[[set]]` at a line of the matrix file, with conditions on `axes`.
    Set { line: usize, axes: Vec<&'a str> },
    /// An `[[extra]]` at a line of the matrix file.
    Extra { line: usize },
}

impl FactSource<'_> {
    /// Returns the axes on which the variable depends. Empty if all variants have it.
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
    /// Returns the variables of a variant by name, without its axes. Later sources override earlier
    /// ones: `[variables]`, axis values, `[[set]]`, `[[extra]]`.
    #[must_use]
    pub fn facts<'a>(&'a self, variant: &'a Variant) -> BTreeMap<&'a str, Fact<'a>> {
        let mut facts = BTreeMap::new();
        let mut add = |variables: &'a Map<String, Json>, source: FactSource<'a>| {
            for (name, value) in variables {
                facts.insert(name.as_str(), Fact { value, source: source.clone() });
            }
        };
        add(&self.variables, FactSource::Variables);
        for (axis, value) in self.axes.iter().zip(&variant.values) {
            add(&axis.values[*value].variables, FactSource::Axis(&axis.name));
        }
        for set in self.sets.iter().filter(|set| set.when.admits(&variant.values)) {
            let axes = set.when.conditions.iter().map(|(axis, _)| self.axes[*axis].name.as_str());
            add(&set.variables, FactSource::Set { line: set.line, axes: axes.collect() });
        }
        if let Some(extra) = &variant.extra {
            add(&extra.variables, FactSource::Extra { line: extra.line });
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::matrix::parse;

    #[test]
    fn later_sources_override_earlier_ones() {
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
        let facts: Vec<String> = matrix
            .variants
            .iter()
            .flat_map(|variant| {
                let facts = matrix.facts(variant).into_iter();
                let lines = facts.map(|(name, fact)| {
                    format!("{} {name} {} {:?}", variant.id, fact.value, fact.source)
                });
                lines.collect::<Vec<_>>()
            })
            .collect();
        insta::assert_snapshot!(facts.join("\n"), @r#"
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
