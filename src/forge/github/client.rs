//! Sends requests to GitHub's API, and retries them as the policy permits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{ACCEPT, RETRY_AFTER};
use http::{HeaderMap, Method};
use http_body_util::{BodyExt as _, Limited};
use octocrab::Octocrab;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::access::{Access, app_token};
use super::error::{GitHubError, GitHubErrorKind, Refusal, SIGN_IN};
use super::tree::Listing;
use crate::error::{JsonError, one_line};
use crate::forge::RepositoryName;
use crate::registry::{Retry, RetryPolicy, Retryable as _, conceal, retry_after, server_date};
use crate::report::format;

/// The maximum size of an answer, in bytes: a file of 100 MB, the maximum of GitHub, in base64.
const MAX_ANSWER: usize = 144 << 20;

/// The maximum length of a repeated message of GitHub, in characters.
const MAX_MESSAGE: usize = 400;

/// The wait for a rate limit without a time, for which GitHub recommends at least a minute.
/// <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>
const DEFAULT_WAIT: Duration = Duration::from_secs(60);

/// The permissions that an App's token requires.
const PERMISSIONS: [(&str, &str); 2] = [("contents", "write"), ("pull_requests", "write")];

/// The path of the GraphQL API.
pub(super) const GRAPHQL: &str = "/graphql";

/// The configuration of the client for one repository.
#[derive(Clone)]
pub struct GitHubOptions {
    /// The root of the REST API, such as `https://api.github.com`.
    pub api: String,
    pub repository: RepositoryName,
    pub access: Access,
    /// The HTTP client, with proxies and certificates.
    pub client: reqwest::Client,
    pub retry: RetryPolicy,
    /// The time-out of one attempt.
    pub timeout: Duration,
    /// Permissions with their levels that the token of an App gets in addition to those for contents
    /// and pull requests, if the App has them.
    pub optional_permissions: Vec<(&'static str, &'static str)>,
    /// Receives a message before each wait.
    pub notify: Arc<dyn Fn(&str) + Send + Sync>,
}

/// A client of GitHub's API for one repository.
pub struct GitHub {
    pub(super) repository: RepositoryName,
    api: Octocrab,
    /// The path of the REST API: empty, or `/api/v3` at Enterprise Server.
    rest_path: String,
    pub(super) host: String,
    /// The cached listings of trees, by id.
    pub(super) listings: Mutex<BTreeMap<String, Arc<Listing>>>,
    secrets: Vec<SecretString>,
    pub(super) retry: RetryPolicy,
    timeout: Duration,
    notify: Arc<dyn Fn(&str) + Send + Sync>,
}

/// A failed attempt at a request.
struct Failure {
    kind: GitHubErrorKind,
    /// The wait that GitHub requests, which may be zero.
    wait: Option<Duration>,
}

/// A request with its purpose.
pub(super) struct ApiRequest<'a> {
    /// The purpose, for errors: `failed to {doing} in {repository}`.
    doing: &'a str,
    method: Method,
    /// The path below the root of the REST API, or [`GRAPHQL`].
    path: String,
    body: Option<Value>,
    /// Whether it may be sent again if its answer is lost, because doing it twice is harmless.
    is_idempotent: bool,
}

impl<'a> ApiRequest<'a> {
    pub(super) fn get(doing: &'a str, path: String) -> Self {
        Self { doing, method: Method::GET, path, body: None, is_idempotent: true }
    }

    pub(super) fn post(doing: &'a str, path: String, body: Value) -> Self {
        Self { doing, method: Method::POST, path, body: Some(body), is_idempotent: false }
    }

    pub(super) fn patch(doing: &'a str, path: String, body: Value) -> Self {
        Self { method: Method::PATCH, ..Self::post(doing, path, body) }
    }

    pub(super) fn idempotent(self) -> Self {
        Self { is_idempotent: true, ..self }
    }
}

impl GitHub {
    /// Creates a client. For an App, requests its token.
    pub async fn connect(options: &GitHubOptions) -> Result<Self, GitHubError> {
        let (origin, host, rest_path) = split_url(&options.api);
        let mut github = Self {
            repository: options.repository.clone(),
            api: octocrab(options, origin, None)?,
            rest_path: rest_path.to_owned(),
            host: host.to_owned(),
            listings: Mutex::default(),
            secrets: options.access.secrets(),
            retry: options.retry,
            timeout: options.timeout,
            notify: Arc::clone(&options.notify),
        };
        match &options.access {
            Access::Anonymous => {}
            Access::Token(token) => github.sign_in(options, token)?,
            Access::App { id, key } => {
                let token = app_token(id, key, SystemTime::now()).map_err(|problem| {
                    github.error(SIGN_IN, GitHubErrorKind::Credential(problem))
                })?;
                github.sign_in(options, &token)?;
                let token = github.installation_token(&options.optional_permissions).await?;
                github.sign_in(options, &token)?;
            }
        }
        Ok(github)
    }

    /// Sends `token` from now on.
    fn sign_in(
        &mut self,
        options: &GitHubOptions,
        token: &SecretString,
    ) -> Result<(), GitHubError> {
        let (origin, ..) = split_url(&options.api);
        self.api = octocrab(options, origin, Some(token))?;
        self.secrets.push(token.clone());
        Ok(())
    }

