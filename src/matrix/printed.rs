//! `[[alias]]`: aliases that a command in the image prints.

use indexmap::IndexSet;

use super::model::{Alias, Matrix, Variant};

impl Matrix {
    /// Returns the commands that print aliases of a variant, each once, in file order.
    #[must_use]
    pub fn alias_commands(&self, variant: &Variant) -> Vec<String> {
        let commands = self.printed_aliases(variant).map(|(command, _)| command);
        commands.collect::<IndexSet<_>>().into_iter().collect()
    }

    /// Returns the aliases that commands in the image of a variant print, with these commands, in file order. A mirrored
    /// image runs none, because it cannot have a label with their output.
    pub fn printed_aliases<'m>(
        &'m self,
        variant: &'m Variant,
    ) -> impl Iterator<Item = (String, &'m Alias)> {
        let printed = self.printed_aliases.iter();
        let printed = printed.filter(|printed| printed.alias.applies_to(variant));
        printed.map(|printed| {
            let command = printed.command.fill(|name| self.check_part(variant, name));
            (command, &printed.alias)
        })
    }
}
