//! The pull request of a release on GitHub.
//!
//! [`GitHub`] commits the changes of a release to a branch, and opens or updates a pull request. It
//! only uses the API: the working tree is not touched, and GitHub signs the commits. Every step first
//! reads the current state, so that the next run completes one that was interrupted.
//!
//! `github` is the client, `pull_request` generates the text, `marker` recognises it in an open pull
//! request, and `repository` parses the URLs of remotes.

mod github;
mod marker;
mod pull_request;
mod repository;

pub use github::{
    Access, Base, Branch, GitHub, GitHubError, GitHubErrorKind, GitHubOptions, Opened, Proposal,
    PullRequest, TreeEntry,
};
pub use marker::{marker, marker_with_version};
pub use pull_request::{Body, ImageRow, Notes, RowChange};
pub use repository::{Remote, RepositoryName};

use crate::version::Version;

/// A change of one file of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// The path below the root of the repository, separated by `/`.
    pub path: String,
    /// The new content, or `None` to remove the file.
    pub content: Option<Vec<u8>>,
    /// Whether the file is executable, or `None` to keep that.
    pub executable: Option<bool>,
}

/// The content and options of the pull request of a release.
#[derive(Debug, Clone)]
pub struct ReleasePullRequest {
    pub version: Version,
    /// The title, one line, which is also the headline of the commit.
    pub title: String,
    /// The text, with its [`marker`].
    pub body: String,
    /// The [`marker`] by which an open pull request of this matrix is recognised.
    pub marker: String,
    /// The branch to create if there is no open pull request.
    pub branch: String,
    /// Whether to open it as a draft. An open pull request is not changed.
    pub draft: bool,
    /// Labels, which GitHub creates if the repository lacks them.
    pub labels: Vec<String>,
    /// The logins of users from whom reviews are requested.
    pub reviewers: Vec<String>,
    /// The slugs of teams from which reviews are requested.
    pub team_reviewers: Vec<String>,
    /// The logins of its assignees.
    pub assignees: Vec<String>,
}
