use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};

use super::spanned::Spanned;
use super::value::Value;

/// A condition on a value of an axis.
#[derive(Debug, Clone)]
pub enum Condition {
    Is(Value),
    /// The value is a string that matches this pattern, where `*` matches any text.
    Like(String),
    /// The value is a version in this range, with the syntax and order of [PEP 440].
    ///
    /// [PEP 440]: https://peps.python.org/pep-0440/#version-specifiers
    Range(VersionSpecifiers),
    /// One of these holds.
    Any(Vec<Condition>),
    Not(Box<Condition>),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid version range: {reason}")]
pub struct RangeError {
    text: String,
    reason: String,
}

impl Condition {
    /// Parses a version range if the text begins with a comparison operator, a pattern if it contains `*`, and otherwise a
    /// value.
    pub fn parse(text: &str) -> Result<Self, RangeError> {
        if !text.starts_with(['<', '>', '=', '!', '~']) {
            let text = text.to_owned();
            return Ok(if text.contains('*') {
                Self::Like(text)
            } else {
                Self::Is(Value::Text(text))
            });
        }
        VersionSpecifiers::from_str(text).map(Self::Range).map_err(|error| RangeError {
            text: text.to_owned(),
            reason: first_line(&error.to_string()),
        })
    }

    /// Returns true if `value` meets the condition. A boolean is in no range.
    #[must_use]
    pub fn admits(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Is(wanted), value) => wanted == value,
            (Self::Like(pattern), Value::Text(text)) => is_like(text, pattern),
            (Self::Range(range), Value::Text(text)) => {
                Version::from_str(text).is_ok_and(|version| range.contains(&version))
            }
            (Self::Like(_) | Self::Range(_), Value::Bool(_)) => false,
            (Self::Any(conditions), value) => conditions.iter().any(|one| one.admits(value)),
            (Self::Not(condition), value) => !condition.admits(value),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(value) => value.fmt(formatter),
            Self::Like(pattern) => pattern.fmt(formatter),
            Self::Range(range) => range.fmt(formatter),
            Self::Any(conditions) => {
                let conditions: Vec<String> = conditions.iter().map(Self::to_string).collect();
                formatter.write_str(&conditions.join(", "))
            }
            Self::Not(condition) => write!(formatter, "not {condition}"),
        }
    }
}

/// The combinations that meet the conditions of one of several alternatives.
#[derive(Debug, Clone)]
pub(super) struct Match(pub(super) Vec<Spanned<Conditions>>);

/// Conditions that must all hold. Each is the index of an axis, and for each of its values whether the condition admits it.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions(pub(super) Vec<(usize, Vec<bool>)>);

impl Match {
    pub(super) fn all() -> Self {
        Self(vec![Spanned::new(0..0, Conditions::default())])
    }

    /// Returns true if a combination meets the conditions.
    pub(super) fn admits(&self, values: &[usize]) -> bool {
        self.0.iter().any(|alternative| alternative.admits(values))
    }

    /// Returns true if any combination of `admitted` values meets the conditions.
    pub(super) fn overlaps(&self, admitted: &[Vec<bool>]) -> bool {
        self.0.iter().any(|alternative| alternative.overlaps(admitted))
    }

    /// Returns the indices of the axes that have conditions, each once.
    pub(super) fn axes(&self) -> Vec<usize> {
        let mut axes = Vec::new();
        for (axis, _) in self.0.iter().flat_map(|alternative| &alternative.0) {
            if !axes.contains(axis) {
                axes.push(*axis);
            }
        }
        axes
    }
}

impl Conditions {
    pub(super) fn admits(&self, values: &[usize]) -> bool {
        self.0.iter().all(|(axis, admitted)| admitted[values[*axis]])
    }

    fn overlaps(&self, admitted: &[Vec<bool>]) -> bool {
        self.0.iter().all(|(axis, own)| {
            own.iter().zip(&admitted[*axis]).any(|(own, wanted)| *own && *wanted)
        })
    }
}

/// Returns true if `text` matches `pattern`, where `*` matches any text.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let (Some(mut rest), Some(last)) = (text.strip_prefix(first), parts.next_back()) else {
        return text == pattern;
    };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Returns the first line of an error of `pep440_rs`. The other lines show the text with a caret.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.strip_prefix("Failed to parse version: ").unwrap_or(line);
    line.trim_end_matches(':').to_lowercase()
}

/// Returns true if a text is a version that can be compared with a range.
pub(crate) fn is_version(text: &str) -> bool {
    Version::from_str(text).is_ok()
}

/// Compares two versions in the order of PEP 440. Returns `None` if one of them is not a version.
pub(crate) fn compare_versions(left: &str, right: &str) -> Option<Ordering> {
    let version = |text| Version::from_str(text).ok();
    Some(version(left)?.cmp(&version(right)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(condition: &str, value: &str) -> bool {
        Condition::parse(condition).expect(condition).admits(&Value::Text(value.to_owned()))
    }

    #[test]
    fn versions_are_compared_as_versions() {
        assert!(admits(">=3.10", "3.10"));
        assert!(!admits(">=3.10", "3.9"));
        assert!(admits(">=3.9,<3.12", "3.11"));
        assert!(admits("~=12.6", "12.8"));
        assert!(!admits("~=12.6", "13.0"));
        assert!(admits("==3.*", "3.14"));
        assert!(!admits("!=3.11", "3.11"));
        assert!(!admits(">=3", "server"));
    }

    #[test]
    fn text_without_an_operator_is_a_value() {
        assert!(admits("3.10", "3.10"));
        assert!(!admits("3.1", "3.10"));
    }

    #[test]
    fn an_asterisk_matches_any_text() {
        for (pattern, value, expected) in [
            ("slim-*", "slim-bookworm", true),
            ("slim-*", "slim-", true),
            ("slim-*", "slim", false),
            ("*-slim", "alpine-slim", true),
            ("*", "x", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("**", "x", true),
        ] {
            assert_eq!(admits(pattern, value), expected, "{pattern} {value}");
        }
        assert!(!Condition::parse("*").expect("a pattern").admits(&Value::Bool(true)));
    }

    #[test]
    fn incomplete_ranges_are_refused() {
        for text in [">=", ">= three", "<<3", "=3.9"] {
            assert!(Condition::parse(text).is_err(), "{text}");
        }
    }
}
