//! Who we are to each registry, from wherever that is written down.
//!
//! For one registry the first of these counts that has anything to say about it:
//!
//! 1. `auth_method` in `[registries."host"]` of the matrix;
//! 2. a variable `DOCKER_REGISTRY_<host>` with base64 of `user:password`;
//! 3. the credential helper that Docker's configuration names;
//! 4. Docker's configuration itself.

mod conceal;
mod config;
mod ecr;
mod error;
mod google;
mod helper;
mod method;
mod network;
mod owners;
mod pair;
mod plain_http;
mod signature;
mod variables;

pub use self::ecr::EcrProblem;
pub use self::error::CredentialsError;
pub use self::network::Network;
pub use self::owners::{NamedHosts, Owner};
pub use self::pair::PairProblem;
pub use self::plain_http::{PlainHttp, plain_http_hint};
pub use self::variables::{VARIABLE_PREFIX, VariableProblem, Variables, shell_safe};
pub use conceal::{Concealer, conceal};

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

use self::config::Config;
use self::helper::Helpers;
use self::method::{Resolved, resolve};
use self::network::Connections;
use crate::matrix::AuthMethod;

/// The key under which Docker keeps the credentials of Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The other names under which Docker Hub is known.
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// How long a credential helper may take; some of them ask a person or a cloud.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long before its end a password is renewed: a build that begins with it has that long.
const RENEWED_BEFORE: Duration = Duration::from_secs(10 * 60);

/// How long the answer of a helper is good. It does not say when it ends: Docker asks anew with
/// each command, and clouds give out tokens of an hour, of which a part may be over.
const HELPER_ANSWER: Duration = Duration::from_secs(5 * 60);

/// How long a failure stands that may pass by itself.
const RETRIED_AFTER: Duration = Duration::from_secs(30);

/// The variables that are needed for AWS whatever the matrix says.
pub const AWS_VARIABLES: [&str; 2] = ecr::ENDPOINTS;

/// What proves who we are to a registry.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A user and a password, both literal: `$oauthtoken` is a user's name.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// A refresh token, which the registry's token server exchanges.
    IdentityToken(SecretString),
}

impl Credential {
    /// The user's name; an identity token has none.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        match self {
            Self::Password { username, .. } => Some(username),
            Self::IdentityToken(_) => None,
        }
    }

    fn is(&self, other: &Self) -> bool {
        let secret = |credential: &Self| match credential {
            Self::Password { password: secret, .. } | Self::IdentityToken(secret) => secret.clone(),
        };
        self.username() == other.username()
            && secret(self).expose_secret() == secret(other).expose_secret()
    }
}

/// Where a credential was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// `[registries."host"]` of the matrix.
    Matrix {
        /// The registry.
        host: String,
        /// Its `auth_method`.
        method: &'static str,
    },
    /// A variable of the environment.
    Variable(String),
    /// A credential helper, by the name of its program.
    Helper(String),
    /// Docker's configuration.
    DockerConfig(PathBuf),
}

impl fmt::Display for CredentialSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matrix { host, method } => write!(formatter, "[registries.\"{host}\"] {method}"),
            Self::Variable(name) => formatter.write_str(name),
            Self::Helper(program) => formatter.write_str(program),
            Self::DockerConfig(path) => write!(formatter, "{}", path.display()),
        }
    }
}

/// A credential, and where it was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The credential.
    pub credential: Credential,
    /// Where it was found.
    pub source: CredentialSource,
}

/// Where Docker's configuration is and where its helpers are; `cli` fills it in.
#[derive(Debug, Clone, Default)]
pub struct DockerConfig {
    /// The folder that holds `config.json`: `DOCKER_CONFIG` or `~/.docker`.
    pub folder: Option<PathBuf>,
    /// `PATH`, where `docker-credential-*` programs are looked for.
    pub search_path: Option<OsString>,
}

/// All that credentials are looked for in; `cli` fills it in.
#[derive(Debug, Clone, Default)]
pub struct CredentialSources {
    /// What the matrix says, by the registry's host.
    pub methods: BTreeMap<String, AuthMethod>,
    /// The variables that begin with [`VARIABLE_PREFIX`], those that `methods` name in both
    /// their spellings, and [`AWS_VARIABLES`].
    pub variables: Variables,
    /// Docker's own.
    pub docker: DockerConfig,
    /// How AWS is reached.
    pub network: Network,
    /// Which credentials may travel without TLS.
    pub plain_http: PlainHttp,
}

