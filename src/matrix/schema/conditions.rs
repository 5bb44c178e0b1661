//! Conditions in `when`.

use std::fmt;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::matrix::document::tables;
use crate::matrix::spanned::Spanned;
use crate::matrix::value::Value;

/// Conditions on axes. All of them must hold.
pub type When = IndexMap<Spanned<String>, Spanned<ConditionEntry>>;

/// A condition on an axis: a value, a version range such as `>=3.10,<3.13`, a pattern such as `slim-*`, an array of these
/// with at least one match, or `{ not = … }`.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
pub enum ConditionEntry {
    /// One or several values, ranges or patterns.
    Is(Alternatives),
    /// The opposite.
    Not(NotTable),
}

/// A value, a version range or a pattern, or an array of these.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
pub enum Alternatives {
    /// One value, range or pattern.
    One(Value),
    /// Several. At least one must match.
    Any(Vec<Value>),
}

impl Alternatives {
    pub(in crate::matrix) fn values(&self) -> &[Value] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Any(values) => values,
        }
    }
}

/// The opposite of a condition.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct NotTable {
    /// The values, ranges or patterns that must not match.
    pub not: Alternatives,
}

tables!(NotTable);

impl<'de> Deserialize<'de> for Alternatives {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AlternativesVisitor;
        impl<'de> Visitor<'de> for AlternativesVisitor {
            type Value = Alternatives;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string, a boolean or an array of these")
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Alternatives, E> {
                Ok(Alternatives::One(Value::Bool(value)))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Alternatives, E> {
                Ok(Alternatives::One(Value::Text(value.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Alternatives, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Alternatives::Any)
            }
        }
        deserializer.deserialize_any(AlternativesVisitor)
    }
}

impl<'de> Deserialize<'de> for ConditionEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ConditionVisitor;
        impl<'de> Visitor<'de> for ConditionVisitor {
            type Value = ConditionEntry;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string, a boolean, an array of these, or `{ not = … }`")
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<ConditionEntry, E> {
                Ok(ConditionEntry::Is(Alternatives::One(Value::Bool(value))))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<ConditionEntry, E> {
                Ok(ConditionEntry::Is(Alternatives::One(Value::Text(value.to_owned()))))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<ConditionEntry, A::Error> {
                Alternatives::deserialize(SeqAccessDeserializer::new(list)).map(ConditionEntry::Is)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ConditionEntry, A::Error> {
                NotTable::deserialize(MapAccessDeserializer::new(map)).map(ConditionEntry::Not)
            }
        }
        deserializer.deserialize_any(ConditionVisitor)
    }
}
