use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// A value of an axis: a string such as `3.11`, or a boolean.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Value {
    /// A boolean.
    Bool(bool),
    /// A string, which may be a version.
    Text(String),
}

impl Value {
    /// Returns the default tag part: the string itself, the name of the axis for `true`, and an
    /// empty string for `false`.
    #[must_use]
    pub fn default_tag(&self, axis: &str) -> String {
        match self {
            Self::Bool(true) => axis.replace('_', "-"),
            Self::Bool(false) => String::new(),
            Self::Text(text) => text.clone(),
        }
    }

    /// Returns the value for templates.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Bool(value) => (*value).into(),
            Self::Text(text) => text.as_str().into(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(formatter),
            Self::Text(text) => text.fmt(formatter),
        }
    }
}
