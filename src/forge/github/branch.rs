//! The branch of a release: made, caught up with its base, and given the changes.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::json;

use super::client::{Asked, GitHub};
use super::commit::{Content, Listed, Message, Written};
use super::error::{GitHubError, GitHubErrorKind};
use super::pull::PullRequest;
use super::quoted;
use super::tree::{SUBMODULE, TreeEntry};
use crate::forge::{FileChange, ReleasePullRequest};
use crate::registry::Retryable as _;

/// How many steps bring a branch up to date at the most: made, merged, committed to, looked at.
const STEPS: usize = 8;

/// How many commits of a comparison are on a page.
const PAGE: usize = 100;

/// How many pages of commits are read.
const MAX_PAGES: usize = 10;

/// The branch that changes are proposed for, as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Its name.
    pub branch: String,
    /// The id of its newest commit.
    pub head: String,
    /// Whether it is the repository's default branch.
    pub is_default: bool,
}

/// A branch that holds the changes of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Its name.
    pub name: String,
    /// Whether anything was done for it to do so.
    pub is_changed: bool,
}

#[derive(Deserialize)]
struct GitRef {
    object: GitObject,
}

#[derive(Deserialize)]
struct GitObject {
    sha: String,
}

/// How many commits of others are listed.
const MAX_FOREIGN: usize = 3;

/// What a branch has that its base has not.
#[derive(Deserialize)]
struct Comparison {
    behind_by: u64,
    total_commits: usize,
    commits: Vec<Listed>,
}

impl GitHub {
    /// The branch to propose changes for: `name`, or the repository's default branch. A repository
    /// that has another name by now goes by that from then on.
    pub async fn base(&mut self, name: Option<&str>) -> Result<Base, GitHubError> {
        #[derive(Deserialize)]
        struct Repository {
            default_branch: String,
            full_name: String,
        }
        let doing = "look up the base branch";
        let found: Repository = self.ask(Asked::get(doing, self.path(""))).await?;
        // Requests by the old name are redirected; answers have the new one.
        if let Ok(name) = found.full_name.parse() {
            self.repository = name;
        }
        let branch = name.unwrap_or(&found.default_branch).to_owned();
        let is_default = branch == found.default_branch;
        let doing = format!("look up the branch `{branch}`");
        let head: GitRef = self.ask(Asked::get(&doing, self.ref_path(&branch))).await?;
        Ok(Base { branch, head: head.object.sha, is_default })
    }

    /// What a file holds on the base; `None` where there is none.
    pub async fn file(&self, path: &str, base: &Base) -> Result<Option<String>, GitHubError> {
        let content = self.bytes(path, base).await?;
        content
            .map(|content| {
                String::from_utf8(content).map_err(|_| {
                    let (path, what) = (path.to_owned(), "not UTF-8".to_owned());
                    let doing = format!("read `{path}`");
                    self.error(&doing, GitHubErrorKind::NoFile { path, what })
                })
            })
            .transpose()
    }

    /// The same of a file that need not be text.
    pub async fn bytes(&self, path: &str, base: &Base) -> Result<Option<Vec<u8>>, GitHubError> {
        self.content_at(path, &base.head).await
    }

    /// What the base has at a path, without its content; `None` where there is nothing.
    pub async fn entry(&self, path: &str, base: &Base) -> Result<Option<TreeEntry>, GitHubError> {
        self.entry_at(path, &base.head).await
    }

    /// Sees that a file can be edited where it is on the base: a link cannot.
    pub async fn require_file(&self, path: &str, base: &Base) -> Result<(), GitHubError> {
        match self.entry(path, base).await? {
            Some(entry) if !entry.is_file() => {
                let (path, what) = (path.to_owned(), "a symbolic link".to_owned());
                let doing = format!("edit `{path}`");
                Err(self.error(&doing, GitHubErrorKind::NoFile { path, what }))
            }
            _ => Ok(()),
        }
    }

    /// What an entry of a path holds; nothing where it is a submodule.
    pub async fn read(&self, path: &str, entry: &TreeEntry) -> Result<Vec<u8>, GitHubError> {
        match &*entry.mode {
            SUBMODULE => Ok(Vec::new()),
            _ => self.blob(path, &entry.id).await,
        }
    }

    /// Sees to a branch that is `base` with `changes`: that of the open pull request of this
    /// matrix, or one of its own. Nothing is forced, and what somebody else has committed to it
    /// is an error.
    pub async fn prepare(
        &self,
        request: &ReleasePullRequest,
        base: &Base,
        changes: &[FileChange],
    ) -> Result<Branch, GitHubError> {
        let pull = self.find_own(request, base).await?;
        let name = pull.map_or_else(|| request.branch.clone(), PullRequest::into_branch);
        let message = Message { headline: &request.title, version: request.version.as_str() };
        let (mut failures, mut is_changed) = (0, false);
        for _ in 0..STEPS {
            match self.step(&name, base, changes, &message).await {
                Ok(Step::Done) => return Ok(Branch { name, is_changed }),
                Ok(Step::Taken) => is_changed = true,
                Err(error) => {
                    failures += 1;
                    let wait = self.retry.next_wait(failures, error.retry()).ok_or(error)?;
                    tokio::time::sleep(wait).await;
                }
            }
        }
        Err(self.error("update the branch", GitHubErrorKind::Unsettled(name)))
    }

