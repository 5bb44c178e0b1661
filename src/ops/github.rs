//! The repository of a pull request, and the credentials for it, from the matrix, the environment and git.

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

/// The variables with a token for github.com, GHE.com or the host of `GITHUB_API_URL`. The first that is set is used.
const TOKENS: [&str; 2] = ["GITHUB_TOKEN", "GH_TOKEN"];

/// The variables with a token for a host that `GH_HOST` or the command line names.
const ENTERPRISE_TOKENS: [&str; 2] = ["GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"];

/// The variables with the id and the private key of a GitHub App.
const APP: (&str, &str) = ("BASEGEN_APP_ID", "BASEGEN_APP_PRIVATE_KEY");

/// A missing or refused repository, API address or credential.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// Neither the matrix nor the environment nor git names a repository.
    #[error("cannot determine the GitHub repository for the pull request")]
    NoRepository,
    /// The source of the name, whose content has not the form `owner/name`.
    #[error("`{0}` does not name a repository")]
    Repository(&'static str),
    #[error("the root of GitHub's API is no URL: `{0}`")]
    Api(String),
    /// The address contains a user name or a password, which must not be printed.
    #[error("GITHUB_API_URL has an `@`: it is no place for a user name or a password")]
    SignedApi,
    #[error("the token for GitHub is not sent to `{0}` over plain HTTP")]
    PlainHttp(String),
    #[error("there is no token for GitHub")]
    NoToken,
    /// There is no token for an Enterprise Server.
    #[error("there is no token for `{0}`")]
    NoTokenFor(String),
    /// Only the matrix or the git remote names the host.
    #[error("the token for GitHub is not sent to `{0}`")]
    UntrustedHost(String),
    #[error("`[pull_request]` names the variable `{0}`, which is not set")]
    Variable(String),
    /// Only one of an App's id and key is set.
    #[error("there is one of `{}` and `{}`: a GitHub App needs both", .0, .1)]
    IncompleteApp(String, String),
}

impl Explain for ForgeError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Api(_) | Self::SignedApi | Self::PlainHttp(_) | Self::UntrustedHost(_) => {
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
            Self::UntrustedHost(host) => {
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
            Self::IncompleteApp(..) => return None,
        };
        Some(hint.to_owned())
    }
}

/// Returns the options of a GitHub client for the repository of `matrix`. With `is_preview`, no token is needed.
pub fn options(
    matrix: &Matrix,
    context: &Context,
    is_preview: bool,
) -> Result<GitHubOptions, Report> {
    let table = &matrix.pull_request;
    let (repository, api) = place(table, matrix.folder(), context)?;
    let url: reqwest::Url = api.parse().map_err(|_| ForgeError::Api(api.clone()))?;
    let host = owners::authority(&url).unwrap_or_default();
    // The parsed URL, so that later readers find the same host.
    let api = url.as_str().trim_end_matches('/').to_owned();
    let access = match trust(&host, context) {
        Trust::Nobody if is_preview => Access::Anonymous,
        Trust::Nobody => return Err(ForgeError::UntrustedHost(host).into()),
        Trust::GitHub => access(table, &TOKENS, context)?,
        Trust::Enterprise => access(table, &ENTERPRISE_TOKENS, context)?,
    };
    let is_anonymous = matches!(access, Access::Anonymous);
    if is_anonymous && !is_preview {
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
    /// [`TOKENS`]: GitHub itself, or the server of this runner.
    GitHub,
    /// [`ENTERPRISE_TOKENS`]: an Enterprise Server that `GH_HOST` or the command line names.
    Enterprise,
    /// None: only the matrix or the git remote names the host, and any host can be named there.
    Nobody,
}

fn trust(host: &str, context: &Context) -> Trust {
    let runner_host = context.settings.github.api_url.as_deref().and_then(owners::host_of);
    if host == "api.github.com"
        || host.ends_with(".ghe.com")
        || runner_host.as_deref() == Some(host)
    {
        Trust::GitHub
    } else if context.settings.named_hosts.github.iter().any(|named| named == host) {
        Trust::Enterprise
    } else {
        Trust::Nobody
    }
}

/// Returns the repository of the pull request and the root URL of its API.
fn place(
    table: &PullRequestTable,
    folder: &Path,
    context: &Context,
) -> Result<(RepositoryName, String), ForgeError> {
    let remote = git::remote(folder, "origin").and_then(|url| Remote::parse(&url));
    let parse = |text: &str, source| {
        text.parse::<RepositoryName>().map_err(|_| ForgeError::Repository(source))
    };
    let repository =
        match (&table.repository, context.settings.github.repository.as_deref(), &remote) {
            (Some(text), ..) => parse(text.get_ref(), "repository of [pull_request]")?,
            (None, Some(text), _) => parse(text, "GITHUB_REPOSITORY")?,
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

/// Returns the credentials: an App if its two variables are set, or else the first of `tokens`.
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
        _ => return Err(ForgeError::IncompleteApp(id_name, key_name)),
    }
    let token: Option<SecretString> = tokens.iter().find_map(|name| secret(name));
    Ok(token.map_or(Access::Anonymous, Access::Token))
}
