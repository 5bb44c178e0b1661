//! YAML and TOML as one tree of [`Node`]s, each with its line.
//!
//! Scalars keep the text of the file: the version `3.10` is not the number 3.1.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Location;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::matrix::{Diagnostic, SourceError, SourceFile};

/// How many levels of lists and tables may be nested.
const MAX_DEPTH: usize = 32;

/// How many nodes a YAML file may have. Its size is limited too.
const MAX_NODES: usize = 1 << 20;

/// A value and its line, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `null`, `~`, or a key without a value.
    Null,
    /// The text of a string, a number or a boolean.
    Scalar(String),
    List(Vec<Node>),
    /// In the order of the file.
    Table(Vec<(Key, Node)>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) line: usize,
}

impl Node {
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the value at `key` of a table.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Table(entries) = &self.value else { return None };
        entries.iter().find(|(found, _)| found.name == key).map(|(_, node)| node)
    }

    pub(super) fn is_true(&self) -> bool {
        self.text().is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// Returns true for null and for an empty text, list or table.
    pub(super) fn is_empty(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Scalar(text) => text.is_empty(),
            Value::List(list) => list.is_empty(),
            Value::Table(table) => table.is_empty(),
        }
    }
}

/// Reads YAML of one document. Aliases are refused, because a few of them can expand to a document of any size.
pub(super) fn yaml(path: &Path, text: &str) -> Result<Node, SourceError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH, max_aliases: 0, max_nodes: MAX_NODES, max_events: 2 * MAX_NODES,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        with_snippet: false,
    };
    let document =
        serde_saphyr::from_str_with_options::<serde_saphyr::Spanned<Yaml>>(text, options);
    let document = document.map_err(|error| {
        let mut begin = error.location().map_or(0, |location| offset(text, location));
        if let serde_saphyr::Error::MultipleDocuments { .. } = error {
            // The location is that of the first value.
            begin = text[..begin].rfind("\n---").map_or(begin, |end| end + 1);
        }
        refusal(&SourceFile::new(path, text), begin..begin + 1, describe(&error))
    })?;
    Ok(yaml_node(text, document))
}

enum Yaml {
    Null,
    Text(String),
    /// A number or a boolean, whose text is in the source.
    Plain,
    List(Vec<serde_saphyr::Spanned<Self>>),
    Table(Vec<(serde_saphyr::Spanned<String>, serde_saphyr::Spanned<Self>)>),
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

fn yaml_node(text: &str, yaml: serde_saphyr::Spanned<Yaml>) -> Node {
    let value = match yaml.value {
        Yaml::Null => Value::Null,
        Yaml::Text(text) => Value::Scalar(text),
        Yaml::Plain => {
            let span = yaml.defined.span();
            let bytes = span.byte_offset().zip(span.byte_len());
            let range = bytes.map_or(0..0, |(begin, length)| index(begin)..index(begin + length));
            Value::Scalar(text.get(range).unwrap_or_default().to_owned())
        }
        Yaml::List(items) => {
            Value::List(items.into_iter().map(|item| yaml_node(text, item)).collect())
        }
        Yaml::Table(entries) => {
            let entries = entries.into_iter().map(|(key, value)| {
                let key = Key { name: key.value, line: index(key.defined.line()) };
                (key, yaml_node(text, value))
            });
            Value::Table(entries.collect())
        }
    };
    Node { line: index(yaml.defined.line()), value }
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

/// Describes an error of the YAML parser without its location.
fn describe(error: &serde_saphyr::Error) -> String {
    match error {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("duplicate key `{}`", key.escape_debug())
        }
        serde_saphyr::Error::MultipleDocuments { .. } => "a second document begins here".to_owned(),
        serde_saphyr::Error::Budget { breach: BudgetBreach::Aliases { .. }, .. } => {
            "aliases are not supported; write the value out".to_owned()
        }
        serde_saphyr::Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => {
            format!("lists and tables are nested more than {MAX_DEPTH} levels deep")
        }
        error => {
            let text = error.to_string();
            text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text).to_owned()
        }
    }
}

