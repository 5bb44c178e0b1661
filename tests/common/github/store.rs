//! What a repository on GitHub has: commits, branches, pull requests.

use std::collections::{BTreeMap, BTreeSet};

use basegen::image::Digest;

/// Files by their paths.
pub type Tree = BTreeMap<String, Vec<u8>>;

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
pub struct Pull {
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
    pub reviewed: Vec<String>,
}

#[derive(Debug, Default)]
pub struct Store {
    pub default_branch: String,
    pub branches: BTreeMap<String, String>,
    pub commits: BTreeMap<String, Commit>,
    pub pulls: Vec<Pull>,
    pub labels: BTreeSet<String>,
    pub collaborators: BTreeSet<String>,
    pub teams: BTreeSet<String>,
    pub has_drafts: bool,
    /// Whether a setting keeps Actions' token from opening pull requests.
    pub refuses_actions: bool,
}

/// A merge that cannot be made by itself.
pub struct Conflict;

impl Store {
    /// Adds a commit, and gives its id.
    pub fn commit(
        &mut self,
        parents: &[String],
        tree: Tree,
        message: &str,
        who: [&str; 3],
    ) -> String {
        let [author, committer, email] = who;
        let text = format!("{parents:?}{}{message}{author}{committer}", tree_id(&tree));
        let sha = id(&text);
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

    /// The id of the commit that a branch's name or a commit's id means.
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

    /// A commit and all that it is built on.
    pub fn history(&self, commit: &str) -> BTreeSet<String> {
        let (mut seen, mut next) = (BTreeSet::new(), vec![commit.to_owned()]);
        while let Some(sha) = next.pop() {
            next.extend(self.commits[&sha].parents.iter().cloned());
            seen.insert(sha);
        }
        seen
    }

    /// The commits that `head` has and `base` has not, oldest first.
    pub fn ahead(&self, base: &str, head: &str) -> Vec<&Commit> {
        let known = self.history(base);
        let mut ahead: Vec<&Commit> =
            self.history(head).difference(&known).map(|sha| &self.commits[sha]).collect();
        ahead.sort_by_key(|commit| self.history(&commit.sha).len());
        ahead
    }

    /// What both are built on.
    pub fn common(&self, one: &str, other: &str) -> String {
        let (one, other) = (self.history(one), self.history(other));
        let both = one.intersection(&other);
        both.max_by_key(|sha| self.history(sha).len()).expect("one root").clone()
    }

    /// The paths that differ.
    pub fn differing(&self, one: &str, other: &str) -> Vec<String> {
        let (one, other) = (self.tree(one), self.tree(other));
        let paths: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
        paths.into_iter().filter(|path| one.get(*path) != other.get(*path)).cloned().collect()
    }

    /// The files of two commits, joined.
    pub fn merged(&self, one: &str, other: &str) -> Result<Tree, Conflict> {
        let base = self.common(one, other);
        let mut tree = self.tree(one).clone();
        for path in self.differing(&base, other) {
            let (before, theirs) = (self.tree(&base).get(&path), self.tree(other).get(&path));
            if tree.get(&path) != before && tree.get(&path) != theirs {
                return Err(Conflict);
            }
            match theirs {
                Some(content) => drop(tree.insert(path, content.clone())),
                None => drop(tree.remove(&path)),
            }
        }
        Ok(tree)
    }

    /// The open pull request from a branch.
    pub fn open_from(&self, branch: &str) -> Option<&Pull> {
        self.pulls.iter().find(|pull| pull.is_open && pull.fork.is_none() && pull.head == branch)
    }
}

/// The id of a tree.
pub fn tree_id(tree: &Tree) -> String {
    id(&format!("{tree:?}"))
}

/// An id in git's form.
fn id(text: &str) -> String {
    Digest::of(text.as_bytes()).hex()[..40].to_owned()
}
