//! The variables and settings of a variant, and the tables that they come from.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value as Json;

use super::content_settings::ContentSettings;
use super::model::{Axis, ExtraRow, Matrix, Set, Variant};
use super::settings::Settings;
use super::spanned::Span;

/// The value of a variable and the source that sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact<'a> {
    pub value: &'a Json,
    pub source: FactSource<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactSource<'a> {
    /// The table `[variables]` of the matrix file, or `[image]` for a setting.
    Base,
    /// A value of the axis with this name.
    Axis(&'a str),
    /// A `[[set]]` at a line of the matrix file, with conditions on `axes`.
    Set { line: usize, axes: Vec<&'a str> },
    /// An `[[extra]]` at a line of the matrix file.
    Extra { line: usize },
    /// A line of a file that `from` names, in a table for values of `axes`.
    File { path: &'a Path, line: usize, axes: Vec<&'a str> },
}

impl<'a> FactSource<'a> {
    /// Returns the axes on which the variable depends. Empty if all variants have it.
    #[must_use]
    pub fn axes(&self) -> Vec<&'a str> {
        match self {
            Self::Base | Self::Extra { .. } => Vec::new(),
            Self::Axis(axis) => vec![axis],
            Self::Set { axes, .. } | Self::File { axes, .. } => axes.clone(),
        }
    }
}

/// The settings of a variant: those of all tables that apply to it, from `[image]` over the values of its axes and `[[set]]`
/// to `[[extra]]`. A later table overrides the settings of an earlier one.
#[derive(Debug, Clone, Copy)]
pub struct VariantSettings<'a> {
    matrix: &'a Matrix,
    variant: &'a Variant,
}

