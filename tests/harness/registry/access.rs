//! Who may do what.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Response, StatusCode};

use super::api::{Asked, Route, error};
use super::{Body, Shared, full, lock, vendor};

/// Whom a registry asks who they are.
#[derive(Debug, Clone, Default)]
pub enum Access {
    /// Everybody may do everything.
    #[default]
    Open,
    /// A user and a password with every request.
    Basic(Account),
    /// A token, which `/token` of the same registry gives for a password.
    Bearer(Account),
}

/// Somebody, and how they get tokens.
#[derive(Debug, Clone)]
pub struct Account {
    pub username: String,
    pub password: String,
    /// What is as good as the password to the token server.
    pub identity_token: Option<String>,
    /// How long a token is said to be good for, in seconds.
    pub life: u64,
    /// What the account may do, as `repository:path:actions`; everything when this is empty.
    pub grants: Vec<String>,
    /// Whether who does not say who they are may pull.
    pub anonymous_pull: bool,
    /// Whether a token for several repositories is refused.
    pub one_scope: bool,
}

impl Account {
    pub fn new(username: &str, password: &str) -> Self {
        Self {
            username: username.to_owned(),
            password: password.to_owned(),
            identity_token: None,
            life: 300,
            grants: Vec::new(),
            anonymous_pull: false,
            one_scope: false,
        }
    }
}

pub(super) struct Accounts {
    access: Access,
    /// What each token allows.
    tokens: HashMap<String, Vec<String>>,
    given: usize,
}

impl Accounts {
    pub(super) fn new(access: Access) -> Self {
        Self { access, tokens: HashMap::new(), given: 0 }
    }

    pub(super) fn revoke(&mut self) {
        self.tokens.clear();
    }
}

/// The answer of the token server, or the refusal of the registry.
pub(super) fn answer(asked: &Asked, shared: &Shared) -> Option<Response<Body>> {
    let mut accounts = lock(&shared.access);
    if asked.seen.path == "/token" {
        return Some(token(asked, &mut accounts));
    }
    let needed = needed(asked);
    let required = vendor::required(asked, shared, &needed);
    match &accounts.access {
        Access::Open => None,
        Access::Basic(account) if asked.seen.authorization == Some(basic(account)) => None,
        Access::Basic(_) => Some(challenge("Basic realm=\"a, registry\"")),
        Access::Bearer(_) => {
            let token = asked.seen.authorization.as_deref();
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
    let mut response = error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "who are you?");
    response.headers_mut().insert("www-authenticate", value.parse().expect("a value"));
    response
}

fn basic(account: &Account) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", account.username, account.password)))
}

/// What a request must be allowed.
fn needed(asked: &Asked) -> Vec<String> {
    let (path, route) = asked.route();
    let actions = match (&asked.seen.method, route) {
        (_, Route::Root | Route::Unknown) => return Vec::new(),
        (&Method::DELETE, Route::Manifest(_)) => "delete",
        (_, Route::Uploads | Route::Upload(_)) => "pull,push",
        (&Method::GET | &Method::HEAD, _) => "pull",
        _ => "pull,push",
    };
    vec![format!("repository:{path}:{actions}")]
}

/// Whether every action of `scope` is among those granted.
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

fn token(asked: &Asked, accounts: &mut Accounts) -> Response<Body> {
    let Access::Bearer(account) = accounts.access.clone() else {
        return error(StatusCode::NOT_FOUND, "UNKNOWN", "there are no tokens here");
    };
    let is_post = asked.seen.method == Method::POST;
    let form = String::from_utf8_lossy(&asked.body).into_owned();
    let parameters = parameters(if is_post { &form } else { &asked.seen.query });
    let all = |name: &str| -> Vec<String> {
        let named = parameters.iter().filter(|(key, _)| key == name);
        named.flat_map(|(_, value)| value.split(' ')).map(str::to_owned).collect()
    };
    let scopes: Vec<_> = all("scope").into_iter().filter(|scope| !scope.is_empty()).collect();
    let known = match (is_post, &asked.seen.authorization) {
        (true, _) => {
            all("grant_type") == ["refresh_token"]
                && account.identity_token.is_some_and(|token| all("refresh_token") == [token])
        }
        (false, Some(given)) => *given == basic(&account),
        (false, None) => {
            account.anonymous_pull && scopes.iter().all(|scope| scope.ends_with(":pull"))
        }
    };
    if !known || all("service") != ["fake"] {
        // What a careless server says.
        let said =
            format!("wrong: {} {form}", asked.seen.authorization.clone().unwrap_or_default());
        return error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", &said);
    }
    if account.one_scope && scopes.len() > 1 {
        return error(StatusCode::FORBIDDEN, "DENIED", "one repository at a time");
    }
    let may = |scope: &String| account.grants.is_empty() || covers(&account.grants, scope);
    let granted = scopes.into_iter().filter(may).collect();
    accounts.given += 1;
    let token = format!("canary-token-{}", accounts.given);
    accounts.tokens.insert(token.clone(), granted);
    let answer = serde_json::json!({ "token": token, "expires_in": account.life });
    Response::new(full(answer.to_string()))
}

/// The pairs of a query or a form.
pub(super) fn parameters(text: &str) -> Vec<(String, String)> {
    let url = reqwest::Url::parse(&format!("http://fake/?{text}")).expect("a query");
    url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
}
