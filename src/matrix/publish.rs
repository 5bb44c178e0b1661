//! `[publish]`: how a release is published.

use schemars::JsonSchema;
use serde::Deserialize;

use super::checker::Checker;
use super::document::tables;
use super::spanned::Spanned;

/// `[publish]`: how a release is published.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct PublishTable {
    /// The name of the matrix among those whose first images are in the same repository: letters, digits, `.` and `_`. It is
    /// part of the tags of release sets.
    pub name: Option<Spanned<String>>,
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

/// The maximum length of a name.
const MAX_NAME: usize = 32;

impl Checker<'_> {
    /// Validates the name. A dash in it could end one name and begin a version.
    pub(super) fn publish(&mut self, table: &PublishTable) {
        let Some(name) = &table.name else { return };
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_word) {
            let message = format!("`{}` is not a valid name of a matrix", name.escape_debug());
            let label = "expected 1 to 32 letters, digits, `.` and `_`";
            self.report(name.span(), message, label);
        }
    }
}
