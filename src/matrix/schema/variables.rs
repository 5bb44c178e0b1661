//! Tables of variables, and where they can also come from.

use std::borrow::Cow;
use std::fmt;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

use super::{AxisEntry, MatrixFile};
use crate::matrix::by_type::by_type;
use crate::matrix::document::tables;
use crate::matrix::spanned::Spanned;

/// A table of template variables.
#[derive(Debug, Default)]
pub struct Variables {
    /// The files with more variables, which override those of this table.
    pub from: Vec<FromTable>,
    pub own: IndexMap<Spanned<String>, Spanned<Variable>>,
}

/// `from` in a table of variables: one or several files of other tools with variables.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct FromTable {
    /// The path of a JSON, TOML or YAML file, relative to this file, such as `versions.json`.
    pub file: Spanned<String>,
    /// The table in the file whose entries are the variables, such as `{{python}}` or `releases.{{python}}`. `{{NAME}}`
    /// is the value of the axis `NAME`. A part that contains a dot is written in quotes. Default: the whole file.
    pub key: Option<Spanned<String>>,
    /// The name of one variable for the value at `key`, which then need not be a table. Default: each entry of the table
    /// is a variable.
    #[serde(rename = "as")]
    pub name: Option<Spanned<String>>,
}

/// A template variable. A float is not accepted, because `3.10` would become 3.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable(pub Json);

tables!(FromTable);

impl MatrixFile {
    /// Returns all tables of variables.
    pub(in crate::matrix) fn variables(&self) -> impl Iterator<Item = &Variables> {
        let listed = self.axes.values().flat_map(|axis| axis.values());
        let of_extras = self.extra.iter().flat_map(|extra| extra.axes.values());
        let of_values = listed.chain(of_extras).filter_map(|entry| match entry.get_ref() {
            AxisEntry::Table(table) => Some(&table.variables),
            AxisEntry::Plain(_) => None,
        });
        std::iter::once(&self.variables)
            .chain(of_values)
            .chain(self.set.iter().map(|set| &set.variables))
            .chain(self.extra.iter().map(|extra| &extra.variables))
            .chain(self.platform.values().map(|platform| &platform.variables))
    }
}

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VariablesVisitor;
        impl<'de> Visitor<'de> for VariablesVisitor {
            type Value = Variables;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a table")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Variables, A::Error> {
                let mut variables = Variables::default();
                while let Some(name) = table.next_key::<Spanned<String>>()? {
                    if name.get_ref() == "from" {
                        let FromEntry(tables) = table.next_value()?;
                        variables.from = tables;
                    } else {
                        variables.own.insert(name, table.next_value()?);
                    }
                }
                Ok(variables)
            }
        }
        deserializer.deserialize_map(VariablesVisitor)
    }
}

/// One table, or an array of tables.
struct FromEntry(Vec<FromTable>);

by_type!(FromEntry, "a table or an array of tables", {
    table: |table| FromEntry(vec![table]),
    list: FromEntry,
});

impl JsonSchema for Variables {
    fn schema_name() -> Cow<'static, str> {
        "Variables".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let from = generator.subschema_for::<FromTable>();
        let several = generator.subschema_for::<Vec<FromTable>>();
        let variable = generator.subschema_for::<Variable>();
        schemars::json_schema!({
            "description": "A table of template variables.",
            "type": "object",
            "properties": { "from": { "anyOf": [from, several] } },
            "additionalProperties": variable,
        })
    }
}

impl<'de> Deserialize<'de> for Variable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VariableVisitor;
        impl<'de> Visitor<'de> for VariableVisitor {
            type Value = Variable;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .write_str("a string, a boolean, an integer, or an array or table of these")
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Variable, E> {
                Ok(Variable(value.into()))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Variable, E> {
                Ok(Variable(value.into()))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Variable, E> {
                Ok(Variable(value.into()))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Variable, E> {
                Ok(Variable(value.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Variable, A::Error> {
                let mut values = Vec::new();
                while let Some(Variable(value)) = list.next_element()? {
                    values.push(value);
                }
                Ok(Variable(values.into()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Variable, A::Error> {
                let mut values = serde_json::Map::new();
                while let Some((key, Variable(value))) = table.next_entry()? {
                    values.insert(key, value);
                }
                Ok(Variable(values.into()))
            }
        }
        deserializer.deserialize_any(VariableVisitor)
    }
}

impl JsonSchema for Variable {
    fn schema_name() -> Cow<'static, str> {
        "Variable".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let nested = generator.subschema_for::<Self>();
        schemars::json_schema!({
            "description": "A string, a boolean, an integer, or an array or table of these.",
            "type": ["string", "boolean", "integer", "array", "object"],
            "items": nested,
            "additionalProperties": nested,
        })
    }
}
