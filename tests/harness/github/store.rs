//! The state of a repository on GitHub: commits, branches and pull requests.

use std::collections::{BTreeMap, BTreeSet};

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

/// Files by their paths.
pub type Tree = BTreeMap<String, File>;

/// A file with its git mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub mode: String,
    pub content: Vec<u8>,
}

impl File {
    pub fn new(mode: &str, content: &[u8]) -> Self {
        Self { mode: mode.to_owned(), content: content.to_vec() }
    }

    /// Returns a file that is not executable.
    pub fn plain(content: &[u8]) -> Self {
        Self::new("100644", content)
    }
}

#[derive(Debug, Clone)]
pub struct Commit {
    pub sha: String,
    pub parents: Vec<String>,
    pub tree: Tree,
    pub message: String,
    pub author: String,
    pub committer: String,
    pub email: String,
}

#[derive(Debug, Clone, Default)]
pub struct PullRequest {
    pub number: u64,
    pub title: String,
    pub body: String,
    pub head: String,
    pub base: String,
    pub author: String,
    pub is_open: bool,
    pub is_draft: bool,
    /// The repository that the branch is in, where it is a fork.
    pub fork: Option<String>,
    pub labels: Vec<String>,
    pub reviewers: Vec<String>,
    pub teams: Vec<String>,
    pub assignees: Vec<String>,
    pub completed_reviews: Vec<String>,
}

#[derive(Debug, Default)]
pub struct Store {
    pub default_branch: String,
    pub branches: BTreeMap<String, String>,
    pub commits: BTreeMap<String, Commit>,
    /// Trees and blobs that requests have created, by their ids.
    pub trees: BTreeMap<String, Tree>,
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// The maximum number of entries in the listing of a tree.
    pub max_tree_entries: Option<usize>,
    pub pulls: Vec<PullRequest>,
    pub labels: BTreeSet<String>,
    pub collaborators: BTreeSet<String>,
    pub teams: BTreeSet<String>,
    pub has_drafts: bool,
    /// The permissions of the App's newest token.
    pub token_permissions: serde_json::Value,
    /// Whether a setting forbids pull requests by the token of Actions.
    pub forbids_actions_pull_requests: bool,
}

/// A merge conflict.
pub struct Conflict;

impl Store {
    /// Adds a commit and returns its id. `signature` is author, committer and the committer's email.
    pub fn commit(
        &mut self,
        parents: &[String],
        tree: Tree,
        message: &str,
        signature: [&str; 3],
    ) -> String {
        let [author, committer, email] = signature;
        let text = format!("{parents:?}{}{message}{author}{committer}", tree_id(&tree));
        let sha = id([text.as_bytes()]);
        let commit = Commit {
            sha: sha.clone(),
            parents: parents.to_vec(),
            tree,
            message: message.to_owned(),
            author: author.to_owned(),
            committer: committer.to_owned(),
            email: email.to_owned(),
        };
        self.commits.insert(sha.clone(), commit);
        sha
    }

    /// Returns the commit id of a branch name or commit id.
    pub fn resolve(&self, name: &str) -> Option<String> {
        let name = name.trim_start_matches("refs/heads/");
        self.branches
            .get(name)
            .cloned()
            .or_else(|| self.commits.contains_key(name).then(|| name.to_owned()))
    }

    pub fn tree(&self, commit: &str) -> &Tree {
        &self.commits[commit].tree
    }

    /// Returns the tree with an id: that of a commit, of a tree, or of a folder in one.
    pub fn find_tree(&self, name: &str) -> Option<Tree> {
        if let Some(commit) = self.commits.get(name) {
            return Some(commit.tree.clone());
        }
        if let Some(tree) = self.trees.get(name) {
            return Some(tree.clone());
        }
        let of_commit = |commit: &Commit| {
            let all = std::iter::once(commit.tree.clone());
            let folders = folders(&commit.tree);
            all.chain(folders.into_iter().map(|path| subtree(&commit.tree, &path)))
                .find(|tree| tree_id(tree) == name)
        };
        self.commits.values().find_map(of_commit)
    }

