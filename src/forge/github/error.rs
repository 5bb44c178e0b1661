use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::tree::SYMBOLIC_LINK;
use crate::error::{ExitCode, Explain};
use crate::forge::RepositoryName;
use crate::registry::{Retry, Retryable};
use crate::report::format;

/// The hint for errors after which the state on GitHub is unknown.
const RERUN: &str = "rerun the same command: it continues where this run stopped";

/// The purpose of the requests for an App's token.
pub(super) const SIGN_IN: &str = "sign in as a GitHub App";

/// The error of an operation on GitHub. Contains no secrets.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing} in `{repository}`")]
pub struct GitHubError {
    /// The operation, such as `open the pull request`.
    doing: String,
    repository: RepositoryName,
    #[source]
    kind: Box<GitHubErrorKind>,
}

/// The cause of a [`GitHubError`].
#[derive(Debug, thiserror::Error)]
pub enum GitHubErrorKind {
    /// The answer is missing or incomplete; GitHub may have executed the request.
    #[error("`{host}` cannot be reached: {cause}")]
    Unreachable { host: String, cause: String },
    /// An answer with an error status.
    #[error("GitHub answered {status}{message}")]
    Status { status: u16, message: Message },
    /// A rate limit that requests a longer wait than the policy permits.
    #[error("rate limited by GitHub: retry after {}", format::duration(*wait))]
    Throttled { wait: Duration },
    #[error("cannot parse GitHub's answer: {0}")]
    Malformed(String),
    /// The token or the key of the App is invalid.
    #[error("{0}")]
    Credential(String),
    #[error("`{branch}` has commits that basegen did not make: {}", commits.join(", "))]
    ForeignCommits {
        branch: String,
        /// The first of those commits, each with its author.
        commits: Vec<String>,
    },
    /// Another matrix uses the same branch.
    #[error("`{branch}` is the branch of another matrix' pull request, #{number}")]
    SharedBranch { branch: String, number: u64 },
    /// The branch has an open pull request for another base.
    #[error("`{branch}` is the branch of #{number}, which is for `{base}`")]
    OtherBase { branch: String, number: u64, base: String },
    #[error("#{number} already proposes {proposed}, which is newer than {version}")]
    Newer { number: u64, proposed: String, version: String },
    /// The path is not a file that can be read or edited.
    #[error("`{path}` is {what}")]
    NotAFile { path: String, what: &'static str },
    /// The branch was changed by others each time that it was read.
    #[error("`{0}` changes while it is being updated")]
    Unsettled(String),
}

/// GitHub's message about an error: `: message (detail, detail)`, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    pub text: String,
    pub details: Vec<String>,
}

impl fmt::Display for Message {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.text.is_empty() {
            write!(formatter, ": {}", self.text)?;
        }
        if !self.details.is_empty() {
            write!(formatter, " ({})", self.details.join(", "))?;
        }
        Ok(())
    }
}

/// The body of an error.
#[derive(Default, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<serde_json::Value>,
}

impl Refusal {
    /// Returns its message, with each text passed through `clean`.
    pub(super) fn message(&self, clean: impl Fn(&str) -> String) -> Message {
        let detail = |error: &serde_json::Value| {
            let text = |key: &str| error.get(key).and_then(serde_json::Value::as_str);
            match (error.as_str().or(text("message")), text("field"), text("code")) {
                (Some(message), ..) => Some(clean(message)),
                (None, Some(field), Some(code)) => Some(clean(&format!("{field}: {code}"))),
                _ => None,
            }
        };
        let details: Vec<String> = self.errors.iter().filter_map(detail).take(5).collect();
        Message { text: clean(&self.message), details }
    }

    /// Returns true if GraphQL reports a rate limit, which it does with status 200.
    /// <https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api>
    pub(super) fn is_limit(&self) -> bool {
        self.errors.iter().any(|error| {
            let text = |key: &str| error.get(key).and_then(serde_json::Value::as_str);
            let message = text("message").unwrap_or_default().to_ascii_lowercase();
            // `RATE_LIMIT` or `RATE_LIMITED`. A secondary limit has no type.
            let kind = text("type").unwrap_or_default();
            kind.starts_with("RATE_LIMIT") || message.contains("rate limit")
        })
    }
}

impl GitHubError {
    pub(super) fn new(doing: &str, repository: &RepositoryName, kind: GitHubErrorKind) -> Self {
        Self { doing: doing.to_owned(), repository: repository.clone(), kind: Box::new(kind) }
    }

