//! `[pull_request]`: the pull request that brings the repository in step with a release.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_spanned::Spanned;

use super::diagnostic::Diagnostic;
use super::document::tables;
use super::safe::is_invisible;
use super::secrets::looks_like_secret;
use super::validate::Checker;

/// What stands for the version in a title or a branch's name.
const VERSION: &str = "{{version}}";

/// `[pull_request]`: the pull request of a release. In `branch` and `title`, `{{version}}` stands
/// for the version as tags write it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields, default)]
pub struct PullRequestTable {
    /// The repository, `owner/name`; without it, that of `GITHUB_REPOSITORY` or of the git remote
    /// `origin`.
    #[schemars(with = "Option<String>")]
    pub repository: Option<Spanned<String>>,
    /// The root of GitHub's REST API, such as `https://github.example.org/api/v3`; without it,
    /// that of `GITHUB_API_URL` or of the remote's host.
    #[schemars(with = "Option<String>")]
    pub api: Option<Spanned<String>>,
    /// The branch to propose the changes for; the repository's default branch without it.
    #[schemars(with = "Option<String>")]
    pub base: Option<Spanned<String>>,
    /// The branch that is made for it; `basegen/release-{{version}}` without it.
    #[schemars(with = "Option<String>")]
    pub branch: Option<Spanned<String>>,
    /// Its title; `Release {{version}}` without it.
    #[schemars(with = "Option<String>")]
    pub title: Option<Spanned<String>>,
    /// Whether it is opened as a draft.
    pub draft: bool,
    /// Its labels; GitHub makes those that do not exist.
    pub labels: Vec<String>,
    /// The logins of those who are asked for a review.
    pub reviewers: Vec<String>,
    /// The slugs of the organization's teams that are.
    pub team_reviewers: Vec<String>,
    /// The logins of those it is assigned to.
    pub assignees: Vec<String>,
    /// The environment variable with the token; `GITHUB_TOKEN` or `GH_TOKEN` without it.
    #[schemars(with = "Option<String>")]
    pub token_secret_name: Option<Spanned<String>>,
    /// The environment variable with the id of a GitHub App; `BASEGEN_APP_ID` without it.
    #[schemars(with = "Option<String>")]
    pub app_id_secret_name: Option<Spanned<String>>,
    /// The environment variable with the App's private key; `BASEGEN_APP_PRIVATE_KEY` without it.
    #[schemars(with = "Option<String>")]
    pub app_private_key_secret_name: Option<Spanned<String>>,
}

tables!(PullRequestTable);

impl PullRequestTable {
    /// The branch of the release `version`.
    #[must_use]
    pub fn branch(&self, version: &str) -> String {
        let usual = "basegen/release-{{version}}";
        self.branch.as_ref().map_or(usual, |branch| branch.get_ref()).replace(VERSION, version)
    }

    /// The title of the release `version`.
    #[must_use]
    pub fn title(&self, version: &str) -> String {
        let usual = "Release {{version}}";
        self.title.as_ref().map_or(usual, |title| title.get_ref()).replace(VERSION, version)
    }
}

impl Checker<'_> {
    /// `[pull_request]`.
    pub(super) fn pull_request(&mut self, table: &PullRequestTable) {
        let PullRequestTable { repository, api, base, branch, title, .. } = table;
        self.refuse_text("repository", repository.as_ref(), |text| {
            let is_name = |part: &str| {
                let of_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                !part.is_empty() && part.chars().all(of_name)
            };
            let is_pair =
                text.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name));
            (!is_pair).then_some("it is `owner/name`")
        });
        self.refuse_text("api", api.as_ref(), |text| {
            let is_url = text.starts_with("https://") || text.starts_with("http://");
            (!is_url || text.contains(char::is_whitespace) || text.contains('@'))
                .then_some("it is a URL such as `https://github.example.org/api/v3`")
        });
        self.refuse_text("base", base.as_ref(), refuse_branch);
        self.refuse_text("branch", branch.as_ref(), |text| {
            let rest = text.replace(VERSION, "v1.2.3");
            refuse_branch(&rest).or_else(|| unknown(&rest))
        });
        self.refuse_text("title", title.as_ref(), |text| match text.trim().is_empty() {
            true => Some("it is not empty"),
            false => unknown(&text.replace(VERSION, "")),
        });
        for (key, name) in [
            ("token_secret_name", &table.token_secret_name),
            ("app_id_secret_name", &table.app_id_secret_name),
            ("app_private_key_secret_name", &table.app_private_key_secret_name),
        ] {
            let Some(name) = name else { continue };
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let text = name.get_ref();
            if looks_like_secret(text) || text.is_empty() || !text.chars().all(is_name) {
                // Not shown: it may be the secret itself.
                let message = format!("`{key}` is not the name of an environment variable");
                let label = "only the name stands here, never the secret";
                self.refuse(Diagnostic::new(name.span(), message, label));
            }
        }
    }

    fn refuse_text(
        &mut self,
        key: &str,
        text: Option<&Spanned<String>>,
        reason: impl Fn(&str) -> Option<&'static str>,
    ) {
        let Some(text) = text else { return };
        let found = match text.get_ref().contains(is_invisible) {
            true => Some("it holds no control characters"),
            false => reason(text.get_ref()),
        };
        if let Some(found) = found {
            let message = format!("`{key}` cannot be `{}`", text.get_ref().escape_debug());
            self.refuse(Diagnostic::new(text.span(), message, found));
        }
    }
}

fn unknown(rest: &str) -> Option<&'static str> {
    rest.contains("{{").then_some("only `{{version}}` stands for something here")
}

/// Why a text cannot be the name of a branch: `git help check-ref-format`.
pub(crate) fn refuse_branch(text: &str) -> Option<&'static str> {
    if text.starts_with("refs/") {
        return Some("name the branch without `refs/heads/`");
    }
    let is_forbidden = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
    let is_bad = text.is_empty()
        || text.contains(is_forbidden)
        || ["..", "@{", "//"].iter().any(|bad| text.contains(bad))
        || text.starts_with(['-', '/'])
        || text.ends_with(['/', '.'])
        || text == "@"
        || format!("{text}/").contains(".lock/")
        || format!("/{text}").contains("/.");
    is_bad.then_some("git has no such names of branches")
}
