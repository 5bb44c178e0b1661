//! `[publish]`: how a release is published.

use schemars::JsonSchema;
use serde::Deserialize;

use super::document::tables;

/// `[publish]`: how a release is published.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct PublishTable {
    /// The form of the release set in the registry. Default: `artifact`.
    #[serde(default)]
    pub release_set: ReleaseSetForm,
}

/// The form of a release set in a registry.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseSetForm {
    /// An OCI artifact, or an image if the registry rejects artifacts.
    #[default]
    Artifact,
    /// An image.
    Image,
    /// No release set. An older release can then move aliases back, and `basegen status` cannot compare
    /// anything.
    Off,
}

tables!(PublishTable);
