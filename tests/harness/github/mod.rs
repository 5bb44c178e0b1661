//! GitHub in this process: repositories with commits, branches and pull requests, behind an API
//! that answers as GitHub's does, is held against what GitHub publishes of it, and fails where a
//! test tells it to.

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

/// The one repository that there is.
pub const REPOSITORY: &str = "acme/images";

/// The App that is installed in it, and its installation.
pub const APP: &str = "12345";
const INSTALLATION: u64 = 678;

/// The private key of the App, made for these tests alone.
pub const KEY: &str = include_str!("app-key.pem");

/// Whose token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Person,
    Actions,
    App,
}

/// Who a token belongs to, and what it allows.
#[derive(Debug, Clone)]
pub struct Identity {
    pub login: String,
    pub kind: Kind,
    pub sees: bool,
    pub writes: bool,
}

impl Identity {
    pub fn new(login: &str, kind: Kind) -> Self {
        Self { login: login.to_owned(), kind, sees: true, writes: true }
    }

    /// Author, committer and email of a commit made by the REST API: GitHub signs those of bots.
    fn signature(&self) -> [&str; 3] {
        match self.kind {
            Kind::Person => [&self.login, &self.login, "me@example.org"],
            Kind::Actions | Kind::App => [&self.login, "GitHub", "noreply@github.com"],
        }
    }
}

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing is done, and the connection breaks.
    Drop,
    /// Everything is done, and the connection breaks before the answer.
    CommitThenDrop,
    /// Another answer, and nothing is done.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The request is never answered.
    Hang,
    /// Before the request is answered, somebody commits to this branch.
    Commit(&'static str),
}

struct Rule {
    method: Option<Method>,
    path: Pattern,
    skip: usize,
    times: usize,
    fault: Fault,
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Seen {
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
    seen: Vec<Seen>,
    problems: Vec<String>,
    given: usize,
}

/// GitHub on a free port of this machine. It ends with this value, and with a panic when any
/// request or answer was not as the published description says.
pub struct FakeGitHub {
    state: Arc<Mutex<State>>,
    origin: String,
    accepting: JoinHandle<()>,
}

impl FakeGitHub {
    /// One with the repository `acme/images`, whose branch `main` has these files.
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
        github.add_token("canary-person", Identity::new("alice", Kind::Person));
        github
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The root of its REST API, in the form that Enterprise Server has.
    pub fn api(&self) -> String {
        format!("{}/api/v3", self.origin)
    }

    pub fn add_token(&self, token: &str, who: Identity) {
        self.lock().tokens.insert(token.to_owned(), who);
    }

    pub fn set_private(&self) {
        self.lock().is_private = true;
    }

    /// Looks at, or changes, what is there without a request.
    pub fn with<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        work(&mut self.lock().store)
    }

    /// What a file holds on a branch.
    pub fn file(&self, branch: &str, path: &str) -> Option<String> {
        self.with(|store| {
            let file = store.tree(store.branches.get(branch)?).get(path)?;
            Some(String::from_utf8(file.content.clone()).expect("UTF-8"))
        })
    }

    /// The mode of a file on a branch, as git writes it.
    pub fn mode(&self, branch: &str, path: &str) -> Option<String> {
        self.with(|store| Some(store.tree(store.branches.get(branch)?).get(path)?.mode.clone()))
    }

    /// Somebody commits a file to a branch.
    pub fn push(&self, branch: &str, path: &str, text: &str) {
        self.push_file(branch, path, File::plain(text.as_bytes()));
    }

    /// The same of one that is no plain file.
    pub fn push_file(&self, branch: &str, path: &str, file: File) {
        self.with(|store| push(store, branch, path, file));
    }

    /// Requests of a method (`*` for all) whose path matches a glob fail, behind the first `skip`
    /// of them and so many times.
    pub fn fail(&self, method: &str, path: &str, skip: usize, times: usize, fault: Fault) {
        let method = (method != "*").then(|| method.parse().expect("a method"));
        let path = Pattern::new(path).expect("a glob");
        self.lock().faults.push(Rule { method, path, skip, times, fault });
    }

    pub fn mend(&self) {
        self.lock().faults.clear();
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    pub fn forget(&self) {
        self.lock().seen.clear();
    }

    /// How many requests there were of a method whose path matches a glob.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let path = Pattern::new(path).expect("a glob");
        let seen = self.seen();
        seen.iter().filter(|seen| seen.method == method && path.matches(&seen.path)).count()
    }
}

impl Drop for FakeGitHub {
    fn drop(&mut self) {
        self.accepting.abort();
        let problems = std::mem::take(&mut self.lock().problems);
        if !std::thread::panicking() {
            assert!(problems.is_empty(), "not as GitHub describes it:\n{}", problems.join("\n"));
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
            let serve = service_fn(move |request| answer(request, Arc::clone(&state)));
            // A connection that a fault drops ends with an error.
            let _dropped = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), serve)
                .await;
        });
    }
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.map_err(io::Error::other)?.to_bytes();
    match answer_now(&head, &bytes, &state)? {
        Some(response) => Ok(response),
        None => std::future::pending().await,
    }
}

