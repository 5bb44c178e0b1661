//! The files of a commit: what git's trees list, by the ids of their contents.
//!
//! One request lists a whole commit, so that what differs is found without reading a single file.
//! Of a tree that is too large for one answer, only the folders that matter are listed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use serde::Deserialize;

use super::client::{Asked, GitHub};
use super::error::{GitHubError, GitHubErrorKind};
use crate::forge::FileChange;

/// The mode of a file, as git writes it.
pub(super) const FILE: &str = "100644";

/// The mode of a file that may be executed.
pub(super) const EXECUTABLE: &str = "100755";

/// The mode of another repository at one of its commits.
pub(super) const SUBMODULE: &str = "160000";

/// The modes of what else is no file.
const LINK: &str = "120000";
const FOLDER: &str = "040000";

/// How many links are followed, one to the next.
const MAX_LINKS: usize = 8;

/// What a commit has at a path: its mode, and the id of its content.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TreeEntry {
    pub(super) mode: String,
    #[serde(rename = "sha")]
    pub(super) id: String,
}

impl TreeEntry {
    /// Its mode as git writes it: `100644`, and `100755` of a file that may be executed.
    #[must_use]
    pub fn mode(&self) -> &str {
        &self.mode
    }

    /// Whether it is a file, and neither a link nor a submodule.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.mode.starts_with("100")
    }

    /// Whether it has this content.
    pub(super) fn holds(&self, content: &[u8]) -> bool {
        self.id == blob_id(content)
    }

    fn is_folder(&self) -> bool {
        self.mode == FOLDER
    }
}

impl FileChange {
    /// The mode that the file gets, where it is `before` so far: `100644`, or `100755` of a file
    /// that may be executed.
    #[must_use]
    pub fn mode<'a>(&self, before: Option<&'a TreeEntry>) -> &'a str {
        match (self.executable, before.filter(|entry| entry.is_file())) {
            (Some(true), _) => EXECUTABLE,
            (None, Some(entry)) => &entry.mode,
            _ => FILE,
        }
    }

    /// Whether the file is so already, where it is `before` so far.
    #[must_use]
    pub fn is_made(&self, before: Option<&TreeEntry>) -> bool {
        match (&self.content, before) {
            (None, None) => true,
            (Some(content), Some(entry)) => entry.mode == self.mode(before) && entry.holds(content),
            _ => false,
        }
    }
}

/// The id that git gives to a file's content.
pub(super) fn blob_id(content: &[u8]) -> String {
    let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(format!("blob {}\0", content.len()).as_bytes());
    hash.update(content);
    hex::encode(hash.finish())
}

