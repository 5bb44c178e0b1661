//! Rewrites the errors of serde in plain words.
//!
//! The messages of serde use its data model: maps, sequences, variants and Rust types. [`DataFault`] parses
//! such a message, and [`JsonError`] shows an error of `serde_json` with its line and column.

use std::fmt;

/// A fault in the data of a document, parsed from the message of a deserializer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DataFault<'a> {
    /// A value of the wrong type, or out of its range.
    ///
    /// Both are types in the words of serde, such as `integer`. `found` is empty if the message does not contain it.
    Type {
        found: &'a str,
        expected: &'a str,
    },
    Missing(&'a str),
    Duplicate(&'a str),
    /// A key that does not exist.
    UnknownKey {
        name: &'a str,
        known: Vec<&'a str>,
    },
    /// A value that is not one of a fixed set.
    UnknownValue {
        name: &'a str,
        known: Vec<&'a str>,
    },
}

impl<'a> DataFault<'a> {
    /// Parses a message of serde. Returns `None` for other messages.
    pub(crate) fn parse(message: &'a str) -> Option<Self> {
        if let Some(rest) = strip_any(message, &["invalid type: ", "invalid value: "]) {
            // The value is quoted and may contain the separator itself.
            let (found, expected) = rest.rsplit_once(", expected ")?;
            let kind = found.split(['`', '"']).next().unwrap_or_default().trim();
            return Some(Self::Type { found: kind, expected });
        }
        if let Some(rest) = message.strip_prefix("invalid length ") {
            let (_, expected) = rest.split_once(", expected ")?;
            return Some(Self::Type { found: "", expected });
        }
        if message == "wanted string or table" {
            return Some(Self::Type { found: "", expected: "a string" });
        }
        let quoted = |prefix: &str| message.strip_prefix(prefix)?.split('`').next();
        if let Some(name) = quoted("missing field `") {
            return Some(Self::Missing(name));
        }
        if let Some(name) = quoted("duplicate field `") {
            return Some(Self::Duplicate(name));
        }
        let list = |prefix: &str| {
            let (name, known) = message.strip_prefix(prefix)?.split_once("`, ")?;
            Some((name, known.split('`').skip(1).step_by(2).collect()))
        };
        if let Some((name, known)) = list("unknown field `") {
            return Some(Self::UnknownKey { name, known });
        }
        let (name, known) = list("unknown variant `")?;
        Some(Self::UnknownValue { name, known })
    }
}

fn strip_any<'a>(text: &'a str, prefixes: &[&str]) -> Option<&'a str> {
    prefixes.iter().find_map(|prefix| text.strip_prefix(prefix))
}

/// Returns the plain name of a type that serde expects; `table` is the format's name for a map.
/// Visitors of this crate already use plain words.
pub(crate) fn type_name<'a>(expected: &'a str, table: &'a str) -> &'a str {
    match expected {
        "a string" | "str" | "string" | "a borrowed string" => "a string",
        "a sequence" => "an array",
        "a boolean" => "a boolean",
        "a map" => table,
        "u8" => "an integer from 0 to 255",
        "u16" => "an integer from 0 to 65535",
        "u32" | "u64" | "usize" => "a non-negative integer",
        "i8" | "i16" | "i32" | "i64" | "isize" => "an integer",
        "f32" | "f64" => "a number",
        _ if expected.starts_with("struct ") => table,
        // An enum variant, or a value without a type of its own.
        "variant identifier" | "string or table" | "unit" | "unit variant" => "a string",
        _ => expected,
    }
}

/// An error of a JSON document.
#[derive(Debug)]
pub(crate) struct JsonError(serde_json::Error);

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        Self(error)
    }
}

impl std::error::Error for JsonError {}

impl fmt::Display for JsonError {
    /// Writes the line, the column and the fault. Values are not shown, because they may be secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = (self.0.line(), self.0.column());
        let text = self.0.to_string();
        let place = format!(" at line {line} column {column}");
        let text = text.strip_suffix(&place).unwrap_or(&text);
        write!(formatter, "line {line}, column {column}: ")?;
        match self.0.classify() {
            serde_json::error::Category::Eof => formatter.write_str("the JSON ends too early"),
            serde_json::error::Category::Syntax => write!(formatter, "not valid JSON: {text}"),
            _ => match DataFault::parse(text) {
                Some(fault) => formatter.write_str(&json_fault(&fault)),
                None => formatter.write_str(text),
            },
        }
    }
}

fn json_fault(fault: &DataFault<'_>) -> String {
    match fault {
        DataFault::Type { found, expected } => {
            let expected = type_name(expected, "an object");
            match json_type(found) {
                Some(found) => format!("expected {expected}, found {found}"),
                None => format!("expected {expected}"),
            }
        }
        DataFault::Missing(name) => format!("the key `{name}` is missing"),
        DataFault::Duplicate(name) => format!("the key `{name}` occurs twice"),
        DataFault::UnknownKey { name, .. } => format!("unknown key `{name}`"),
        DataFault::UnknownValue { name, known } => {
            let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            format!("unknown value `{name}`; expected {}", known.join(" or "))
        }
    }
}

fn json_type(found: &str) -> Option<&str> {
    Some(match found {
        "map" => "an object",
        "sequence" => "an array",
        "string" | "character" => "a string",
        "integer" => "an integer",
        "floating point" => "a number with a fraction",
        "boolean" => "a boolean",
        "null" | "unit value" => "null",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only refusals are looked at")]
    struct Document {
        name: String,
        list: Vec<u32>,
        table: BTreeMap<String, Option<Kind>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        One,
        Two,
    }

    #[test]
    fn json_errors_say_line_column_and_fault_without_values() {
        let all = [
            r#"["secret"]"#,
            r#""secret""#,
            r#"{ "name": 3 }"#,
            r#"{ "name": null }"#,
            r#"{ "name": ["secret"] }"#,
            "{ \"name\": \"a\",\n  \"list\": { \"a\": 1 } }",
            r#"{ "list": "secret, expected more" }"#,
            r#"{ "list": [-1] }"#,
            r#"{ "list": [1.5] }"#,
            r#"{ "list": [true] }"#,
            r#"{ "table": [] }"#,
            r#"{ "table": { "a": "three" } }"#,
            r#"{ "table": { "a": 1 } }"#,
            r#"{ "table": { "a": { "one": 1 } } }"#,
            r#"{ "other": 1 }"#,
            r#"{ "name": "a", "name": "b" }"#,
            r#"{ "name": "a" }"#,
            r#"{ "name": "a""#,
            r#"{ "name" "a" }"#,
            "",
        ]
        .map(|text| {
            let error = serde_json::from_str::<Document>(text).expect_err(text);
            format!("{text}\n  {}", JsonError(error))
        });
        insta::assert_snapshot!(all.join("\n"));
    }
}
