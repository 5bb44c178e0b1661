//! Passwords of Amazon's Elastic Container Registry: one signed call of
//! [`GetAuthorizationToken`][api] gives one that lasts for twelve hours.
//!
//! [api]: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::network::Connections;
use super::plain_http::{PlainHttp, plain_http_hint};
use super::signature::{self, Keys, Request, Scope};
use super::variables::Variables;
use super::{Credential, pair};
use crate::registry::error::duration_text;
use crate::registry::transport::{authority, timed_out, unreachable};
use crate::registry::{RegistryErrorKind, Retry, RetryPolicy, Retryable};

/// The variables that name another endpoint than AWS' own, the first that is set first:
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
pub(super) const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_ECR", "AWS_ENDPOINT_URL"];

const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const BODY: &[u8] = b"{}";

/// The longest answer that is read, in bytes; a password has about 2,500.
const MAX_ANSWER: usize = 256 << 10;

/// How often a call is tried that no answer came to, or one that asks for patience.
const ATTEMPTS: u32 = 3;

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How far a clock may be off before it is what a refused signature is blamed on: AWS takes
/// signatures that are up to five minutes old.
const MAX_SKEW: i64 = 4 * 60;

/// How the ids of keys begin that do not end by themselves.
const LASTING_KEY: &str = "AKIA";

/// How the ids of keys begin that only a session token makes valid.
const TEMPORARY_KEY: &str = "ASIA";

/// The codes of a signature that AWS did not accept.
const SIGNATURE_CODES: [&str; 5] = [
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "IncompleteSignatureException",
];

/// Why there is no password. Never holds a key, a token or a password.
#[derive(Debug, thiserror::Error)]
pub enum EcrProblem {
    /// The region is not known.
    #[error("the host is not that of a private ECR registry, and no region is given")]
    Host,
    /// Temporary keys need a token too.
    #[error("the access key is a temporary one, and the variable `{0}` is not set")]
    SessionToken(String),
    /// The variable for another endpoint.
    #[error("the variable `{0}` is not the URL of an endpoint")]
    Endpoint(String),
    /// The signature was refused because of its time.
    #[error("this machine's clock is {offset}, so the signature was refused ({code})")]
    Clock {
        /// How far the clock is off, and in which direction.
        offset: String,
        /// AWS' word for it.
        code: String,
    },
    /// AWS refused.
    #[error("{code} (status {status}){}", .message.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        /// The status of the answer.
        status: u16,
        /// AWS' word for it.
        code: String,
        /// What AWS said, where it says nothing of the keys.
        message: Option<String>,
    },
    /// No answer.
    #[error(transparent)]
    Unreachable(Box<RegistryErrorKind>),
    /// The keys and the password would travel in the clear.
    #[error("AWS' keys are not sent to `{0}` over plain HTTP")]
    PlainHttp(String),
    /// An answer that the API does not give.
    #[error("`{endpoint}` answered with status {status}, but not as the API of ECR does")]
    Protocol {
        /// The host that was asked.
        endpoint: String,
        /// The status of the answer.
        status: u16,
    },
}

impl EcrProblem {
    fn unreachable(kind: RegistryErrorKind) -> Self {
        Self::Unreachable(Box::new(kind))
    }

    /// Whether the same call may succeed a moment later.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(kind) => kind.is_transient(),
            Self::Refused { status, code, .. } => {
                *status >= 500 || *status == 429 || code.starts_with("Throttling")
            }
            Self::Protocol { status, .. } => *status >= 500 || *status == 429,
            Self::Host
            | Self::SessionToken(_)
            | Self::Endpoint(_)
            | Self::PlainHttp(_)
            | Self::Clock { .. } => false,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Host => {
                "its host is `<account>.dkr.ecr.<region>.amazonaws.com`; for another, say \
                 `aws_region` beside `auth_method`"
            }
            Self::SessionToken(_) => "whoever gave out the keys gave out a session token with them",
            Self::Endpoint(_) => {
                "unset it, or set it to such as `https://api.ecr.eu-west-1.amazonaws.com`"
            }
            Self::PlainHttp(host) => return Some(plain_http_hint(host)),
            Self::Clock { .. } => "set the clock, for instance by `timedatectl set-ntp true`",
            Self::Refused { code, .. } => match code.as_str() {
                code if SIGNATURE_CODES.contains(&code) => {
                    "the secret access key is not the one that belongs to the access key's id"
                }
                "UnrecognizedClientException" | "InvalidClientTokenId" => {
                    "AWS does not know the access key: it may be deleted, of another partition, \
                     or temporary and without its session token"
                }
                "ExpiredTokenException" | "ExpiredToken" => "get new temporary keys",
                "AccessDeniedException" | "AccessDenied" => {
                    "allow `ecr:GetAuthorizationToken` on `*` to whom the keys belong to"
                }
                _ => return None,
            },
            Self::Unreachable(kind) if matches!(**kind, RegistryErrorKind::Setup { .. }) => {
                return None;
            }
            Self::Unreachable(_) => {
                "is there a proxy or a firewall? AWS_ENDPOINT_URL_ECR names another endpoint"
            }
            Self::Protocol { .. } => {
                "something between here and AWS may have answered in its place"
            }
        };
        Some(hint.to_owned())
    }
}

