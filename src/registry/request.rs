//! One request and its answer, across redirects.

use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{Response, Url};
use secrecy::SecretString;

use super::host::Host;
use super::limiter::RateLimiter;
use super::retry::retry_after;
use super::scopes::Scopes;
use super::transport::{authority, unreachable};
use super::{Authentication, Problem, RegistryErrorKind};
use crate::image::Digest;

/// The maximum number of bytes that are read of an error's body.
const MAX_ERROR: u64 = 64 * 1024;

/// The maximum number of redirects that are followed.
const MAX_REDIRECTS: usize = 5;

/// The header with the digest of the content.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A request to a registry.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) scopes: Scopes,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    /// The maximum size of a successful answer's body, in bytes.
    pub(super) limit: u64,
}

impl Call {
    pub(super) fn new(method: Method, url: Url, scopes: Scopes) -> Self {
        Self { method, url, scopes, headers: HeaderMap::new(), body: None, limit: MAX_ERROR }
    }

    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(super) fn body(self, body: Bytes) -> Self {
        Self { body: Some(body), ..self }
    }

    pub(super) fn limit(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    fn may_be_redirected(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }
}

/// The `Authorization` header of a request.
#[derive(Clone)]
pub(super) struct AuthHeader {
    pub(super) value: Option<HeaderValue>,
    /// Secrets that must not appear in messages.
    pub(super) secrets: Vec<SecretString>,
    pub(super) authentication: Authentication,
}

impl AuthHeader {
    pub(super) fn new(value: Option<HeaderValue>, secrets: Vec<SecretString>) -> Self {
        Self { value, secrets, authentication: Authentication::Credential }
    }

    /// No header, for this reason.
    pub(super) fn none(authentication: Authentication) -> Self {
        Self { value: None, secrets: Vec::new(), authentication }
    }
}

/// An answer whose body has not been read.
pub(super) struct Opened {
    pub(super) response: Response,
    /// The URL that answered, after redirects.
    pub(super) url: Url,
    pub(super) auth: AuthHeader,
}

/// An answer with its whole body.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The URL that answered, after redirects.
    pub(super) url: Url,
    pub(super) auth: AuthHeader,
}

impl Reply {
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The media type without its parameters.
    pub(super) fn media_type(&self) -> Option<&str> {
        let value = self.header(&CONTENT_TYPE)?;
        value.split(';').next().map(str::trim).filter(|value| !value.is_empty())
    }

    /// Returns the digest that the registry names, unless it has another algorithm than ours.
    pub(super) fn digest(&self) -> Option<&str> {
        self.header(&CONTENT_DIGEST)
            .filter(|text| text.split_once(':').is_none_or(|(algorithm, _)| algorithm == "sha256"))
    }

    pub(super) fn problem(&self) -> Problem {
        Problem::read(&self.body, self.media_type(), &self.auth.secrets)
    }
}

impl Host {
    /// Sends a request and reads the answer.
    pub(super) async fn exchange(
        &self,
        call: &Call,
        auth: &AuthHeader,
        limiter: &RateLimiter,
    ) -> Result<Reply, RegistryErrorKind> {
        let _permit = limiter.acquire().await;
        let opened = self.follow(call, auth).await?;
        self.read(call, opened).await
    }

    /// Sends a request. Follows redirects of `GET` and `HEAD`, with the `Authorization` header only as long as the origin
    /// stays the same.
    pub(super) async fn follow(
        &self,
        call: &Call,
        auth: &AuthHeader,
    ) -> Result<Opened, RegistryErrorKind> {
        let mut url = call.url.clone();
        let mut auth = auth.clone();
        for _ in 0..=MAX_REDIRECTS {
            let reach = self.reach(&url).await?;
            let request = request(call, &url, &auth);
            let response = self.shared.transport.send(reach, request).await?;
            if !call.may_be_redirected() || !is_redirect(response.status()) {
                return Ok(Opened { response, url, auth });
            }
            let next = location(&url, response.headers());
            let next =
                next.ok_or_else(|| self.unexpected("redirect", "it has no valid `Location`"))?;
            if next.origin() != url.origin() {
                auth.value = None;
            }
            url = next;
        }
        Err(self.forbidden_target(&url, "after too many redirects"))
    }

