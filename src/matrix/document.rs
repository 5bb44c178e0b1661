//! Deserializes TOML files and explains errors.
//!
//! Start at [`from_toml`]. For a value of the wrong type, serde reports the location and the expected type. The key,
//! the actual type and the advice come from the document.

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, SourceError, SourceFile, did_you_mean, quoted_list};
use super::secrets;
use super::spanned::Span;
use crate::error::{DataFault, type_name};

/// Deserializes a TOML file. Every file of basegen gets the same explanations.
pub(crate) fn from_toml<T: DeserializeOwned>(source: &SourceFile) -> Result<T, SourceError> {
    let concealed = secrets::conceal_registries(&source.text);
    let shown = SourceFile::new(&source.path, &concealed);
    let refuse = |diagnostics| SourceError::new(&shown, diagnostics);
    let document = DeTable::parse(&source.text).map_err(|error| {
        let span = error.span().unwrap_or(0..1);
        let opened =
            opened_array(source.text.get(..span.start).unwrap_or_default(), error.message());
        let diagnostic = Diagnostic::new(span, error.message().trim(), "");
        refuse(vec![match opened {
            Some(bracket) => diagnostic
                .related(bracket, "the array begins here")
                .help("add a comma, or close the array with `]`"),
            None => diagnostic,
        }])
    })?;
    let document = document.get_ref();
    // serde represents a date as a table with one key, which a table of strings would accept.
    let mut dates = values(document);
    dates.retain(|located| matches!(located.value, DeValue::Datetime(_)));
    dates.sort_by_key(|located| located.span.start);
    if !dates.is_empty() {
        return Err(refuse(dates.iter().map(|date| date.explain_date(&concealed)).collect()));
    }
    toml::from_str(&source.text)
        .map_err(|error| refuse(vec![explain(&error, document, &concealed)]))
}

/// Returns the location of the last unclosed `[` in `text`, for a syntax error about the elements of an array.
fn opened_array(text: &str, message: &str) -> Option<Span> {
    let is_of_array =
        message.contains("between array elements") || message.contains("unclosed array");
    let mut closed = 0;
    for (at, character) in text.char_indices().rev().filter(|_| is_of_array) {
        match character {
            ']' => closed += 1,
            '[' if closed == 0 => return Some(at..at + 1),
            '[' => closed -= 1,
            _ => {}
        }
    }
    None
}

/// Deserializes structs from tables only. By default, serde also accepts an array of their values.
macro_rules! tables {
    ($($table:ty),+) => {$(
        impl<'de> serde::Deserialize<'de> for $table {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TableVisitor;
                impl<'de> serde::de::Visitor<'de> for TableVisitor {
                    type Value = $table;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str("a table")
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        map: A,
                    ) -> Result<$table, A::Error> {
                        // The method that the derive with `remote = "Self"` generates.
                        <$table>::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    }
                }
                deserializer.deserialize_map(TableVisitor)
            }
        }
    )+};
}
pub(super) use tables;

/// A value of a document and its location.
struct Located<'a> {
    /// The keys and array indices that lead to it.
    path: Vec<Step<'a>>,
    span: Span,
    value: &'a DeValue<'a>,
}

#[derive(Clone)]
enum Step<'a> {
    Key(&'a str),
    Entry,
}

/// Returns how to add a table or a key that a document needs.
fn help_for_table(name: &str) -> String {
    match name {
        "image" => "add `[image]` with the `repository` of the images".to_owned(),
        "axes" => {
            "add `[axes]` with one axis or more, such as `python = [\"3.12\", \"3.13\"]`".to_owned()
        }
        other => format!("add `{other}`"),
    }
}

fn explain(error: &toml::de::Error, document: &DeTable<'_>, text: &str) -> Diagnostic {
    let message = error.message().trim();
    let span = error.span().unwrap_or(0..1);
    let located = locate(document, &span);
    match (DataFault::parse(message), located) {
        (Some(DataFault::Type { expected, .. }), Some(located)) => {
            located.explain_type(type_name(expected, "a table"), text)
        }
        (Some(DataFault::Type { expected, .. }), None) => {
            let message = format!("expected {}", type_name(expected, "a table"));
            Diagnostic::new(span, message, "").help("look the key up in the documentation")
        }
        (Some(DataFault::Missing(name)), located) => {
            let table = located.map(|located| located.name()).unwrap_or_default();
            let (message, help) = match table.as_str() {
                "" => (format!("`{name}` is missing"), help_for_table(name)),
                table => {
                    (format!("`{table}` has no `{name}`"), format!("add `{name} = …` to `{table}`"))
                }
            };
            Diagnostic::new(span, message, "").help(help)
        }
        (Some(DataFault::UnknownKey { name, known }), _) => unknown("key", name, &known, span),
        (Some(DataFault::UnknownValue { name, known }), _) => match owner(document, &span) {
            // serde accepts a table with one key as a name.
            Some(table) => table.explain_type("a string", text),
            None => unknown("value", name, &known, span),
        },
        (Some(DataFault::Duplicate(name)), _) => {
            let message = format!("the key `{name}` occurs twice");
            Diagnostic::new(span, message, "").help("remove one of the two")
        }
        (None, _) => Diagnostic::new(span, message, ""),
    }
}

fn unknown(kind: &str, name: &str, known: &[&str], span: Span) -> Diagnostic {
    let label = format!("expected one of {}", quoted_list(known));
    Diagnostic::new(span, format!("unknown {kind} `{name}`"), label)
        .maybe_help(did_you_mean(name, known.iter().copied()))
}

