//! Conditions in `when`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::matrix::by_type::by_type;
use crate::matrix::document::tables;
use crate::matrix::spanned::Spanned;
use crate::matrix::value::Value;

/// The combinations that a table applies to: conditions that must all hold, or an array of alternatives.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum When {
    /// Conditions that must all hold.
    All(ConditionsTable),
    /// Alternatives. The conditions of at least one must hold.
    Any(Vec<Spanned<ConditionsTable>>),
}

/// Conditions by axis. All of them must hold.
pub type ConditionsTable = IndexMap<Spanned<String>, Spanned<ConditionEntry>>;

/// A condition on an axis: a value, a version range such as `>=3.10,<3.13`, a pattern such as `slim-*`, an array of these
/// with at least one match, or `{ not = … }`.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
pub enum ConditionEntry {
    /// One or several values, ranges or patterns.
    Is(AnyOf),
    /// The opposite.
    Not(NotTable),
}

/// A value, a version range or a pattern, or an array of these.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
pub enum AnyOf {
    /// One value, range or pattern.
    One(Value),
    /// Several. At least one must match.
    Several(Vec<Value>),
}

impl AnyOf {
    pub(in crate::matrix) fn values(&self) -> &[Value] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values,
        }
    }
}

/// The opposite of a condition.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct NotTable {
    /// The values, ranges or patterns that must not match.
    pub not: AnyOf,
}

tables!(NotTable);
by_type!(When, "a table or an array of tables", { table: When::All, list: When::Any });
by_type!(ConditionEntry, "a string, a boolean, an array of these, or `{ not = … }`", {
    text: ConditionEntry::Is,
    flag: ConditionEntry::Is,
    list: ConditionEntry::Is,
    table: ConditionEntry::Not,
});
by_type!(AnyOf, "a string, a boolean or an array of these", {
    text: AnyOf::One,
    flag: AnyOf::One,
    list: AnyOf::Several,
});
