//! Variables, requests, identity tokens and errors of AWS and Google.
//!
//! [`Cloud`] holds the variables and connections. Its `context` lets reqsign use them and nothing of the
//! process itself.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use reqsign_core::{CommandExecute, CommandOutput, Context, Env, FileRead, HttpSend};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::helper;
use super::network::{Http, Network, Peer};
use super::plain_http::{PlainHttp, plain_http_hint};
use super::variables::Variables;
use crate::registry::transport::authority;
use crate::registry::{RegistryErrorKind, Retry, Retryable};

/// The codes of a signature that AWS did not accept.
pub(super) const SIGNATURE_CODES: [&str; 5] = [
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "IncompleteSignatureException",
];

/// Why a cloud issued no password. Never contains a key, a token or a password.
#[derive(Debug, thiserror::Error)]
pub enum CloudProblem {
    #[error("the host is not that of a private ECR registry, and no region is given")]
    NoRegion,
    #[error("the access key is a temporary one, and the variable `{0}` is not set")]
    NoSessionToken(String),
    #[error("this machine has no identity token for it")]
    NoIdentityToken,
    #[error("the variable `{0}` is not the URL of an endpoint")]
    Endpoint(String),
    #[error("this machine's clock is {offset}, so the signature was refused ({code})")]
    Clock { offset: String, code: String },
    #[error("{code} (status {status}){}", .message.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        status: u16,
        code: String,
        /// The cloud's message, unless it repeats a secret.
        message: Option<String>,
    },
    #[error(transparent)]
    Unreachable(Box<RegistryErrorKind>),
    #[error("AWS' keys are not sent to `{0}` over plain HTTP")]
    PlainHttp(String),
    #[error("`{endpoint}` answered with status {status}, but not as the API of a cloud does")]
    Protocol { endpoint: String, status: u16 },
    /// A place that holds credentials, and gave none.
    #[error("{origin}: {problem}")]
    Source { origin: String, problem: String, is_temporary: bool },
}

impl CloudProblem {
    pub(super) fn setup(problem: &str) -> Self {
        RegistryErrorKind::Setup { problem: problem.to_owned() }.into()
    }

    pub(super) fn protocol(url: &Url, status: StatusCode) -> Self {
        Self::Protocol { endpoint: authority(url), status: status.as_u16() }
    }

    /// Describes an error of reqsign, which found or asked `origin`.
    pub(super) fn from_reqsign(origin: &str, error: &reqsign_core::Error) -> Self {
        // Our own error is below the message of reqsign.
        let mut causes =
            std::iter::successors(std::error::Error::source(error), |error| error.source());
        let sent = causes.find_map(|cause| cause.downcast_ref::<Self>());
        let problem = sent.map_or_else(|| without_quotes(&error.to_string()), ToString::to_string);
        let is_temporary = sent.map_or(error.is_retryable(), Self::is_temporary);
        Self::Source { origin: origin.to_owned(), problem, is_temporary }
    }