impl From<&DockerConfig> for CredentialSources {
    /// Docker's own and no others.
    fn from(docker: &DockerConfig) -> Self {
        Self { docker: docker.clone(), ..Self::default() }
    }
}

/// The credentials of every registry, each looked for as seldom as it can be.
///
/// Clones of one registry's answer are handed out while it is good, so a helper that takes a
/// second takes it once in some minutes, not once a build.
pub struct Credentials {
    methods: BTreeMap<String, AuthMethod>,
    variables: Variables,
    config: Config,
    helpers: Helpers,
    connections: Connections,
    plain_http: PlainHttp,
    answers: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Kept>>>>>,
    /// Which registry has been given the content of a variable that could be another's too.
    claims: Mutex<BTreeMap<String, String>>,
    /// Everything that was given out, so that nobody repeats it.
    given: Mutex<Concealer>,
}

type Answer<T> = Result<Option<T>, Arc<CredentialsError>>;

/// For how long what was found is good.
#[derive(Debug, Clone, Copy)]
enum Lasts {
    /// For the whole run: it stands in a file or a variable.
    Throughout,
    /// Until the helper that was asked says something else.
    UntilAsked,
    /// So long from now.
    For(Duration),
}

/// What was found, if anything, and for how long.
struct LookedUp {
    found: Option<Found>,
    lasts: Lasts,
}

/// An answer, and for how long it is one.
struct Kept {
    answer: Answer<Found>,
    /// From when on it is asked for anew; never where there is none.
    renewal: Option<Instant>,
    /// When it ends, where that is known.
    end: Option<Instant>,
    /// For how long it goes on being the answer where it could not be renewed.
    extension: Duration,
    /// Whether it was asked for again after a refusal, and was the same.
    is_final: bool,
}

impl Kept {
    fn new(looked_up: Result<LookedUp, CredentialsError>) -> Self {
        let now = Instant::now();
        let (answer, lasts) = match looked_up {
            Ok(LookedUp { found, lasts }) => (Ok(found), lasts),
            Err(error) => {
                let renewal = error.is_temporary().then(|| now + RETRIED_AFTER);
                let answer = Err(Arc::new(error));
                let extension = RETRIED_AFTER;
                return Self { answer, renewal, end: None, extension, is_final: false };
            }
        };
        let (renewal, end, extension) = match lasts {
            Lasts::Throughout => (None, None, RETRIED_AFTER),
            // One that fails may take its time to, so that it is not asked more often then.
            Lasts::UntilAsked => (Some(now + HELPER_ANSWER), None, HELPER_ANSWER),
            Lasts::For(lasts) => {
                let renewal = now + lasts.saturating_sub(RENEWED_BEFORE);
                (Some(renewal), Some(now + lasts), RETRIED_AFTER)
            }
        };
        Self { answer, renewal, end, extension, is_final: false }
    }

    fn is_fresh(&self) -> bool {
        self.renewal.is_none_or(|renewal| Instant::now() < renewal)
    }

    /// The same for a while longer, because it could not be renewed; nothing where it was no
    /// answer, or has ended.
    fn extended(self) -> Option<Self> {
        let now = Instant::now();
        let is_good = self.answer.is_ok() && self.end.is_none_or(|end| now < end);
        let renewal = Some(now + self.extension);
        is_good.then_some(Self { renewal, is_final: false, ..self })
    }
}

impl Credentials {
    /// Reads Docker's configuration; one that is not there knows nobody.
    pub fn load(sources: impl Into<CredentialSources>) -> Result<Self, CredentialsError> {
        let sources = sources.into();
        let config = match &sources.docker.folder {
            Some(folder) => Config::read(&folder.join("config.json"))?,
            None => Config::default(),
        };
        let methods =
            sources.methods.into_iter().map(|(host, method)| (key_of(&host).to_owned(), method));
        Ok(Self {
            methods: methods.collect(),
            variables: sources.variables,
            config,
            helpers: Helpers::new(sources.docker.search_path, HELPER_TIMEOUT),
            connections: Connections::over(sources.network),
            plain_http: sources.plain_http,
            answers: Mutex::default(),
            claims: Mutex::default(),
            given: Mutex::default(),
        })
    }

