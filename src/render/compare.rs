//! Helpers that compare values and combine conditions.
//!
//! Handlebars' own helpers compare strings by characters, so that `3.9` is greater than `3.10`, and treat a name
//! without a value as false.

use std::cmp::Ordering;

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, JsonTruthy, Output, RenderContext,
    RenderError, ScopedJson,
};
use serde_json::{Number, Value as Json};

use super::block::Call;
use super::parameters::{Refusal, kind, parameter, present, subject};
use crate::matrix::compare_versions;

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
        handlebars.register_helper(name, Box::new(Predicate::Comparison { name, holds }));
    }
    handlebars.register_helper("and", Box::new(Predicate::All));
    handlebars.register_helper("or", Box::new(Predicate::Any));
    handlebars.register_helper("not", Box::new(Predicate::Not));
}

/// A boolean helper. It can be used in a condition, as a block, or as text.
enum Predicate {
    Comparison { name: &'static str, holds: Holds },
    All,
    Any,
    Not,
}

impl Predicate {
    fn holds(&self, helper: &Helper<'_>) -> Result<bool, RenderError> {
        let is_true = |value: &Json| value.is_truthy(false);
        match self {
            Self::Comparison { name, holds } => compare(helper, name, *holds),
            Self::Not => present(parameter(helper, "not", 0)?).map(|value| !is_true(value)),
            // Stops at the first decisive parameter: in `(and gpu cuda)`, `cuda` may have no value.
            Self::All | Self::Any => {
                let ends_with = matches!(self, Self::Any);
                for parameter in helper.params() {
                    if is_true(present(parameter)?) == ends_with {
                        return Ok(ends_with);
                    }
                }
                Ok(!ends_with)
            }
        }
    }
}

impl HelperDef for Predicate {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        state: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let holds = self.holds(helper)?;
        if helper.is_block() {
            Call { helper, registry, context, state, out }.branch(holds)
        } else {
            Ok(out.write(&holds.to_string())?)
        }
    }

    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        self.holds(helper).map(|holds| Json::Bool(holds).into())
    }
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
    let subjects = parameters.map(|parameter| described(&subject(parameter), parameter.value()));
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
        return Err(Refusal::Incomparable { reason, advice }.into());
    }
    let is_version =
        |value: &Json| value.as_str().is_some_and(|text| compare_versions(text, text).is_some());
    let wrong = if is_version(left) { right_text } else { left_text };
    let reason = format!("`{name}` compares versions and numbers, but {wrong} is neither");
    let advice = "compare other values with `eq` and `ne`";
    Err(Refusal::Incomparable { reason, advice }.into())
}

/// Describes a parameter with its value.
fn described(subject: &str, value: &Json) -> String {
    match value {
        Json::String(text) => {
            let text = format!("`\"{}\"`", text.escape_debug());
            if subject.starts_with('`') { format!("{subject} ({text})") } else { text }
        }
        Json::Number(number) if !subject.starts_with('`') => format!("the number `{number}`"),
        Json::Bool(value) if !subject.starts_with('`') => format!("`{value}`"),
        other if subject.starts_with('`') => format!("{subject} ({})", kind(other)),
        other => kind(other).to_owned(),
    }
}

fn compare_numbers(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}