pub(super) fn toml(path: &Path, text: &str) -> Result<Node, SourceError> {
    let source = SourceFile::new(path, text);
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().unwrap_or(0..1);
        refusal(&source, at, error.message().to_owned())
    })?;
    Ok(Node { line: 1, value: Value::Table(entries(&source, table.get_ref())) })
}

fn entries(source: &SourceFile, table: &DeTable<'_>) -> Vec<(Key, Node)> {
    let mut entries: Vec<(usize, Key, Node)> = Vec::new();
    for (key, value) in table {
        let begin = key.span().start;
        let line = source.line(begin);
        let key = Key { name: key.get_ref().to_string(), line };
        entries.push((begin, key, node(source, value)));
    }
    entries.sort_by_key(|(begin, ..)| *begin);
    entries.into_iter().map(|(_, key, node)| (key, node)).collect()
}

fn node(source: &SourceFile, value: &Spanned<DeValue<'_>>) -> Node {
    let line = source.line(value.span().start);
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Scalar(text.to_string()),
        DeValue::Integer(number) => Value::Scalar(number.as_str().to_owned()),
        DeValue::Float(number) => Value::Scalar(number.as_str().to_owned()),
        DeValue::Boolean(switch) => Value::Scalar(switch.to_string()),
        DeValue::Datetime(time) => Value::Scalar(time.to_string()),
        DeValue::Array(list) => Value::List(list.iter().map(|item| node(source, item)).collect()),
        DeValue::Table(table) => Value::Table(entries(source, table)),
    };
    Node { line, value }
}

fn refusal(source: &SourceFile, at: Range<usize>, what: String) -> SourceError {
    SourceError::new(source, vec![Diagnostic::new(at, what, "")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_text() {
        let yaml = yaml(Path::new("c.yaml"), "# c\na: 3.10\nb: [x, {c: '1'}]\nd:\n").expect("YAML");
        let toml =
            toml(Path::new("c.toml"), "# c\na = 3.10\nb = [\"x\", {c = \"1\"}]\n").expect("TOML");
        let (Value::Table(yaml), Value::Table(toml)) = (yaml.value, toml.value) else {
            panic!("tables");
        };
        assert_eq!((yaml[0].1.text(), yaml[0].0.line), (Some("3.10"), 2));
        assert_eq!(
            yaml[..2].iter().map(|(key, _)| key).collect::<Vec<_>>(),
            toml.iter().map(|(key, _)| key).collect::<Vec<_>>()
        );
        assert_eq!(yaml[1].1.value, toml[1].1.value);
        assert_eq!(yaml[2].1.value, Value::Null);
    }

    #[test]
    fn invalid_yaml_is_refused_at_its_line() {
        for (text, line) in [
            ("a: 1\nb: [\n", 2),
            ("a: &x 1\nb: *x\n", 2),
            ("a: 1\na: 2\n", 2),
            ("a: 1\n---\nb: 2\n", 2),
            ("? [a]\n: b\n", 1),
        ] {
            let error = yaml(Path::new("c.yaml"), text).expect_err(text).to_string();
            assert!(error.contains(&format!("c.yaml:{line}:")), "{text:?}: {error}");
        }
        let deep = "[".repeat(10_000);
        assert!(yaml(Path::new("c.yaml"), &deep).is_err());
    }

    #[test]
    fn large_files_are_read_in_linear_time() {
        use std::fmt::Write as _;

        let (mut as_yaml, mut as_toml) = (String::new(), String::new());
        for number in 0..60_000 {
            writeln!(as_yaml, "k{number}: ä").expect("memory");
            writeln!(as_toml, "k{number} = \"ä\"").expect("memory");
        }
        // Quadratic time would be minutes.
        let begin = std::time::Instant::now();
        let yaml = yaml(Path::new("c.yaml"), &as_yaml).expect("YAML");
        let toml = toml(Path::new("c.toml"), &as_toml).expect("TOML");
        assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
        for node in [yaml, toml] {
            let Value::Table(table) = node.value else { panic!("a table") };
            assert_eq!(table.last().map(|(key, _)| key.line), Some(60_000));
        }
    }
}