/// The answer; nothing where there is never to be one, and an error where the connection breaks.
fn answer_now(
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
    state.seen.push(Seen {
        method: method.clone(),
        path: path.clone(),
        authorization: authorization.first().cloned(),
    });
    let fault = fault(&mut state, &method, &path);
    match fault {
        Some(Fault::Hang) => return Ok(None),
        Some(Fault::Drop) => return Err(io::Error::other("dropped")),
        Some(Fault::Answer(status, headers, body)) => {
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
    let (status, body) = respond(&mut state, &method, &path, &query, bytes, token);
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

/// What goes wrong with a request; every rule that it matches counts it.
fn fault(state: &mut State, method: &Method, path: &str) -> Option<Fault> {
    let mut found = None;
    for rule in &mut state.faults {
        if rule.method.as_ref().is_some_and(|meant| meant != method) || !rule.path.matches(path) {
            continue;
        }
        if rule.skip > 0 {
            rule.skip -= 1;
        } else if rule.times > 0 && found.is_none() {
            rule.times -= 1;
            found = Some(rule.fault.clone());
        }
    }
    found
}

fn respond(
    state: &mut State,
    method: &Method,
    path: &str,
    query: &[(String, String)],
    bytes: &[u8],
    token: Option<&str>,
) -> api::Answer {
    let body: Option<Value> =
        (!bytes.is_empty()).then(|| serde_json::from_slice(bytes).unwrap_or(Value::Null));
    if path == "/api/graphql" {
        let body = body.unwrap_or_default();
        state.problems.extend(contract::graphql_problems(&body));
        let Some(who) = token.and_then(|token| state.tokens.get(token)).cloned() else {
            return api::refusal(401, "Bad credentials", &[]);
        };
        let input = &body["variables"]["input"];
        return (200, api::create_commit_on_branch(&mut state.store, input, &who, REPOSITORY));
    }
    let below = path.strip_prefix("/api/v3").unwrap_or(path);
    let Some(operation) = Operation::of(method, below) else {
        state.problems.push(format!("there is no {method} {path}"));
        return api::refusal(404, "Not Found", &[]);
    };
    state.problems.extend(operation.request_problems(query, body.as_ref()));
    let body = body.unwrap_or_default();
    let answer = match operation.id.as_str() {
        "apps/get-repo-installation" | "apps/create-installation-access-token" => {
            sign_in(state, &operation, &body, token)
        }
        _ => match identity(state, token) {
            Some(who) => {
                let call = api::Call {
                    operation: &operation,
                    query,
                    body: &body,
                    who: &who,
                    full_name: REPOSITORY,
                };
                call.answer(&mut state.store)
            }
            None => api::refusal(401, "Bad credentials", &[]),
        },
    };
    let (status, content) = answer;
    let whole = if status < 300 && !content.is_null() {
        operation.answer(status, &content)
    } else {
        content
    };
    state.problems.extend(operation.answer_problems(status, &whole));
    (status, whole)
}

/// Who asks; nobody in particular reads what is public.
fn identity(state: &State, token: Option<&str>) -> Option<Identity> {
    match token {
        Some(token) => state.tokens.get(token).cloned(),
        None => Some(Identity {
            writes: false,
            sees: !state.is_private,
            ..Identity::new("nobody", Kind::Person)
        }),
    }
}

/// The operations of an App, which shows a token that it has signed itself.
fn sign_in(
    state: &mut State,
    operation: &Operation,
    body: &Value,
    token: Option<&str>,
) -> api::Answer {
    if let Err(problem) = check_app(token.unwrap_or_default()) {
        return api::refusal(401, &problem, &[]);
    }
    if operation.id == "apps/get-repo-installation" {
        return (200, json!({ "id": INSTALLATION }));
    }
    assert_eq!(operation.parameters["installation_id"], INSTALLATION.to_string());
    if body["repositories"] != json!(["images"]) {
        return api::refusal(422, "The token would be good for other repositories", &[]);
    }
    let granted = ["contents", "pull_requests", "metadata"];
    let Some(asked) = body["permissions"].as_object() else {
        return api::refusal(422, "The token would have all permissions of the App", &[]);
    };
    if !asked.keys().all(|name| granted.contains(&name.as_str())) {
        let message = "The permissions requested are not granted to this installation.";
        return api::refusal(422, message, &[]);
    }
    state.store.permissions = body["permissions"].clone();
    state.given += 1;
    let token = format!("canary-installation-{}", state.given);
    state.tokens.insert(token.clone(), Identity::new("release-app[bot]", Kind::App));
    (201, json!({ "token": token, "expires_at": "2026-11-20T11:00:00Z", "permissions": {} }))
}

/// Whether a JWT is one of the App: its signature, its issuer, its times.
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
