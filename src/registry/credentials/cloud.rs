//! Variables, requests, identity tokens and errors of AWS and Google.
//!
//! [`Cloud`] holds the variables and connections. Its `context` lets reqsign use them and nothing of the
//! process itself.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use reqsign_core::{CommandExecute, CommandOutput, Context, Env, FileRead, HttpSend};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::{CloudProblem, is_code, one_line};
use super::helper;
use super::plain_http::PlainHttp;
use super::variables::Variables;
use crate::registry::address::{Reach, is_loopback, is_metadata};
use crate::registry::transport::{Transport, authority, unreachable};
use crate::registry::{Network, Timeouts};

/// The longest answer that is read, in bytes; a password of ECR has about 2,500.
pub(super) const MAX_ANSWER: usize = 256 << 10;

const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a service of this machine or its host may take, such as a metadata server. Outside of
/// its cloud nothing answers at its address.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(2);

/// The environment that clouds' credentials are looked up in. Cheap to clone.
#[derive(Clone)]
pub(super) struct Cloud(Arc<Inner>);

struct Inner {
    variables: Arc<Variables>,
    network: Network,
    plain_http: PlainHttp,
    /// The connections, created for the first request.
    transport: OnceLock<Transport>,
    search_path: Option<OsString>,
}

impl Cloud {
    pub(super) fn new(
        variables: Arc<Variables>,
        network: Network,
        plain_http: PlainHttp,
        search_path: Option<OsString>,
    ) -> Self {
        let transport = OnceLock::new();
        Self(Arc::new(Inner { variables, network, plain_http, transport, search_path }))
    }

    pub(super) fn variables(&self) -> &Variables {
        &self.0.variables
    }

    /// Returns a variable that is set to something.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.0.variables.get(name)
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
    pub(super) fn context(&self) -> Context {
        Context::new()
            .with_env(self.clone())
            .with_file_read(self.clone())
            .with_command_execute(self.clone())
            .with_http_send(self.clone())
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, CloudProblem> {
        let mut request = reqwest::Request::try_from(request)
            .map_err(|_| CloudProblem::setup("the address of the cloud is no URL"))?;
        let url = request.url().clone();
        if !self.0.plain_http.admits(&url) && !is_metadata(&url) {
            return Err(CloudProblem::PlainHttp(authority(&url)));
        }
        let is_local = is_loopback(&url) || is_metadata(&url);
        *request.timeout_mut() = Some(if is_local { LOCAL_TIMEOUT } else { TIMEOUT });
        let transport = if let Some(transport) = self.0.transport.get() {
            transport
        } else {
            let transport = Transport::new(&self.0.network, Timeouts::default())?;
            self.0.transport.get_or_init(|| transport)
        };
        let mut answer = transport.send(Reach::Named, request).await?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| unreachable(&url, error))? {
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(CloudProblem::protocol(&url, answer.status()));
            }
            body.extend_from_slice(&piece);
        }
        response.body(body.into()).map_err(|_| CloudProblem::setup("the answer cannot be read"))
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
        let answer: Answer = self.fetch(request, Bytes::new()).await?;
        Ok(Some(answer.value))
    }

    /// Sends a request and reads an answer in JSON.
    pub(super) async fn fetch<T: DeserializeOwned>(
        &self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> Result<T, CloudProblem> {
        let (url, answer) = self.fetch_bytes(request, body).await?;
        serde_json::from_slice(&answer).map_err(|_| CloudProblem::protocol(&url, StatusCode::OK))
    }

    /// Sends a request and reads an answer of any kind.
    pub(super) async fn fetch_bytes(
        &self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> Result<(Url, Bytes), CloudProblem> {
        let invalid = |_| CloudProblem::setup("the request to the cloud is invalid");
        let request = request.body(body.into()).map_err(invalid)?;
        let url = Url::parse(&request.uri().to_string());
        let url = url.map_err(|_| CloudProblem::setup("the address of the cloud is no URL"))?;
        let answer = self.send(request).await?;
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

impl fmt::Debug for Cloud {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Cloud")
    }
}

impl Env for Cloud {
    fn var(&self, key: &str) -> Option<String> {
        self.variable(key).map(str::to_owned)
    }

    fn vars(&self) -> HashMap<String, String> {
        let variables = self.0.variables.texts();
        variables.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    }

    fn home_dir(&self) -> Option<PathBuf> {
        self.variable("HOME").map(PathBuf::from)
    }
}

impl FileRead for Cloud {
    async fn file_read(&self, path: &str) -> reqsign_core::Result<Vec<u8>> {
        Ok(tokio::fs::read(path).await?)
    }
}

impl HttpSend for Cloud {
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
            && let Some(mut url) =
                self.endpoint(&["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]).map_err(failed)?
        {
            url.set_query(request.uri().query());
            *request.uri_mut() = url.as_str().parse()?;
        }
        self.send(request).await.map_err(failed)
    }
}

impl CommandExecute for Cloud {
    async fn command_execute<'a>(
        &'a self,
        program: &'a str,
        arguments: &'a [&'a str],
    ) -> reqsign_core::Result<CommandOutput> {
        let program = helper::find(program, self.0.search_path.as_deref())
            .ok_or_else(|| reqsign_core::Error::config_invalid("its program is not installed"))?;
        let (status, stdout) = helper::run(&program, arguments, "").await?;
        let (status, stdout) = (status.code().unwrap_or(-1), stdout.expose_secret().to_vec());
        Ok(CommandOutput { status, stdout, stderr: Vec::new() })
    }
}
