//! `[pull_request]`: the pull request that updates the repository for a release.

use schemars::JsonSchema;
use serde::Deserialize;

use super::checker::Checker;
use super::document::tables;
use super::safe::is_invisible;
use super::secrets::looks_like_secret;
use super::spanned::Spanned;

/// The placeholder of the version in titles and branch names.
const VERSION: &str = "{{version}}";

/// `[pull_request]`: the pull request that updates the repository for a release. `branch` and `title` can contain
/// `{{version}}`, the version as tags write it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields, default)]
pub struct PullRequestTable {
    /// The repository, `owner/name`. Default: that of `GITHUB_REPOSITORY`, or of the git remote
    /// `origin`.
    pub repository: Option<Spanned<String>>,
    /// The root URL of GitHub's REST API, such as `https://github.example.org/api/v3`. Default:
    /// `GITHUB_API_URL`, or that of the remote's host.
    pub api: Option<Spanned<String>>,
    /// The branch to merge into. Default: the default branch of the repository.
    pub base: Option<Spanned<String>>,
    /// The branch that basegen pushes. Default: `basegen/release-{{version}}`.
    pub branch: Option<Spanned<String>>,
    /// The title. Default: `Release {{version}}`.
    pub title: Option<Spanned<String>>,
    /// Whether to open the pull request as a draft. Default: `false`.
    pub draft: bool,
    /// The labels. GitHub creates those that do not exist.
    pub labels: Vec<String>,
    /// The logins of requested reviewers.
    pub reviewers: Vec<String>,
    /// The slugs of requested teams of the organization.
    pub team_reviewers: Vec<String>,
    /// The logins of the assignees.
    pub assignees: Vec<String>,
    /// The name of the environment variable that contains the token. Default: `GITHUB_TOKEN` or `GH_TOKEN`.
    pub token_secret_name: Option<Spanned<String>>,
    /// The name of the environment variable that contains the id of a GitHub App. Default: `BASEGEN_APP_ID`.
    pub app_id_secret_name: Option<Spanned<String>>,
    /// The name of the environment variable that contains the private key of the App. Default: `BASEGEN_APP_PRIVATE_KEY`.
    pub app_private_key_secret_name: Option<Spanned<String>>,
}

tables!(PullRequestTable);

impl PullRequestTable {
    /// Returns the branch for the release `version`.
    #[must_use]
    pub fn branch(&self, version: &str) -> String {
        filled(self.branch.as_ref(), "basegen/release-{{version}}", version)
    }

    /// Returns the title for the release `version`.
    #[must_use]
    pub fn title(&self, version: &str) -> String {
        filled(self.title.as_ref(), "Release {{version}}", version)
    }
}

fn filled(text: Option<&Spanned<String>>, default: &str, version: &str) -> String {
    text.map_or(default, |text| text).replace(VERSION, version)
}

impl Checker<'_> {
    pub(super) fn pull_request(&mut self, table: &PullRequestTable) {
        let PullRequestTable { repository, api, base, branch, title, .. } = table;
        self.check_text("repository", repository.as_ref(), |text| {
            let is_word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let is_name = |part: &str| !part.is_empty() && part.chars().all(is_word);
            let is_valid =
                text.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name));
            (!is_valid).then_some("expected `owner/name`")
        });
        self.check_text("api", api.as_ref(), |text| {
            let is_url = text.starts_with("https://") || text.starts_with("http://");
            (!is_url || text.contains(char::is_whitespace) || text.contains('@'))
                .then_some("expected a URL such as `https://github.example.org/api/v3`")
        });
        self.check_text("base", base.as_ref(), refuse_branch);
        self.check_text("branch", branch.as_ref(), |text| {
            let rest = text.replace(VERSION, "v1.2.3");
            refuse_branch(&rest).or_else(|| refuse_names(&rest))
        });
        self.check_text("title", title.as_ref(), |text| {
            if text.trim().is_empty() {
                return Some("the title must not be empty");
            }
            refuse_names(&text.replace(VERSION, ""))
        });
        for (key, name) in [
            ("token_secret_name", &table.token_secret_name),
            ("app_id_secret_name", &table.app_id_secret_name),
            ("app_private_key_secret_name", &table.app_private_key_secret_name),
        ] {
            let Some(name) = name else { continue };
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if looks_like_secret(name) || name.is_empty() || !name.chars().all(is_word) {
                // The value is not shown, because it may be the secret itself.
                let message = format!("`{key}` is not the name of an environment variable");
                self.report(name.span(), message, "write the name only, never the secret");
            }
        }
    }

    fn check_text(
        &mut self,
        key: &str,
        text: Option<&Spanned<String>>,
        refuse: impl Fn(&str) -> Option<&'static str>,
    ) {
        let Some(text) = text else { return };
        let reason = if text.contains(is_invisible) {
            Some("control characters are not allowed")
        } else {
            refuse(text)
        };
        if let Some(reason) = reason {
            let message = format!("`{}` is not a valid `{key}`", text.escape_debug());
            self.report(text.span(), message, reason);
        }
    }
}

fn refuse_names(rest: &str) -> Option<&'static str> {
    rest.contains("{{").then_some("only `{{version}}` is available here")
}

/// Returns why a text is not a valid branch name, if so. The rules are those of `git help check-ref-format`.
pub(crate) fn refuse_branch(text: &str) -> Option<&'static str> {
    if text.starts_with("refs/") {
        return Some("write the branch without `refs/heads/`");
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
    is_bad.then_some("git does not allow this branch name")
}