    /// Returns true if the same request may succeed a moment later.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(kind) => kind.is_transient(),
            Self::Refused { status, code, .. } => {
                *status >= 500 || *status == 429 || code.starts_with("Throttling")
            }
            Self::Protocol { status, .. } => *status >= 500 || *status == 429,
            Self::Source { is_temporary, .. } => *is_temporary,
            _ => false,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoRegion => {
                "its host is `<account>.dkr.ecr.<region>.amazonaws.com`; for another, set \
                 `aws_region` or `aws_oidc_region` beside `auth_method`"
            }
            Self::NoSessionToken(_) => "set the session token that was issued with the keys",
            Self::NoIdentityToken => {
                "in GitHub Actions, give the job `permissions: id-token: write`; elsewhere, set \
                 AWS_WEB_IDENTITY_TOKEN_FILE or GOOGLE_APPLICATION_CREDENTIALS"
            }
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
                    "allow `ecr:GetAuthorizationToken` on `*` to the owner of the keys"
                }
                "invalid_grant" => "log in again: `gcloud auth application-default login`",
                _ => return None,
            },
            Self::Unreachable(kind) if matches!(**kind, RegistryErrorKind::Setup { .. }) => {
                return None;
            }
            Self::Unreachable(_) => {
                "is there a proxy or a firewall? AWS_ENDPOINT_URL_ECR names another endpoint"
            }
            Self::Protocol { .. } => "a proxy may have answered in place of the cloud",
            Self::Source { origin, .. } if origin.ends_with("via SSO") => "log in: `aws sso login`",
            Self::Source { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

impl Retryable for CloudProblem {
    fn retry(&self) -> Retry {
        if self.is_temporary() { Retry::Backoff } else { Retry::Never }
    }
}

impl From<RegistryErrorKind> for CloudProblem {
    fn from(kind: RegistryErrorKind) -> Self {
        Self::Unreachable(Box::new(kind))
    }
}

/// Removes quotes of files and answers from a message of reqsign. They follow a colon, as do the status of an
/// answer and the text after an error code, which are kept.
fn without_quotes(message: &str) -> String {
    match message.split_once(": ") {
        Some((start, _)) if !is_code(start) && !start.ends_with(" status") => start.to_owned(),
        _ => one_line(message),
    }
}

/// Shortens a message of a cloud to one line.
pub(super) fn one_line(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

/// The environment that clouds' credentials are looked up in.
pub(super) struct Cloud {
    pub(super) variables: Arc<Variables>,
    http: Http,
    search_path: Option<OsString>,
}

impl Cloud {
    pub(super) fn new(
        variables: Arc<Variables>,
        network: Network,
        plain_http: PlainHttp,
        search_path: Option<OsString>,
    ) -> Self {
        Self { variables, http: Http::new(network, plain_http), search_path }
    }

    /// Returns a variable that is set to something.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name)
    }

    /// Returns the first of the variables that is set, which must be a URL.
    pub(super) fn endpoint(&self, names: &[&str]) -> Result<Option<Url>, CloudProblem> {
        let Some((name, text)) = names.iter().find_map(|name| Some((name, self.variable(name)?)))
        else {
            return Ok(None);
        };
        let url = Url::parse(text.trim()).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.map(Some).ok_or_else(|| CloudProblem::Endpoint((*name).to_owned()))
    }

    /// Returns what reqsign reads and sends with: everything here, and nothing of the process itself.
    pub(super) fn context(self: &Arc<Self>, peer: Peer) -> Context {
        let bridge = Bridge { cloud: Arc::clone(self), peer };
        Context::new()
            .with_env(bridge.clone())
            .with_file_read(bridge.clone())
            .with_command_execute(bridge.clone())
            .with_http_send(bridge)
    }

    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
        peer: Peer,
    ) -> Result<Response<Bytes>, CloudProblem> {
        self.http.send(request, peer).await
    }

    /// Requests the identity token (OIDC) that GitHub Actions issues to this job. Returns `None`
    /// elsewhere, and in a job without the permission for it.
    pub(super) async fn identity_token(
        &self,
        audience: &str,
    ) -> Result<Option<SecretString>, CloudProblem> {
        #[derive(Deserialize)]
        struct Answer {
            value: SecretString,
        }
        const URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
        let Some(bearer) = self.variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN") else { return Ok(None) };
        let Some(mut url) = self.endpoint(&[URL])? else { return Ok(None) };
        url.query_pairs_mut().append_pair("audience", audience);
        let request =
            Request::get(url.as_str()).header("authorization", format!("Bearer {bearer}"));
        let answer: Answer = self.fetch(request, Bytes::new(), Peer::Api).await?;
        Ok(Some(answer.value))
    }

    /// Sends a request and reads an answer in JSON.
    pub(super) async fn fetch<T: DeserializeOwned>(
        &self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
        peer: Peer,
    ) -> Result<T, CloudProblem> {
        let (url, answer) = self.fetch_bytes(request, body, peer).await?;
        serde_json::from_slice(&answer).map_err(|_| CloudProblem::protocol(&url, StatusCode::OK))
    }

    /// Sends a request and reads an answer of any kind.
    pub(super) async fn fetch_bytes(
        &self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
        peer: Peer,
    ) -> Result<(Url, Bytes), CloudProblem> {
        let invalid = |_| CloudProblem::setup("the request to the cloud is invalid");
        let request = request.body(body.into()).map_err(invalid)?;
        let url = Url::parse(&request.uri().to_string());
        let url = url.map_err(|_| CloudProblem::setup("the address of the cloud is no URL"))?;
        let answer = self.send(request, peer).await?;
        if answer.status().is_success() {
            return Ok((url, answer.into_body()));
        }
        Err(refusal(&answer).unwrap_or_else(|| CloudProblem::protocol(&url, answer.status())))
    }
}