impl Retryable for EcrProblem {
    fn retry(&self) -> Retry {
        if self.is_temporary() { Retry::Backoff } else { Retry::Never }
    }
}

/// The keys for one registry.
pub(super) struct Keyring {
    pub(super) region: Option<String>,
    pub(super) keys: Keys,
    /// The variable that a session token would be in.
    pub(super) session_token_variable: String,
}

/// A password, and for how long it is one.
pub(super) struct Password {
    pub(super) credential: Credential,
    pub(super) lasts: Duration,
}

/// A registry, as its host tells it.
#[derive(Debug, PartialEq, Eq)]
struct EcrHost<'a> {
    region: &'a str,
    endpoint: String,
}

/// Returns true if `host` is that of a private registry of ECR.
pub(super) fn is_private_registry(host: &str) -> bool {
    EcrHost::parse(host).is_some()
}

impl<'a> EcrHost<'a> {
    /// Reads `<account>.dkr.ecr[-fips].<region>.amazonaws.com[.cn]` and the hosts that have an
    /// IPv6 address too, `<account>.dkr-ecr[-fips].<region>.on.aws`.
    fn parse(host: &'a str) -> Option<Self> {
        let (account, rest) = host.split_once('.')?;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (dual, rest) = match rest.strip_prefix("dkr.ecr") {
            Some(rest) => (false, rest),
            None => (true, rest.strip_prefix("dkr-ecr")?),
        };
        let (fips, rest) = match rest.strip_prefix("-fips.") {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix('.')?),
        };
        let (region, domain) = rest.split_once('.')?;
        let is_region = !region.is_empty()
            && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let name = if fips { "ecr-fips" } else { "ecr" };
        let endpoint = match (dual, domain) {
            (false, "amazonaws.com" | "amazonaws.com.cn" | "amazonaws.eu") => {
                let name = if fips { name } else { "api.ecr" };
                format!("https://{name}.{region}.{domain}/")
            }
            (true, "on.aws") => format!("https://{name}.{region}.api.aws/"),
            (true, "on.amazonwebservices.com.cn") => {
                format!("https://{name}.{region}.api.amazonwebservices.com.cn/")
            }
            _ => return None,
        };
        is_region.then_some(Self { region, endpoint })
    }
}

/// Asks for the password of the registry at `host`.
pub(super) async fn password(
    connections: &Connections,
    host: &str,
    keyring: &Keyring,
    variables: &Variables,
    plain_http: &PlainHttp,
) -> Result<Password, EcrProblem> {
    let known = EcrHost::parse(host);
    let region = keyring.region.as_deref().or(known.as_ref().map(|host| host.region));
    let region = region.ok_or(EcrProblem::Host)?;
    let id = keyring.keys.access_key_id.expose_secret();
    if id.starts_with(TEMPORARY_KEY) && keyring.keys.session_token.is_none() {
        return Err(EcrProblem::SessionToken(keyring.session_token_variable.clone()));
    }
    let own = || known.map(|host| host.endpoint);
    let usual = || format!("https://api.ecr.{region}.amazonaws.com/");
    let url = match endpoint(variables)? {
        Some(url) => Ok(url),
        None => Url::parse(&own().unwrap_or_else(usual)).map_err(|_| EcrProblem::Host),
    }?;
    if !plain_http.admits(&url) {
        return Err(EcrProblem::PlainHttp(authority(&url)));
    }
    let client = connections.client(&url).map_err(EcrProblem::unreachable)?;
    let policy = RetryPolicy { attempts: ATTEMPTS, ..RetryPolicy::default() };
    policy.run(|| in_time(&client, &url, region, &keyring.keys)).await
}

/// One call that ends.
async fn in_time(
    client: &Client,
    url: &Url,
    region: &str,
    keys: &Keys,
) -> Result<Password, EcrProblem> {
    match tokio::time::timeout(TIMEOUT, ask(client, url, region, keys)).await {
        Ok(answer) => answer,
        Err(_) => Err(EcrProblem::unreachable(timed_out(url))),
    }
}

/// The endpoint that a variable names.
fn endpoint(variables: &Variables) -> Result<Option<Url>, EcrProblem> {
    for name in ENDPOINTS {
        let Ok(text) = variables.text(name) else { continue };
        let url = Url::parse(text.expose_secret().trim()).ok();
        let is_endpoint =
            |url: &Url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
        let url = url.filter(is_endpoint);
        return url.map(Some).ok_or_else(|| EcrProblem::Endpoint(name.to_owned()));
    }
    Ok(None)
}

