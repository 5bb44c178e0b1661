use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::error::{ExitCode, Explain};
use crate::forge::RepositoryName;
use crate::registry::{Retry, Retryable};
use crate::report::format;

/// What is being done while an App asks for its token.
pub(super) const SIGN_IN: &str = "sign in as a GitHub App";

/// Why GitHub did not do what it was asked. Holds no secret.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing} in `{repository}`")]
pub struct GitHubError {
    /// What was being done, behind "failed to" and before "in".
    doing: String,
    repository: RepositoryName,
    #[source]
    kind: Box<GitHubErrorKind>,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum GitHubErrorKind {
    /// No answer came, or not all of it; what was asked may be done.
    #[error("`{host}` cannot be reached: {cause}")]
    Unreachable {
        /// Whom was spoken to.
        host: String,
        /// What the connection said.
        cause: String,
    },
    /// It answered with a refusal or a failure.
    #[error("GitHub answered {status}{told}")]
    Answer {
        /// The HTTP status.
        status: u16,
        /// What it said.
        told: Told,
    },
    /// It wants to be left alone for longer than is waited.
    #[error("GitHub's rate limit is used up: it asks to wait for {}", format::duration(*wait))]
    Throttled {
        /// How long.
        wait: Duration,
    },
    /// It answered with something else than its description says.
    #[error("GitHub's answer cannot be read: {0}")]
    Malformed(String),
    /// The token, or the key of the App, cannot be used.
    #[error("{0}")]
    Credential(String),
    /// Somebody else has committed to the branch.
    #[error("`{branch}` has commits that basegen did not make: {}", commits.join(", "))]
    Foreign {
        /// The branch.
        branch: String,
        /// The first of those commits, each with its author.
        commits: Vec<String>,
    },
    /// Another matrix proposes its releases from the same branch.
    #[error("`{branch}` is the branch of another matrix' pull request, #{number}")]
    Shared {
        /// The branch.
        branch: String,
        /// The number of its pull request.
        number: u64,
    },
    /// The branch has an open pull request for another base.
    #[error("`{branch}` is the branch of #{number}, which is for `{base}`")]
    OtherBase {
        /// The branch.
        branch: String,
        /// The number of its pull request.
        number: u64,
        /// The base of that.
        base: String,
    },
    /// An open pull request of the matrix is ahead of the release.
    #[error("#{number} proposes {there} already, which is newer than {version}")]
    Newer {
        /// Its number.
        number: u64,
        /// The version that it proposes.
        there: String,
        /// The version of the release.
        version: String,
    },
    /// The file is there, and is nothing that can be edited.
    #[error("`{path}` is {what} there")]
    NoFile {
        /// The path.
        path: String,
        /// What it is.
        what: String,
    },
    /// The branch changed each time that it was looked at.
    #[error("`{0}` changes while it is being updated")]
    Unsettled(String),
}

/// What GitHub says of a failure: `: message (detail, detail)`, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The message.
    pub message: String,
    /// The single problems.
    pub details: Vec<String>,
}

impl fmt::Display for Told {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.message.is_empty() {
            write!(formatter, ": {}", self.message)?;
        }
        match self.details.is_empty() {
            true => Ok(()),
            false => write!(formatter, " ({})", self.details.join(", ")),
        }
    }
}

/// An error as GitHub writes it.
#[derive(Default, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<serde_json::Value>,
}

impl Refusal {
    /// The texts of it, each passed through `clean`.
    pub(super) fn told(&self, clean: impl Fn(&str) -> String) -> Told {
        let detail = |error: &serde_json::Value| {
            let text = |key: &str| error.get(key).and_then(serde_json::Value::as_str);
            match (error.as_str().or(text("message")), text("field"), text("code")) {
                (Some(message), ..) => Some(clean(message)),
                (None, Some(field), Some(code)) => Some(clean(&format!("{field}: {code}"))),
                _ => None,
            }
        };
        let details: Vec<String> = self.errors.iter().filter_map(detail).take(5).collect();
        Told { message: clean(&self.message), details }
    }

    /// Whether GraphQL says so that a rate limit is used up: the status is that of a success.
    /// <https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api>
    pub(super) fn is_limit(&self) -> bool {
        self.errors.iter().any(|error| {
            let text = |key: &str| error.get(key).and_then(serde_json::Value::as_str);
            let message = text("message").unwrap_or_default().to_ascii_lowercase();
            // `RATE_LIMIT` or `RATE_LIMITED`; a secondary limit has no type.
            let kind = text("type").unwrap_or_default();
            kind.starts_with("RATE_LIMIT") || message.contains("rate limit")
        })
    }
}

