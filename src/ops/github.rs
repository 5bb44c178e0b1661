//! Which repository a pull request goes to, and who we are there, from the matrix, the
//! environment and git.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use crate::error::{ExitCode, Explain, Report};
use crate::forge::{Access, GitHubOptions, Remote, RepositoryName};
use crate::git;
use crate::matrix::{Matrix, PullRequestTable, VersionTable};
use crate::registry::{PlainHttp, RetryPolicy, plain_http_hint};

use super::{Context, owners, registries};

/// How long GitHub may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The variables that a token is looked for in, the first that is set counts: for github.com, for
/// GHE.com, and for the host of `GITHUB_API_URL`.
const TOKENS: [&str; 2] = ["GITHUB_TOKEN", "GH_TOKEN"];

/// Those for a host that `GH_HOST` or the command line names, and that is none of GitHub's own.
const ENTERPRISE_TOKENS: [&str; 2] = ["GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"];

/// Where a GitHub App's id and private key are looked for.
const APP: (&str, &str) = ("BASEGEN_APP_ID", "BASEGEN_APP_PRIVATE_KEY");

/// Why it is not known where the pull request goes, or who opens it.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// Nothing tells of a repository.
    #[error("cannot determine the GitHub repository for the pull request")]
    NoRepository,
    /// What tells of one is no name.
    #[error("`{0}` does not name a repository")]
    Repository(&'static str),
    /// The address is no URL.
    #[error("the root of GitHub's API is no URL: `{0}`")]
    Api(String),
    /// The address holds a user name or a password, which nobody shall see.
    #[error("GITHUB_API_URL has an `@`: it is no place for a user name or a password")]
    SignedApi,
    /// The token would travel in the clear.
    #[error("the token for GitHub is not sent to `{0}` over plain HTTP")]
    PlainHttp(String),
    /// There is no token.
    #[error("there is no token for GitHub")]
    NoToken,
    /// There is none for an Enterprise Server.
    #[error("there is no token for `{0}`")]
    NoTokenFor(String),
    /// The matrix or the remote alone names the host.
    #[error("the token for GitHub is not sent to `{0}`")]
    Stranger(String),
    /// The matrix names a variable that is not set.
    #[error("`[pull_request]` names the variable `{0}`, which is not set")]
    Variable(String),
    /// Of an App's id and key there is one.
    #[error("there is one of `{}` and `{}`: a GitHub App needs both", .0, .1)]
    HalfAnApp(String, String),
}

impl Explain for ForgeError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Api(_) | Self::SignedApi | Self::PlainHttp(_) | Self::Stranger(_) => {
                ExitCode::Matrix
            }
            _ => ExitCode::Forge,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoRepository | Self::Repository(_) => {
                "name it with `repository = \"owner/name\"` in `[pull_request]`, or set \
                 GITHUB_REPOSITORY; the git remote `origin` is looked at too"
            }
            Self::NoToken | Self::Variable(_) => {
                "set GITHUB_TOKEN or GH_TOKEN, or BASEGEN_APP_ID and BASEGEN_APP_PRIVATE_KEY of a \
                 GitHub App; under Actions: `env: GITHUB_TOKEN: ${{ github.token }}`"
            }
            Self::NoTokenFor(_) => {
                "set GH_ENTERPRISE_TOKEN or GITHUB_ENTERPRISE_TOKEN, the variable that \
                 `token_secret_name` in `[pull_request]` names, or those of a GitHub App. \
                 GITHUB_TOKEN and GH_TOKEN are sent there only where GITHUB_API_URL names the host"
            }
            Self::Stranger(host) => {
                return Some(format!(
                    "only the matrix or the git remote `origin` names this host. If it is your GitHub, set \
                     GH_HOST={host} or pass `--allow credentials.github={host}`"
                ));
            }
            Self::PlainHttp(host) => return Some(plain_http_hint(host)),
            Self::Api(_) | Self::SignedApi => {
                "`api` in `[pull_request]` or GITHUB_API_URL, such as \
                 `https://github.example.org/api/v3`"
            }
            Self::HalfAnApp(..) => return None,
        };
        Some(hint.to_owned())
    }
}

/// How the repository of `matrix` is reached. Without a token only reading is possible, which
/// needs `anonymous`.
pub fn options(
    matrix: &Matrix,
    context: &Context,
    anonymous: bool,
) -> Result<GitHubOptions, Report> {
    let table = &matrix.pull_request;
    let (repository, api) = place(table, matrix.folder(), context)?;
    let url: reqwest::Url = api.parse().map_err(|_| ForgeError::Api(api.clone()))?;
    let host = owners::authority(&url).unwrap_or_default();
    // Whoever reads it later finds the same host in it.
    let api = url.as_str().trim_end_matches('/').to_owned();
    let access = match trust(&host, context) {
        Trust::Nobody if anonymous => Access::Anonymous,
        Trust::Nobody => return Err(ForgeError::Stranger(host).into()),
        Trust::GitHub => access(table, &TOKENS, context)?,
        Trust::Enterprise => access(table, &ENTERPRISE_TOKENS, context)?,
    };
    let is_anonymous = matches!(access, Access::Anonymous);
    if is_anonymous && !anonymous {
        return Err(match trust(&host, context) {
            Trust::Enterprise => ForgeError::NoTokenFor(host),
            _ => ForgeError::NoToken,
        }
        .into());
    }
    if !is_anonymous {
        owners::check_pull_request(matrix, &host, &context.settings.named_hosts)?;
        let plain_http = PlainHttp {
            allowed: context.settings.plain_http_hosts.clone(),
            ..PlainHttp::default()
        };
        if !plain_http.admits(&url) {
            return Err(ForgeError::PlainHttp(host).into());
        }
    }
    Ok(GitHubOptions {
        client: registries::network(matrix, &context.settings)?.client(&url)?,
        api,
        repository,
        access,
        retry: RetryPolicy::default(),
        timeout: TIMEOUT,
        optional_permissions: optional_permissions(matrix),
        notify: notify(context),
    })
}

