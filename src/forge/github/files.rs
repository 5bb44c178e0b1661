//! Reads the files of commits.
//!
//! One request lists a whole commit, so that two commits can be compared without reading files. If a
//! tree is too large for one answer, its folders are listed one by one as they are needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::client::{ApiRequest, GitHub};
use super::error::{GitHubError, GitHubErrorKind};
use super::tree::{LINK, Listing, SUBMODULE, TreeEntry, resolve_link};

/// The maximum number of links in a chain that are followed.
const MAX_LINKS: usize = 8;

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
