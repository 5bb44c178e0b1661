//! Registries that require credentials, under their real host names.
//!
//! [`RegistryProxy`] is an HTTP proxy that answers for all of these hosts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::harness::auth::ecr::{EcrApi, EcrError};

type Body = Full<Bytes>;

/// How a registry authenticates requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthScheme {
    /// User and password with every request.
    Basic,
    /// A token from the registry's token server, in exchange for user and password. Anonymous requests get a token without permissions.
    Token,
    /// A token from the registry's token server, in exchange for an identity token.
    IdentityToken,
}

/// A registry with one user.
#[derive(Debug, Clone)]
pub(crate) struct ProtectedRegistry {
    pub(crate) scheme: AuthScheme,
    pub(crate) user: &'static str,
    pub(crate) secret: String,
    /// The user's permissions in `acme/base`: `pull`, `push`.
    pub(crate) allowed_actions: &'static [&'static str],
    /// A password that the registry reports as expired, in the words of ECR.
    pub(crate) expired_secret: &'static str,
    /// Whether error messages repeat the request, with its credentials.
    pub(crate) echoes_requests: bool,
}

impl ProtectedRegistry {
    pub(crate) fn new(scheme: AuthScheme, user: &'static str, secret: &str) -> Self {
        Self {
            scheme,
            user,
            secret: secret.to_owned(),
            allowed_actions: &["pull", "push"],
            expired_secret: "",
            echoes_requests: false,
        }
    }
}

/// An HTTP proxy in front of registries, by their hosts.
#[derive(Clone)]
pub(crate) struct RegistryProxy {
    pub(crate) url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    registries: Mutex<BTreeMap<String, ProtectedRegistry>>,
    /// The API that issues the passwords of the ECR registry.
    ecr: Mutex<Option<EcrApi>>,
    /// The host and the granted actions of each issued token.
    tokens: Mutex<Vec<(String, Vec<String>)>>,
    /// The host and the credentials of each login: `user:secret`, or the identity token.
    logins: Mutex<Vec<(String, String)>>,
}

