//! Registries that really ask who comes, under their own names: one server that plays the proxy
//! on the way to all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::harness::auth::ecr::{EcrApi, Refusal};

/// How a registry asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    /// For a user and a password with every request.
    Basic,
    /// For a token, which its token server gives for a user and a password, or for nothing
    /// where only public images are meant.
    Token,
    /// For a token, which its token server gives for an identity token.
    IdentityToken,
}

/// One registry: whom it lets in.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    pub(crate) asks: Asks,
    pub(crate) user: &'static str,
    pub(crate) secret: String,
    /// What the user may do in `acme/base`: `pull`, `push`.
    pub(crate) allows: &'static [&'static str],
    /// A password that it says has ended, as ECR does.
    pub(crate) ended: &'static str,
    /// Whether it repeats what it was sent in what it says of an error.
    pub(crate) echoes: bool,
}

impl Registry {
    pub(crate) fn new(asks: Asks, user: &'static str, secret: &str) -> Self {
        Self {
            asks,
            user,
            secret: secret.to_owned(),
            allows: &["pull", "push"],
            ended: "",
            echoes: false,
        }
    }
}

/// The registries, by host, and the proxy that leads to them.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    registries: Mutex<BTreeMap<String, Registry>>,
    /// The API that gives out passwords of ECR, which one of the registries then asks for.
    ecr: Mutex<Option<EcrApi>>,
    /// The tokens given out: for which host, and to do what.
    tokens: Mutex<Vec<(String, Vec<String>)>>,
    /// Who came: the host, and `user:secret` or the identity token.
    seen: Mutex<Vec<(String, String)>>,
}