impl GitHubError {
    pub(super) fn new(doing: &str, repository: &RepositoryName, kind: GitHubErrorKind) -> Self {
        Self { doing: doing.to_owned(), repository: repository.clone(), kind: Box::new(kind) }
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &GitHubErrorKind {
        &self.kind
    }

    /// The status that GitHub answered with, if it did.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match *self.kind {
            GitHubErrorKind::Answer { status, .. } => Some(status),
            _ => None,
        }
    }

    /// Whether GitHub said something with `words` in it.
    pub(super) fn says(&self, words: &str) -> bool {
        let GitHubErrorKind::Answer { told, .. } = &*self.kind else { return false };
        told.to_string().to_ascii_lowercase().contains(&words.to_ascii_lowercase())
    }

    /// Whether it is unknown what was done, or another attempt may do it: everything is looked
    /// at anew then.
    pub(super) fn is_unsettled(&self) -> bool {
        match *self.kind {
            GitHubErrorKind::Unreachable { .. } | GitHubErrorKind::Unsettled(_) => true,
            GitHubErrorKind::Answer { status, .. } => status >= 500,
            _ => false,
        }
    }

    /// Whether it is the one thing that was refused, and nothing that hinders the others.
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
            GitHubErrorKind::Foreign { branch, .. } => {
                return Some(format!(
                    "it was left as it is. Merge its pull request, or close it and delete the \
                     branch `{branch}`, and run the same again"
                ));
            }
            GitHubErrorKind::Throttled { .. } => "run the same again then: nothing is done twice",
            GitHubErrorKind::Unreachable { .. } | GitHubErrorKind::Unsettled(_) => {
                "run the same again: what was done is found, and nothing is done twice"
            }
            GitHubErrorKind::Answer { status, .. } => return self.answer_hint(*status),
            GitHubErrorKind::Credential(_) => {
                "docs/pull-requests.md tells which variables are read"
            }
            GitHubErrorKind::Shared { .. } => {
                "give each matrix a branch of its own: `branch` in `[pull_request]`"
            }
            GitHubErrorKind::OtherBase { .. } => {
                "it was left as it is. Merge or close it, or choose another name with `branch` in \
                 `[pull_request]`"
            }
            GitHubErrorKind::Newer { .. } => {
                "it was left as it is. Merge it, or close it to propose the older version"
            }
            GitHubErrorKind::NoFile { what, .. } if what == "a symbolic link" => {
                "it was left as it is. Name the file that it leads to"
            }
            GitHubErrorKind::Malformed(_) | GitHubErrorKind::NoFile { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

impl GitHubError {
    fn answer_hint(&self, status: u16) -> Option<String> {
        let hint = match status {
            401 if self.doing == SIGN_IN => {
                "the id of the GitHub App is not the one of its private key, or the clock of this \
                 machine is wrong"
            }
            404 if self.doing == SIGN_IN => {
                "the GitHub App is not installed in the repository, or the name is wrong"
            }
            422 if self.doing == SIGN_IN => {
                "grant the GitHub App the permissions of docs/pull-requests.md, and accept them in its installation"
            }
            401 => "the token is wrong, expired or revoked",
            _ if self.says("not permitted to create or approve pull requests") => {
                "allow it in the settings of the repository, or of its organization: Actions → \
                 General → Workflow permissions → \"Allow GitHub Actions to create and approve \
                 pull requests\"; or use a token of a GitHub App"
            }
            403 | 404 if self.says("SAML") => {
                "authorize the token for the organization: Settings → Developer settings → \
                 Personal access tokens → Configure SSO"
            }
            403 if self.says("IP allow list") => {
                "the organization allows only some addresses to use its API; this is none of them"
            }
            _ if self.says("workflow") && self.says("scope") => {
                "the token needs the permission `workflows: write` to change files of workflows"
            }
            403 => {
                "the token needs `contents: write` and `pull-requests: write`; under Actions, \
                 they stand below `permissions:` of the job"
            }
            404 => {
                "either the name is wrong, or the token cannot see it: a private repository looks \
                 to a token without access as if it were not there"
            }
            409 if self.says("empty") => "the repository has no commit yet",
            422 if self.says("rule violation") || self.says("protected") => {
                "a ruleset of the repository forbids it: let basegen's branches out of it, or \
                 choose another name with `branch` in `[pull_request]`"
            }
            500.. => "run the same again: what was done is found, and nothing is done twice",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
