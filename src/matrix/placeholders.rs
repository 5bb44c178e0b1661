//! The names that a [`Pattern`](super::Pattern) in the matrix file can contain.

use std::collections::BTreeSet;

/// The use of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatternKind {
    /// A repository, a path, a label or a command. It must not change with the version.
    Image,
    /// A key of a file with variables.
    Key,
    /// The tag of a version, which never moves.
    Tag,
    /// A tag that moves, or that is for one run.
    Alias,
    /// A tag that moves, with the output of a command in the image.
    PrintedAlias,
}

/// The placeholder of the output of a command in the image.
pub const OUTPUT: &str = "output";

/// The placeholder of the version of a release. A variable of this name, from a file, is one of templates only.
pub(super) const VERSION: &str = "version";

/// The placeholders that depend on the run.
pub(super) const OF_RUN: [&str; 6] =
    [VERSION, "major", "minor", "git.sha", "git.short_sha", "date"];

/// Returns the axis whose tag part `name` is: `gpu` for `gpu.tag`.
pub(super) fn axis_of_tag(name: &str) -> Option<&str> {
    name.strip_suffix(".tag")
}

impl PatternKind {
    /// Returns the placeholders of this kind other than axes and variables.
    fn names(self) -> impl Iterator<Item = &'static str> {
        let of_run = match self {
            Self::Image | Self::Key => &[][..],
            Self::Tag => &OF_RUN[..1],
            Self::Alias | Self::PrintedAlias => &OF_RUN,
        };
        let variant = (self != Self::Key).then_some("variant");
        let output = (self == Self::PrintedAlias).then_some(OUTPUT);
        variant.into_iter().chain(output).chain(of_run.iter().copied())
    }
}

/// The names of the axes and variables of a matrix file.
#[derive(Debug)]
pub(super) struct Placeholders<'a> {
    pub(super) axes: Vec<&'a str>,
    variables: BTreeSet<&'a str>,
}

impl<'a> Placeholders<'a> {
    pub(super) fn new(
        axes: impl Iterator<Item = &'a str>,
        variables: impl Iterator<Item = &'a str>,
    ) -> Self {
        let variables = variables.filter(|name| *name != VERSION);
        Self { axes: axes.collect(), variables: variables.collect() }
    }

    /// Returns true if a pattern of this `kind` can contain `name`: one of [`known`](Self::known), the tag part of an axis, or
    /// an entry of a variable.
    pub(super) fn knows(&self, kind: PatternKind, name: &str) -> bool {
        let table = name.split_once('.').map(|(table, _)| table);
        let is_entry = table.is_some_and(|table| self.variables.contains(table));
        let is_tag = axis_of_tag(name).is_some_and(|axis| self.axes.contains(&axis));
        ((is_entry || is_tag) && kind != PatternKind::Key) || self.known(kind).contains(&name)
    }

    /// Returns the names that a pattern of this `kind` can contain.
    pub(super) fn known(&self, kind: PatternKind) -> Vec<&'a str> {
        let of_kind = kind.names().map(|name| -> &'a str { name });
        let variables = self.variables.iter().copied().filter(|_| kind != PatternKind::Key);
        self.axes.iter().copied().chain(of_kind).chain(variables).collect()
    }
}
