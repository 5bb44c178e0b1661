//! The branch of a release: created, merged with its base, and committed to.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::json;

use super::client::{ApiRequest, GitHub};
use super::commit::{Content, FileEdit, ListedCommit, Message};
use super::error::{GitHubError, GitHubErrorKind};
use super::pull::PullRequest;
use super::tree::{SUBMODULE, SYMBOLIC_LINK, TreeEntry};
use super::{Base, Branch, quoted};
use crate::forge::{FileChange, ReleasePullRequest};
use crate::registry::Retryable as _;

/// The maximum number of steps that update a branch: create, merge, commit, verify, with retries.
const STEPS: usize = 8;

/// The number of commits per page of a comparison.
const PAGE: usize = 100;

/// The maximum number of pages of a comparison.
const MAX_PAGES: usize = 10;

#[derive(Deserialize)]
struct GitRef {
    object: GitObject,
}

#[derive(Deserialize)]
struct GitObject {
    sha: String,
}

/// The maximum number of listed commits of others.
const MAX_FOREIGN: usize = 3;

/// The commits of a branch that its base does not have.
#[derive(Deserialize)]
struct Comparison {
    behind_by: u64,
    total_commits: usize,
    commits: Vec<ListedCommit>,
}

impl GitHub {
    /// Returns the base branch `name`, or the repository's default branch. If the repository was
    /// renamed, its new name is used from then on.
    pub async fn base(&mut self, name: Option<&str>) -> Result<Base, GitHubError> {
        #[derive(Deserialize)]
        struct Repository {
            default_branch: String,
            full_name: String,
        }
        let doing = "look up the base branch";
        let found: Repository = self.request(ApiRequest::get(doing, self.path(""))).await?;
        // Requests with the old name are redirected, and their answers have the new one.
        if let Ok(name) = found.full_name.parse() {
            self.repository = name;
        }
        let branch = name.unwrap_or(&found.default_branch).to_owned();
        let is_default = branch == found.default_branch;
        let doing = format!("look up the branch `{branch}`");
        let head: GitRef = self.request(ApiRequest::get(&doing, self.ref_path(&branch))).await?;
        Ok(Base { branch, head: head.object.sha, is_default })
    }

    /// Returns the text of a file on the base, or `None` if it does not exist.
    pub async fn file(&self, path: &str, base: &Base) -> Result<Option<String>, GitHubError> {
        let Some(content) = self.bytes(path, base).await? else { return Ok(None) };
        let text = String::from_utf8(content);
        text.map(Some).map_err(|_| self.not_a_file("read", path, "not UTF-8"))
    }

    /// Returns the content of a file on the base, or `None` if it does not exist.
    pub async fn bytes(&self, path: &str, base: &Base) -> Result<Option<Vec<u8>>, GitHubError> {
        self.content_at(path, &base.head).await
    }

    /// Returns the entry of the base at a path, or `None` if there is none.
    pub async fn entry(&self, path: &str, base: &Base) -> Result<Option<TreeEntry>, GitHubError> {
        self.entry_at(path, &base.head).await
    }

    /// Returns an error if the path is a symbolic link on the base, which cannot be edited.
    pub async fn require_file(&self, path: &str, base: &Base) -> Result<(), GitHubError> {
        match self.entry(path, base).await? {
            Some(entry) if !entry.is_file() => Err(self.not_a_file("edit", path, SYMBOLIC_LINK)),
            _ => Ok(()),
        }
    }

    /// Returns the content of an entry, which is empty for a submodule.
    pub async fn read(&self, path: &str, entry: &TreeEntry) -> Result<Vec<u8>, GitHubError> {
        if entry.mode == SUBMODULE { Ok(Vec::new()) } else { self.blob(path, &entry.id).await }
    }

