//! Translates errors of handlebars and of the helpers to diagnostics.

use handlebars::{RenderError, RenderErrorReason};
use serde_json::{Map, Value as Json};

use super::parameters::{Refusal, kind};
use super::syntax::offset;
use crate::matrix::{Diagnostic, SourceFile, did_you_mean};

/// Explains an error of rendering `source` for a variant with `variables`. `known` are the names in the matrix.
pub(super) fn explain(
    error: &RenderError,
    source: &SourceFile,
    variables: &Json,
    known: &[&str],
) -> Diagnostic {
    let at = offset(&source.text, error.line_no.unwrap_or(1), error.column_no.unwrap_or(1));
    let end = source.text[at..].find("}}").map_or(at + 1, |length| at + length + 2);
    let (message, label, help) = match error.reason() {
        // Only handlebars' `each` and `with` return this, also for values without entries.
        RenderErrorReason::MissingVariable(Some(name)) => match variables.get(name) {
            Some(value) => (
                format!("`{name}` is {}, not an array or a table", kind(value)),
                String::new(),
                None,
            ),
            None => missing(name, variables, known),
        },
        RenderErrorReason::NestedError(cause) => match cause.downcast_ref::<Refusal>() {
            Some(Refusal::Missing(name)) => missing(name, variables, known),
            Some(Refusal::Other { reason, advice }) => {
                (reason.clone(), String::new(), advice.clone())
            }
            None => (cause.to_string(), String::new(), None),
        },
        RenderErrorReason::ParamNotFoundForIndex(helper, index) => {
            let message = format!("`{helper}` needs a parameter {}", index + 1);
            (message, String::new(), None)
        }
        // The output exceeded a limit.
        RenderErrorReason::IOError(error) => (error.to_string(), String::new(), None),
        reason => (reason.to_string(), String::new(), None),
    };
    Diagnostic::new(at..end, message, label).maybe_help(help)
}

type Words = (String, String, Option<String>);

/// Explains a name or an entry without a value.
fn missing(name: &str, variables: &Json, known: &[&str]) -> Words {
    let message = format!("`{name}` has no value");
    if let Some((table, entry)) = name.split_once(['.', '/'])
        && let Some(value) = variables.get(table)
    {
        let entries = value.as_object().into_iter().flat_map(Map::keys).map(String::as_str);
        let label = match value {
            Json::Object(_) => format!("`{table}` has no such entry"),
            other => format!("`{table}` is {}", kind(other)),
        };
        return (message, label, did_you_mean(entry, entries));
    }
    if variables.get(name).is_some() {
        let label = format!("names are those of an entry here; the variable is `@root.{name}`");
        return (message, label, None);
    }
    if known.contains(&name) {
        return (message, "only other variants have it".to_owned(), None);
    }
    (message, "unknown name".to_owned(), did_you_mean(name, known.iter().copied()))
}
