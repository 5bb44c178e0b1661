//! Requests: sent, repeated where that is right, and read.

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
use crate::report::{Printer, format};

/// The largest answer that is read, in bytes: a file of 100 MB, which is the most that GitHub gives,
/// in base64.
const MAX_ANSWER: usize = 144 << 20;

/// How much of what GitHub says is repeated, in characters.
const MAX_SAID: usize = 400;

/// What GitHub asks for when it does not say how long: at least a minute.
/// <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>
const UNTOLD_WAIT: Duration = Duration::from_secs(60);

/// The permissions that an App's token requires.
const PERMISSIONS: [(&str, &str); 2] = [("contents", "write"), ("pull_requests", "write")];

/// Where GraphQL is spoken to.
pub(super) const GRAPHQL: &str = "/graphql";

/// How a repository on GitHub is reached.
#[derive(Debug, Clone)]
pub struct GitHubOptions {
    /// The root of the REST API, such as `https://api.github.com`.
    pub api: String,
    /// The repository.
    pub repository: RepositoryName,
    /// Who we are.
    pub access: Access,
    /// Connections, with the proxies and certificates of the surroundings.
    pub client: reqwest::Client,
    /// How often and how long a request is repeated.
    pub retry: RetryPolicy,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Permissions, each with its level, that the token of an App gets beside those for contents and
    /// pull requests, if the App has them.
    pub optional_permissions: Vec<(&'static str, &'static str)>,
    /// Where waits are reported.
    pub printer: Printer,
}

/// A repository on GitHub.
pub struct GitHub {
    pub(super) repository: RepositoryName,
    rest: Octocrab,
    graphql: Octocrab,
    pub(super) host: String,
    /// What trees list, by their ids.
    pub(super) listings: Mutex<BTreeMap<String, Arc<Listing>>>,
    secrets: Vec<SecretString>,
    pub(super) retry: RetryPolicy,
    timeout: Duration,
    printer: Printer,
}

/// Whether a request may be sent again when it is unknown what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It may: doing it twice is doing it once.
    Always,
    /// It may not: who asked looks first at what is there.
    Never,
}

/// A failed attempt at a request.
struct Failure {
    kind: GitHubErrorKind,
    /// The wait that GitHub requests, which may be zero.
    wait: Option<Duration>,
}

/// A request, and what it is for.
pub(super) struct Asked<'a> {
    /// What is being done, for errors: behind "failed to" and before "in".
    pub(super) doing: &'a str,
    pub(super) method: Method,
    /// Below the root of the REST API, or [`GRAPHQL`].
    pub(super) path: String,
    pub(super) body: Option<Value>,
    pub(super) repeat: Repeat,
}

impl<'a> Asked<'a> {
    pub(super) fn get(doing: &'a str, path: String) -> Self {
        Self { doing, method: Method::GET, path, body: None, repeat: Repeat::Always }
    }

    /// Something that is made; it is not sent twice.
    pub(super) fn post(doing: &'a str, path: String, body: Value) -> Self {
        Self { doing, method: Method::POST, path, body: Some(body), repeat: Repeat::Never }
    }

    pub(super) fn patch(doing: &'a str, path: String, body: Value) -> Self {
        Self { method: Method::PATCH, ..Self::post(doing, path, body) }
    }

    pub(super) fn repeated(self) -> Self {
        Self { repeat: Repeat::Always, ..self }
    }
}

