//! An in-process GitHub: a repository with commits, branches and pull requests, behind GitHub's API, with fault injection.
//!
//! [`FakeGitHub`] is the server, [`store`] its state. [`contract`] validates every request and response against GitHub's published
//! description of the API.

mod api;
pub mod contract;
pub mod store;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use glob::Pattern;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use contract::Operation;
use store::{File, Store, Tree};

/// The only repository.
pub const REPOSITORY: &str = "acme/images";

/// The id of the App that is installed in the repository.
pub const APP: &str = "12345";
const INSTALLATION: u64 = 678;

/// The private key of the App. Generated for these tests.
pub const KEY: &str = include_str!("app-key.pem");

/// The type of a token's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    Person,
    Actions,
    App,
}

/// The owner of a token, and its permissions.
#[derive(Debug, Clone)]
pub struct Identity {
    pub login: String,
    pub kind: TokenKind,
    pub can_read: bool,
    pub can_write: bool,
}

impl Identity {
    pub fn new(login: &str, kind: TokenKind) -> Self {
        Self { login: login.to_owned(), kind, can_read: true, can_write: true }
    }

    /// Returns author, committer and email of a commit that the REST API creates. GitHub signs the commits of bots.
    fn signature(&self) -> [&str; 3] {
        match self.kind {
            TokenKind::Person => [&self.login, &self.login, "me@example.org"],
            TokenKind::Actions | TokenKind::App => [&self.login, "GitHub", "noreply@github.com"],
        }
    }
}

/// How a request fails.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Closes the connection without processing the request.
    Drop,
    /// Processes the request, then closes the connection without a response.
    CommitThenDrop,
    /// Returns this status, headers and body without processing the request.
    Response(u16, Vec<(&'static str, String)>, String),
    /// Never responds.
    Hang,
    /// Adds a commit of another person to this branch, then processes the request.
    Commit(&'static str),
}

struct Rule {
    method: Option<Method>,
    path: Pattern,
    skip: usize,
    times: usize,
    fault: Fault,
}

#[derive(Debug, Clone)]
pub struct RecordedRequest {
    pub method: Method,
    pub path: String,
    pub authorization: Option<String>,
}

#[derive(Default)]
struct State {
    store: Store,
    tokens: BTreeMap<String, Identity>,
    is_private: bool,
    faults: Vec<Rule>,
    requests: Vec<RecordedRequest>,
    problems: Vec<String>,
    issued_tokens: usize,
}

/// A GitHub on a free local port. Dropping it stops the server, and panics if any request or response violated the published
/// description.
pub struct FakeGitHub {
    state: Arc<Mutex<State>>,
    origin: String,
    accepting: JoinHandle<()>,
}

impl FakeGitHub {
    /// Starts a GitHub whose repository has these files on the branch `main`.
    pub async fn start(files: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let mut state = State::default();
        let tree =
            files.iter().map(|(path, text)| ((*path).to_owned(), File::plain(text.as_bytes())));
        let first = state.store.commit(&[], tree.collect(), "first", PERSON);
        "main".clone_into(&mut state.store.default_branch);
        state.store.has_drafts = true;
        state.store.branches.insert("main".to_owned(), first);
        let people = ["alice", "bob"].map(str::to_owned);
        state.store.collaborators.extend(people);
        state.store.teams.insert("maintainers".to_owned());
        let state = Arc::new(Mutex::new(state));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        let github = Self { state, origin, accepting };
        github.add_token("canary-person", Identity::new("alice", TokenKind::Person));
        github
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Returns the root URL of the REST API, in the form of Enterprise Server.
    pub fn api(&self) -> String {
        format!("{}/api/v3", self.origin)
    }

    pub fn add_token(&self, token: &str, identity: Identity) {
        self.lock().tokens.insert(token.to_owned(), identity);
    }

    pub fn set_private(&self) {
        self.lock().is_private = true;
    }

    /// Reads or changes the state without a request.
    pub fn with<T>(&self, access: impl FnOnce(&mut Store) -> T) -> T {
        access(&mut self.lock().store)
    }

    /// Returns the content of a file on a branch.
    pub fn file(&self, branch: &str, path: &str) -> Option<String> {
        self.with(|store| {
            let file = store.tree(store.branches.get(branch)?).get(path)?;
            Some(String::from_utf8(file.content.clone()).expect("UTF-8"))
        })
    }

    /// Returns the git mode of a file on a branch.
    pub fn mode(&self, branch: &str, path: &str) -> Option<String> {
        self.with(|store| Some(store.tree(store.branches.get(branch)?).get(path)?.mode.clone()))
    }

    /// Commits a text file to a branch, as another person.
    pub fn push(&self, branch: &str, path: &str, text: &str) {
        self.push_file(branch, path, File::plain(text.as_bytes()));
    }

    /// Commits a file to a branch, as another person.
    pub fn push_file(&self, branch: &str, path: &str, file: File) {
        self.with(|store| push(store, branch, path, file));
    }

    /// Makes requests of a method (`*` for all) fail whose path matches a glob: `times` requests after the first `skip`.
    pub fn fail(&self, method: &str, path: &str, skip: usize, times: usize, fault: Fault) {
        let method = (method != "*").then(|| method.parse().expect("a method"));
        let path = Pattern::new(path).expect("a glob");
        self.lock().faults.push(Rule { method, path, skip, times, fault });
    }

    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.lock().requests.clone()
    }

    pub fn clear_requests(&self) {
        self.lock().requests.clear();
    }

    /// Returns the number of recorded requests of a method whose path matches a glob.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let path = Pattern::new(path).expect("a glob");
        let matches =
            |request: &&RecordedRequest| request.method == method && path.matches(&request.path);
        self.lock().requests.iter().filter(matches).count()
    }
}

impl Drop for FakeGitHub {
    fn drop(&mut self) {
        self.accepting.abort();
        let problems = std::mem::take(&mut self.lock().problems);
        if !std::thread::panicking() {
            let problems = problems.join("\n");
            assert!(problems.is_empty(), "violations of GitHub's description:\n{problems}");
        }
    }
}

const PERSON: [&str; 3] = ["bob", "bob", "bob@example.org"];

fn push(store: &mut Store, branch: &str, path: &str, file: File) {
    let head = store.branches[branch].clone();
    let mut tree: Tree = store.tree(&head).clone();
    tree.insert(path.to_owned(), file);
    let sha = store.commit(&[head], tree, &format!("Change {path}"), PERSON);
    store.branches.insert(branch.to_owned(), sha);
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let serve = service_fn(move |request| respond(request, Arc::clone(&state)));
            // A fault that closes the connection causes an error here.
            let _dropped = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), serve)
                .await;
        });
    }
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn respond(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.map_err(io::Error::other)?.to_bytes();
    match respond_now(&head, &bytes, &state)? {
        Some(response) => Ok(response),
        None => std::future::pending().await,
    }
}

