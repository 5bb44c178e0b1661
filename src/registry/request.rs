//! One request and its answer, wherever redirects lead.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::header::{AGE, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{Response, Url};
use secrecy::SecretString;

use super::host::Host;
use super::limiter::RateLimiter;
use super::payload::{Activity, Payload};
use super::retry::{retry_after, server_date};
use super::scopes::Scopes;
use super::transport::{authority, silent, unreachable};
use super::{Problem, RegistryErrorKind};
use crate::image::Digest;

/// As much of an error's body as is read, in bytes.
const MAX_ERROR: u64 = 64 * 1024;

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;

/// The header in which a registry tells what it has.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// What is asked of a registry.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) scopes: Scopes,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
    /// The most bytes that the body of a success may have.
    pub(super) limit: u64,
}

impl Call {
    pub(super) fn new(method: Method, url: Url, scopes: Scopes) -> Self {
        Self {
            method,
            url,
            scopes,
            headers: HeaderMap::new(),
            payload: Payload::Empty,
            limit: MAX_ERROR,
        }
    }

    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(super) fn payload(self, payload: Payload) -> Self {
        Self { payload, ..self }
    }

    pub(super) fn limit(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    fn may_be_redirected(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }
}

/// What is sent along to prove who we are.
#[derive(Clone, Default)]
pub(super) struct Proof {
    pub(super) header: Option<HeaderValue>,
    /// What must not come back in a message.
    pub(super) secrets: Vec<SecretString>,
    pub(super) anonymous: bool,
    /// Whether there is an identity token, which the registry cannot be shown.
    pub(super) has_unused_token: bool,
}

impl Proof {
    /// Nobody's.
    pub(super) fn none() -> Self {
        Self { anonymous: true, ..Self::default() }
    }

    /// Somebody's: what is sent, and what must not come back in a message.
    pub(super) fn of(header: Option<HeaderValue>, secrets: Vec<SecretString>) -> Self {
        Self { header, secrets, ..Self::default() }
    }

    /// That of somebody whose identity token is for a token server, where there is none.
    pub(super) fn unused_token() -> Self {
        Self { has_unused_token: true, ..Self::none() }
    }
}

/// What was answered, with its whole body.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The URL that answered, after redirects.
    pub(super) url: Url,
    /// What the request was sent with.
    pub(super) proof: Proof,
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

    /// The digest that the registry names, as it is written; those of other algorithms than
    /// ours say nothing that can be compared.
    pub(super) fn digest(&self) -> Option<&str> {
        self.header(&CONTENT_DIGEST)
            .filter(|text| text.split_once(':').is_none_or(|(algorithm, _)| algorithm == "sha256"))
    }

    pub(super) fn problem(&self) -> Problem {
        Problem::read(&self.body, self.media_type(), &self.proof.secrets)
    }
}

impl Host {
    /// Sends a request and reads the answer; follows redirects of those that only read.
    ///
    /// What proves who we are goes to the origin of the first URL alone.
    pub(super) async fn carry(
        &self,
        call: &Call,
        proof: &Proof,
        limiter: &RateLimiter,
    ) -> Result<Reply, RegistryErrorKind> {
        let _permit = limiter.acquire().await;
        let mut url = call.url.clone();
        let mut proof = proof.clone();
        for _ in 0..=MAX_REDIRECTS {
            let activity = Activity::new();
            let reach = self.reach(&url).await?;
            let request = request(call, &url, &proof, &activity).await?;
            let response = self.shared.transport.send(reach, request, &activity).await?;
            // What a cache kept has an old date.
            let is_fresh = url == call.url && !response.headers().contains_key(AGE);
            if let Some(theirs) = server_date(response.headers()).filter(|_| is_fresh) {
                self.clock.compare(theirs, SystemTime::now());
            }
            if !call.may_be_redirected() || !is_redirect(response.status()) {
                return self.read(call, response, url, proof).await;
            }
            let next = location(&url, response.headers());
            let next = next.ok_or_else(|| self.unexpected("redirect", "it leads nowhere"))?;
            if next.origin() != url.origin() {
                proof.header = None;
            }
            url = next;
        }
        Err(self.elsewhere(&url, "after too many redirects"))
    }