    /// Returns the content with a blob id.
    pub fn blob(&self, id: &str) -> Option<Vec<u8>> {
        let mut files = self.commits.values().flat_map(|commit| commit.tree.values());
        let file = files.find(|file| blob_id(&file.content) == id);
        file.map(|file| file.content.clone()).or_else(|| self.blobs.get(id).cloned())
    }

    /// Returns a commit and its ancestors.
    pub fn history(&self, commit: &str) -> BTreeSet<String> {
        let (mut seen, mut next) = (BTreeSet::new(), vec![commit.to_owned()]);
        while let Some(sha) = next.pop() {
            next.extend(self.commits[&sha].parents.iter().cloned());
            seen.insert(sha);
        }
        seen
    }

    /// Returns the commits of `head` that `base` does not contain, oldest first.
    pub fn commits_ahead(&self, base: &str, head: &str) -> Vec<&Commit> {
        let known = self.history(base);
        let mut ahead: Vec<&Commit> =
            self.history(head).difference(&known).map(|sha| &self.commits[sha]).collect();
        ahead.sort_by_key(|commit| self.history(&commit.sha).len());
        ahead
    }

    /// Returns the best common ancestor.
    pub fn merge_base(&self, one: &str, other: &str) -> String {
        let (one, other) = (self.history(one), self.history(other));
        let both = one.intersection(&other);
        both.max_by_key(|sha| self.history(sha).len()).expect("one root").clone()
    }

    /// Returns the paths whose files differ between two commits.
    pub fn changed_paths(&self, one: &str, other: &str) -> Vec<String> {
        let (one, other) = (self.tree(one), self.tree(other));
        let paths: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
        paths.into_iter().filter(|path| one.get(*path) != other.get(*path)).cloned().collect()
    }

    /// Returns the merged tree of two commits.
    pub fn merge(&self, one: &str, other: &str) -> Result<Tree, Conflict> {
        let base = self.merge_base(one, other);
        let mut tree = self.tree(one).clone();
        for path in self.changed_paths(&base, other) {
            let (before, theirs) = (self.tree(&base).get(&path), self.tree(other).get(&path));
            if tree.get(&path) != before && tree.get(&path) != theirs {
                return Err(Conflict);
            }
            match theirs {
                Some(file) => drop(tree.insert(path, file.clone())),
                None => drop(tree.remove(&path)),
            }
        }
        Ok(tree)
    }

    /// Returns the open pull request from a branch of the repository.
    pub fn open_pull_from(&self, branch: &str) -> Option<&PullRequest> {
        self.pulls.iter().find(|pull| pull.is_open && pull.fork.is_none() && pull.head == branch)
    }
}

pub fn tree_id(tree: &Tree) -> String {
    id(tree.iter().flat_map(|(path, file)| [path.as_bytes(), file.mode.as_bytes(), &file.content]))
}

/// Returns the id that git gives a blob.
pub fn blob_id(content: &[u8]) -> String {
    let whole = [format!("blob {}\0", content.len()).as_bytes(), content].concat();
    hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &whole))
}

/// Returns the paths of all folders of a tree.
pub fn folders(tree: &Tree) -> BTreeSet<String> {
    let parents = |path: &String| {
        let ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        ends.into_iter().map(|end| path[..end].to_owned()).collect::<Vec<_>>()
    };
    tree.keys().flat_map(parents).collect()
}

/// Returns the tree of a folder, with paths relative to it.
pub fn subtree(tree: &Tree, folder: &str) -> Tree {
    let inner = |path: &String| Some(path.strip_prefix(folder)?.strip_prefix('/')?.to_owned());
    tree.iter().filter_map(|(path, file)| Some((inner(path)?, file.clone()))).collect()
}

/// Returns a hash of `parts` in the format of git's ids. Uses ring because it is fast without compiler optimization.
fn id<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Context::new(&SHA256);
    for part in parts {
        hash.update(&part.len().to_le_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finish().as_ref()[..20])
}