/// Returns the response. Returns `None` for a request that hangs, and an error to close the connection.
fn respond_now(
    head: &http::request::Parts,
    bytes: &[u8],
    state: &Mutex<State>,
) -> io::Result<Option<Response<Body>>> {
    let mut state = lock(state);
    let texts = |name: &str| {
        let values = head.headers.get_all(name).iter();
        values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect::<Vec<_>>()
    };
    let (method, path) = (head.method.clone(), head.uri.path().to_owned());
    let authorization = texts("authorization");
    state.requests.push(RecordedRequest {
        method: method.clone(),
        path: path.clone(),
        authorization: authorization.first().cloned(),
    });
    let fault = fault(&mut state, &method, &path);
    match fault {
        Some(Fault::Hang) => return Ok(None),
        Some(Fault::Drop) => return Err(io::Error::other("dropped")),
        Some(Fault::Response(status, headers, body)) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            return Ok(Some(response.body(full(body)).expect("a response")));
        }
        Some(Fault::Commit(branch)) => {
            push(&mut state.store, branch, "theirs.txt", File::plain(b"theirs"));
        }
        Some(Fault::CommitThenDrop) | None => {}
    }
    let query = head.uri.query().unwrap_or_default();
    let url = reqwest::Url::parse(&format!("http://fake/?{query}")).expect("a query");
    let query: Vec<(String, String)> =
        url.query_pairs().map(|(a, b)| (a.into(), b.into())).collect();
    let token = authorization.first().and_then(|value| value.strip_prefix("Bearer "));
    let (status, body) = call_api(&mut state, &method, &path, &query, bytes, token);
    if matches!(fault, Some(Fault::CommitThenDrop)) {
        return Err(io::Error::other("dropped"));
    }
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let response = Response::builder().status(status).header("content-type", "application/json");
    Ok(Some(response.body(full(text)).expect("a response")))
}

fn full(text: String) -> Body {
    Full::new(Bytes::from(text)).boxed()
}

/// Returns the fault of a request. Every matching rule counts the request.
fn fault(state: &mut State, method: &Method, path: &str) -> Option<Fault> {
    let mut fault = None;
    for rule in &mut state.faults {
        let matches_method = rule.method.as_ref().is_none_or(|expected| expected == method);
        if !matches_method || !rule.path.matches(path) {
            continue;
        }
        if rule.skip > 0 {
            rule.skip -= 1;
        } else if rule.times > 0 && fault.is_none() {
            rule.times -= 1;
            fault = Some(rule.fault.clone());
        }
    }
    fault
}