    /// Requests a token of the App's installation, limited to this repository and the required
    /// permissions.
    async fn installation_token(
        &self,
        optional: &[(&'static str, &'static str)],
    ) -> Result<SecretString, GitHubError> {
        #[derive(serde::Deserialize)]
        struct Installation {
            id: u64,
        }
        #[derive(serde::Deserialize)]
        struct Token {
            token: SecretString,
        }
        let found: Installation =
            self.request(ApiRequest::get(SIGN_IN, self.path("installation"))).await?;
        let path = format!("/app/installations/{}/access_tokens", found.id);
        let request = |optional: &[(&'static str, &'static str)]| {
            let permissions: BTreeMap<_, _> = PERMISSIONS.iter().chain(optional).copied().collect();
            let body =
                json!({ "repositories": [self.repository.name], "permissions": permissions });
            self.request(ApiRequest::post(SIGN_IN, path.clone(), body).idempotent())
        };
        let token: Token = match request(optional).await {
            // The App does not have all of the permissions.
            Err(error) if error.status() == Some(422) && !optional.is_empty() => {
                request(&[]).await?
            }
            other => other?,
        };
        Ok(token.token)
    }

    /// Returns a path below that of the repository.
    pub(super) fn path(&self, rest: &str) -> String {
        let separator = if rest.is_empty() { "" } else { "/" };
        format!("/repos/{}{separator}{rest}", self.repository)
    }

    pub(super) fn error(&self, doing: &str, kind: GitHubErrorKind) -> GitHubError {
        GitHubError::new(doing, &self.repository, kind)
    }

    /// Sends a request, and parses its answer.
    pub(super) async fn request<T: DeserializeOwned>(
        &self,
        request: ApiRequest<'_>,
    ) -> Result<T, GitHubError> {
        let answer = self.send(&request).await?;
        serde_json::from_slice(&answer).map_err(|error| {
            let problem = JsonError::from(error).to_string();
            self.error(request.doing, GitHubErrorKind::Malformed(self.clean(&problem)))
        })
    }