    /// Creates or updates the branch of the pull request, so that it is `base` with `changes`. It is
    /// the branch of the matrix' open pull request if there is one. Never force-pushes; commits of
    /// others on the branch are an error.
    pub async fn prepare(
        &self,
        request: &ReleasePullRequest,
        base: &Base,
        changes: &[FileChange],
    ) -> Result<Branch, GitHubError> {
        let pull = self.find_pull_request(request, base).await?;
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

    /// Reads the state of the branch, and takes the next step that is missing.
    async fn step(
        &self,
        name: &str,
        base: &Base,
        changes: &[FileChange],
        message: &Message<'_>,
    ) -> Result<Step, GitHubError> {
        let doing = format!("look up the branch `{name}`");
        let head: Option<GitRef> = self.find(ApiRequest::get(&doing, self.ref_path(name))).await?;
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
                foreign.push(commit.describe(self));
            }
        }
        if !foreign.is_empty() {
            let kind =
                GitHubErrorKind::ForeignCommits { branch: name.to_owned(), commits: foreign };
            return Err(self.error("update the pull request", kind));
        }
        if comparison.behind_by > 0 {
            self.merge(name, &head, base, message).await?;
            return Ok(Step::Taken);
        }
        let files = self.missing_edits(&head, base, changes).await?;
        if files.is_empty() {
            return Ok(Step::Done);
        }
        self.commit(name, &head, message, &files).await?;
        Ok(Step::Taken)
    }

    /// Creates the branch at the head of the base.
    async fn create(&self, name: &str, head: &str) -> Result<(), GitHubError> {
        let doing = format!("create the branch `{name}`");
        let body = json!({ "ref": format!("refs/heads/{name}"), "sha": head });
        match self.send(&ApiRequest::post(&doing, self.path("git/refs"), body)).await {
            // Another run was faster: read the branch again.
            Err(error) if error.status() == Some(422) && error.mentions("already exists") => {
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
            ApiRequest::get(&doing, self.path(&place))
        };
        let mut comparison: Comparison = self.request(page(1)).await?;
        let mut number = 1;
        while comparison.commits.len() < comparison.total_commits && number < MAX_PAGES {
            number += 1;
            let next: Comparison = self.request(page(number)).await?;
            if next.commits.is_empty() {
                break;
            }
            comparison.commits.extend(next.commits);
        }
        Ok(comparison)
    }

    /// Returns the edits that turn the branch into the base with the changes. Files that only an
    /// older release had changed are restored.
    async fn missing_edits(
        &self,
        head: &str,
        base: &Base,
        changes: &[FileChange],
    ) -> Result<Vec<FileEdit>, GitHubError> {
        let mut missing = Vec::new();
        for change in changes {
            let before = self.entry_at(&change.path, &base.head).await?;
            let current = self.entry_at(&change.path, head).await?;
            let mode = change.mode(before.as_ref());
            let after = match (&change.content, &current) {
                (Some(content), Some(current)) if current.has_content(content) => {
                    if current.mode == mode {
                        continue;
                    }
                    Some((mode.to_owned(), Content::Existing(current.id.clone())))
                }
                (Some(content), _) => Some((mode.to_owned(), Content::New(content.clone()))),
                (None, Some(_)) => None,
                (None, None) => continue,
            };
            let (path, mode) = (change.path.clone(), current.map(|entry| entry.mode));
            missing.push(FileEdit { path, after, mode });
        }
        let changed: BTreeSet<&str> = changes.iter().map(|change| &*change.path).collect();
        for (path, (before, current)) in self.diff(&base.head, head).await? {
            if !changed.contains(&*path) {
                let after = before.map(|entry| (entry.mode, Content::Existing(entry.id)));
                missing.push(FileEdit { path, after, mode: current.map(|entry| entry.mode) });
            }
        }
        Ok(missing)
    }

    fn ref_path(&self, branch: &str) -> String {
        self.path(&format!("git/ref/heads/{}", quoted(branch)))
    }
}

/// The result of one step that updates a branch.
enum Step {
    /// The branch is up to date.
    Done,
    /// The branch was changed, and must be read again.
    Taken,
}