fn call_api(
    state: &mut State,
    method: &Method,
    path: &str,
    query: &[(String, String)],
    bytes: &[u8],
    token: Option<&str>,
) -> api::ApiResponse {
    let body: Option<Value> =
        (!bytes.is_empty()).then(|| serde_json::from_slice(bytes).unwrap_or(Value::Null));
    if path == "/api/graphql" {
        let body = body.unwrap_or_default();
        state.problems.extend(contract::graphql_problems(&body));
        let Some(identity) = token.and_then(|token| state.tokens.get(token)).cloned() else {
            return api::error(401, "Bad credentials", &[]);
        };
        let input = &body["variables"]["input"];
        return (200, api::create_commit_on_branch(&mut state.store, input, &identity, REPOSITORY));
    }
    let endpoint = path.strip_prefix("/api/v3").unwrap_or(path);
    let Some(operation) = Operation::find(method, endpoint) else {
        state.problems.push(format!("unknown operation: {method} {path}"));
        return api::error(404, "Not Found", &[]);
    };
    state.problems.extend(operation.request_problems(query, body.as_ref()));
    let body = body.unwrap_or_default();
    let (status, content) = match operation.id.as_str() {
        "apps/get-repo-installation" | "apps/create-installation-access-token" => {
            sign_in(state, &operation, &body, token)
        }
        _ => match identify(state, token) {
            Some(identity) => {
                let call = api::Call {
                    operation: &operation,
                    query,
                    body: &body,
                    identity: &identity,
                    full_name: REPOSITORY,
                };
                call.respond(&mut state.store)
            }
            None => api::error(401, "Bad credentials", &[]),
        },
    };
    let body = if status < 300 && !content.is_null() {
        operation.sample_response(status, &content)
    } else {
        content
    };
    state.problems.extend(operation.response_problems(status, &body));
    (status, body)
}

/// Returns the identity of a token, or an anonymous identity without a token.
fn identify(state: &State, token: Option<&str>) -> Option<Identity> {
    match token {
        Some(token) => state.tokens.get(token).cloned(),
        None => Some(Identity {
            can_write: false,
            can_read: !state.is_private,
            ..Identity::new("anonymous", TokenKind::Person)
        }),
    }
}

/// Performs the operations of an App, which authenticates with a JWT.
fn sign_in(
    state: &mut State,
    operation: &Operation,
    body: &Value,
    token: Option<&str>,
) -> api::ApiResponse {
    if let Err(problem) = check_app(token.unwrap_or_default()) {
        return api::error(401, &problem, &[]);
    }
    if operation.id == "apps/get-repo-installation" {
        return (200, json!({ "id": INSTALLATION }));
    }
    assert_eq!(operation.parameters["installation_id"], INSTALLATION.to_string());
    if body["repositories"] != json!(["images"]) {
        return api::error(422, "The token would be valid for other repositories", &[]);
    }
    let granted = ["contents", "pull_requests", "metadata"];
    let Some(requested) = body["permissions"].as_object() else {
        return api::error(422, "The token would have all permissions of the App", &[]);
    };
    if !requested.keys().all(|name| granted.contains(&name.as_str())) {
        let message = "The permissions requested are not granted to this installation.";
        return api::error(422, message, &[]);
    }
    state.store.token_permissions = body["permissions"].clone();
    state.issued_tokens += 1;
    let token = format!("canary-installation-{}", state.issued_tokens);
    state.tokens.insert(token.clone(), Identity::new("release-app[bot]", TokenKind::App));
    (201, json!({ "token": token, "expires_at": "2026-11-20T11:00:00Z", "permissions": {} }))
}

/// Verifies the signature, the issuer and the times of an App's JWT.
fn check_app(token: &str) -> Result<(), String> {
    let failed = |what: &str| format!("A JSON web token could not be decoded: {what}");
    let [head, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        return Err(failed("three parts"));
    };
    let read = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| failed("base64"));
    let json =
        |part: &str| serde_json::from_slice::<Value>(&read(part)?).map_err(|_| failed("JSON"));
    let public: String =
        include_str!("app-key.pub.pem").lines().filter(|line| !line.starts_with('-')).collect();
    let public = STANDARD.decode(public).expect("base64");
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public)
        .verify(format!("{head}.{claims}").as_bytes(), &read(signature)?)
        .map_err(|_| failed("its signature"))?;
    let (head, claims) = (json(head)?, json(claims)?);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let (issued, ends) =
        (claims["iat"].as_u64().unwrap_or(u64::MAX), claims["exp"].as_u64().unwrap_or(0));
    match (&head["alg"], &claims["iss"]) {
        (algorithm, _) if *algorithm != "RS256" => Err(failed("its algorithm")),
        (_, issuer) if *issuer != APP => Err("Integration not found".to_owned()),
        _ if issued > now || ends <= now || ends > now + 600 => {
            Err("'Expiration time' claim ('exp') is too far in the future".to_owned())
        }
        _ => Ok(()),
    }
}
