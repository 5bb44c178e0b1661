//! What handlebars and the helpers refuse, in the words of this program.

use handlebars::{RenderError, RenderErrorReason};
use serde_json::{Map, Value as Json};

use super::helpers::{Refusal, kind};
use crate::matrix::{Diagnostic, SourceFile, nearest};

/// Shows where in `source` rendering failed, and why: for a variant that has `variables`, in
/// a matrix that knows the names `known`.
pub(super) fn explain(
    error: &RenderError,
    source: &SourceFile,
    variables: &Json,
    known: &[&str],
) -> Diagnostic {
    let at = offset(&source.text, error.line_no.unwrap_or(1), error.column_no.unwrap_or(1));
    let end = source.text[at..].find("}}").map_or(at + 1, |length| at + length + 2);
    let (message, label, help) = match error.reason() {
        // Of handlebars' own helpers, `each` and `with` alone say this, and of what they
        // cannot enter too.
        RenderErrorReason::MissingVariable(Some(name)) => match variables.get(name) {
            Some(value) => {
                (format!("`{name}` is {}, not a list or a table", kind(value)), String::new(), None)
            }
            None => missing(name, variables, known),
        },
        RenderErrorReason::NestedError(cause) => match cause.downcast_ref::<Refusal>() {
            Some(Refusal::Missing(name)) => missing(name, variables, known),
            Some(refusal) => (refusal.to_string(), String::new(), advice(refusal)),
            None => (cause.to_string(), String::new(), None),
        },
        RenderErrorReason::ParamNotFoundForIndex(helper, index) => {
            let message = format!("`{helper}` has no value for its parameter {}", index + 1);
            (message, String::new(), None)
        }
        // An output refused a write.
        RenderErrorReason::IOError(error) => (error.to_string(), String::new(), None),
        reason => (reason.to_string(), String::new(), None),
    };
    Diagnostic::new(at..end, message, label).maybe_help(help)
}

type Words = (String, String, Option<String>);

/// A name, or an entry of one, that this variant has not.
fn missing(name: &str, variables: &Json, known: &[&str]) -> Words {
    let message = format!("`{name}` has no value");
    let meant = |near: Option<&str>| near.map(|near| format!("did you mean `{near}`?"));
    if let Some((table, entry)) = name.split_once(['.', '/'])
        && let Some(value) = variables.get(table)
    {
        let entries = value.as_object().into_iter().flat_map(Map::keys).map(String::as_str);
        let label = match value {
            Json::Object(_) => format!("`{table}` has no such entry"),
            other => format!("`{table}` is {}", kind(other)),
        };
        return (message, label, meant(nearest(entry, entries)));
    }
    if variables.get(name).is_some() {
        let label = format!("in here names are those of an entry; the variant's is `@root.{name}`");
        return (message, label, None);
    }
    if known.contains(&name) {
        return (message, "other variants have it, this one has not".to_owned(), None);
    }
    let near = nearest(name, known.iter().copied());
    (message, "nothing in here is called so".to_owned(), meant(near))
}

fn advice(refusal: &Refusal) -> Option<String> {
    match refusal {
        Refusal::NotScalar { what, kind: "a list" } if what.starts_with('`') => {
            let name = what.trim_matches('`');
            Some(format!("`{{{{#each {name}}}}} {{{{this}}}}{{{{/each}}}}` writes its entries"))
        }
        Refusal::NotScalar { what, .. } if what.starts_with('`') => {
            Some(format!("`{{{{{}.entry}}}}` writes one of its entries", what.trim_matches('`')))
        }
        Refusal::Incomparable { advice, .. } => Some((*advice).to_owned()),
        Refusal::NoEntry { entry, entries, .. } => {
            let near = nearest(entry, entries.iter().map(String::as_str));
            near.map(|near| format!("did you mean `{near}`?"))
        }
        _ => None,
    }
}

/// Where a line and a column, both from 1, are in a text.
pub(super) fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = text[start..].char_indices().nth(column.saturating_sub(1));
    rest.map_or(text.len(), |(offset, _)| start + offset)
}