impl Located<'_> {
    /// Returns the keys of the path, joined by dots.
    fn name(&self) -> String {
        let keys = self.path.iter().filter_map(|step| match step {
            Step::Key(key) if is_bare(key) => Some((*key).to_owned()),
            Step::Key(key) => Some(format!("\"{}\"", key.escape_debug())),
            Step::Entry => None,
        });
        keys.collect::<Vec<_>>().join(".")
    }

    /// Returns the subject of a message about the value.
    fn subject(&self) -> String {
        match self.path.last() {
            Some(Step::Entry) => format!("an entry of `{}`", self.name()),
            _ => format!("`{}`", self.name()),
        }
    }

    fn explain_date(&self, text: &str) -> Diagnostic {
        let message = format!("{} is a date, which no key accepts", self.subject());
        Diagnostic::new(self.span.clone(), message, "a date").help(self.in_quotes(text))
    }

    fn explain_type(&self, expected: &str, text: &str) -> Diagnostic {
        let found = type_of(self.value);
        let subject = self.subject();
        let noun = found.split(' ').next_back().unwrap_or(found);
        let message = if expected.contains(noun) {
            format!("{subject} is out of range: it must be {expected}")
        } else {
            format!("{subject} must be {expected}, not {found}")
        };
        Diagnostic::new(self.span.clone(), message, found).help(self.advice(expected, text))
    }

    /// Returns how to write a value of the expected type.
    fn advice(&self, expected: &str, text: &str) -> String {
        let is_scalar = !matches!(self.value, DeValue::Array(_) | DeValue::Table(_));
        let raw = &text[self.span.clone()];
        let is_bool = matches!(raw, "\"true\"" | "\"false\"" | "'true'" | "'false'");
        let is_number = raw.trim_matches(['"', '\'']).parse().is_ok_and(f64::is_finite);
        match self.value {
            DeValue::String(_)
                if (expected == "a boolean" && is_bool) || (is_numeric(expected) && is_number) =>
            {
                format!("remove the quotes: `{}`", raw.trim_matches(['"', '\'']))
            }
            DeValue::Float(_) if expected.starts_with("a string") && is_number => {
                format!("{}; without quotes, `3.10` is the number 3.1", self.in_quotes(text))
            }
            _ if expected.starts_with("a string") && is_scalar => self.in_quotes(text),
            DeValue::String(_) if expected.starts_with("an array") && !raw.contains('\n') => {
                format!("put it in brackets: `[{raw}]`")
            }
            DeValue::Table(_) if expected == "an array" && self.path.len() == 1 => {
                format!("write the section as `[[{}]]`, once for each entry", self.name())
            }
            _ => format!("write {}", example(expected)),
        }
    }

    fn in_quotes(&self, text: &str) -> String {
        format!("if a string is meant, put it in quotes: `\"{}\"`", &text[self.span.clone()])
    }
}

fn is_bare(key: &str) -> bool {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !key.is_empty() && key.bytes().all(is_bare)
}

fn is_numeric(expected: &str) -> bool {
    expected.contains("integer") && !expected.contains("string") || expected == "a number"
}

/// Returns an example of a type.
fn example(expected: &str) -> &'static str {
    match expected {
        "a boolean" => "`true` or `false`",
        "a number" => "a number without quotes, such as `1.5`",
        _ if expected.starts_with("an array") => "an array: `[…]`",
        _ if expected.starts_with("a table") => "a table: `{ key = … }`",
        _ if is_numeric(expected) => "an integer without quotes, such as `3`",
        _ => "a string: `\"…\"`",
    }
}

/// Returns the TOML type of a value.
fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(float) => match float.as_str().trim_start_matches(['+', '-']) {
            "nan" => "`nan`",
            "inf" => "`inf`",
            _ => "a float",
        },
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// Finds the innermost value at `span`. An implicit table has the span of the first table in it.
fn locate<'a>(document: &'a DeTable<'a>, span: &Span) -> Option<Located<'a>> {
    values(document).into_iter().rfind(|located| located.span == *span)
}

/// Finds the table that has the key at `span`.
fn owner<'a>(document: &'a DeTable<'a>, span: &Span) -> Option<Located<'a>> {
    let has_key = |value: &DeValue<'_>| {
        value.as_table().is_some_and(|table| table.keys().any(|key| key.span() == *span))
    };
    values(document).into_iter().find(|located| has_key(located.value))
}

/// Returns every value of a document, tables before their entries.
fn values<'a>(document: &'a DeTable<'a>) -> Vec<Located<'a>> {
    let mut open: Vec<_> =
        document.iter().map(|(key, value)| (vec![Step::Key(key.get_ref())], value)).collect();
    let mut found = Vec::new();
    while let Some((path, value)) = open.pop() {
        let inner = |step| path.iter().cloned().chain([step]).collect::<Vec<_>>();
        match value.get_ref() {
            DeValue::Table(table) => {
                open.extend(
                    table.iter().map(|(key, value)| (inner(Step::Key(key.get_ref())), value)),
                );
            }
            DeValue::Array(array) => {
                open.extend(array.iter().map(|value| (inner(Step::Entry), value)));
            }
            _ => {}
        }
        found.push(Located { path, span: value.span(), value: value.get_ref() });
    }
    found
}
