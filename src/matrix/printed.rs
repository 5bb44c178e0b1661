//! `[[alias]]`: aliases that a command in the image prints.

use indexmap::IndexSet;

use super::model::{Alias, Matrix, Variant};

/// The aliases of a variant that commands in its image print.
#[derive(Debug, Default)]
pub struct PrintedAliases<'m> {
    /// The commands, each once, in file order.
    pub commands: IndexSet<String>,
    /// The indices of the commands and the aliases that have their output, in file order.
    pub aliases: Vec<(usize, &'m Alias)>,
}

impl Matrix {
    /// Returns the aliases of a variant that commands print. A mirrored image has none, because it cannot have a label with
    /// the output.
    #[must_use]
    pub fn printed_aliases(&self, variant: &Variant) -> PrintedAliases<'_> {
        let mut printed = PrintedAliases::default();
        if self.mirror(variant).is_some() {
            return printed;
        }
        for rule in self.printed_aliases.iter().filter(|rule| rule.alias.applies_to(variant)) {
            let command = rule.command.fill(|name| self.check_part(variant, name));
            let (index, _) = printed.commands.insert_full(command);
            printed.aliases.push((index, &rule.alias));
        }
        printed
    }
}
