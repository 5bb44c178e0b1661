use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the layers of an image are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompressionAlgorithm {
    /// Faster to make and to unpack, and smaller, than gzip; needs Docker 23 or containerd 1.5 to pull.
    #[default]
    Zstd,
    /// What every client can pull.
    Gzip,
    /// gzip that a lazy-pulling snapshotter can read file by file.
    Estargz,
    /// None.
    Uncompressed,
}

/// An algorithm and its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Compression {
    /// The algorithm.
    pub algorithm: CompressionAlgorithm,
    /// The level on the algorithm's own scale: 0 to 22 for zstd, 0 to 9 for gzip and
    /// estargz. The engine's default where it is `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<u8>,
}
