//! `[[alias]]`: aliases that a command in the image prints.

use super::checker::Checker;
use super::model::{Axis, Matrix, PrintedAlias, Variant};
use super::schema::PrintedAliasTable;

impl Checker<'_> {
    pub(super) fn printed_alias(
        &mut self,
        axes: &[Axis],
        table: &PrintedAliasTable,
    ) -> PrintedAlias {
        let when = table.when.as_ref().map(|when| self.conditions(axes, when)).unwrap_or_default();
        PrintedAlias { when, command: self.argument(&table.run, &table.run.span()) }
    }
}

impl Matrix {
    /// Returns the commands that print aliases of a variant, in file order. A mirrored image runs none, because it
    /// cannot have a label with their output.
    #[must_use]
    pub fn alias_commands(&self, variant: &Variant) -> Vec<String> {
        let aliases = self.printed_aliases.iter();
        let aliases = aliases.filter(|alias| alias.when.admits(&variant.values));
        aliases.map(|alias| alias.command.fill(|name| self.check_part(variant, name))).collect()
    }
}
