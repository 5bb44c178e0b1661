//! `[publish]`: how a release is published.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

/// `[publish]`: how a release is published.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishTable {
    /// How the release set is written; `artifact` where there is none.
    #[serde(default)]
    pub release_set: ReleaseSetForm,
}

/// How a release set is written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseSetForm {
    /// As an OCI artifact, or as an image where the registry refuses artifacts.
    #[default]
    Artifact,
    /// As an image.
    Image,
    /// Not at all: an older release may then move aliases back, and `basegen status` has nothing to
    /// compare with.
    Off,
}

/// Reads a table, and nothing else: serde takes a list too for a struct, field by field.
pub(super) fn table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PublishTable, D::Error> {
    struct TableVisitor;

    impl<'de> Visitor<'de> for TableVisitor {
        type Value = PublishTable;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a table")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            PublishTable::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_map(TableVisitor)
}
