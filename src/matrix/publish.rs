//! `[publish]`: how a release is published.

use schemars::JsonSchema;
use serde::Deserialize;

use super::document::tables;

/// `[publish]`: how a release is published.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
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

tables!(PublishTable);
