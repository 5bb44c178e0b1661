//! Template helpers that are stricter than those of handlebars, and their errors.
//!
//! [`register`] replaces handlebars' helpers. [`strict`] rewrites templates so that `{{name}}` refuses arrays, tables
//! and names without a value.

use std::mem::{replace, take};

use handlebars::template::{Parameter, Subexpression, TemplateElement};
use handlebars::{Handlebars, Helper, JsonTruthy, RenderError, Template};
use serde_json::{Map, Value as Json};

use super::compare;
use super::function::function;
use super::limits::{FENCE, STEP};
use super::parameters::{Refusal, kind, parameter, present, subject};
use super::parents::ImageHelper;
use super::places::{AT, write_mark};
use super::values::mark;
use crate::matrix::did_you_mean;

/// The helper that `{{name}}` is rewritten to. No template can contain this name.
const SCALAR: &str = " scalar";

/// The helpers that a template can call.
pub(super) const HELPERS: [&str; 18] = [
    "and", "each", "eq", "gt", "gte", "if", IMAGE, "len", "lookup", "lt", "lte", "matches", "ne",
    "not", "or", "raw", "unless", "with",
];

/// The helper that names an image of the matrix. Its name is not reserved, because it has arguments: `{{image}}` is an
/// axis or a variable.
pub(super) const IMAGE: &str = "image";

/// Returns true if `name` is a helper, including internal ones.
pub(super) fn is_helper(name: &str) -> bool {
    [SCALAR, AT, STEP, FENCE].contains(&name) || HELPERS.contains(&name)
}

pub(super) fn register(handlebars: &mut Handlebars<'_>) {
    handlebars.register_helper("if", function(|helper, _| condition(helper, "if", true)));
    handlebars.register_helper("unless", function(|helper, _| condition(helper, "unless", false)));
    handlebars.register_helper("lookup", function(lookup));
    handlebars.register_helper("len", function(length));
    handlebars.register_helper(IMAGE, Box::new(ImageHelper));
    compare::register(handlebars);
    // It would write to a logger, which basegen does not have.
    handlebars.unregister_helper("log");
    handlebars.register_helper(SCALAR, function(scalar));
    handlebars.register_helper(AT, Box::new(write_mark));
}

/// Rewrites every `{{name}}` and `{{lookup …}}` of a template to a call of [`scalar`]. Handlebars would write an
/// array or a table as `[a, b]` and `[object]`.
pub(super) fn strict(template: &mut Template) {
    for element in &mut template.elements {
        match element {
            TemplateElement::Expression(helper) | TemplateElement::HtmlExpression(helper) => {
                let is_name = helper.params.is_empty() && helper.hash.is_empty();
                if is_name || helper.name.as_name() == Some("lookup") {
                    let scalar = Parameter::Name(SCALAR.to_owned());
                    let name = replace(&mut helper.name, scalar);
                    let (params, hash) = (take(&mut helper.params), take(&mut helper.hash));
                    helper.params.push(if is_name {
                        name
                    } else {
                        Parameter::Subexpression(Subexpression::new(name, params, hash))
                    });
                }
            }
            TemplateElement::HelperBlock(helper) => {
                helper.template.iter_mut().chain(&mut helper.inverse).for_each(strict);
            }
            TemplateElement::PartialBlock(block) | TemplateElement::DecoratorBlock(block) => {
                block.template.iter_mut().for_each(strict);
            }
            _ => {}
        }
    }
}

/// Returns a string, a number or a boolean, and refuses other types. A string from a variable is marked; a string that
/// a template passes to a partial is not.
fn scalar(helper: &Helper<'_>, variables: &Json) -> Result<Json, RenderError> {
    let value = parameter(helper, "{{…}}", 0)?;
    match present(value)? {
        other @ (Json::Array(_) | Json::Object(_)) => {
            let reason =
                format!("{} is {} and cannot be written directly", subject(value), kind(other));
            let advice = value.relative_path().map(|name| match other {
                Json::Array(_) => {
                    format!("write its entries: `{{{{#each {name}}}}} {{{{this}}}}{{{{/each}}}}`")
                }
                _ => format!("write one of its entries: `{{{{{name}.entry}}}}`"),
            });
            Err(Refusal::new(reason, advice).into())
        }
        Json::String(text) if occurs(text, variables) => Ok(Json::String(mark(text.clone()))),
        other => Ok(other.clone()),
    }
}

/// Returns true if `text` is a value or a key in `values`. Helpers create no strings, so any other string is written
/// in a template.
fn occurs(text: &str, values: &Json) -> bool {
    match values {
        Json::String(value) => value == text,
        Json::Array(list) => list.iter().any(|value| occurs(text, value)),
        Json::Object(table) => {
            table.iter().any(|(name, value)| name == text || occurs(text, value))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// `if` and `unless`, which refuse a name without a value. Handlebars' own treat it as false, even in strict mode, which
/// would hide misspelt names.
fn condition(helper: &Helper<'_>, name: &'static str, expected: bool) -> Result<Json, RenderError> {
    let value = present(parameter(helper, name, 0)?)?;
    Ok(Json::Bool(value.is_truthy(false) == expected))
}

/// Returns the number of entries of an array or a table, or of characters of a string.
fn length(helper: &Helper<'_>, _: &Json) -> Result<Json, RenderError> {
    let value = parameter(helper, "len", 0)?;
    match present(value)? {
        Json::Array(list) => Ok(list.len().into()),
        Json::Object(table) => Ok(table.len().into()),
        Json::String(text) => Ok(text.chars().count().into()),
        other => {
            let reason = format!("{} is {} and has no length", subject(value), kind(other));
            Err(Refusal::new(reason, None).into())
        }
    }
}

/// Returns an entry of an array or a table, and refuses missing entries.
fn lookup(helper: &Helper<'_>, _: &Json) -> Result<Json, RenderError> {
    let (from, entry) = (parameter(helper, "lookup", 0)?, parameter(helper, "lookup", 1)?);
    let (collection, key) = (present(from)?, present(entry)?);
    let found = match collection {
        Json::Array(list) => key.as_u64().and_then(|at| list.get(usize::try_from(at).ok()?)),
        Json::Object(table) => key.as_str().and_then(|key| table.get(key)),
        other => {
            let reason = format!("{} is {} and has no entries", subject(from), kind(other));
            return Err(Refusal::new(reason, None).into());
        }
    };
    found.cloned().ok_or_else(|| {
        let entry = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
        let entries = collection.as_object().into_iter().flat_map(Map::keys).map(String::as_str);
        let advice = did_you_mean(&entry, entries);
        Refusal::new(format!("{} has no entry `{entry}`", subject(from)), advice).into()
    })
}
