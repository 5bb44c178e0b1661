//! The parameters of helpers, and the errors of helpers.

use handlebars::{Helper, PathAndJson, RenderError, RenderErrorReason};
use serde_json::Value as Json;

/// An error of a helper.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("`{0}` has no value")]
    Missing(String),
    #[error("{reason}")]
    Other { reason: String, advice: Option<String> },
}

impl Refusal {
    pub(super) fn new(reason: impl Into<String>, advice: Option<String>) -> Self {
        Self::Other { reason: reason.into(), advice }
    }
}

impl From<Refusal> for RenderError {
    fn from(refusal: Refusal) -> Self {
        RenderErrorReason::NestedError(Box::new(refusal)).into()
    }
}

/// Returns the TOML type of a value for messages.
pub(super) fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "nothing",
        Json::Bool(true) => "`true`",
        Json::Bool(false) => "`false`",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "a table",
    }
}

pub(super) fn parameter<'a, 'rc>(
    helper: &'a Helper<'rc>,
    name: &'static str,
    index: usize,
) -> Result<&'a PathAndJson<'rc>, RenderError> {
    let missing = RenderErrorReason::ParamNotFoundForIndex(name, index);
    helper.param(index).ok_or_else(|| missing.into())
}

/// Returns the value of a parameter. Null means that a name passed to a partial has no value.
pub(super) fn present<'a>(parameter: &'a PathAndJson<'_>) -> Result<&'a Json, RenderError> {
    match parameter.value() {
        Json::Null => {
            let name = parameter.relative_path().map_or("null", String::as_str);
            Err(Refusal::Missing(name.to_owned()).into())
        }
        value => Ok(value),
    }
}

/// Returns the name of a parameter for messages.
pub(super) fn subject(parameter: &PathAndJson<'_>) -> String {
    parameter.relative_path().map_or("the value".to_owned(), |name| format!("`{name}`"))
}
