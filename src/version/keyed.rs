//! Finds texts at keys of TOML and JSON files, with their exact positions.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::value::RawValue;
use toml::de::{DeTable, DeValue};

use crate::matrix::JsonEntries;

/// A text in a file, and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) value: String,
    /// Its bytes in the file, without the quotes.
    pub(super) range: Range<usize>,
}

/// Why a key has no text.
#[derive(Debug)]
pub(super) enum Missing {
    /// There is no such key.
    Key,
    /// The value is not a text.
    Text,
    /// The key occurs several times, at these offsets.
    Twice(Vec<usize>),
    /// The syntax of the file is invalid.
    Syntax(Syntax),
}

/// A syntax error and its line, from 1.
#[derive(Debug)]
pub(super) struct Syntax {
    pub(super) line: usize,
    pub(super) source: Box<dyn std::error::Error + Send + Sync>,
}

impl Syntax {
    pub(super) fn from_toml(error: toml::de::Error, text: &str) -> Self {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        Self { line: before.matches('\n').count() + 1, source: error.into() }
    }

    fn from_json(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line().max(1), error.column().max(1));
        let reason = if error.is_eof() { "unexpected end of file" } else { "syntax error" };
        let source = format!("invalid JSON at line {line}, column {column}: {reason}");
        Self { line, source: source.into() }
    }
}

/// Finds the text at `key` of a TOML file.
pub(super) fn in_toml(text: &str, key: &[&str]) -> Result<Text, Missing> {
    let (shift, text) = without_mark(text);
    let table = DeTable::parse(text);
    let table = table.map_err(|error| Missing::Syntax(Syntax::from_toml(error, text)))?;
    let (first, rest) = key.split_first().ok_or(Missing::Key)?;
    let found = table.get_ref().get(*first).ok_or(Missing::Key)?;
    let found = rest.iter().try_fold(found, |value, part| value.get_ref().get(*part));
    let found = found.ok_or(Missing::Key)?;
    let DeValue::String(value) = found.get_ref() else { return Err(Missing::Text) };
    Ok(shifted(toml_text(text, found.span(), value), shift))
}

/// Returns the tables of the array at `key` of a TOML file.
pub(super) fn toml_rows<'a>(
    parsed: &'a DeTable<'_>,
    key: &str,
) -> impl Iterator<Item = &'a DeTable<'a>> {
    let rows = parsed.get(key).and_then(|rows| rows.get_ref().as_array());
    rows.into_iter().flat_map(|rows| rows.iter()).filter_map(|row| row.get_ref().as_table())
}

pub(super) fn row_text<'a>(row: &'a DeTable<'_>, key: &str) -> Option<&'a str> {
    row.get(key)?.get_ref().as_str()
}

/// Returns a text of TOML without its quotes.
pub(super) fn toml_text(text: &str, span: Range<usize>, value: &str) -> Text {
    let quoted = &text[span.clone()];
    let is_multiline = ["\"\"\"", "'''"].iter().any(|quotes| quoted.starts_with(quotes));
    let quotes = if is_multiline { 3 } else { 1 };
    Text { value: value.to_owned(), range: span.start + quotes..span.end - quotes }
}

/// Finds the text at `key` of a JSON file.
pub(super) fn in_json(text: &str, key: &[&str]) -> Result<Text, Missing> {
    let (shift, text) = without_mark(text);
    let syntax = |error| Missing::Syntax(Syntax::from_json(&error));
    let offset = |raw: &RawValue| raw.get().as_ptr() as usize - text.as_ptr() as usize;
    let mut value: &RawValue = serde_json::from_str(text).map_err(syntax)?;
    for part in key {
        if !value.get().starts_with('{') {
            return Err(Missing::Key);
        }
        let JsonEntries::<Cow<'_, str>>(entries) =
            serde_json::from_str(value.get()).map_err(syntax)?;
        let mut found = entries.into_iter().filter(|(name, _)| name == part).map(|(_, raw)| raw);
        value = match (found.next(), found.next()) {
            (Some(one), None) => one,
            (None, _) => return Err(Missing::Key),
            (Some(first), Some(second)) => {
                let all = [first, second].into_iter().chain(found);
                return Err(Missing::Twice(all.map(|raw| offset(raw) + shift).collect()));
            }
        };
    }
    let read: String = serde_json::from_str(value.get()).map_err(|_| Missing::Text)?;
    let start = offset(value);
    let range = start + 1..start + value.get().len() - 1;
    Ok(shifted(Text { value: read, range }, shift))
}

/// Removes a byte order mark. Returns its length and the rest.
pub(super) fn without_mark(text: &str) -> (usize, &str) {
    let without = text.strip_prefix('\u{feff}').unwrap_or(text);
    (text.len() - without.len(), without)
}

fn shifted(text: Text, shift: usize) -> Text {
    Text { range: text.range.start + shift..text.range.end + shift, ..text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::key_parts;

    fn shown(text: &str, found: Result<Text, Missing>) -> String {
        match found {
            Ok(found) => {
                assert_eq!(text[found.range.clone()], found.value);
                format!("{}:{}", text[..found.range.start].lines().count(), found.value)
            }
            Err(Missing::Twice(offsets)) => format!("twice {offsets:?}"),
            Err(missing) => format!("{missing:?}").split('(').next().unwrap_or_default().to_owned(),
        }
    }

    fn toml(text: &str, key: &str) -> String {
        let parts = key_parts(key);
        shown(text, in_toml(text, &parts.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    fn json(text: &str, key: &str) -> String {
        let parts = key_parts(key);
        shown(text, in_json(text, &parts.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    #[test]
    fn texts_are_found_at_their_positions() {
        let text = "\u{feff}# version = '0'\r\n[project]\r\nversion = '''1.2'''  # here\r\n[tool]\r\n\"a.b\" = { version = \"3\" }\r\n";
        assert_eq!(toml(text, "project.version"), "3:1.2");
        assert_eq!(toml(text, "tool.\"a.b\".version"), "5:3");
        assert_eq!(toml(text, "project.name"), "Key");
        assert_eq!(toml(text, "project"), "Text");
        assert_eq!(toml("a = ", "a"), "Syntax");
        let text = "\u{feff}{\r\n  \"a\": { \"version\": \"0\" },\r\n  \"version\" : \"1.2\"\r\n}";
        assert_eq!(json(text, "version"), "3:1.2");
        assert_eq!(json(text, "a.version"), "2:0");
        assert_eq!(json(text, "a"), "Text");
        assert_eq!(json(text, "version.a"), "Key");
        assert_eq!(json(r#"{"a":"1","a":"2"}"#, "a"), "twice [5, 13]");
        assert_eq!(json("{", "a"), "Syntax");
    }
}