    /// Nobody's: every registry is spoken to without credentials.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            methods: BTreeMap::new(),
            variables: Variables::default(),
            config: Config::default(),
            helpers: Helpers::new(None, HELPER_TIMEOUT),
            connections: Connections::default(),
            plain_http: PlainHttp::default(),
            answers: Mutex::default(),
            claims: Mutex::default(),
            given: Mutex::default(),
        }
    }

    /// `text` without any secret that was given out so far; `None` where it holds none.
    #[must_use]
    pub fn conceal(&self, text: &str) -> Option<String> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).conceal(text)
    }

    /// The credential for the registry at `host`; `None` where there is none.
    pub async fn of(&self, host: &str) -> Answer<Credential> {
        Ok(self.find(host).await?.map(|found| found.credential))
    }

    /// The credential for the registry at `host`, and where it was found.
    pub async fn find(&self, host: &str) -> Answer<Found> {
        let key = key_of(host);
        let cell = self.cell(key);
        let mut kept = cell.lock().await;
        match &*kept {
            Some(kept) if kept.is_fresh() => kept.answer.clone(),
            _ => self.renew(key, &mut kept).await,
        }
    }

    /// A credential in place of one that the registry at `host` refuses although it took it
    /// before: passwords of clouds end. `None` where there is no other.
    pub async fn replace(&self, host: &str, refused: &Credential) -> Answer<Credential> {
        let key = key_of(host);
        let cell = self.cell(key);
        let mut kept = cell.lock().await;
        let other = |answer: Answer<Found>| -> Answer<Credential> {
            let credential = answer?.map(|found| found.credential);
            Ok(credential.filter(|credential| !credential.is(refused)))
        };
        if let Some(kept) = &*kept {
            // Somebody else was refused too, and has replaced it.
            let replaced = other(kept.answer.clone())?;
            if replaced.is_some() || (kept.is_final && kept.is_fresh()) {
                return Ok(replaced);
            }
        }
        let replaced = other(self.renew(key, &mut kept).await)?;
        if let (None, Some(kept)) = (&replaced, &mut *kept) {
            kept.is_final = true;
        }
        Ok(replaced)
    }

    fn cell(&self, key: &str) -> Arc<tokio::sync::Mutex<Option<Kept>>> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(answers.entry(key.to_owned()).or_default())
    }

    /// Looks for the credential of `key` and keeps what comes of it. Where that fails, one
    /// that has not ended yet is good for a while longer.
    async fn renew(&self, key: &str, kept: &mut Option<Kept>) -> Answer<Found> {
        let renewed = Kept::new(self.look_up(key).await);
        let next = match (&renewed.answer, kept.take().and_then(Kept::extended)) {
            (Err(_), Some(extended)) => extended,
            _ => renewed,
        };
        if let Ok(Some(found)) = &next.answer {
            let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
            given.add(found.credential.secrets());
        }
        kept.insert(next).answer.clone()
    }

    /// Returns which credentials may travel without TLS.
    pub(super) fn plain_http(&self) -> &PlainHttp {
        &self.plain_http
    }

    /// Looks for the credential of `key`. Every reader of credentials passes here: the client of
    /// registries, and engines that push and pull.
    async fn look_up(&self, key: &str) -> Result<LookedUp, CredentialsError> {
        let host = name_of(key);
        if !self.plain_http.refuses(host) {
            return self.search(key).await;
        }
        // A cloud that gives out passwords is not asked for one that nobody may have.
        let source = match self.methods.get(key) {
            Some(method) => {
                Some(CredentialSource::Matrix { host: host.to_owned(), method: method.name() })
            }
            None => self.search(key).await?.found.map(|found| found.source),
        };
        match source {
            Some(source) => {
                Err(CredentialsError::PlainHttp { host: host.to_owned(), origin: source })
            }
            None => Ok(LookedUp { found: None, lasts: Lasts::Throughout }),
        }
    }

    async fn search(&self, key: &str) -> Result<LookedUp, CredentialsError> {
        if let Some(method) = self.methods.get(key) {
            let (credential, lasts) = self.by_method(name_of(key), method).await?;
            let source =
                CredentialSource::Matrix { host: name_of(key).to_owned(), method: method.name() };
            return Ok(LookedUp { found: Some(Found { credential, source }), lasts });
        }
        if let Some(found) = self.in_variables(key)? {
            return Ok(LookedUp { found: Some(found), lasts: Lasts::Throughout });
        }
        let mut lasts = Lasts::Throughout;
        if let Some(helper) = self.config.helper(key) {
            lasts = Lasts::UntilAsked;
            if let Some(credential) = self.helpers.ask(helper, key).await? {
                let source = CredentialSource::Helper(helper::program(helper));
                return Ok(LookedUp { found: Some(Found { credential, source }), lasts });
            }
        }
        let found = self.config.stored(key)?.map(|credential| {
            let source = CredentialSource::DockerConfig(self.config.path().to_owned());
            Found { credential, source }
        });
        Ok(LookedUp { found, lasts })
    }

    async fn by_method(
        &self,
        host: &str,
        method: &AuthMethod,
    ) -> Result<(Credential, Lasts), CredentialsError> {
        let keyring = match resolve(method, host, &self.variables)? {
            Resolved::Ready(credential) => return Ok((credential, Lasts::Throughout)),
            Resolved::Aws(keyring) => keyring,
        };
        let password =
            ecr::password(&self.connections, host, &keyring, &self.variables, &self.plain_http)
                .await;
        let password =
            password.map_err(|problem| CredentialsError::Ecr { host: host.to_owned(), problem })?;
        Ok((password.credential, Lasts::For(password.lasts)))
    }

    /// The credential in a variable that is named after the registry with `key`.
    fn in_variables(&self, key: &str) -> Result<Option<Found>, CredentialsError> {
        let named = self.variables.of_registry(key);
        let names: Vec<&str> = named.exact.iter().chain(&named.shell_safe).copied().collect();
        let Some(first) = names.first().copied() else { return Ok(None) };
        let host = name_of(key).to_owned();
        let pair = |name: &str| {
            let secret = self.variables.text(name).map_err(|problem| {
                let (variable, host) = (name.to_owned(), host.clone());
                CredentialsError::Variable { variable, host, problem }
            })?;
            read_pair(&host, secret).map_err(|problem| {
                let (variable, host) = (name.to_owned(), host.clone());
                CredentialsError::Pair { variable, host, problem }
            })
        };
        let credential = pair(first)?;
        for other in &names[1..] {
            if !pair(other)?.is(&credential) {
                let variables = names.iter().map(|name| (*name).to_owned()).collect();
                return Err(CredentialsError::Ambiguous { variables, host });
            }
        }
        if named.exact.is_empty() {
            self.claim(first, &host)?;
        }
        let source = CredentialSource::Variable(first.to_owned());
        Ok(Some(Found { credential, source }))
    }

    /// `DOCKER_REGISTRY_A_B_IO` is for `a.b.io` or for `a-b.io`, and never for both: what was
    /// given to one registry is not shown to another.
    fn claim(&self, variable: &str, host: &str) -> Result<(), CredentialsError> {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let first = claims.entry(variable.to_owned()).or_insert_with(|| host.to_owned());
        match first == host {
            true => Ok(()),
            false => Err(CredentialsError::Shared {
                variable: variable.to_owned(),
                hosts: [first.clone(), host.to_owned()],
            }),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials")
    }
}

/// What a variable of `host` holds: base64 of `user:password`, or, where only tokens can be
/// meant, of a token alone.
fn read_pair(host: &str, secret: &SecretString) -> Result<Credential, PairProblem> {
    let text = pair::decode(secret)?;
    match google::lone_token(host, &text) {
        Some(credential) => Ok(credential),
        None => pair::split(&text),
    }
}

/// The key of `host` in Docker's configuration.
fn key_of(host: &str) -> &str {
    if DOCKER_HUB_HOSTS.contains(&host) { DOCKER_HUB_KEY } else { host }
}

/// The host that a key stands for, as people know it.
fn name_of(key: &str) -> &str {
    if key == DOCKER_HUB_KEY { DOCKER_HUB_HOSTS[0] } else { key }
}

/// The names under which `key` may be written down.
fn spellings(key: &str) -> impl Iterator<Item = &str> {
    let aliases = DOCKER_HUB_HOSTS.iter().copied().filter(move |_| key == DOCKER_HUB_KEY);
    std::iter::once(key).chain(aliases)
}

#[cfg(test)]
mod tests;