impl RegistryProxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let proxy = Self { url, state: Arc::default() };
        let server = proxy.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                let service = service_fn(move |request| {
                    let server = server.clone();
                    async move { Ok::<_, std::convert::Infallible>(server.respond(request).await) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        proxy
    }

    pub(crate) fn add_registry(&self, host: &str, registry: ProtectedRegistry) {
        self.state.registries.lock().expect("registries").insert(host.to_owned(), registry);
    }

    pub(crate) fn set_ecr_api(&self, api: EcrApi) {
        *self.state.ecr.lock().expect("an API") = Some(api);
    }

    /// Returns the credentials that clients presented to `host`, without adjacent duplicates.
    pub(crate) fn presented_credentials(&self, host: &str) -> Vec<String> {
        let logins = self.state.logins.lock().expect("logins");
        let of_host = logins.iter().filter(|(name, _)| name == host);
        let mut credentials: Vec<String> = of_host.map(|(_, login)| login.clone()).collect();
        credentials.dedup();
        credentials
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        let authority = request.uri().authority().map(ToString::to_string);
        let of_header = || Some(request.headers().get(header::HOST)?.to_str().ok()?.to_owned());
        let host = authority.or_else(of_header).unwrap_or_default();
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        if host.starts_with("api.ecr.") {
            return self.ecr_response(&host, &head, &body);
        }
        let registry = self.state.registries.lock().expect("registries").get(&host).cloned();
        let Some(registry) = registry else { return status(StatusCode::BAD_GATEWAY) };
        let mut response = match head.uri.path() {
            "/token" => self.token_response(&host, &registry, &head, &body),
            _ => self.registry_response(&host, &registry, &head),
        };
        if registry.echoes_requests && !response.status().is_success() {
            echo(&mut response, &head, &body);
        }
        response
    }

    fn ecr_response(&self, host: &str, head: &Parts, body: &[u8]) -> Response<Body> {
        let mut api = self.state.ecr.lock().expect("an API");
        let Some(api) = api.as_mut() else { return status(StatusCode::BAD_GATEWAY) };
        let now = api.now();
        let (code, text) = match api.call(host, head, body) {
            Ok((password, text)) => {
                // The registry accepts only the newest password.
                for registry in self.state.registries.lock().expect("registries").values_mut() {
                    if registry.user == "AWS" {
                        registry.secret.clone_from(&password);
                    }
                }
                (StatusCode::OK, text)
            }
            Err(EcrError { status, text }) => (status, text),
        };
        let date = httpdate::fmt_http_date(now.into());
        let response = Response::builder().status(code).header(header::DATE, date);
        response.body(Full::from(text)).expect("a response")
    }

    /// Returns a token for valid credentials or an anonymous request.
    fn token_response(
        &self,
        host: &str,
        registry: &ProtectedRegistry,
        head: &Parts,
        body: &[u8],
    ) -> Response<Body> {
        let text = match head.method {
            Method::POST => String::from_utf8_lossy(body).into_owned(),
            _ => head.uri.query().unwrap_or_default().to_owned(),
        };
        let url = reqwest::Url::parse(&format!("http://x/?{text}")).expect("a query");
        let parameters = |key: &str| {
            let pairs = url.query_pairs().filter(|(name, _)| name == key);
            pairs.map(|(_, value)| value.into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(parameters("service"), [format!("service of {host}")]);
        let login = match head.method {
            Method::POST => {
                assert_eq!(parameters("grant_type"), ["refresh_token"]);
                parameters("refresh_token").pop()
            }
            _ => basic_credentials(head),
        };
        let expected = match registry.scheme {
            AuthScheme::IdentityToken => registry.secret.clone(),
            AuthScheme::Basic | AuthScheme::Token => {
                format!("{}:{}", registry.user, registry.secret)
            }
        };
        let is_valid = login.as_ref() == Some(&expected);
        let needs_post = registry.scheme == AuthScheme::IdentityToken;
        if let Some(login) = login {
            self.state.logins.lock().expect("logins").push((host.to_owned(), login));
            if !is_valid || (head.method == Method::POST) != needs_post {
                return status(StatusCode::UNAUTHORIZED);
            }
        }
        let scopes = parameters("scope");
        let scopes = scopes.iter().flat_map(|scopes| scopes.split(' '));
        let mut tokens = self.state.tokens.lock().expect("tokens");
        let granted = if is_valid { grant(scopes, registry.allowed_actions) } else { Vec::new() };
        tokens.push((host.to_owned(), granted));
        let token = format!("token-{}", tokens.len() - 1);
        json(StatusCode::OK, &format!(r#"{{"access_token": "{token}", "token": "{token}"}}"#))
    }

    fn registry_response(
        &self,
        host: &str,
        registry: &ProtectedRegistry,
        head: &Parts,
    ) -> Response<Body> {
        let error = match registry.scheme {
            AuthScheme::Basic => self.check_password(host, registry, head),
            AuthScheme::Token | AuthScheme::IdentityToken => self.check_token(host, head),
        };
        error.unwrap_or_else(|| content(head))
    }

    /// Returns the error response for a request without a valid password or permission.
    fn check_password(
        &self,
        host: &str,
        registry: &ProtectedRegistry,
        head: &Parts,
    ) -> Option<Response<Body>> {
        let Some(login) = basic_credentials(head) else {
            return Some(challenge("Basic realm=\"x\""));
        };
        let is_valid = login == format!("{}:{}", registry.user, registry.secret);
        let is_expired = login == format!("{}:{}", registry.user, registry.expired_secret);
        self.state.logins.lock().expect("logins").push((host.to_owned(), login));
        if is_expired {
            return Some(denied(
                "Your authorization token has expired. Reauthenticate and try again.",
            ));
        }
        if !is_valid {
            return Some(challenge("Basic realm=\"x\""));
        }
        let is_allowed = is_ping(head) || registry.allowed_actions.contains(&action(head));
        (!is_allowed).then(|| denied("requested access is denied"))
    }

    /// Returns a challenge for a request without a token that permits it.
    fn check_token(&self, host: &str, head: &Parts) -> Option<Response<Body>> {
        let action = action(head);
        let bearer = head.headers.get(header::AUTHORIZATION);
        let index = bearer.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer token-"));
        let tokens = self.state.tokens.lock().expect("tokens");
        let token = index.and_then(|index| tokens.get(index.parse::<usize>().ok()?));
        let is_allowed = token.is_some_and(|(issued_for, granted)| {
            issued_for == host && (is_ping(head) || granted.iter().any(|granted| granted == action))
        });
        if is_allowed {
            return None;
        }
        let scope = if is_ping(head) {
            String::new()
        } else {
            format!(",scope=\"repository:acme/base:{action}\"")
        };
        Some(challenge(&format!(
            "Bearer realm=\"http://{host}/token\",service=\"service of {host}\"{scope}"
        )))
    }
}

/// Returns whether a request only checks the API version.
fn is_ping(head: &Parts) -> bool {
    head.uri.path() == "/v2/"
}

/// Returns the permission that a request requires.
fn action(head: &Parts) -> &'static str {
    match head.method {
        Method::GET | Method::HEAD => "pull",
        _ => "push",
    }
}

/// Returns the response to an authorized request. Each repository contains one manifest, with the tag `1`.
fn content(head: &Parts) -> Response<Body> {
    let path = head.uri.path();
    let digest = format!("sha256:{}", "0".repeat(64));
    if is_ping(head) {
        status(StatusCode::OK)
    } else if path.ends_with("/manifests/1") || path.ends_with(&digest) {
        let response = Response::builder().header("docker-content-digest", digest);
        let response =
            response.header("content-type", "application/vnd.oci.image.manifest.v1+json");
        response.header("content-length", "2").body(Full::default()).expect("a response")
    } else if path.ends_with("/blobs/uploads/") {
        let response = Response::builder().status(StatusCode::ACCEPTED);
        response.header("location", format!("{path}1")).body(Full::default()).expect("a response")
    } else if head.method == Method::DELETE {
        status(StatusCode::NO_CONTENT)
    } else {
        status(StatusCode::NOT_FOUND)
    }
}

/// Replaces the body of an error by one that repeats the credentials and the body of the request, in each of their encodings.
fn echo(response: &mut Response<Body>, head: &Parts, body: &[u8]) {
    let header = head.headers.get(header::AUTHORIZATION);
    let header = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let pair = basic_credentials(head).unwrap_or_default();
    let password = pair.split_once(':').map_or("", |(_, password)| password);
    let body = String::from_utf8_lossy(body);
    let message = format!("not {password}, {pair}, {header}, {body}");
    *response.body_mut() = Full::from(error("DENIED", &message));
}

/// Returns the requested actions that the registry allows.
fn grant<'s>(scopes: impl Iterator<Item = &'s str>, allowed: &[&str]) -> Vec<String> {
    let actions = scopes.filter_map(|scope| scope.strip_prefix("repository:acme/base:"));
    let actions = actions.flat_map(|actions| actions.split(','));
    actions.filter(|action| allowed.contains(action)).map(str::to_owned).collect()
}

/// Returns the `user:password` of a request.
fn basic_credentials(head: &Parts) -> Option<String> {
    let header = head.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let bytes = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    String::from_utf8(bytes).ok()
}

fn status(code: StatusCode) -> Response<Body> {
    Response::builder().status(code).body(Full::default()).expect("a response")
}

fn json(code: StatusCode, body: &str) -> Response<Body> {
    let response = Response::builder().status(code).header("content-type", "application/json");
    response.body(Full::from(body.to_owned())).expect("a response")
}

/// Returns an error in the format of the distribution specification.
fn error(code: &str, message: &str) -> String {
    serde_json::json!({ "errors": [{ "code": code, "message": message }] }).to_string()
}

fn denied(message: &str) -> Response<Body> {
    json(StatusCode::FORBIDDEN, &error("DENIED", message))
}

fn challenge(value: &str) -> Response<Body> {
    let response = Response::builder().status(StatusCode::UNAUTHORIZED);
    let response = response.header(header::WWW_AUTHENTICATE, value);
    response.body(Full::from(error("UNAUTHORIZED", "authentication required"))).expect("a response")
}