/// Reads an error of a token server, or of Google's APIs.
fn refusal(answer: &Response<Bytes>) -> Option<CloudProblem> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Refusal {
        OAuth { error: String, error_description: Option<String> },
        Api { error: ApiError },
    }
    #[derive(Deserialize)]
    struct ApiError {
        status: String,
        message: Option<String>,
    }
    let (code, message) = match serde_json::from_slice(answer.body()).ok()? {
        Refusal::OAuth { error, error_description } => (error, error_description),
        Refusal::Api { error } => (error.status, error.message),
    };
    let message =
        message.map(|text| one_line(&text)).filter(|text| !crate::matrix::looks_like_secret(text));
    is_code(&code).then(|| CloudProblem::Refused {
        status: answer.status().as_u16(),
        code,
        message,
    })
}

/// Returns true if `text` has the form of an error code and can be printed.
pub(super) fn is_code(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(is_word)
}

/// Gives reqsign the variables, files, programs and connections of a [`Cloud`].
#[derive(Clone)]
struct Bridge {
    cloud: Arc<Cloud>,
    peer: Peer,
}

impl std::fmt::Debug for Bridge {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Bridge")
    }
}

impl Env for Bridge {
    fn var(&self, key: &str) -> Option<String> {
        self.cloud.variable(key).map(str::to_owned)
    }

    fn vars(&self) -> HashMap<String, String> {
        let variables = self.cloud.variables.texts();
        variables.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    }

    fn home_dir(&self) -> Option<PathBuf> {
        self.cloud.variable("HOME").map(PathBuf::from)
    }
}

impl FileRead for Bridge {
    async fn file_read(&self, path: &str) -> reqsign_core::Result<Vec<u8>> {
        Ok(tokio::fs::read(path).await?)
    }
}

impl HttpSend for Bridge {
    async fn http_send(
        &self,
        mut request: Request<Bytes>,
    ) -> reqsign_core::Result<Response<Bytes>> {
        let failed = |problem: CloudProblem| {
            let is_temporary = problem.is_temporary();
            reqsign_core::Error::unexpected("failed to send a request")
                .with_source(problem)
                .set_retryable(is_temporary)
        };
        // reqsign has no setting for another endpoint of STS.
        if request.uri().host().is_some_and(|host| host.starts_with("sts."))
            && let Some(mut url) = self
                .cloud
                .endpoint(&["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"])
                .map_err(failed)?
        {
            url.set_query(request.uri().query());
            *request.uri_mut() = url.as_str().parse()?;
        }
        self.cloud.send(request, self.peer).await.map_err(failed)
    }
}

impl CommandExecute for Bridge {
    async fn command_execute<'a>(
        &'a self,
        program: &'a str,
        arguments: &'a [&'a str],
    ) -> reqsign_core::Result<CommandOutput> {
        let program = helper::find(program, self.cloud.search_path.as_deref())
            .ok_or_else(|| reqsign_core::Error::config_invalid("its program is not installed"))?;
        let (status, stdout) = helper::run(&program, arguments, "").await?;
        let (status, stdout) = (status.code().unwrap_or(-1), stdout.expose_secret().to_vec());
        Ok(CommandOutput { status, stdout, stderr: Vec::new() })
    }
}
