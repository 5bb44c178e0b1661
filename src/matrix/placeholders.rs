//! The names that a [`Pattern`](super::Pattern) in the matrix file can contain.

use std::collections::BTreeSet;

use super::schema::{AxisEntry, MatrixFile, Variables};

/// What a pattern is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatternKind {
    /// A repository, a path, a label or a command. It must not change with the version.
    Image,
    Tag,
}

impl PatternKind {
    /// Returns the placeholders of this kind other than axes and variables.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Image => &["variant"],
            Self::Tag => &["variant", "version"],
        }
    }
}

/// The names of the axes and variables of a matrix file.
#[derive(Debug)]
pub(super) struct Placeholders<'a> {
    axes: Vec<&'a str>,
    variables: BTreeSet<&'a str>,
}

impl<'a> Placeholders<'a> {
    pub(super) fn new(file: &'a MatrixFile) -> Self {
        let axes = file.axes.keys().map(|name| name.as_str());
        let listed = file.axes.values().flat_map(|entries| entries.iter());
        let of_extras = file.extra.iter().flat_map(|extra| extra.axes.values());
        let of_values = listed.chain(of_extras).filter_map(|entry| match entry.get_ref() {
            AxisEntry::Table(table) => Some(&table.variables),
            AxisEntry::Plain(_) => None,
        });
        let variables = std::iter::once(&file.variables)
            .chain(of_values)
            .chain(file.set.iter().map(|set| &set.variables))
            .chain(file.extra.iter().map(|extra| &extra.variables));
        let variables = variables.flat_map(Variables::keys).map(|name| name.as_str());
        Self { axes: axes.collect(), variables: variables.collect() }
    }

    /// Returns the names that a pattern of this `kind` can contain.
    pub(super) fn known(&self, kind: PatternKind) -> Vec<&'a str> {
        let mut known = self.axes.clone();
        known.extend(kind.names());
        known.extend(&self.variables);
        known
    }
}
