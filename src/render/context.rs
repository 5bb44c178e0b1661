use std::sync::Arc;

/// All that one build sends to the engine: a Dockerfile and the files that it copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildContext {
    /// The rendered Dockerfile.
    pub dockerfile: String,
    /// The name under which errors speak of the Dockerfile, such as `server.Dockerfile`.
    pub dockerfile_name: String,
    /// The files, sorted by path. Variants that copy the same file share its bytes.
    pub files: Vec<ContextFile>,
}

/// One file of a [`BuildContext`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextFile {
    /// Relative to the context's root, with `/` between its parts.
    pub path: String,
    /// Whether it may be executed: it is sent with mode 0755, otherwise 0644.
    pub executable: bool,
    /// Its bytes.
    pub content: Arc<[u8]>,
}
