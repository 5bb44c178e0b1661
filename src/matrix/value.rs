use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// A value of an axis: a text such as `3.11`, or a switch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Value {
    /// On or off.
    Bool(bool),
    /// Anything else; versions are texts too.
    Text(String),
}

impl Value {
    /// Its part of the tag where the matrix does not say another one: the text itself,
    /// the axis' name for `true`, nothing for `false`.
    #[must_use]
    pub fn default_tag(&self, axis: &str) -> String {
        match self {
            Self::Bool(true) => axis.replace('_', "-"),
            Self::Bool(false) => String::new(),
            Self::Text(text) => text.clone(),
        }
    }

    /// The value as templates see it.
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
