use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};

use super::value::Value;

/// A condition on a value of an axis.
#[derive(Debug, Clone)]
pub enum Condition {
    /// The value is one of these.
    Any(Vec<Value>),
    /// The value is a version in this range, with the syntax and order of [PEP 440].
    ///
    /// [PEP 440]: https://peps.python.org/pep-0440/#version-specifiers
    Range(VersionSpecifiers),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid version range: {reason}")]
pub struct RangeError {
    text: String,
    reason: String,
}

impl Condition {
    /// Parses a version range if the text begins with a comparison operator, otherwise a value.
    pub fn parse(text: &str) -> Result<Self, RangeError> {
        if !text.starts_with(['<', '>', '=', '!', '~']) {
            return Ok(Self::Any(vec![Value::Text(text.to_owned())]));
        }
        VersionSpecifiers::from_str(text).map(Self::Range).map_err(|error| RangeError {
            text: text.to_owned(),
            reason: first_line(&error.to_string()),
        })
    }

    /// Returns true if `value` meets the condition.
    #[must_use]
    pub fn admits(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Any(values), value) => values.contains(value),
            (Self::Range(range), Value::Text(text)) => {
                Version::from_str(text).is_ok_and(|version| range.contains(&version))
            }
            (Self::Range(_), Value::Bool(_)) => false,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(values) => {
                let values: Vec<String> = values.iter().map(Value::to_string).collect();
                formatter.write_str(&values.join(", "))
            }
            Self::Range(range) => range.fmt(formatter),
        }
    }
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
    fn incomplete_ranges_are_refused() {
        for text in [">=", ">= three", "<<3", "=3.9"] {
            assert!(Condition::parse(text).is_err(), "{text}");
        }
    }
}