    /// Reads the body of an answer.
    pub(super) async fn read(
        &self,
        call: &Call,
        opened: Opened,
    ) -> Result<Reply, RegistryErrorKind> {
        let Opened { mut response, url, auth } = opened;
        let (status, headers) = (response.status(), response.headers().clone());
        let limit = if status.is_success() { call.limit } else { MAX_ERROR };
        let mut body = BytesMut::new();
        loop {
            let piece = match response.chunk().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                // The status is enough, even without the rest of the message.
                Err(_) if !status.is_success() => break,
                Err(error) => return Err(unreachable(&url, error)),
            };
            let room = usize::try_from(limit).unwrap_or(usize::MAX) - body.len();
            if piece.len() > room {
                if status.is_success() {
                    return Err(RegistryErrorKind::TooLarge { host: authority(&url), limit });
                }
                body.extend_from_slice(&piece[..room]);
                break;
            }
            body.extend_from_slice(&piece);
        }
        Ok(Reply { status, headers, body: body.freeze(), url, auth })
    }

    /// Returns the error for an answer.
    pub(super) fn refusal(&self, scopes: &Scopes, reply: &Reply) -> RegistryErrorKind {
        match reply.status.as_u16() {
            401 | 403 if self.is_own_origin(&reply.url) => self.denied(scopes, reply),
            status => RegistryErrorKind::Status {
                host: self.display_host(&reply.url),
                status,
                problem: reply.problem(),
                wait: retry_after(&reply.headers, SystemTime::now()),
            },
        }
    }

    /// Returns the error for an answer that denies permission.
    pub(super) fn denied(&self, scopes: &Scopes, reply: &Reply) -> RegistryErrorKind {
        let (host, scope) = (self.name.clone(), scopes.to_string());
        let (status, problem) = (reply.status.as_u16(), reply.problem());
        let authentication = reply.auth.authentication;
        RegistryErrorKind::Denied { host, scope, status, problem, authentication }
    }

    /// Checks that the digest that the registry names, if any, is `digest`.
    pub(super) fn compare(&self, reply: &Reply, digest: &Digest) -> Result<(), RegistryErrorKind> {
        match reply.digest() {
            Some(named) if named != digest.to_string() => Err(RegistryErrorKind::WrongDigest {
                host: self.name.clone(),
                expected: digest.to_string(),
                found: super::problem::clean(named, &[]),
            }),
            _ => Ok(()),
        }
    }

    /// Returns the error for an answer that violates the specification.
    pub(super) fn unexpected(
        &self,
        expected: &'static str,
        problem: impl Into<String>,
    ) -> RegistryErrorKind {
        let host = self.name.clone();
        RegistryErrorKind::Unexpected { host, expected, problem: problem.into() }
    }

    /// Returns the host of a URL for messages: as in references, if it is this registry.
    pub(super) fn display_host(&self, url: &Url) -> String {
        if self.is_own_origin(url) { self.name.clone() } else { authority(url) }
    }
}

pub(super) fn request(call: &Call, url: &Url, auth: &AuthHeader) -> reqwest::Request {
    let mut request = reqwest::Request::new(call.method.clone(), url.clone());
    *request.headers_mut() = call.headers.clone();
    if let Some(value) = &auth.value {
        request.headers_mut().insert(AUTHORIZATION, value.clone());
    }
    if let Some(body) = &call.body {
        *request.body_mut() = Some(body.clone().into());
    } else if matches!(call.method, Method::POST | Method::PUT) {
        // Some registries require the header even if it is zero.
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    request
}

/// Resolves an answer's `Location` against the URL of the request.
pub(super) fn location(requested: &Url, headers: &HeaderMap) -> Option<Url> {
    requested.join(headers.get(LOCATION)?.to_str().ok()?).ok()
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
