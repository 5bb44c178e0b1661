use serde::Serialize;

use super::Digest;

/// The media type, digest and size of a blob or manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type, such as `application/vnd.oci.image.manifest.v1+json`.
    pub media_type: String,
    pub digest: Digest,
    /// The size of the content in bytes.
    pub size: u64,
}
