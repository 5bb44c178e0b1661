use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Content, Key, Node, duplicate, refusal};
use crate::matrix::diagnostic::{SourceError, SourceFile};
use crate::matrix::spanned::Span;

pub(super) fn read(source: &SourceFile) -> Result<Node, SourceError> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let Some(error) = errors.first() else {
        let content = Content::Table(entries(table.get_ref()));
        return Ok(Node { span: 0..source.text.len(), content });
    };
    let at = error.span().unwrap_or(0..1);
    let name = source.text.get(at.clone()).unwrap_or_default();
    let mut first = None;
    if error.message() == "duplicate key" {
        find_last_before(table.get_ref(), name, at.start, &mut first);
        first = first.or_else(|| find_header(&source.text, &at));
    }
    Err(match first {
        Some(first) => SourceError::new(source, vec![duplicate(name, at, first)]),
        None => refusal(source, at, error.message()),
    })
}

/// Finds the last key called `name` that ends before the byte at `end`. The parser does not return the first of two keys.
fn find_last_before(table: &DeTable<'_>, name: &str, end: usize, found: &mut Option<Span>) {
    for (key, value) in table {
        let (span, is_later) = (key.span(), |last: &Span| key.span().start > last.start);
        if key.get_ref() == name && span.end <= end && found.as_ref().is_none_or(is_later) {
            *found = Some(span);
        }
        let tables: Vec<&DeTable<'_>> = match value.get_ref() {
            DeValue::Table(table) => vec![table],
            DeValue::Array(items) => {
                items.iter().filter_map(|item| item.get_ref().as_table()).collect()
            }
            _ => Vec::new(),
        };
        for table in tables {
            find_last_before(table, name, end, found);
        }
    }
}

/// Finds the earlier line with the same header of a table as the line at `at`. The parser keeps the later table.
fn find_header(text: &str, at: &Span) -> Option<Span> {
    let line = |start: usize| text[start..].lines().next().unwrap_or_default().trim();
    let start = text[..at.start].rfind('\n').map_or(0, |end| end + 1);
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(end, _)| end + 1));
    let first =
        starts.take_while(|earlier| *earlier < start).find(|it| line(*it) == line(start))?;
    Some(first..first + line(first).len())
}

fn entries(table: &DeTable<'_>) -> Vec<(Key, Node)> {
    let entries = table.iter().map(|(key, value)| {
        let key = Key { name: key.get_ref().to_string(), span: key.span() };
        (key, node(value))
    });
    let mut entries: Vec<(Key, Node)> = entries.collect();
    entries.sort_by_key(|(key, _)| key.span.start);
    entries
}

fn node(value: &Spanned<DeValue<'_>>) -> Node {
    let content = match value.get_ref() {
        DeValue::String(text) => Content::Text(text.to_string()),
        DeValue::Integer(number) => Content::Plain(number.as_str().to_owned()),
        DeValue::Float(number) => Content::Plain(number.as_str().to_owned()),
        DeValue::Boolean(switch) => Content::Plain(switch.to_string()),
        DeValue::Datetime(time) => Content::Plain(time.to_string()),
        DeValue::Array(list) => Content::List(list.iter().map(node).collect()),
        DeValue::Table(table) => Content::Table(entries(table)),
    };
    Node { span: value.span(), content }
}