impl Door {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(State::default());
        let door = Self { url, state };
        let keeper = door.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let keeper = keeper.clone();
                let service = service_fn(move |request| {
                    let keeper = keeper.clone();
                    async move { Ok::<_, std::convert::Infallible>(keeper.answer(request).await) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        door
    }

    pub(crate) fn registry(&self, host: &str, registry: Registry) {
        self.state.registries.lock().expect("registries").insert(host.to_owned(), registry);
    }

    /// Puts the API of ECR behind the same proxy.
    pub(crate) fn ecr(&self, api: EcrApi) {
        *self.state.ecr.lock().expect("an API") = Some(api);
    }

    /// Everyone who came to `host`, each once.
    pub(crate) fn seen(&self, host: &str) -> Vec<String> {
        let seen = self.state.seen.lock().expect("visitors");
        let mut visitors: Vec<String> =
            seen.iter().filter(|(name, _)| name == host).map(|(_, who)| who.clone()).collect();
        visitors.dedup();
        visitors
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let authority = request.uri().authority().map(ToString::to_string);
        let of_header = || Some(request.headers().get(header::HOST)?.to_str().ok()?.to_owned());
        let host = authority.or_else(of_header).unwrap_or_default();
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        if host.starts_with("api.ecr.") {
            return self.ecr_answer(&host, &head, &body);
        }
        let registry = self.state.registries.lock().expect("registries").get(&host).cloned();
        let Some(registry) = registry else { return status(StatusCode::BAD_GATEWAY) };
        let mut answer = match head.uri.path() {
            "/token" => self.token_server(&host, &registry, &head, &body),
            _ => self.registry_answer(&host, &registry, &head),
        };
        if registry.echoes && !answer.status().is_success() {
            echo(&mut answer, &head, &body);
        }
        answer
    }

    fn ecr_answer(
        &self,
        host: &str,
        head: &http::request::Parts,
        body: &[u8],
    ) -> Response<Full<Bytes>> {
        let mut api = self.state.ecr.lock().expect("an API");
        let Some(api) = api.as_mut() else { return status(StatusCode::BAD_GATEWAY) };
        let now = api.now();
        let (code, text) = match api.call(host, head, body) {
            Ok((password, text)) => {
                // The registry takes the newest password alone.
                for registry in self.state.registries.lock().expect("registries").values_mut() {
                    if registry.user == "AWS" {
                        registry.secret.clone_from(&password);
                    }
                }
                (StatusCode::OK, text)
            }
            Err(Refusal { status, text }) => (status, text),
        };
        let date = httpdate::fmt_http_date(now.into());
        let answer = Response::builder().status(code).header(header::DATE, date);
        answer.body(Full::from(text)).expect("an answer")
    }

    /// Gives tokens to whom it knows.
    fn token_server(
        &self,
        name: &str,
        registry: &Registry,
        head: &http::request::Parts,
        body: &[u8],
    ) -> Response<Full<Bytes>> {
        let text = match head.method {
            Method::POST => String::from_utf8_lossy(body).into_owned(),
            _ => head.uri.query().unwrap_or_default().to_owned(),
        };
        let url = reqwest::Url::parse(&format!("http://x/?{text}")).expect("a query");
        let of = |key: &str| {
            let pairs = url.query_pairs().filter(|(name, _)| name == key);
            pairs.map(|(_, value)| value.into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of("service"), [format!("service of {name}")]);
        let who = match head.method {
            Method::POST => {
                assert_eq!(of("grant_type"), ["refresh_token"]);
                of("refresh_token").pop()
            }
            _ => basic(head),
        };
        let known = match registry.asks {
            Asks::IdentityToken => registry.secret.clone(),
            Asks::Basic | Asks::Token => format!("{}:{}", registry.user, registry.secret),
        };
        let is_known = who.as_ref() == Some(&known);
        let is_right_way = (head.method == Method::POST) == (registry.asks == Asks::IdentityToken);
        if let Some(who) = who {
            self.state.seen.lock().expect("visitors").push((name.to_owned(), who));
            if !is_known || !is_right_way {
                return status(StatusCode::UNAUTHORIZED);
            }
        }
        let asked: Vec<String> =
            of("scope").iter().flat_map(|s| s.split(' ')).map(str::to_owned).collect();
        let mut tokens = self.state.tokens.lock().expect("tokens");
        let granted = if is_known { granted(&asked, registry.allows) } else { Vec::new() };
        tokens.push((name.to_owned(), granted));
        let token = format!("token-{}", tokens.len() - 1);
        json(StatusCode::OK, &format!(r#"{{"access_token": "{token}", "token": "{token}"}}"#))
    }

    fn registry_answer(
        &self,
        name: &str,
        registry: &Registry,
        head: &http::request::Parts,
    ) -> Response<Full<Bytes>> {
        let action = match head.method {
            Method::GET | Method::HEAD => "pull",
            _ => "push",
        };
        let is_ping = head.uri.path() == "/v2/";
        match registry.asks {
            Asks::Basic => {
                let Some(who) = basic(head) else { return challenge("Basic realm=\"x\"") };
                let is_known = who == format!("{}:{}", registry.user, registry.secret);
                let has_ended = who == format!("{}:{}", registry.user, registry.ended);
                self.state.seen.lock().expect("visitors").push((name.to_owned(), who));
                if has_ended {
                    let message =
                        "Your authorization token has expired. Reauthenticate and try again.";
                    let body =
                        format!(r#"{{"errors": [{{"code": "DENIED", "message": "{message}"}}]}}"#);
                    return json(StatusCode::FORBIDDEN, &body);
                }
                if !is_known {
                    return challenge("Basic realm=\"x\"");
                }
                if !is_ping && !registry.allows.contains(&action) {
                    let body = r#"{"errors": [{"code": "DENIED", "message": "not yours"}]}"#;
                    return json(StatusCode::FORBIDDEN, body);
                }
            }
            Asks::Token | Asks::IdentityToken => {
                let bearer = head.headers.get(header::AUTHORIZATION);
                let token =
                    bearer.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer token-"));
                let tokens = self.state.tokens.lock().expect("tokens");
                let token = token.and_then(|token| tokens.get(token.parse::<usize>().ok()?));
                let may = token.is_some_and(|(host, granted)| {
                    host == name && (is_ping || granted.iter().any(|granted| granted == action))
                });
                if !may {
                    let scope = if is_ping {
                        String::new()
                    } else {
                        format!(",scope=\"repository:acme/base:{action}\"")
                    };
                    return challenge(&format!(
                        "Bearer realm=\"http://{name}/token\",service=\"service of {name}\"{scope}"
                    ));
                }
            }
        }
        let path = head.uri.path();
        let digest = format!("sha256:{}", "0".repeat(64));
        if is_ping {
            status(StatusCode::OK)
        } else if path.ends_with("/manifests/1") || path.ends_with(&digest) {
            let found = Response::builder().header("docker-content-digest", digest);
            let found = found.header("content-type", "application/vnd.oci.image.manifest.v1+json");
            found.header("content-length", "2").body(Full::default()).expect("an answer")
        } else if path.ends_with("/blobs/uploads/") {
            let place = Response::builder().status(StatusCode::ACCEPTED);
            place.header("location", format!("{path}1")).body(Full::default()).expect("an answer")
        } else if head.method == Method::DELETE {
            status(StatusCode::NO_CONTENT)
        } else {
            status(StatusCode::NOT_FOUND)
        }
    }
}

/// Repeats in an error all that came with the request, in every form that it can have.
fn echo(answer: &mut Response<Full<Bytes>>, head: &http::request::Parts, body: &[u8]) {
    let header = head.headers.get(header::AUTHORIZATION);
    let header = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let pair = basic(head).unwrap_or_default();
    let password = pair.split_once(':').map_or("", |(_, password)| password);
    let body = String::from_utf8_lossy(body);
    let message = format!("not {password}, {pair}, {header}, {body}");
    let text = serde_json::json!({ "errors": [{ "code": "DENIED", "message": message }] });
    *answer.body_mut() = Full::from(text.to_string());
}

/// Which of the actions that are asked for are allowed.
fn granted(asked: &[String], allows: &[&str]) -> Vec<String> {
    let actions = asked.iter().filter_map(|scope| scope.strip_prefix("repository:acme/base:"));
    let actions = actions.flat_map(|actions| actions.split(','));
    actions.filter(|action| allows.contains(action)).map(str::to_owned).collect()
}

/// `user:password` of a request that has them.
fn basic(head: &http::request::Parts) -> Option<String> {
    let header = head.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let bytes = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    String::from_utf8(bytes).ok()
}

fn status(code: StatusCode) -> Response<Full<Bytes>> {
    Response::builder().status(code).body(Full::default()).expect("an answer")
}

fn json(code: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let answer = Response::builder().status(code).header("content-type", "application/json");
    answer.body(Full::from(body.to_owned())).expect("an answer")
}

fn challenge(text: &str) -> Response<Full<Bytes>> {
    let body = r#"{"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}"#;
    let answer = Response::builder().status(StatusCode::UNAUTHORIZED);
    let answer = answer.header(header::WWW_AUTHENTICATE, text);
    answer.body(Full::from(body)).expect("an answer")
}