/// Where a link at a path leads to; nothing where that is out of the repository.
fn linked(path: &str, target: &str) -> Option<String> {
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

/// What a tree lists, by paths.
#[derive(Debug, Default)]
pub(super) struct Listing {
    entries: BTreeMap<String, TreeEntry>,
    /// Whether what is below its folders is not listed.
    is_shallow: bool,
}

/// What two commits have at a path, folders left out.
pub(super) type Pair = (Option<TreeEntry>, Option<TreeEntry>);

impl GitHub {
    /// What a commit has at a path; `None` where there is nothing. A folder is an error.
    pub(super) async fn entry_at(
        &self,
        path: &str,
        commit: &str,
    ) -> Result<Option<TreeEntry>, GitHubError> {
        let (mut tree, mut rest) = (commit.to_owned(), path);
        loop {
            let listing = self.listing(&tree).await?;
            if let Some(entry) = listing.entries.get(rest) {
                return match entry.is_folder() {
                    true => Err(self.no_file(path, "a folder")),
                    false => Ok(Some(entry.clone())),
                };
            }
            let above = rest.split_once('/').filter(|_| listing.is_shallow);
            let Some((folder, below)) = above else { return Ok(None) };
            match listing.entries.get(folder).filter(|entry| entry.is_folder()) {
                Some(entry) => (tree, rest) = (entry.id.clone(), below),
                None => return Ok(None),
            }
        }
    }

    /// What a file holds at a commit, or the one that a link there leads to; `None` where there is
    /// none.
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
                    let Some(next) = target.and_then(|target| linked(&place, target)) else {
                        break;
                    };
                    place = next;
                }
                SUBMODULE => return Err(self.no_file(path, "a submodule")),
                _ => return self.blob(&place, &entry.id).await.map(Some),
            }
        }
        Err(self.no_file(path, "a symbolic link out of the repository"))
    }

    fn no_file(&self, path: &str, what: &str) -> GitHubError {
        let kind = GitHubErrorKind::NoFile { path: path.to_owned(), what: what.to_owned() };
        self.error(&format!("read `{path}`"), kind)
    }

    /// The content that has this id, of up to 100 MB.
    pub(super) async fn blob(&self, path: &str, id: &str) -> Result<Vec<u8>, GitHubError> {
        #[derive(Deserialize)]
        struct Blob {
            encoding: String,
            content: String,
        }
        let doing = format!("read `{path}`");
        let place = self.path(&format!("git/blobs/{id}"));
        let mut blob: Blob = self.ask(Asked::get(&doing, place)).await?;
        // It is broken into lines.
        blob.content.retain(|character| !character.is_ascii_whitespace());
        match STANDARD.decode(blob.content) {
            Ok(content) if blob.encoding == "base64" => Ok(content),
            _ => {
                let problem = format!("`{path}` is no base64");
                Err(self.error(&doing, GitHubErrorKind::Malformed(problem)))
            }
        }
    }

    /// The paths at which two commits differ, with what each of them has there.
    pub(super) async fn differing(
        &self,
        one: &str,
        other: &str,
    ) -> Result<BTreeMap<String, Pair>, GitHubError> {
        let mut differing = BTreeMap::new();
        let mut next = vec![(String::new(), Some(one.to_owned()), Some(other.to_owned()))];
        while let Some((above, one, other)) = next.pop() {
            let one = self.optional_listing(one.as_deref()).await?;
            let other = self.optional_listing(other.as_deref()).await?;
            let is_shallow = one.is_shallow || other.is_shallow;
            let paths: BTreeSet<&String> = one.entries.keys().chain(other.entries.keys()).collect();
            // Where one of them tells only what is at the top, folders are looked into one by one.
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
                    differing.insert(format!("{above}{path}"), files);
                }
            }
        }
        Ok(differing)
    }

    async fn optional_listing(&self, tree: Option<&str>) -> Result<Arc<Listing>, GitHubError> {
        match tree {
            Some(tree) => self.listing(tree).await,
            None => Ok(Arc::default()),
        }
    }

    /// What a tree lists, which is asked for once: whatever has its id never changes. `tree` is its
    /// id, or that of a commit.
    async fn listing(&self, tree: &str) -> Result<Arc<Listing>, GitHubError> {
        let known = |known: &mut BTreeMap<String, Arc<Listing>>| known.get(tree).cloned();
        if let Some(listing) = self.with_listings(known) {
            return Ok(listing);
        }
        let (mut entries, is_truncated) = self.list(tree, "?recursive=1").await?;
        if is_truncated {
            let (top, is_truncated) = self.list(tree, "").await?;
            if is_truncated {
                let problem = format!("`{tree}` has more files than it lists");
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
        let tree: Tree = self.ask(Asked::get(&doing, place)).await?;
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
    fn ids_are_those_of_git() {
        // `git hash-object` says so.
        assert_eq!(blob_id(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(blob_id(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
    }

    #[test]
    fn links_lead_to_files_of_the_repository() {
        assert_eq!(linked("images/VERSION", "../VERSION").as_deref(), Some("VERSION"));
        assert_eq!(linked("README.md", "./docs//README.md").as_deref(), Some("docs/README.md"));
        assert_eq!(linked("images/a", "b").as_deref(), Some("images/b"));
        assert_eq!(linked("images/a", "../../b"), None);
        assert_eq!(linked("images/a", "/b"), None);
    }

    #[test]
    fn a_change_is_made_where_content_and_mode_say_so() {
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