    /// Returns the status of GitHub's answer, if there is one.
    pub(super) fn status(&self) -> Option<u16> {
        match *self.kind {
            GitHubErrorKind::Status { status, .. } => Some(status),
            _ => None,
        }
    }

    /// Returns true if GitHub's message contains `words`, in any case.
    pub(super) fn mentions(&self, words: &str) -> bool {
        let GitHubErrorKind::Status { message, .. } = &*self.kind else { return false };
        message.to_string().to_ascii_lowercase().contains(&words.to_ascii_lowercase())
    }

    /// Returns true if GitHub may have executed the request, or another attempt may succeed.
    pub(super) fn is_unsettled(&self) -> bool {
        match *self.kind {
            GitHubErrorKind::Unreachable { .. } | GitHubErrorKind::Unsettled(_) => true,
            GitHubErrorKind::Status { status, .. } => status >= 500,
            _ => false,
        }
    }

    /// Returns true if only this request was refused, so that others may succeed.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.status(), Some(400 | 403 | 404 | 410 | 422))
    }
}

impl Retryable for GitHubError {
    fn retry(&self) -> Retry {
        if self.is_unsettled() { Retry::Backoff } else { Retry::Never }
    }
}

impl Explain for GitHubError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Forge
    }

    fn hint(&self) -> Option<String> {
        let hint = match &*self.kind {
            GitHubErrorKind::ForeignCommits { branch, .. } => {
                return Some(format!(
                    "merge its pull request, or close it and delete the branch `{branch}`; then \
                     rerun the same command. Nothing was changed"
                ));
            }
            GitHubErrorKind::Throttled { .. } => "rerun the same command after that time",
            GitHubErrorKind::Unreachable { .. } | GitHubErrorKind::Unsettled(_) => RERUN,
            GitHubErrorKind::Status { status, .. } => return self.answer_hint(*status),
            GitHubErrorKind::Credential(_) => {
                "docs/pull-requests.md lists the variables for credentials"
            }
            GitHubErrorKind::SharedBranch { .. } => {
                "give each matrix its own branch: `branch` in `[pull_request]`"
            }
            GitHubErrorKind::OtherBase { .. } => {
                "merge or close it, or choose another name with `branch` in `[pull_request]`"
            }
            GitHubErrorKind::Newer { .. } => "merge it, or close it to propose the older version",
            GitHubErrorKind::NotAFile { what, .. } if *what == SYMBOLIC_LINK => {
                "name the file to which it points"
            }
            GitHubErrorKind::Malformed(_) | GitHubErrorKind::NotAFile { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

impl GitHubError {
    fn answer_hint(&self, status: u16) -> Option<String> {
        let hint = match status {
            401 if self.doing == SIGN_IN => {
                "check that the id of the GitHub App belongs to its private key, and this machine's \
                 clock"
            }
            404 if self.doing == SIGN_IN => {
                "install the GitHub App in the repository, or correct the repository's name"
            }
            422 if self.doing == SIGN_IN => {
                "grant the GitHub App the permissions in docs/pull-requests.md, and accept them in \
                 its installation"
            }
            401 => "create a new token: this one is invalid, expired or revoked",
            _ if self.mentions("not permitted to create or approve pull requests") => {
                "allow it in the settings of the repository, or of its organization: Actions → \
                 General → Workflow permissions → \"Allow GitHub Actions to create and approve \
                 pull requests\"; or use a token of a GitHub App"
            }
            403 | 404 if self.mentions("SAML") => {
                "authorize the token for the organization: Settings → Developer settings → \
                 Personal access tokens → Configure SSO"
            }
            403 if self.mentions("IP allow list") => {
                "allow this machine's address in the organization's IP allow list"
            }
            _ if self.mentions("workflow") && self.mentions("scope") => {
                "grant the token `workflows: write`, which changes to workflow files require"
            }
            403 => {
                "grant the token `contents: write` and `pull-requests: write`; in Actions, with \
                 `permissions:` of the job"
            }
            404 => {
                "check the repository's name, and that the token has access to it: GitHub reports \
                 private repositories as missing to tokens without access"
            }
            409 if self.mentions("empty") => "push a first commit: the repository is empty",
            422 if self.mentions("rule violation") || self.mentions("protected") => {
                "exclude basegen's branches from the repository's ruleset, or choose another name \
                 with `branch` in `[pull_request]`"
            }
            500.. => RERUN,
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