#[derive(Debug, Clone, Copy)]
enum Table<'a> {
    Base(&'a Settings),
    Axis(&'a Axis, &'a Settings),
    Set(&'a Set),
    Extra(&'a ExtraRow),
}

impl<'a> Table<'a> {
    fn settings(self) -> &'a Settings {
        match self {
            Self::Base(settings) | Self::Axis(_, settings) => settings,
            Self::Set(set) => &set.settings,
            Self::Extra(extra) => &extra.settings,
        }
    }

    fn source(self, matrix: &'a Matrix) -> FactSource<'a> {
        match self {
            Self::Base(_) => FactSource::Base,
            Self::Axis(axis, _) => FactSource::Axis(&axis.name),
            Self::Set(set) => {
                let axes = set.when.axes().into_iter();
                let axes = axes.map(|axis| matrix.axes[axis].name.as_str()).collect();
                FactSource::Set { line: set.line, axes }
            }
            Self::Extra(extra) => FactSource::Extra { line: extra.line },
        }
    }
}

impl<'a> VariantSettings<'a> {
    fn tables(self) -> impl DoubleEndedIterator<Item = Table<'a>> {
        let Self { matrix, variant } = self;
        let axes = matrix.axes.iter().zip(&variant.values);
        let of_axes = axes.map(|(axis, at)| Table::Axis(axis, &axis.values[*at].settings));
        let sets = matrix.sets.iter().filter(|set| set.when.admits(&variant.values));
        std::iter::once(Table::Base(&matrix.base))
            .chain(of_axes.filter(|table| !table.settings().is_empty()))
            .chain(sets.map(Table::Set))
            .chain(variant.extra.as_deref().map(Table::Extra))
    }

    /// Returns the settings of each table.
    pub(super) fn of_tables(self) -> impl DoubleEndedIterator<Item = &'a Settings> {
        self.tables().map(Table::settings)
    }

    /// Returns a setting of the last table that has it.
    pub fn last<T: ?Sized>(self, setting: impl Fn(&'a Settings) -> Option<&'a T>) -> Option<&'a T> {
        self.of_tables().rev().find_map(setting)
    }

    /// Merges the tables of a setting key by key. The last table with a key wins.
    pub fn merged<T>(
        self,
        setting: impl Fn(&'a Settings) -> &'a BTreeMap<String, T>,
    ) -> BTreeMap<&'a str, &'a T> {
        self.of_tables().flat_map(setting).map(|(key, value)| (key.as_str(), value)).collect()
    }
}

impl Matrix {
    /// Returns the settings of a variant.
    #[must_use]
    pub fn settings<'a>(&'a self, variant: &'a Variant) -> VariantSettings<'a> {
        VariantSettings { matrix: self, variant }
    }

    /// Returns the keys of all settings in the matrix file.
    pub fn all_written_settings(&self) -> impl Iterator<Item = &'static str> {
        self.all_settings().flat_map(|settings| settings.written.iter().map(|(key, _)| *key))
    }

    /// Returns the keys in all tables of a variant's settings, with the locations of their values.
    pub fn written_settings<'a>(
        &'a self,
        variant: &'a Variant,
    ) -> impl Iterator<Item = (&'static str, Span)> {
        self.settings(variant).of_tables().flat_map(|settings| &settings.written).cloned()
    }

    /// Returns the keys of a variant's settings that another table than `[image]` has, the last table that has each, and
    /// the location of the value.
    #[must_use]
    pub fn overrides<'a>(
        &'a self,
        variant: &'a Variant,
    ) -> BTreeMap<&'static str, (FactSource<'a>, Span)> {
        let tables = self.settings(variant).tables();
        let tables = tables.filter(|table| !matches!(table, Table::Base(_)));
        let keys = tables.flat_map(|table| {
            let source = table.source(self);
            let keys = table.settings().written.iter();
            keys.map(move |(key, span)| (*key, (source.clone(), span.clone())))
        });
        keys.collect()
    }

    /// Returns the variables of a variant by name, without its axes. Later sources override earlier
    /// ones: `[variables]`, axis values, `[[set]]`, `[[extra]]`. In each table, those of its files come last.
    #[must_use]
    pub fn facts<'a>(&'a self, variant: &'a Variant) -> BTreeMap<&'a str, Fact<'a>> {
        let mut facts = BTreeMap::new();
        for table in self.settings(variant).tables() {
            let (source, variables) = (table.source(self), &table.settings().variables);
            for (name, value) in &variables.own {
                facts.insert(name.as_str(), Fact { value, source: source.clone() });
            }
            for (file, name, found) in variables.of_files(|name| self.check_part(variant, name)) {
                let mut axes = source.axes();
                axes.extend(file.axes());
                let source = FactSource::File { path: file.path(), line: found.line, axes };
                facts.insert(name, Fact { value: &found.value, source });
            }
        }
        facts
    }

    /// Returns the contents in each table of a variant, with the table.
    pub(super) fn content_tables<'a>(
        &'a self,
        variant: &'a Variant,
    ) -> Vec<(FactSource<'a>, &'a ContentSettings)> {
        let tables = self.settings(variant).tables();
        tables.map(|table| (table.source(self), &table.settings().contents)).collect()
    }

    /// Returns the value of one variable of a variant, or of an entry of a table: `name.entry`.
    #[must_use]
    pub fn variable<'a>(&'a self, variant: &'a Variant, name: &str) -> Option<&'a Json> {
        let mut path = name.split('.');
        let name = path.next().unwrap_or_default();
        let part = |name: &str| self.check_part(variant, name);
        let value = self.settings(variant).last(|settings| settings.variables.get(name, part))?;
        path.try_fold(value, |table, entry| table.as_object()?.get(entry))
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
when = [{ gpu = true, python = "3.9" }, { python = "3.14", gpu = true }]
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
        3.9 one "everywhere" Base
        3.9 two "everywhere" Base
        3.9-gpu cuda "12.8" Set { line: 11, axes: ["gpu", "python"] }
        3.9-gpu driver "12.0" Axis("gpu")
        3.9-gpu one "set" Set { line: 11, axes: ["gpu", "python"] }
        3.9-gpu two "everywhere" Base
        3.14-gpu cuda "13.0" Extra { line: 14 }
        3.14-gpu driver "12.0" Axis("gpu")
        3.14-gpu one "set" Set { line: 11, axes: ["gpu", "python"] }
        3.14-gpu two "everywhere" Base
        "#);
        for variant in &matrix.variants {
            let variables = matrix.variables(variant);
            let facts = matrix.facts(variant);
            assert!(facts.iter().all(|(name, fact)| variables[*name] == *fact.value));
            assert_eq!(variables.len(), facts.len() + matrix.axes.len());
        }
    }
}
