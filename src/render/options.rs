use std::collections::BTreeMap;
use std::sync::Arc;

use super::upstream::Upstream;

/// The options of a build that change the meaning of its Dockerfile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DockerfileOptions {
    /// The build arguments, by the name in `ARG`.
    pub arguments: BTreeMap<String, String>,
    /// The stage that is the image; `None` is the last.
    pub target: Option<String>,
    /// The named contexts, by the name in `FROM`, `--from` and mounts.
    pub contexts: BTreeMap<String, NamedContext>,
}

/// A context that a Dockerfile uses by name, like a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// Files of a folder, sorted by path.
    Files(Vec<ContextFile>),
    Image(Upstream),
}

/// A file of a build context.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContextFile {
    /// The path relative to the root of the context, with `/` as separator.
    pub path: String,
    /// Whether the file is executable.
    pub executable: bool,
    /// Whether it is a symbolic link. Its content is then the path that it points to.
    pub is_link: bool,
    pub content: Arc<[u8]>,
}

impl ContextFile {
    /// Returns the mode: 0755, 0644, or for a symbolic link that of git, 0120000.
    #[must_use]
    pub fn mode(&self) -> u16 {
        match (self.is_link, self.executable) {
            (true, _) => 0o120_000,
            (false, true) => 0o755,
            (false, false) => 0o644,
        }
    }
}