    /// Looks at the branch, and does the next thing that it lacks.
    async fn step(
        &self,
        name: &str,
        base: &Base,
        changes: &[FileChange],
        message: &Message<'_>,
    ) -> Result<Step, GitHubError> {
        let doing = format!("look up the branch `{name}`");
        let head: Option<GitRef> = self.find(Asked::get(&doing, self.ref_path(name))).await?;
        let Some(GitRef { object: GitObject { sha: head } }) = head else {
            self.create(name, &base.head).await?;
            return Ok(Step::Taken);
        };
        let comparison = self.compare(name, &head, base).await?;
        let mut foreign = Vec::new();
        for commit in &comparison.commits {
            if foreign.len() < MAX_FOREIGN
                && !commit.is_ours(&self.host)
                && !self.is_clean_merge(commit).await?
            {
                foreign.push(commit.told(self));
            }
        }
        if !foreign.is_empty() {
            let kind = GitHubErrorKind::Foreign { branch: name.to_owned(), commits: foreign };
            return Err(self.error("update the pull request", kind));
        }
        if comparison.behind_by > 0 {
            self.merge(name, &head, base, message).await?;
            return Ok(Step::Taken);
        }
        let files = self.missing(&head, base, changes).await?;
        if files.is_empty() {
            return Ok(Step::Done);
        }
        self.commit(name, &head, message, &files).await?;
        Ok(Step::Taken)
    }

    /// Makes the branch, on top of the base.
    async fn create(&self, name: &str, head: &str) -> Result<(), GitHubError> {
        let doing = format!("create the branch `{name}`");
        let body = json!({ "ref": format!("refs/heads/{name}"), "sha": head });
        match self.send(&Asked::post(&doing, self.path("git/refs"), body)).await {
            // Somebody was faster: what they made is looked at.
            Err(error) if error.status() == Some(422) && error.says("already exists") => {
                Err(self.error(&doing, GitHubErrorKind::Unsettled(name.to_owned())))
            }
            other => other.map(drop),
        }
    }

    async fn compare(
        &self,
        name: &str,
        head: &str,
        base: &Base,
    ) -> Result<Comparison, GitHubError> {
        let doing = format!("compare the branch `{name}` with `{}`", base.branch);
        let page = |page: usize| {
            let place =
                format!("compare/{}...{head}?per_page={PAGE}&page={page}", quoted(&base.head));
            Asked::get(&doing, self.path(&place))
        };
        let mut comparison: Comparison = self.ask(page(1)).await?;
        let mut number = 1;
        while comparison.commits.len() < comparison.total_commits && number < MAX_PAGES {
            number += 1;
            let next: Comparison = self.ask(page(number)).await?;
            if next.commits.is_empty() {
                break;
            }
            comparison.commits.extend(next.commits);
        }
        Ok(comparison)
    }

    /// What is to be committed, so that the branch is the base with the changes, and no more:
    /// what an older release had changed, and this one does not, goes back to what it was.
    async fn missing(
        &self,
        head: &str,
        base: &Base,
        changes: &[FileChange],
    ) -> Result<Vec<Written>, GitHubError> {
        let mut missing = Vec::new();
        for change in changes {
            let before = self.entry_at(&change.path, &base.head).await?;
            let there = self.entry_at(&change.path, head).await?;
            let mode = change.mode(before.as_ref());
            let becomes = match (&change.content, &there) {
                (Some(content), Some(there)) if there.holds(content) => {
                    if there.mode == mode {
                        continue;
                    }
                    Some((mode.to_owned(), Content::Known(there.id.clone())))
                }
                (Some(content), _) => Some((mode.to_owned(), Content::New(content.clone()))),
                (None, Some(_)) => None,
                (None, None) => continue,
            };
            let (path, mode) = (change.path.clone(), there.map(|entry| entry.mode));
            missing.push(Written { path, becomes, mode });
        }
        let changed: BTreeSet<&str> = changes.iter().map(|change| &*change.path).collect();
        for (path, (before, there)) in self.differing(&base.head, head).await? {
            if !changed.contains(&*path) {
                let becomes = before.map(|entry| (entry.mode, Content::Known(entry.id)));
                missing.push(Written { path, becomes, mode: there.map(|entry| entry.mode) });
            }
        }
        Ok(missing)
    }

    fn ref_path(&self, branch: &str) -> String {
        self.path(&format!("git/ref/heads/{}", quoted(branch)))
    }
}

/// What became of a look at the branch.
enum Step {
    /// It is as it should be.
    Done,
    /// Something was done, and it is to be looked at again.
    Taken,
}
