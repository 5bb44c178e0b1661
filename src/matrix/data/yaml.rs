use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Location, Spanned};

use super::{Content, Key, MAX_DEPTH, Node, refusal, too_deep};
use crate::matrix::diagnostic::{SourceError, SourceFile};
use crate::matrix::spanned::Span;

/// How many nodes a file may have. Its size is limited too.
const MAX_NODES: usize = 1 << 20;

/// Reads one document. Aliases are refused, because a few of them can expand to a document of any size.
pub(super) fn read(source: &SourceFile) -> Result<Node, SourceError> {
    let text = &*source.text;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH, max_aliases: 0, max_nodes: MAX_NODES, max_events: 2 * MAX_NODES,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        with_snippet: false,
    };
    let document = serde_saphyr::from_str_with_options::<Spanned<Yaml>>(text, options);
    let document = document.map_err(|error| {
        let mut begin = error.location().map_or(0, |location| offset(text, location));
        if let serde_saphyr::Error::MultipleDocuments { .. } = error {
            // The location is that of the first value.
            begin = text[..begin].rfind("\n---").map_or(begin, |end| end + 1);
        }
        refusal(source, begin..begin + 1, describe(&error))
    })?;
    Ok(node(text, document))
}

enum Yaml {
    Null,
    Text(String),
    /// A number or a boolean, whose text is in the source.
    Plain,
    List(Vec<Spanned<Self>>),
    Table(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = Yaml;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Yaml, E> {
        Ok(Yaml::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Yaml, E> {
        Ok(Yaml::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Yaml, E> {
        Ok(Yaml::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Yaml, E> {
        Ok(Yaml::Plain)
    }

    fn visit_str<E>(self, text: &str) -> Result<Yaml, E> {
        Ok(Yaml::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Yaml, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Yaml::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Yaml, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = table.next_entry()? {
            entries.push(entry);
        }
        Ok(Yaml::Table(entries))
    }
}

fn node(text: &str, yaml: Spanned<Yaml>) -> Node {
    let span = span(text, yaml.defined);
    let content = match yaml.value {
        Yaml::Null => Content::Null,
        Yaml::Text(text) => Content::Text(text),
        Yaml::Plain => Content::Plain(text.get(span.clone()).unwrap_or_default().to_owned()),
        Yaml::List(items) => {
            Content::List(items.into_iter().map(|item| node(text, item)).collect())
        }
        Yaml::Table(entries) => {
            let entries = entries.into_iter().map(|(key, value)| {
                let span = self::span(text, key.defined);
                (Key { name: key.value, span }, node(text, value))
            });
            Content::Table(entries.collect())
        }
    };
    Node { span, content }
}

fn span(text: &str, location: Location) -> Span {
    let span = location.span();
    if let Some((begin, length)) = span.byte_offset().zip(span.byte_len()) {
        return index(begin)..index(begin + length);
    }
    let begin = offset(text, location);
    begin..begin
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Returns the byte of `text` at a location. Some errors of the parser only have a line and a column.
fn offset(text: &str, location: Location) -> usize {
    let (line, column) = (index(location.line()), index(location.column()));
    let begin: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut characters = text[begin..].char_indices();
    characters.nth(column.saturating_sub(1)).map_or(text.len(), |(at, _)| begin + at)
}

/// Describes an error of the parser without its location.
fn describe(error: &serde_saphyr::Error) -> String {
    match error {
        serde_saphyr::Error::MultipleDocuments { .. } => "a second document begins here".to_owned(),
        serde_saphyr::Error::Budget { breach: BudgetBreach::Aliases { .. }, .. } => {
            "aliases are not supported; write the value out".to_owned()
        }
        serde_saphyr::Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => too_deep(),
        error => {
            let text = error.to_string();
            text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text).to_owned()
        }
    }
}