    /// Sends a request, and parses its answer. Returns `None` if the status is 404.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        request: ApiRequest<'_>,
    ) -> Result<Option<T>, GitHubError> {
        match self.request(request).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a request, and retries it as the policy and the request permit.
    pub(super) async fn send(&self, request: &ApiRequest<'_>) -> Result<Bytes, GitHubError> {
        let mut failures = 0;
        loop {
            let Failure { kind, wait } = match self.send_once(request).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            failures += 1;
            let error = self.error(request.doing, kind);
            let retry = match wait {
                // GitHub has not executed a request that it delays.
                Some(wait) if wait.is_zero() => Retry::Backoff,
                Some(wait) => Retry::After(wait),
                None if request.is_idempotent => error.retry(),
                None => Retry::Never,
            };
            let Some(pause) = self.retry.next_wait(failures, retry) else {
                return Err(match retry {
                    Retry::After(wait)
                        if error.status() != Some(503) || wait > self.retry.longest_retry_after =>
                    {
                        self.error(request.doing, GitHubErrorKind::Throttled { wait })
                    }
                    _ => error,
                });
            };
            if let Retry::After(wait) = retry {
                let wait = format::duration(wait);
                (self.notify)(&format!("rate limited by `{}`: waiting {wait}", self.host));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends a request once, and reads the wait that a refusal requests.
    async fn send_once(&self, request: &ApiRequest<'_>) -> Result<Bytes, Failure> {
        let exchange = tokio::time::timeout(self.timeout, self.exchange(request));
        let lost = |cause: String| {
            let kind = GitHubErrorKind::Unreachable { host: self.host.clone(), cause };
            Failure { kind, wait: None }
        };
        let (status, headers, body) = match exchange.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(cause)) => return Err(lost(cause)),
            Err(_) => {
                let seconds = self.timeout.as_secs();
                return Err(lost(format!("no response within {seconds} s")));
            }
        };
        let is_graphql = request.path == GRAPHQL;
        if status.is_success() && !is_graphql {
            return Ok(body);
        }
        let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
        let message = refusal.message(|text| self.clean(text));
        let status = match status.as_u16() {
            200..300 if is_graphql && refusal.is_limit() => 429,
            200..300 => return Ok(body),
            status => status,
        };
        let wait = wait(status, &headers, &message.to_string());
        Err(Failure { kind: GitHubErrorKind::Status { status, message }, wait })
    }

    async fn exchange(
        &self,
        request: &ApiRequest<'_>,
    ) -> Result<(http::StatusCode, HeaderMap, Bytes), String> {
        let clean = |error: &dyn std::error::Error| self.clean(&one_line(error));
        let path = match request.path.as_str() {
            // Enterprise Server has `/api/v3` and `/api/graphql`.
            GRAPHQL => format!("{}{GRAPHQL}", self.rest_path.trim_end_matches("/v3")),
            path => format!("{}{path}", self.rest_path),
        };
        let builder = http::Request::builder().method(request.method.clone()).uri(path);
        let built = self.api.build_request(builder, request.body.as_ref());
        let built = built.map_err(|error| clean(&error))?;
        let answer = self.api.execute(built).await.map_err(|error| clean(&error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| clean(&*error))?.to_bytes();
        Ok((head.status, head.headers, body))
    }

    /// Makes a foreign text safe to print: one short line without secrets.
    pub(super) fn clean(&self, text: &str) -> String {
        let concealed = conceal(&self.secrets, text);
        let text = concealed.as_deref().unwrap_or(text);
        let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let shown: String = shown.take(MAX_MESSAGE).collect();
        shown.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Returns the wait that an answer requests. It is zero for `Retry-After: 0`.
fn wait(status: u16, headers: &HeaderMap, message: &str) -> Option<Duration> {
    let may_request =
        matches!(status, 403 | 429) || (status == 503 && headers.contains_key(RETRY_AFTER));
    if !may_request {
        return None;
    }
    let now = server_date(headers).unwrap_or_else(SystemTime::now);
    if let Some(wait) = retry_after(headers, now) {
        return Some(wait);
    }
    let message = message.to_ascii_lowercase();
    // GraphQL names its primary limit in the message, even if `x-ratelimit-remaining` is not zero.
    let is_primary = message.contains("api rate limit");
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    if (is_primary || number("x-ratelimit-remaining") == Some(0))
        && let Some(reset) = number("x-ratelimit-reset")
    {
        let until = UNIX_EPOCH + Duration::from_secs(reset);
        // Both times are rounded down to seconds.
        return Some(until.duration_since(now).unwrap_or_default() + Duration::from_secs(1));
    }
    if headers.contains_key(RETRY_AFTER) {
        return Some(Duration::ZERO);
    }
    (status == 429 || message.contains("rate limit")).then_some(DEFAULT_WAIT)
}

fn octocrab(
    options: &GitHubOptions,
    origin: &str,
    token: Option<&SecretString>,
) -> Result<Octocrab, GitHubError> {
    let failed = |problem: &str| {
        let kind = GitHubErrorKind::Credential(problem.to_owned());
        GitHubError::new("sign in for the pull request", &options.repository, kind)
    };
    let refused = |_| failed("the address of the API is not a URL");
    let builder = Octocrab::builder().base_uri(origin).map_err(refused)?;
    let builder = builder.add_header(ACCEPT, "application/vnd.github+json".to_owned());
    let builder = match token {
        None => builder,
        Some(token) => {
            let token = token.expose_secret().trim();
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(failed("the token is empty or contains invalid characters"));
            }
            builder.personal_token(token)
        }
    };
    let built = builder.build_with_reqwest(options.client.clone());
    built.map_err(|_| failed("cannot create the client of GitHub's API"))
}

/// Splits the URL of a REST API into its origin, the host in it, and its path.
fn split_url(api: &str) -> (&str, &str, &str) {
    let api = api.trim_end_matches('/');
    let host = api.find("://").map_or(0, |at| at + 3);
    let path = api[host..].find('/').map_or(api.len(), |at| host + at);
    (&api[..path], &api[host..path], &api[path..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| {
                ((*name).try_into().expect("a name"), value.parse().expect("a value"))
            })
            .collect()
    }

    #[test]
    fn reads_all_forms_of_requested_waits() {
        let date = ("date", "Fri, 20 Nov 2026 10:00:00 GMT");
        // 30 seconds after `date`.
        let reset = [date, ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795168830")];
        let seconds = Duration::from_secs;
        assert_eq!(wait(403, &headers(&[("retry-after", "7")]), ""), Some(seconds(7)));
        assert_eq!(wait(429, &headers(&reset), ""), Some(seconds(31)));
        let remaining = [date, ("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "1795168830")];
        let primary = "API rate limit already exceeded for user ID 1.";
        assert_eq!(wait(429, &headers(&remaining), primary), Some(seconds(31)));
        assert_eq!(wait(429, &headers(&remaining), "secondary rate limit"), Some(DEFAULT_WAIT));
        assert_eq!(wait(429, &headers(&[]), ""), Some(DEFAULT_WAIT));
        assert_eq!(wait(429, &headers(&[("retry-after", "0")]), ""), Some(Duration::ZERO));
        let secondary = "You have exceeded a secondary rate limit.";
        assert_eq!(wait(403, &headers(&[]), secondary), Some(DEFAULT_WAIT));
        assert_eq!(wait(403, &headers(&[("x-ratelimit-remaining", "12")]), "no access"), None);
        assert_eq!(wait(503, &headers(&[("retry-after", "7")]), ""), Some(seconds(7)));
        assert_eq!(wait(502, &headers(&[]), ""), None);
    }

    #[test]
    fn the_url_of_an_api_is_split() {
        let github = "https://api.github.com";
        assert_eq!(split_url(github), (github, "api.github.com", ""));
        assert_eq!(
            split_url("https://ghe.example.org:8443/api/v3/"),
            ("https://ghe.example.org:8443", "ghe.example.org:8443", "/api/v3")
        );
    }
}
