//! Entries of git trees: modes, ids of contents, and links.

use std::collections::BTreeMap;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use serde::Deserialize;

use crate::forge::FileChange;

/// The git mode of a regular file.
pub(super) const FILE: &str = "100644";

/// The git mode of an executable file.
pub(super) const EXECUTABLE: &str = "100755";

/// The git mode of a submodule.
pub(super) const SUBMODULE: &str = "160000";

/// The git mode of a symbolic link.
pub(super) const LINK: &str = "120000";

/// The git mode of a folder.
const FOLDER: &str = "040000";

/// The fault of a path that is a symbolic link, in errors.
pub(super) const SYMBOLIC_LINK: &str = "a symbolic link";

/// An entry of a commit: its mode, and the id of its content.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TreeEntry {
    pub(super) mode: String,
    #[serde(rename = "sha")]
    pub(super) id: String,
}

impl TreeEntry {
    /// Returns the git mode, such as `100644`, or `100755` for an executable file.
    #[must_use]
    pub fn mode(&self) -> &str {
        &self.mode
    }

    /// Returns true for files, and false for links, folders and submodules.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.mode.starts_with("100")
    }

    pub(super) fn has_content(&self, content: &[u8]) -> bool {
        self.id == blob_id(content)
    }

    pub(super) fn is_folder(&self) -> bool {
        self.mode == FOLDER
    }
}

impl FileChange {
    /// Returns the git mode of the file after the change of `before`.
    #[must_use]
    pub fn mode<'a>(&self, before: Option<&'a TreeEntry>) -> &'a str {
        match (self.executable, before.filter(|entry| entry.is_file())) {
            (Some(true), _) => EXECUTABLE,
            (None, Some(entry)) => &entry.mode,
            _ => FILE,
        }
    }

    /// Returns true if `before` already has the changed content and mode.
    #[must_use]
    pub fn is_applied(&self, before: Option<&TreeEntry>) -> bool {
        match (&self.content, before) {
            (None, None) => true,
            (Some(content), Some(entry)) => {
                entry.mode == self.mode(before) && entry.has_content(content)
            }
            _ => false,
        }
    }
}

/// Returns the git id of a file's content.
pub(super) fn blob_id(content: &[u8]) -> String {
    let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(format!("blob {}\0", content.len()).as_bytes());
    hash.update(content);
    hex::encode(hash.finish())
}

/// Returns the path to which a symbolic link at `path` points, or `None` if that is outside of the
/// repository.
pub(super) fn resolve_link(path: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The entries of a tree by path.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) entries: BTreeMap<String, TreeEntry>,
    /// Whether the content of folders is missing.
    pub(super) is_shallow: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blob_ids_equal_those_of_git() {
        // The output of `git hash-object`.
        assert_eq!(blob_id(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(blob_id(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
    }

    #[test]
    fn links_resolve_within_the_repository() {
        assert_eq!(resolve_link("images/VERSION", "../VERSION").as_deref(), Some("VERSION"));
        assert_eq!(
            resolve_link("README.md", "./docs//README.md").as_deref(),
            Some("docs/README.md")
        );
        assert_eq!(resolve_link("images/a", "b").as_deref(), Some("images/b"));
        assert_eq!(resolve_link("images/a", "../../b"), None);
        assert_eq!(resolve_link("images/a", "/b"), None);
    }

    #[test]
    fn a_change_is_applied_if_content_and_mode_match() {
        let hello = "ce013625030ba8dba906f756967f9e9ca394464a".to_owned();
        let entry = TreeEntry { mode: EXECUTABLE.to_owned(), id: hello };
        let change = |executable| FileChange {
            path: "hello".to_owned(),
            content: Some(b"hello\n".to_vec()),
            executable,
        };
        let is_applied = |change: FileChange| change.is_applied(Some(&entry));
        assert!(is_applied(change(None)) && is_applied(change(Some(true))));
        assert!(!is_applied(change(Some(false))));
        for content in [Some(b"hello".to_vec()), None] {
            assert!(!is_applied(FileChange { content, ..change(None) }));
        }
        assert!(FileChange { content: None, ..change(None) }.is_applied(None));
        assert_eq!(change(None).mode(None), FILE);
        assert_eq!(change(Some(true)).mode(None), EXECUTABLE);
        for mode in [LINK, SUBMODULE, FOLDER] {
            let entry = TreeEntry { mode: mode.to_owned(), ..entry.clone() };
            assert!(!entry.is_file() && !change(None).is_applied(Some(&entry)));
        }
    }
}
