use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The compression algorithm of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompressionAlgorithm {
    /// Faster and smaller than gzip. Pulling needs Docker 23 or containerd 1.5.
    #[default]
    Zstd,
    /// Supported by every client.
    Gzip,
    /// gzip for snapshotters that pull single files lazily.
    Estargz,
    /// No compression.
    Uncompressed,
}

/// A compression algorithm and its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Compression {
    pub algorithm: CompressionAlgorithm,
    /// The level: 0 to 22 for zstd, 0 to 9 for gzip and estargz. `None` is the default of the engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<u8>,
    /// Whether the layers of base images are compressed again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}
