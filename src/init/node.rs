//! YAML and TOML as one tree that knows the line of everything in it.
//!
//! Scalars stay the texts that they are written as: a version `3.10` is no number.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use saphyr_parser::{Event, Parser, ScalarStyle};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::matrix::{Diagnostic, SourceError, SourceFile};

/// How deep tables and lists may lie in each other.
const MAX_DEPTH: usize = 32;

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// From 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing: `null`, `~`, or a key without a value.
    Null,
    /// A text, a number or a switch, as it is written.
    Scalar(String),
    List(Vec<Node>),
    /// In the order of the file.
    Table(Vec<(Key, Node)>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: String,
    /// From 1.
    pub(super) line: usize,
}

impl Node {
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_true(&self) -> bool {
        self.text().is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// Whether it says nothing: no value, an empty text, list or table.
    pub(super) fn is_empty(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Scalar(text) => text.is_empty(),
            Value::List(list) => list.is_empty(),
            Value::Table(table) => table.is_empty(),
        }
    }
}

/// Reads YAML of one document.
pub(super) fn yaml(path: &Path, text: &str) -> Result<Node, SourceError> {
    let source = SourceFile::new(path, text);
    let mut builder = Builder { source: &source, open: Vec::new(), root: None };
    let mut documents = 0;
    // The parser counts characters.
    let offsets: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let byte = |index: usize| offsets.get(index).copied().unwrap_or(text.len());
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let at = byte(error.marker().index());
            refusal(&source, at..at + 1, error.info().to_owned())
        })?;
        let begin = byte(span.start.index());
        let at = begin..byte(span.end.index()).max(begin + 1);
        let line = span.start.line();
        match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return Err(refusal(&source, at, "a second document begins here".to_owned()));
                }
            }
            Event::Alias(_) => {
                let what = "aliases are not understood; write the value out".to_owned();
                return Err(refusal(&source, at, what));
            }
            Event::Scalar(text, style, ..) => {
                let is_plain = style == ScalarStyle::Plain;
                let is_null = is_plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if is_null { Value::Null } else { Value::Scalar(text.into_owned()) };
                builder.add(Node { line, value }, &at)?;
            }
            Event::SequenceStart(..) => builder.open(line, Value::List(Vec::new()), &at)?,
            Event::MappingStart(..) => builder.open(line, Value::Table(Vec::new()), &at)?,
            Event::SequenceEnd | Event::MappingEnd => builder.close(&at)?,
            _ => {}
        }
    }
    Ok(builder.root.unwrap_or(Node { line: 1, value: Value::Null }))
}

/// What YAML's events make, from the outside in.
struct Builder<'a> {
    source: &'a SourceFile,
    /// The lists and tables that have not ended.
    open: Vec<Open>,
    root: Option<Node>,
}

/// A list or a table that has not ended.
struct Open {
    node: Node,
    /// The key that waits for its value.
    waiting: Option<Key>,
    /// The keys so far.
    names: HashSet<String>,
}

impl Builder<'_> {
    fn open(&mut self, line: usize, value: Value, at: &Range<usize>) -> Result<(), SourceError> {
        if self.open.len() >= MAX_DEPTH {
            let what = format!("more than {MAX_DEPTH} lists and tables lie in each other");
            return Err(refusal(self.source, at.clone(), what));
        }
        let node = Node { line, value };
        self.open.push(Open { node, waiting: None, names: HashSet::new() });
        Ok(())
    }

    fn close(&mut self, at: &Range<usize>) -> Result<(), SourceError> {
        let Open { node, .. } = self.open.pop().expect("what ends has begun");
        self.add(node, at)
    }

    fn add(&mut self, node: Node, at: &Range<usize>) -> Result<(), SourceError> {
        let Some(Open { node: parent, waiting, names }) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut parent.value, waiting.take()) {
            (Value::List(list), _) => list.push(node),
            (Value::Table(table), Some(key)) => table.push((key, node)),
            (Value::Table(_), None) => {
                let Some(name) = node.text() else {
                    let what = "a key is a text".to_owned();
                    return Err(refusal(self.source, at.clone(), what));
                };
                if !names.insert(name.to_owned()) {
                    let what = format!("`{name}` is there twice");
                    return Err(refusal(self.source, at.clone(), what));
                }
                *waiting = Some(Key { name: name.to_owned(), line: node.line });
            }
            (Value::Null | Value::Scalar(_), _) => unreachable!("nothing lies in a scalar"),
        }
        Ok(())
    }
}

/// Reads TOML.
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
    fn numbers_stay_as_they_are_written() {
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
    fn what_is_no_tree_is_refused_where_it_stands() {
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
    fn a_large_file_is_read_in_a_moment() {
        use std::fmt::Write as _;

        let (mut as_yaml, mut as_toml) = (String::new(), String::new());
        for number in 0..60_000 {
            writeln!(as_yaml, "k{number}: ä").expect("memory");
            writeln!(as_toml, "k{number} = \"ä\"").expect("memory");
        }
        // With work for every pair of lines it is minutes.
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