impl GitHub {
    /// A client; an App is given its token here.
    pub async fn connect(options: &GitHubOptions) -> Result<Self, GitHubError> {
        let api = options.api.trim_end_matches('/');
        let mut github = Self {
            repository: options.repository.clone(),
            rest: octocrab(options, api, None)?,
            graphql: octocrab(options, graphql_root(api), None)?,
            host: host(api).to_owned(),
            listings: Mutex::default(),
            secrets: options.access.secrets(),
            retry: options.retry,
            timeout: options.timeout,
            printer: options.printer.clone(),
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

    /// Shows `token` from now on.
    fn sign_in(
        &mut self,
        options: &GitHubOptions,
        token: &SecretString,
    ) -> Result<(), GitHubError> {
        let api = options.api.trim_end_matches('/');
        self.rest = octocrab(options, api, Some(token))?;
        self.graphql = octocrab(options, graphql_root(api), Some(token))?;
        self.secrets.push(token.clone());
        Ok(())
    }

    /// Returns a token of the App's installation for this repository and the permissions that are
    /// needed, and for no more.
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
        let found: Installation = self.ask(Asked::get(SIGN_IN, self.path("installation"))).await?;
        let path = format!("/app/installations/{}/access_tokens", found.id);
        let ask = |optional: &[(&'static str, &'static str)]| {
            let permissions: BTreeMap<_, _> = PERMISSIONS.iter().chain(optional).copied().collect();
            let body =
                json!({ "repositories": [self.repository.name], "permissions": permissions });
            self.ask(Asked::post(SIGN_IN, path.clone(), body).repeated())
        };
        let token: Token = match ask(optional).await {
            // The App was not granted all of it.
            Err(error) if error.status() == Some(422) && !optional.is_empty() => ask(&[]).await?,
            other => other?,
        };
        Ok(token.token)
    }

    /// A path below the repository's own.
    pub(super) fn path(&self, rest: &str) -> String {
        let separator = if rest.is_empty() { "" } else { "/" };
        format!("/repos/{}{separator}{rest}", self.repository)
    }

    pub(super) fn error(&self, doing: &str, kind: GitHubErrorKind) -> GitHubError {
        GitHubError::new(doing, &self.repository, kind)
    }

    /// Asks, and reads the answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        asked: Asked<'_>,
    ) -> Result<T, GitHubError> {
        let answer = self.send(&asked).await?;
        serde_json::from_slice(&answer).map_err(|error| {
            let problem = JsonError::from(error).to_string();
            self.error(asked.doing, GitHubErrorKind::Malformed(self.clean(&problem)))
        })
    }

