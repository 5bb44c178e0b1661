use std::cmp::Reverse;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::error::{Queries, redact_queries};

/// The maximum length of a repeated text, in characters.
const MAX_MESSAGE: usize = 400;

/// The maximum number of errors of one answer that are repeated.
const MAX_ERRORS: usize = 5;

/// Shorter secrets are not redacted, because they occur in ordinary words.
const MIN_REDACTED: usize = 4;

/// The error message of a registry, safe to print: short, without control characters and without
/// any secret that was sent to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    /// The [error codes][codes], such as `MANIFEST_BLOB_UNKNOWN`.
    ///
    /// [codes]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
    pub codes: Vec<String>,
    pub message: String,
}

impl Problem {
    /// Reads the body of an error, in any of the known formats.
    pub(super) fn read(body: &[u8], media_type: Option<&str>, secrets: &[SecretString]) -> Self {
        let media_type = media_type.unwrap_or_default();
        let problem = match serde_json::from_slice::<Value>(body) {
            Ok(value) => read_json(&value),
            Err(_) if body.is_empty() => Self::default(),
            Err(_) if is_html(media_type, body) => {
                Self { codes: Vec::new(), message: "an HTML page".to_owned() }
            }
            Err(_) => Self { codes: Vec::new(), message: String::from_utf8_lossy(body).into() },
        };
        Self {
            codes: problem.codes.iter().map(|code| clean(code, secrets)).collect(),
            message: clean(&problem.message, secrets),
        }
    }

    /// Returns true if it has one of these codes.
    pub(super) fn has(&self, codes: &[&str]) -> bool {
        self.codes.iter().any(|code| codes.contains(&code.as_str()))
    }

    /// Returns true if the message contains one of these words, given in lower case.
    pub(super) fn mentions(&self, words: &[&str]) -> bool {
        let message = self.message.to_lowercase();
        words.iter().any(|word| message.contains(word))
    }
}

impl fmt::Display for Problem {
    /// Writes `: CODE: message`, or nothing if both are missing.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for code in &self.codes {
            write!(formatter, ": {code}")?;
        }
        if self.message.is_empty() { Ok(()) } else { write!(formatter, ": {}", self.message) }
    }
}

fn read_json(value: &Value) -> Problem {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    if let Some(errors) = value.get("errors").and_then(Value::as_array) {
        let errors = || errors.iter().take(MAX_ERRORS);
        let mut codes: Vec<_> = errors().filter_map(|error| text(error, "code")).collect();
        codes.dedup();
        let mut messages: Vec<_> = errors().filter_map(|error| text(error, "message")).collect();
        messages.dedup();
        return Problem { codes, message: messages.join("; ") };
    }
    // Token servers and proxies: RFC 6749, Docker Hub, API gateways.
    let keys = ["error_description", "message", "details", "detail", "error"];
    let message = keys.iter().find_map(|key| text(value, key)).unwrap_or_default();
    Problem { codes: text(value, "code").into_iter().collect(), message }
}

pub(super) fn is_html(media_type: &str, body: &[u8]) -> bool {
    let begin = body.trim_ascii_start();
    let begins = |with: &str| {
        begin.get(..with.len()).is_some_and(|text| text.eq_ignore_ascii_case(with.as_bytes()))
    };
    media_type.trim_start().starts_with("text/html") || begins("<!doctype html") || begins("<html")
}

/// Makes a foreign text safe to print: one short line without control characters, direction marks
/// and secrets.
pub(super) fn clean(text: &str, secrets: &[SecretString]) -> String {
    let mut text = text.to_owned();
    let mut secrets: Vec<&str> = secrets.iter().map(ExposeSecret::expose_secret).collect();
    // The longest first: one of them may contain another.
    secrets.sort_by_key(|secret| Reverse(secret.len()));
    for secret in secrets.into_iter().filter(|secret| secret.len() >= MIN_REDACTED) {
        text = text.replace(secret, "…");
    }
    let text = redact_queries(&text, Queries::All).unwrap_or(text);
    let words = text.split(|character: char| character.is_whitespace() || character.is_control());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let mut shown: Vec<char> =
        line.chars().filter(|character| !is_direction_mark(*character)).collect();
    if shown.len() > MAX_MESSAGE {
        shown.truncate(MAX_MESSAGE - 1);
        shown.push('…');
    }
    shown.into_iter().collect()
}

/// Returns true for Unicode's direction marks and characters without width.
fn is_direction_mark(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{061c}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> String {
        Problem::read(body.as_bytes(), None, &[]).to_string()
    }

    #[test]
    fn all_formats_of_errors_are_read() {
        let errors = r#"{"errors":[{"code":"DENIED","message":"no","detail":{}}]}"#;
        assert_eq!(read(errors), ": DENIED: no");
        assert_eq!(read(r#"{"errors":[{"code":"DENIED"},{"code":"DENIED"}]}"#), ": DENIED");
        assert_eq!(read(r#"{"details":"incorrect username"}"#), ": incorrect username");
        assert_eq!(read(r#"{"error":"invalid_grant","error_description":"gone"}"#), ": gone");
        assert_eq!(read("<!DOCTYPE html><p>Bad gateway"), ": an HTML page");
        assert_eq!(read("no healthy upstream\n"), ": no healthy upstream");
        assert_eq!(read(""), "");
        assert_eq!(read("[1,2]"), "");
    }

    #[test]
    fn hostile_text_is_one_short_line() {
        let text = read("\u{1b}[2Jgone\r\n::error::x\u{202e}y\0z");
        assert_eq!(text, ": [2Jgone ::error::xy z");
        assert_eq!(read(&"a".repeat(100_000)).chars().count(), 2 + MAX_MESSAGE);
    }

    #[test]
    fn secrets_are_not_repeated() {
        let secrets = [SecretString::from("hunter2")];
        let problem = Problem::read(b"bad password 'hunter2'", None, &secrets);
        assert_eq!(problem.message, "bad password '…'");
    }
}
