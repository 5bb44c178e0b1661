//! Aliases with the output of commands in the images (`[[alias]]`). They are complete once the image is built.

use std::collections::HashMap;

use super::{ImageNames, NameError};
use crate::image::{ReferenceError, Tag};
use crate::matrix::{Alias, OUTPUT, Pattern, Variant};

/// An alias of an image whose tag contains the output of a command in it.
#[derive(Debug, Clone)]
pub struct PrintedTag {
    /// The index of the command among those of the image.
    pub command: usize,
    /// The tag, with the output as `{{output}}`.
    pub pattern: Pattern,
    /// The values of the other placeholders.
    pub values: HashMap<String, String>,
}

impl PrintedTag {
    /// Returns the tag for an output of the command.
    pub fn tag(&self, output: &str) -> Result<Tag, ReferenceError> {
        self.fill(output).parse()
    }

    /// Returns the tag with a placeholder for the output.
    #[must_use]
    pub fn template(&self) -> String {
        self.fill(&format!("{{{{{OUTPUT}}}}}"))
    }

    fn fill(&self, output: &str) -> String {
        let filled = self.pattern.fill_joined(|name| match self.values.get(name) {
            Some(value) => value.as_str().into(),
            None => output.into(),
        });
        // A tag cannot begin with a dash.
        filled.trim_start_matches('-').to_owned()
    }
}

impl ImageNames<'_> {
    /// Returns those of a variant's `aliases` with the output of commands that the run moves. Each has the index of its
    /// command.
    pub(super) fn printed_tags(
        &self,
        variant: &Variant,
        aliases: &[(usize, &Alias)],
    ) -> Result<Vec<PrintedTag>, NameError> {
        let mut tags = Vec::new();
        for (command, alias) in aliases {
            let pattern = &alias.tag;
            if !alias.is_moved(self.request.is_custom) || !self.is_complete(alias) {
                continue;
            }
            self.check_version(variant, pattern)?;
            let names = pattern.names().map(|(name, _)| name).filter(|name| *name != OUTPUT);
            let value = |name: &str| (name.to_owned(), self.value(variant, name).into_owned());
            let tag = PrintedTag {
                command: *command,
                pattern: pattern.clone(),
                values: names.map(value).collect(),
            };
            if let Err(source) = tag.tag("0") {
                return Err(
                    self.invalid(variant, pattern, source, |text| text.parse::<Tag>().is_ok())
                );
            }
            tags.push(tag);
        }
        Ok(tags)
    }
}
