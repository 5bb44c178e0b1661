//! Accounts, their permissions and the token server.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Response, StatusCode};

use super::api::{ReceivedRequest, Route, error};
use super::{Body, Shared, full, lock, vendor};

/// The credentials that a registry requires.
#[derive(Debug, Clone, Default)]
pub enum Access {
    /// None: anonymous requests have all permissions.
    #[default]
    Open,
    /// User and password with every request.
    Basic(Account),
    /// A token from `/token` of the same registry, in exchange for a password.
    Bearer(Account),
}

/// The only account of a registry, and the rules of its token server.
#[derive(Debug, Clone)]
pub struct Account {
    pub username: String,
    pub password: String,
    /// A token that the token server accepts instead of the password.
    pub identity_token: Option<String>,
    /// The `expires_in` of tokens, in seconds.
    pub token_lifetime: u64,
    /// The account's permissions, as `repository:path:actions`. Empty: all permissions.
    pub grants: Vec<String>,
    pub allows_anonymous_pull: bool,
    /// Whether the token server rejects requests for several repositories.
    pub rejects_multiple_scopes: bool,
}

impl Account {
    pub fn new(username: &str, password: &str) -> Self {
        Self {
            username: username.to_owned(),
            password: password.to_owned(),
            identity_token: None,
            token_lifetime: 300,
            grants: Vec::new(),
            allows_anonymous_pull: false,
            rejects_multiple_scopes: false,
        }
    }
}

pub(super) struct Accounts {
    access: Access,
    /// The scopes of each token.
    tokens: HashMap<String, Vec<String>>,
    issued_tokens: usize,
}

impl Accounts {
    pub(super) fn new(access: Access) -> Self {
        Self { access, tokens: HashMap::new(), issued_tokens: 0 }
    }

    pub(super) fn revoke(&mut self) {
        self.tokens.clear();
    }
}

/// Returns the response of the token server, or the challenge for a request that is not authorized.
pub(super) fn check(request: &ReceivedRequest, shared: &Shared) -> Option<Response<Body>> {
    let mut accounts = lock(&shared.access);
    if request.head.path == "/token" {
        return Some(token(request, &mut accounts));
    }
    let needed = needed(request);
    let required = vendor::required(request, shared, &needed);
    match &accounts.access {
        Access::Open => None,
        Access::Basic(account) if request.head.authorization == Some(basic(account)) => None,
        Access::Basic(_) => Some(challenge("Basic realm=\"a, registry\"")),
        Access::Bearer(_) => {
            let token = request.head.authorization.as_deref();
            let token = token.and_then(|token| token.strip_prefix("Bearer "));
            let granted = token.and_then(|token| accounts.tokens.get(token));
            let allows =
                |granted: &Vec<String>| required.iter().all(|scope| covers(granted, scope));
            match granted {
                Some(granted) if allows(granted) => None,
                granted => Some(challenge(&format!(
                    "Bearer realm=\"{}/token\",service=\"fake\",scope=\"{}\"{}",
                    shared.origin,
                    needed.join(" "),
                    if granted.is_some() { ",error=\"insufficient_scope\"" } else { "" }
                ))),
            }
        }
    }
}

fn challenge(value: &str) -> Response<Body> {
    let mut response = error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required");
    response.headers_mut().insert("www-authenticate", value.parse().expect("a value"));
    response
}

fn basic(account: &Account) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", account.username, account.password)))
}

/// Returns the scopes that a request requires.
fn needed(request: &ReceivedRequest) -> Vec<String> {
    let (path, route) = request.route();
    let actions = match (&request.head.method, route) {
        (_, Route::Root | Route::Unknown) => return Vec::new(),
        (&Method::DELETE, Route::Manifest(_)) => "delete",
        (_, Route::Uploads | Route::Upload(_)) => "pull,push",
        (&Method::GET | &Method::HEAD, _) => "pull",
        _ => "pull,push",
    };
    vec![format!("repository:{path}:{actions}")]
}

/// Returns whether `granted` contains every action of `scope`.
fn covers(granted: &[String], scope: &str) -> bool {
    let Some((resource, actions)) = scope.rsplit_once(':') else {
        return true;
    };
    let grants = granted.iter().filter_map(|grant| grant.rsplit_once(':'));
    let of_resource: Vec<_> = grants.filter(|(name, _)| *name == resource).collect();
    actions.split(',').all(|action| {
        of_resource.iter().any(|(_, granted)| granted.split(',').any(|grant| grant == action))
    })
}

fn token(request: &ReceivedRequest, accounts: &mut Accounts) -> Response<Body> {
    let Access::Bearer(account) = accounts.access.clone() else {
        return error(StatusCode::NOT_FOUND, "UNKNOWN", "the registry has no token server");
    };
    let is_post = request.head.method == Method::POST;
    let form = String::from_utf8_lossy(&request.body).into_owned();
    let parameters = parameters(if is_post { &form } else { &request.head.query });
    let all = |name: &str| -> Vec<String> {
        let named = parameters.iter().filter(|(key, _)| key == name);
        named.flat_map(|(_, value)| value.split(' ')).map(str::to_owned).collect()
    };
    let scopes: Vec<_> = all("scope").into_iter().filter(|scope| !scope.is_empty()).collect();
    let is_valid = match (is_post, &request.head.authorization) {
        (true, _) => {
            all("grant_type") == ["refresh_token"]
                && account.identity_token.is_some_and(|token| all("refresh_token") == [token])
        }
        (false, Some(authorization)) => *authorization == basic(&account),
        (false, None) => {
            account.allows_anonymous_pull && scopes.iter().all(|scope| scope.ends_with(":pull"))
        }
    };
    if !is_valid || all("service") != ["fake"] {
        // Repeats the credentials, as some servers do.
        let message =
            format!("wrong: {} {form}", request.head.authorization.clone().unwrap_or_default());
        return error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", &message);
    }
    if account.rejects_multiple_scopes && scopes.len() > 1 {
        return error(StatusCode::FORBIDDEN, "DENIED", "only one scope is allowed");
    }
    let is_allowed = |scope: &String| account.grants.is_empty() || covers(&account.grants, scope);
    let granted = scopes.into_iter().filter(is_allowed).collect();
    accounts.issued_tokens += 1;
    let token = format!("canary-token-{}", accounts.issued_tokens);
    accounts.tokens.insert(token.clone(), granted);
    let body = serde_json::json!({ "token": token, "expires_in": account.token_lifetime });
    Response::new(full(body.to_string()))
}

/// Returns the pairs of a query or a form.
pub(super) fn parameters(text: &str) -> Vec<(String, String)> {
    let url = reqwest::Url::parse(&format!("http://fake/?{text}")).expect("a query");
    url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
}