/// Returns a function that shows a message to the user.
fn notify(context: &Context) -> Arc<dyn Fn(&str) + Send + Sync> {
    let messages = Arc::clone(&context.messages);
    Arc::new(move |text| messages.message(text))
}

/// Returns the permissions of an App's token to request besides contents and pull requests.
fn optional_permissions(matrix: &Matrix) -> Vec<(&'static str, &'static str)> {
    let mut permissions = Vec::new();
    if !matrix.pull_request.team_reviewers.is_empty() {
        permissions.push(("members", "read"));
    }
    let places = matrix.version.iter().flat_map(VersionTable::places);
    if places.into_iter().any(|place| place.file.get_ref().contains(".github/workflows/")) {
        permissions.push(("workflows", "write"));
    }
    permissions
}

/// Which tokens a host of GitHub's API may receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Those of GitHub itself, and of the server whose runner this is.
    GitHub,
    /// Those of an Enterprise Server, which `GH_HOST` or the command line names.
    Enterprise,
    /// None: the matrix or the git remote alone names the host, and anybody can be that.
    Nobody,
}

fn trust(host: &str, context: &Context) -> Trust {
    let is_of_runner = context.settings.github.api_url.as_deref().and_then(owners::host_of);
    if host == "api.github.com"
        || host.ends_with(".ghe.com")
        || is_of_runner.as_deref() == Some(host)
    {
        Trust::GitHub
    } else if context.settings.named_hosts.github.iter().any(|named| named == host) {
        Trust::Enterprise
    } else {
        Trust::Nobody
    }
}

/// Returns the repository that the pull request goes to, and the root of the API that it is behind.
fn place(
    table: &PullRequestTable,
    folder: &Path,
    context: &Context,
) -> Result<(RepositoryName, String), ForgeError> {
    let remote = git::remote(folder, "origin").and_then(|url| Remote::parse(&url));
    let told = |text: &str, source| {
        text.parse::<RepositoryName>().map_err(|_| ForgeError::Repository(source))
    };
    let repository =
        match (&table.repository, context.settings.github.repository.as_deref(), &remote) {
            (Some(text), ..) => told(text.get_ref(), "repository of [pull_request]")?,
            (None, Some(text), _) => told(text, "GITHUB_REPOSITORY")?,
            (None, None, Some(remote)) => remote.repository.clone(),
            (None, None, None) => return Err(ForgeError::NoRepository),
        };
    let api = match (&table.api, context.settings.github.api_url.as_deref(), remote) {
        (Some(api), ..) => api.get_ref().clone(),
        (None, Some(api), _) if api.contains('@') => return Err(ForgeError::SignedApi),
        (None, Some(api), _) => api.to_owned(),
        (None, None, Some(remote)) => remote.api(),
        (None, None, None) => "https://api.github.com".to_owned(),
    };
    Ok((repository, api))
}

/// Who we are: an App where its two variables are set, else the first of `tokens`.
fn access(
    table: &PullRequestTable,
    tokens: &[&str],
    context: &Context,
) -> Result<Access, ForgeError> {
    let secret = |name: &str| {
        let value = context.settings.variables.secret(name).flatten();
        value.filter(|value| !value.expose_secret().trim().is_empty())
    };
    let named = |name: &Option<crate::matrix::Spanned<String>>, usual: &str| {
        let name = name.as_ref().map(|name| name.get_ref().clone());
        (name.is_some(), name.unwrap_or_else(|| usual.to_owned()))
    };
    if let Some(name) = &table.token_secret_name {
        let token = secret(name.get_ref());
        return token
            .map(Access::Token)
            .ok_or_else(|| ForgeError::Variable(name.get_ref().clone()));
    }
    let (is_id_named, id_name) = named(&table.app_id_secret_name, APP.0);
    let (is_key_named, key_name) = named(&table.app_private_key_secret_name, APP.1);
    match (secret(&id_name), secret(&key_name)) {
        (Some(id), Some(key)) => {
            let id = id.expose_secret().trim().to_owned();
            return Ok(Access::App { id, key });
        }
        (None, None) if is_id_named => return Err(ForgeError::Variable(id_name)),
        (None, None) if is_key_named => return Err(ForgeError::Variable(key_name)),
        (None, None) => {}
        _ => return Err(ForgeError::HalfAnApp(id_name, key_name)),
    }
    let token: Option<SecretString> = tokens.iter().find_map(|name| secret(name));
    Ok(token.map_or(Access::Anonymous, Access::Token))
}
