//! The forge: the pull request that brings a repository in step with a release.
//!
//! [`GitHub`] commits what a release changes in its repository to a branch of its own, and opens a
//! pull request for it or updates its own open one. It does so through the API alone: nobody's
//! working tree is touched, and GitHub signs the commits. Every step begins with what is there,
//! so that a run that died, or an answer that was lost, is made good by the next attempt.
//!
//! `pull_request` is pure text; `repository` knows how remotes are written; `github` is the API.

mod github;
mod pull_request;
mod repository;

pub use github::{
    Access, Base, Branch, GitHub, GitHubError, GitHubErrorKind, GitHubOptions, Opened, Proposal,
    PullRequest, TreeEntry,
};
pub use pull_request::{Body, ImageRow, Notes, RowChange, marked, marker};
use pull_request::{MARKER, merge_body, read_marker};
pub use repository::{Remote, RepositoryName};

use crate::version::Version;

/// A file of the repository, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Its path from the repository's top, with `/` between the parts.
    pub path: String,
    /// All of its content; nothing where the file is removed.
    pub content: Option<Vec<u8>>,
    /// Whether it may be executed; nothing where that stays as it is.
    pub executable: Option<bool>,
}

/// The pull request that brings a repository in step with a release.
#[derive(Debug, Clone)]
pub struct ReleasePullRequest {
    /// The version of the release.
    pub version: Version,
    /// The title, one line; it is the commit's headline too.
    pub title: String,
    /// The text, with its [`marker`].
    pub body: String,
    /// By what an open pull request of this matrix is found again: see [`marker`].
    pub marker: String,
    /// The branch that is made for it, where there is no open one to be updated.
    pub branch: String,
    /// Whether it is opened as a draft; an open one stays what it is.
    pub draft: bool,
    /// Labels; those that the repository does not have yet are made by GitHub.
    pub labels: Vec<String>,
    /// The logins of those who are asked for a review.
    pub reviewers: Vec<String>,
    /// The slugs of the teams that are.
    pub team_reviewers: Vec<String>,
    /// The logins of those it is assigned to.
    pub assignees: Vec<String>,
}
