//! The files of a commit, as git trees list them with the ids of their contents.
//!
//! One request lists a whole commit, so that two commits can be compared without reading files. If a
//! tree is too large for one answer, its folders are listed one by one as they are needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use serde::Deserialize;

use super::client::{ApiRequest, GitHub};
use super::error::{GitHubError, GitHubErrorKind};
use crate::forge::FileChange;

/// The git mode of a regular file.
pub(super) const FILE: &str = "100644";

/// The git mode of an executable file.
pub(super) const EXECUTABLE: &str = "100755";

/// The git mode of a submodule.
pub(super) const SUBMODULE: &str = "160000";

/// The git mode of a symbolic link.
const LINK: &str = "120000";

/// The git mode of a folder.
const FOLDER: &str = "040000";

/// The fault of a path that is a symbolic link, in errors.
pub(super) const SYMBOLIC_LINK: &str = "a symbolic link";

/// The maximum number of links in a chain that are followed.
const MAX_LINKS: usize = 8;

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

    fn is_folder(&self) -> bool {
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
    pub fn is_made(&self, before: Option<&TreeEntry>) -> bool {
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
fn resolve_link(path: &str, target: &str) -> Option<String> {
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
    entries: BTreeMap<String, TreeEntry>,
    /// Whether the content of folders is missing.
    is_shallow: bool,
}

/// The entries of two commits at a path, without folders.
pub(super) type Pair = (Option<TreeEntry>, Option<TreeEntry>);

impl GitHub {
    /// Returns the entry of a commit at a path, or `None` if there is none. A folder is an error.
    pub(super) async fn entry_at(
        &self,
        path: &str,
        commit: &str,
    ) -> Result<Option<TreeEntry>, GitHubError> {
        let (mut tree, mut rest) = (commit.to_owned(), path);
        loop {
            let listing = self.listing(&tree).await?;
            if let Some(entry) = listing.entries.get(rest) {
                if entry.is_folder() {
                    return Err(self.not_a_file("read", path, "a folder"));
                }
                return Ok(Some(entry.clone()));
            }
            let Some((folder, below)) = rest.split_once('/').filter(|_| listing.is_shallow) else {
                return Ok(None);
            };
            match listing.entries.get(folder).filter(|entry| entry.is_folder()) {
                Some(entry) => (tree, rest) = (entry.id.clone(), below),
                None => return Ok(None),
            }
        }
    }

    /// Returns the content of a file at a commit, or `None` if it does not exist. Follows symbolic
    /// links.
    pub(super) async fn content_at(
        &self,
        path: &str,
        commit: &str,
    ) -> Result<Option<Vec<u8>>, GitHubError> {
        let mut place = path.to_owned();
        for _ in 0..MAX_LINKS {
            let Some(entry) = self.entry_at(&place, commit).await? else { return Ok(None) };
            match &*entry.mode {
                LINK => {
                    let target = self.blob(&place, &entry.id).await?;
                    let target = std::str::from_utf8(&target).ok();
                    let Some(next) = target.and_then(|target| resolve_link(&place, target)) else {
                        break;
                    };
                    place = next;
                }
                SUBMODULE => return Err(self.not_a_file("read", path, "a submodule")),
                _ => return self.blob(&place, &entry.id).await.map(Some),
            }
        }
        Err(self.not_a_file("read", path, "a symbolic link out of the repository"))
    }

    pub(super) fn not_a_file(&self, verb: &str, path: &str, what: &'static str) -> GitHubError {
        let kind = GitHubErrorKind::NotAFile { path: path.to_owned(), what };
        self.error(&format!("{verb} `{path}`"), kind)
    }

    /// Fetches the content with this id, of up to 100 MB.
    pub(super) async fn blob(&self, path: &str, id: &str) -> Result<Vec<u8>, GitHubError> {
        #[derive(Deserialize)]
        struct Blob {
            encoding: String,
            content: String,
        }
        let doing = format!("read `{path}`");
        let place = self.path(&format!("git/blobs/{id}"));
        let mut blob: Blob = self.request(ApiRequest::get(&doing, place)).await?;
        // GitHub breaks the base64 into lines.
        blob.content.retain(|character| !character.is_ascii_whitespace());
        match STANDARD.decode(blob.content) {
            Ok(content) if blob.encoding == "base64" => Ok(content),
            _ => {
                let problem = format!("`{path}` is not valid base64");
                Err(self.error(&doing, GitHubErrorKind::Malformed(problem)))
            }
        }
    }

    /// Returns the paths at which two commits differ, with the entries of both.
    pub(super) async fn diff(
        &self,
        one: &str,
        other: &str,
    ) -> Result<BTreeMap<String, Pair>, GitHubError> {
        let mut diff = BTreeMap::new();
        let mut next = vec![(String::new(), Some(one.to_owned()), Some(other.to_owned()))];
        while let Some((above, one, other)) = next.pop() {
            let one = self.optional_listing(one.as_deref()).await?;
            let other = self.optional_listing(other.as_deref()).await?;
            let is_shallow = one.is_shallow || other.is_shallow;
            let paths: BTreeSet<&String> = one.entries.keys().chain(other.entries.keys()).collect();
            // If one listing is shallow, folders are compared one by one.
            for path in paths.into_iter().filter(|path| !is_shallow || !path.contains('/')) {
                let pair = (one.entries.get(path), other.entries.get(path));
                if pair.0 == pair.1 {
                    continue;
                }
                let folder = |entry: Option<&TreeEntry>| {
                    entry.filter(|entry| entry.is_folder()).map(|entry| entry.id.clone())
                };
                let file =
                    |entry: Option<&TreeEntry>| entry.filter(|entry| !entry.is_folder()).cloned();
                let folders = (folder(pair.0), folder(pair.1));
                if is_shallow && folders != (None, None) {
                    next.push((format!("{above}{path}/"), folders.0, folders.1));
                }
                let files = (file(pair.0), file(pair.1));
                if files != (None, None) {
                    diff.insert(format!("{above}{path}"), files);
                }
            }
        }
        Ok(diff)
    }

    async fn optional_listing(&self, tree: Option<&str>) -> Result<Arc<Listing>, GitHubError> {
        match tree {
            Some(tree) => self.listing(tree).await,
            None => Ok(Arc::default()),
        }
    }

    /// Lists a tree, given its id or that of a commit. Listings are cached, because ids are immutable.
    async fn listing(&self, tree: &str) -> Result<Arc<Listing>, GitHubError> {
        let known = |known: &mut BTreeMap<String, Arc<Listing>>| known.get(tree).cloned();
        if let Some(listing) = self.with_listings(known) {
            return Ok(listing);
        }
        let (mut entries, is_truncated) = self.list(tree, "?recursive=1").await?;
        if is_truncated {
            let (top, is_truncated) = self.list(tree, "").await?;
            if is_truncated {
                let problem = format!("the listing of `{tree}` is truncated");
                return Err(self.error("list files", GitHubErrorKind::Malformed(problem)));
            }
            entries = top;
        }
        let listing = Arc::new(Listing { entries, is_shallow: is_truncated });
        self.with_listings(|known| known.insert(tree.to_owned(), Arc::clone(&listing)));
        Ok(listing)
    }

    async fn list(
        &self,
        tree: &str,
        how: &str,
    ) -> Result<(BTreeMap<String, TreeEntry>, bool), GitHubError> {
        #[derive(Deserialize)]
        struct Tree {
            tree: Vec<Item>,
            truncated: bool,
        }
        #[derive(Deserialize)]
        struct Item {
            path: String,
            #[serde(flatten)]
            entry: TreeEntry,
        }
        let short: String = tree.chars().take(7).collect();
        let doing = format!("list the files of {short}");
        let place = self.path(&format!("git/trees/{tree}{how}"));
        let tree: Tree = self.request(ApiRequest::get(&doing, place)).await?;
        let entries = tree.tree.into_iter().map(|item| (item.path, item.entry)).collect();
        Ok((entries, tree.truncated))
    }

    fn with_listings<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Arc<Listing>>) -> T) -> T {
        work(&mut self.listings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blob_ids_are_those_of_git() {
        // As `git hash-object` prints them.
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
        let is_made = |change: FileChange| change.is_made(Some(&entry));
        assert!(is_made(change(None)) && is_made(change(Some(true))));
        assert!(!is_made(change(Some(false))));
        for content in [Some(b"hello".to_vec()), None] {
            assert!(!is_made(FileChange { content, ..change(None) }));
        }
        assert!(FileChange { content: None, ..change(None) }.is_made(None));
        assert_eq!(change(None).mode(None), FILE);
        assert_eq!(change(Some(true)).mode(None), EXECUTABLE);
        for mode in [LINK, SUBMODULE, FOLDER] {
            let entry = TreeEntry { mode: mode.to_owned(), ..entry.clone() };
            assert!(!entry.is_file() && !change(None).is_made(Some(&entry)));
        }
    }
}