/// One call.
async fn ask(
    client: &Client,
    url: &Url,
    region: &str,
    keys: &Keys,
) -> Result<Password, EcrProblem> {
    let endpoint = authority(url);
    let unreachable = |error| EcrProblem::unreachable(unreachable(url, error));
    let headers = signed_headers(url, region, keys);
    let request = client.post(url.clone()).headers(headers).body(BODY);
    let mut answer = request.send().await.map_err(unreachable)?;
    let now = Timestamp::now();
    let (status, date) = (answer.status(), date(answer.headers()));
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(EcrProblem::Protocol { endpoint, status: status.as_u16() });
        }
        body.extend_from_slice(&chunk);
    }
    let protocol = || EcrProblem::Protocol { endpoint: endpoint.clone(), status: status.as_u16() };
    if status != StatusCode::OK {
        return Err(
            refusal(status, &body, date.map(|date| (now, date)), keys).unwrap_or_else(protocol)
        );
    }
    let answer: Answer = serde_json::from_slice(&body).map_err(|_| protocol())?;
    let data = answer.authorization_data.into_iter().next().ok_or_else(protocol)?;
    // Counted from AWS' own time, so that a clock that is off renews neither early nor late.
    let left = data.expires_at - as_seconds(date.unwrap_or(now));
    let lasts = Duration::try_from_secs_f64(left.max(0.0)).map_err(|_| protocol())?;
    let credential = pair::read(&data.authorization_token).map_err(|_| protocol())?;
    Ok(Password { credential, lasts })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    authorization_data: Vec<AuthorizationData>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthorizationData {
    authorization_token: SecretString,
    /// In seconds since 1970.
    expires_at: f64,
}

/// How AWS' JSON protocols tell an error; some services write the message in upper case.
#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "__type")]
    kind: String,
    #[serde(alias = "Message")]
    message: Option<String>,
}

fn signed_headers(url: &Url, region: &str, keys: &Keys) -> HeaderMap {
    let time = Timestamp::now();
    let (host, date) = (authority(url), signature::date_time(time));
    let id = keys.access_key_id.expose_secret();
    // A token in the environment is not of keys that need none.
    let token = keys.session_token.as_ref().filter(|_| !id.starts_with(LASTING_KEY));
    let mut signed = vec![
        ("content-type", CONTENT_TYPE),
        ("host", host.as_str()),
        ("x-amz-date", date.as_str()),
    ];
    signed.extend(token.map(|token| ("x-amz-security-token", token.expose_secret())));
    signed.push(("x-amz-target", TARGET));
    let request = Request { method: "POST", path: url.path(), headers: &signed, body: BODY };
    let scope = Scope { region, service: "ecr", time };
    let authorization = signature::sign(&request, scope, keys);
    signed.push(("authorization", &authorization));
    let mut headers = HeaderMap::new();
    // The client writes the host itself, and in the same way.
    for (name, value) in signed.into_iter().filter(|(name, _)| *name != "host") {
        // A key that no header can carry is one that AWS does not know.
        let mut value =
            HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(matches!(name, "authorization" | "x-amz-security-token"));
        headers.insert(name, value);
    }
    headers
}

/// What AWS refused; `times` are this machine's and AWS' own.
fn refusal(
    status: StatusCode,
    body: &[u8],
    times: Option<(Timestamp, Timestamp)>,
    keys: &Keys,
) -> Option<EcrProblem> {
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    // `com.amazon.coral.service#UnrecognizedClientException`
    let code = refusal.kind.rsplit('#').next().unwrap_or_default();
    let is_word = !code.is_empty()
        && code.len() <= 64
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let code = is_word.then(|| code.to_owned())?;
    let is_signature = SIGNATURE_CODES.contains(&code.as_str());
    if let Some((here, there)) = times
        && is_signature
        && let offset = here.as_second() - there.as_second()
        && offset.abs() > MAX_SKEW
    {
        return Some(EcrProblem::Clock { offset: describe(offset), code });
    }
    // What is said about a signature repeats the request, its token too.
    let message = refusal.message.filter(|_| !is_signature);
    let message = message.and_then(|message| harmless(&message, keys));
    Some(EcrProblem::Refused { status: status.as_u16(), code, message })
}

/// A message that may be shown: one line, not too long, with nothing of the keys in it.
fn harmless(message: &str, keys: &Keys) -> Option<String> {
    let secrets =
        [Some(&keys.access_key_id), Some(&keys.secret_access_key), keys.session_token.as_ref()];
    let tells = |secret: &SecretString| message.contains(secret.expose_secret());
    if message.is_empty() || secrets.into_iter().flatten().any(tells) {
        return None;
    }
    let line = message.chars().map(|c| if c.is_control() { ' ' } else { c });
    Some(line.take(300).collect())
}

/// The time at which an answer was given.
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let time = httpdate::parse_http_date(headers.get("date")?.to_str().ok()?).ok()?;
    Timestamp::try_from(time).ok()
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact in a double")]
fn as_seconds(time: Timestamp) -> f64 {
    time.as_second() as f64
}

/// `1h 2m ahead`
fn describe(offset: i64) -> String {
    let direction = if offset > 0 { "ahead of AWS'" } else { "behind AWS'" };
    format!("{} {direction}", duration_text(Duration::from_secs(offset.unsigned_abs())))
}

#[cfg(test)]
mod tests;
