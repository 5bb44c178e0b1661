//! JSON, TOML and YAML files of other tools as one tree of [`Node`]s, each with its place. Start at [`read_data`].
//!
//! Scalars keep the text of the file: the version `3.10` is not the number 3.1.

mod json;
mod toml;
mod yaml;

pub(crate) use json::JsonEntries;

use std::collections::HashMap;
use std::path::Path;

use super::diagnostic::{Diagnostic, SourceError, SourceFile};
use super::spanned::Span;

/// How many levels of lists and tables may be nested.
const MAX_DEPTH: usize = 32;

/// The format of a data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Toml,
    Yaml,
}

impl Format {
    /// Returns the format of a file by the end of its name.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// `null`, `~`, or a key without a value.
    Null,
    /// A string.
    Text(String),
    /// The text of a number, a boolean or a date.
    Plain(String),
    List(Vec<Node>),
    /// In the order of the file.
    Table(Vec<(Key, Node)>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) span: Span,
}

impl Node {
    /// Returns the text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) | Content::Plain(text) => Some(text),
            _ => None,
        }
    }

    /// Returns true for null and for an empty text, list or table.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.content {
            Content::Null => true,
            Content::Text(text) | Content::Plain(text) => text.is_empty(),
            Content::List(list) => list.is_empty(),
            Content::Table(table) => table.is_empty(),
        }
    }

    pub(crate) fn is_true(&self) -> bool {
        self.text().is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// Returns the value at `key` of a table.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|(_, node)| node)
    }

    /// Returns the entries of a table.
    pub(crate) fn entries(&self) -> Option<&[(Key, Self)]> {
        match &self.content {
            Content::Table(entries) => Some(entries),
            _ => None,
        }
    }

    /// Returns the key called `name` of a table, and its value.
    pub(crate) fn entry(&self, name: &str) -> Option<(&Key, &Self)> {
        let found = self.entries()?.iter().find(|(key, _)| key.name == name);
        found.map(|(key, node)| (key, node))
    }
}

/// Reads a file. Duplicate keys are errors that show both.
pub(crate) fn read_data(source: &SourceFile, format: Format) -> Result<Node, SourceError> {
    let node = match format {
        Format::Json => json::read(source),
        Format::Toml => toml::read(source),
        Format::Yaml => yaml::read(source),
    }?;
    let mut duplicates = Vec::new();
    collect_duplicates(&node, &mut duplicates);
    if duplicates.is_empty() { Ok(node) } else { Err(SourceError::new(source, duplicates)) }
}

fn collect_duplicates(node: &Node, found: &mut Vec<Diagnostic>) {
    match &node.content {
        Content::Table(entries) => {
            let mut known: HashMap<&str, &Span> = HashMap::with_capacity(entries.len());
            for (Key { name, span }, value) in entries {
                match known.get(name.as_str()) {
                    Some(first) => found.push(duplicate(name, span.clone(), (*first).clone())),
                    None => drop(known.insert(name, span)),
                }
                collect_duplicates(value, found);
            }
        }
        Content::List(items) => items.iter().for_each(|item| collect_duplicates(item, found)),
        Content::Null | Content::Text(_) | Content::Plain(_) => {}
    }
}

fn duplicate(name: &str, second: Span, first: Span) -> Diagnostic {
    Diagnostic::new(second, format!("the key `{}` occurs twice", name.escape_debug()), "again here")
        .related(first, "first here")
        .help("remove one of the two")
}

fn refusal(source: &SourceFile, at: Span, what: impl Into<String>) -> SourceError {
    SourceError::new(source, vec![Diagnostic::new(at, what, "")])
}

fn too_deep() -> String {
    format!("lists and tables are nested more than {MAX_DEPTH} levels deep")
}

#[cfg(test)]
mod tests;