    /// Asks for what need not be there.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        asked: Asked<'_>,
    ) -> Result<Option<T>, GitHubError> {
        match self.ask(asked).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a request, and repeats it as far as the policy and the request allow.
    pub(super) async fn send(&self, asked: &Asked<'_>) -> Result<Bytes, GitHubError> {
        let mut failures = 0;
        loop {
            let Failure { kind, wait } = match self.send_once(asked).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            failures += 1;
            let error = self.error(asked.doing, kind);
            let retry = match wait {
                // GitHub has not executed a request that it asks to delay.
                Some(wait) if wait.is_zero() => Retry::Backoff,
                Some(wait) => Retry::After(wait),
                None if asked.repeat == Repeat::Always => error.retry(),
                None => Retry::Never,
            };
            let Some(pause) = self.retry.next_wait(failures, retry) else {
                return Err(match retry {
                    Retry::After(wait)
                        if error.status() != Some(503) || wait > self.retry.longest_retry_after =>
                    {
                        self.error(asked.doing, GitHubErrorKind::Throttled { wait })
                    }
                    _ => error,
                });
            };
            if let Retry::After(wait) = retry {
                let wait = format::duration(wait);
                self.printer.message(&format!("rate limited by `{}`: waiting {wait}", self.host));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends a request once.
    async fn send_once(&self, asked: &Asked<'_>) -> Result<Bytes, Failure> {
        let exchange = tokio::time::timeout(self.timeout, self.exchange(asked));
        let lost = |cause: String| {
            let kind = GitHubErrorKind::Unreachable { host: self.host.clone(), cause };
            Failure { kind, wait: None }
        };
        let (status, headers, body) = match exchange.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(cause)) => return Err(lost(cause)),
            Err(_) => {
                let seconds = self.timeout.as_secs();
                return Err(lost(format!("it did not answer within {seconds} s")));
            }
        };
        let is_graphql = asked.path == GRAPHQL;
        if status.is_success() && !is_graphql {
            return Ok(body);
        }
        let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
        let told = refusal.told(|text| self.clean(text));
        let status = match status.as_u16() {
            200..300 if is_graphql && refusal.is_limit() => 429,
            200..300 => return Ok(body),
            status => status,
        };
        let wait = wait(status, &headers, &told.to_string());
        Err(Failure { kind: GitHubErrorKind::Answer { status, told }, wait })
    }

    async fn exchange(
        &self,
        asked: &Asked<'_>,
    ) -> Result<(http::StatusCode, HeaderMap, Bytes), String> {
        let request = http::Request::builder().method(asked.method.clone()).uri(&asked.path);
        let clean = |error: &dyn std::error::Error| self.clean(&one_line(error));
        let api = if asked.path == GRAPHQL { &self.graphql } else { &self.rest };
        let request = api.build_request(request, asked.body.as_ref());
        let request = request.map_err(|error| clean(&error))?;
        let answer = api.execute(request).await.map_err(|error| clean(&error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| clean(&*error))?.to_bytes();
        Ok((head.status, head.headers, body))
    }

    /// A text of others as it may be told: without secrets, in one line, and not too long.
    pub(super) fn clean(&self, text: &str) -> String {
        let concealed = conceal(&self.secrets, text);
        let text = concealed.as_deref().unwrap_or(text);
        let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let shown: String = shown.take(MAX_SAID).collect();
        shown.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Returns the wait that an answer asks for: zero for `Retry-After: 0`, `None` if it asks for none.
fn wait(status: u16, headers: &HeaderMap, message: &str) -> Option<Duration> {
    let may_ask =
        matches!(status, 403 | 429) || (status == 503 && headers.contains_key(RETRY_AFTER));
    if !may_ask {
        return None;
    }
    let now = server_date(headers).unwrap_or_else(SystemTime::now);
    if let Some(wait) = retry_after(headers, now) {
        return Some(wait);
    }
    let message = message.to_ascii_lowercase();
    // GraphQL says so of its primary limit, and may tell that something of it remains.
    let is_primary = message.contains("api rate limit");
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    if (is_primary || number("x-ratelimit-remaining") == Some(0))
        && let Some(reset) = number("x-ratelimit-reset")
    {
        let until = UNIX_EPOCH + Duration::from_secs(reset);
        // A second more, since both are whole ones.
        return Some(until.duration_since(now).unwrap_or_default() + Duration::from_secs(1));
    }
    if headers.contains_key(RETRY_AFTER) {
        return Some(Duration::ZERO);
    }
    (status == 429 || message.contains("rate limit")).then_some(UNTOLD_WAIT)
}

fn octocrab(
    options: &GitHubOptions,
    api: &str,
    token: Option<&SecretString>,
) -> Result<Octocrab, GitHubError> {
    let failed = |problem: &str| {
        let kind = GitHubErrorKind::Credential(problem.to_owned());
        GitHubError::new("sign in for the pull request", &options.repository, kind)
    };
    let refused = |_| failed("the address of the API is no URL");
    let builder = Octocrab::builder().base_uri(api).map_err(refused)?;
    let builder = builder.add_header(ACCEPT, "application/vnd.github+json".to_owned());
    let builder = match token {
        None => builder,
        Some(token) => {
            // Anything else cannot be in a header.
            let token = token.expose_secret().trim();
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(failed("the token holds what no token can"));
            }
            builder.personal_token(token)
        }
    };
    let built = builder.build_with_reqwest(options.client.clone());
    built.map_err(|_| failed("the client of GitHub's API cannot be made"))
}

/// What [`GRAPHQL`] is below, beside a REST API.
fn graphql_root(api: &str) -> &str {
    // Enterprise Server has `https://host/api/v3` and `https://host/api/graphql`.
    api.strip_suffix("/v3").filter(|root| root.ends_with("/api")).unwrap_or(api)
}

fn host(api: &str) -> &str {
    let rest = api.split_once("://").map_or(api, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
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
    fn waits_are_told_in_several_ways() {
        let date = ("date", "Fri, 20 Nov 2026 10:00:00 GMT");
        // 30 seconds after that.
        let reset = [date, ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795168830")];
        let seconds = Duration::from_secs;
        assert_eq!(wait(403, &headers(&[("retry-after", "7")]), ""), Some(seconds(7)));
        assert_eq!(wait(429, &headers(&reset), ""), Some(seconds(31)));
        let left = [date, ("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "1795168830")];
        let primary = "API rate limit already exceeded for user ID 1.";
        assert_eq!(wait(429, &headers(&left), primary), Some(seconds(31)));
        assert_eq!(wait(429, &headers(&left), "secondary rate limit"), Some(UNTOLD_WAIT));
        assert_eq!(wait(429, &headers(&[]), ""), Some(UNTOLD_WAIT));
        assert_eq!(wait(429, &headers(&[("retry-after", "0")]), ""), Some(Duration::ZERO));
        let secondary = "You have exceeded a secondary rate limit.";
        assert_eq!(wait(403, &headers(&[]), secondary), Some(UNTOLD_WAIT));
        assert_eq!(wait(403, &headers(&[("x-ratelimit-remaining", "12")]), "no access"), None);
        assert_eq!(wait(503, &headers(&[("retry-after", "7")]), ""), Some(seconds(7)));
        assert_eq!(wait(502, &headers(&[]), ""), None);
    }

    #[test]
    fn graphql_is_beside_the_rest_api() {
        assert_eq!(graphql_root("https://api.github.com"), "https://api.github.com");
        assert_eq!(graphql_root("https://ghe.example.org/api/v3"), "https://ghe.example.org/api");
        assert_eq!(host("https://ghe.example.org/api/v3"), "ghe.example.org");
    }
}