    async fn read(
        &self,
        call: &Call,
        mut response: Response,
        url: Url,
        proof: Proof,
    ) -> Result<Reply, RegistryErrorKind> {
        let (status, headers) = (response.status(), response.headers().clone());
        let limit = if status.is_success() { call.limit } else { MAX_ERROR };
        let mut body = BytesMut::new();
        let activity = Activity::new();
        loop {
            let piece = tokio::select! {
                piece = response.chunk() => piece,
                () = activity.ceased(self.shared.transport.timeouts().idle) => {
                    return Err(silent(&url));
                }
            };
            let piece = match piece {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                // The status counts; what it says of itself is missing then.
                Err(_) if !status.is_success() => break,
                Err(error) => return Err(unreachable(&url, error)),
            };
            activity.touch();
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
        Ok(Reply { status, headers, body: body.freeze(), url, proof })
    }

    /// The failure that an answer is.
    pub(super) fn refusal(&self, scopes: &Scopes, reply: &Reply) -> RegistryErrorKind {
        match reply.status.as_u16() {
            401 | 403 if self.is_home(&reply.url) => self.denied(scopes, reply),
            status => RegistryErrorKind::Status {
                host: self.shown(&reply.url),
                status,
                problem: reply.problem(),
                wait: retry_after(&reply.headers, SystemTime::now()),
            },
        }
    }

    /// The failure that says who may not do what.
    pub(super) fn denied(&self, scopes: &Scopes, reply: &Reply) -> RegistryErrorKind {
        let (host, scope) = (self.name.clone(), scopes.to_string());
        let (status, problem) = (reply.status.as_u16(), reply.problem());
        if reply.proof.has_unused_token {
            return RegistryErrorKind::NoTokenServer { host, scope, status, problem };
        }
        let (anonymous, clock) = (reply.proof.anonymous, self.clock.problem());
        RegistryErrorKind::Denied { host, scope, status, problem, anonymous, clock }
    }

    /// The digest that the registry names must be the one that the bytes have.
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

    /// An answer that breaks the specification.
    pub(super) fn unexpected(
        &self,
        expected: &'static str,
        problem: impl Into<String>,
    ) -> RegistryErrorKind {
        let host = self.name.clone();
        RegistryErrorKind::Unexpected { host, expected, problem: problem.into() }
    }

    /// The host of a URL, by the name that the user knows it by.
    pub(super) fn shown(&self, url: &Url) -> String {
        if self.is_home(url) { self.name.clone() } else { authority(url) }
    }
}

async fn request(
    call: &Call,
    url: &Url,
    proof: &Proof,
    activity: &Activity,
) -> Result<reqwest::Request, RegistryErrorKind> {
    let source = |error: io::Error| RegistryErrorKind::Source(Arc::new(error));
    let mut request = reqwest::Request::new(call.method.clone(), url.clone());
    *request.headers_mut() = call.headers.clone();
    if let Some(header) = &proof.header {
        request.headers_mut().insert(AUTHORIZATION, header.clone());
    }
    match &call.payload {
        // The length is said even where it is nothing: some registries ask for it.
        Payload::Empty if matches!(call.method, Method::POST | Method::PUT | Method::PATCH) => {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Payload::Empty => {}
        payload => {
            request.headers_mut().insert(CONTENT_LENGTH, payload.length().into());
            let body = payload.open(activity).await.map_err(source)?;
            *request.body_mut() = Some(reqwest::Body::wrap(body));
        }
    }
    Ok(request)
}

/// Where an answer's `Location` leads, seen from the URL that was asked.
pub(super) fn location(asked: &Url, headers: &HeaderMap) -> Option<Url> {
    asked.join(headers.get(LOCATION)?.to_str().ok()?).ok()
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
