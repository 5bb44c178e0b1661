//! Helpers that compare values, test versions and combine conditions.
//!
//! Handlebars' own helpers compare strings by characters, so that `3.9` is greater than `3.10`, and treat a name
//! without a value as false.

use std::cmp::Ordering;

use handlebars::{Handlebars, Helper, JsonTruthy as _, PathAndJson, RenderError};
use serde_json::{Number, Value as Json};

use super::function::function;
use super::parameters::{Refusal, kind, parameter, present};
use crate::matrix::{Condition, Value, compare_versions, is_version};

/// Returns whether a comparison is true for an order of two values.
type Holds = fn(Ordering) -> bool;

pub(super) fn register(handlebars: &mut Handlebars<'_>) {
    let comparisons: [(&'static str, Holds); 6] = [
        ("eq", Ordering::is_eq),
        ("ne", Ordering::is_ne),
        ("gt", Ordering::is_gt),
        ("gte", Ordering::is_ge),
        ("lt", Ordering::is_lt),
        ("lte", Ordering::is_le),
    ];
    for (name, holds) in comparisons {
        let helper = function(move |helper, _| compare(helper, name, holds).map(Json::Bool));
        handlebars.register_helper(name, helper);
    }
    handlebars.register_helper("matches", function(|helper, _| matches(helper)));
    handlebars.register_helper("and", function(|helper, _| combine(helper, false)));
    handlebars.register_helper("or", function(|helper, _| combine(helper, true)));
    let not = |value: &Json| Json::Bool(!value.is_truthy(false));
    handlebars.register_helper(
        "not",
        function(move |helper, _| present(parameter(helper, "not", 0)?).map(not)),
    );
}

/// Combines conditions. Stops at the first parameter that equals `decisive`: in `(and gpu cuda)`, `cuda` may have no value.
fn combine(helper: &Helper<'_>, decisive: bool) -> Result<Json, RenderError> {
    for parameter in helper.params() {
        if present(parameter)?.is_truthy(false) == decisive {
            return Ok(Json::Bool(decisive));
        }
    }
    Ok(Json::Bool(!decisive))
}

fn compare(helper: &Helper<'_>, name: &'static str, holds: Holds) -> Result<bool, RenderError> {
    let parameters = [parameter(helper, name, 0)?, parameter(helper, name, 1)?];
    let [left, right] = [present(parameters[0])?, present(parameters[1])?];
    let is_equality = matches!(name, "eq" | "ne");
    let ordering = match (left, right) {
        (Json::String(left), Json::String(right)) => compare_versions(left, right),
        (Json::Number(left), Json::Number(right)) => compare_numbers(left, right),
        _ => None,
    };
    if let Some(ordering) = ordering {
        return Ok(holds(ordering));
    }
    let is_alike = std::mem::discriminant(left) == std::mem::discriminant(right);
    if is_alike && is_equality {
        return Ok((left == right) == (name == "eq"));
    }
    let subjects = parameters.map(described);
    let [left_text, right_text] = &subjects;
    if !is_alike {
        let reason = format!("{left_text} cannot be compared with {right_text}");
        let advice = match [left, right].map(kind) {
            ["a number", "a string"] | ["a string", "a number"] => "put both in quotes, or neither",
            ["`true`" | "`false`", _] | [_, "`true`" | "`false`"] => {
                "write `true` and `false` without quotes"
            }
            _ => "compare values of one type",
        };
        return Err(Refusal::new(reason, Some(advice.to_owned())).into());
    }
    let is_version =
        |value: &Json| value.as_str().is_some_and(|text| compare_versions(text, text).is_some());
    let wrong = if is_version(left) { right_text } else { left_text };
    let reason = format!("`{name}` compares versions and numbers, but {wrong} is neither");
    let advice = "compare other values with `eq` and `ne`";
    Err(Refusal::new(reason, Some(advice.to_owned())).into())
}

/// Returns whether the first parameter meets one of the others, which are conditions as in `when`.
fn matches(helper: &Helper<'_>) -> Result<Json, RenderError> {
    let subject = parameter(helper, "matches", 0)?;
    let value = match present(subject)? {
        Json::String(text) => Value::Text(text.clone()),
        Json::Bool(value) => Value::Bool(*value),
        _ => {
            let reason = format!("{} is neither a string nor a boolean", described(subject));
            return Err(Refusal::new(reason, None).into());
        }
    };
    parameter(helper, "matches", 1)?;
    let mut is_match = false;
    for parameter in &helper.params()[1..] {
        let condition = match present(parameter)? {
            Json::String(text) => Condition::parse(text)
                .map_err(|error| Refusal::new(error.to_string(), Some(RANGE.to_owned())))?,
            Json::Bool(wanted) => Condition::Is(Value::Bool(*wanted)),
            _ => {
                let reason = format!("{} is not a condition", described(parameter));
                return Err(Refusal::new(reason, Some(RANGE.to_owned())).into());
            }
        };
        if let (Condition::Range(_), Value::Text(text)) = (&condition, &value)
            && !is_version(text)
        {
            let reason = format!("{} is not a version", described(subject));
            return Err(Refusal::new(reason, None).into());
        }
        is_match |= condition.admits(&value);
    }
    Ok(Json::Bool(is_match))
}

/// The advice for an invalid condition.
const RANGE: &str = "write a value, or a range such as `>=3.10,<3.13`";

/// Describes a parameter with its value.
fn described(parameter: &PathAndJson<'_>) -> String {
    let value = match parameter.value() {
        Json::String(text) => format!("`\"{}\"`", text.escape_debug()),
        Json::Number(number) if parameter.relative_path().is_none() => {
            format!("the number `{number}`")
        }
        other => kind(other).to_owned(),
    };
    parameter.relative_path().map_or(value.clone(), |name| format!("`{name}` ({value})"))
}

fn compare_numbers(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}
