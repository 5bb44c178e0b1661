//! The credentials of registries, from every place that can hold them.
//!
//! A [`Keychain`](keychain::Keychain) is one such place. [`Credentials`] asks them in this order, and the
//! first that has a credential for a registry is used:
//!
//! 1. `auth_method` in `[registries."host"]` of the matrix ([`matrix`]);
//! 2. an environment variable `DOCKER_REGISTRY_<host>` ([`variables`]);
//! 3. Docker's configuration and its credential helpers ([`docker`]);
//! 4. `GITHUB_TOKEN`, for GitHub's registry ([`github`]);
//! 5. AWS, for Amazon ECR ([`aws`]);
//! 6. Google Cloud, for its registries ([`google`]).
//!
//! Clouds are asked last, and only for their own registries.

mod aws;
mod cache;
mod cloud;
mod conceal;
mod docker;
mod error;
mod github;
mod google;
mod helper;
mod jwt;
mod keychain;
mod matrix;
mod owners;
mod pair;
mod plain_http;
mod variables;

pub(crate) use self::aws::EcrHost;
pub use self::conceal::{Concealer, conceal};
pub use self::error::{CloudProblem, CredentialsError, HelperProblem, VariableProblem};
pub(crate) use self::jwt::sign_jwt;
pub use self::keychain::{CredentialSource, ResolvedCredential};
pub(crate) use self::owners::is_google_host;
pub use self::owners::{NamedHosts, Owner};
pub use self::plain_http::{PlainHttp, plain_http_hint};
pub use self::variables::{VARIABLE_PREFIX, Variables, shell_safe};

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use self::cache::CachedCredential;
use self::cloud::Cloud;
use self::docker::DockerKeychain;
use self::keychain::{Host, Keychain, key_of, name_of};
use super::Network;
use crate::matrix::AuthMethod;

/// The key under which Docker keeps the credentials of Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The hosts of Docker Hub.
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// The user whose password is an access token of Google Cloud.
const ACCESS_TOKEN: &str = "oauth2accesstoken";

/// How long a credential helper may take; some ask a person or a cloud.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// The prefixes of all environment variables that credentials may come from, beside those that the
/// matrix names.
pub const CREDENTIAL_VARIABLES: [&str; 10] = [
    VARIABLE_PREFIX,
    "ACTIONS_ID_TOKEN_REQUEST_",
    "AWS_",
    "CLOUDSDK_",
    "GCE_METADATA_",
    "GITHUB_ACTOR",
    "GITHUB_SERVER_URL",
    "GITHUB_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "HOME",
];

/// What authenticates to a registry.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A user and a password, both literal: `$oauthtoken` is a user's name.
    Password { username: String, password: SecretString },
    /// A refresh token, which the registry's token server exchanges.
    IdentityToken(SecretString),
}

impl Credential {
    /// Returns the user's name; an identity token has none.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        match self {
            Self::Password { username, .. } => Some(username),
            Self::IdentityToken(_) => None,
        }
    }

    /// An access token of Google Cloud.
    fn access_token(token: &SecretString) -> Self {
        Self::Password { username: ACCESS_TOKEN.to_owned(), password: token.clone() }
    }

    fn is(&self, other: &Self) -> bool {
        let secret = |credential: &Self| match credential {
            Self::Password { password: secret, .. } | Self::IdentityToken(secret) => secret.clone(),
        };
        self.username() == other.username()
            && secret(self).expose_secret() == secret(other).expose_secret()
    }
}

/// The location of Docker's configuration and of its helpers.
#[derive(Debug, Clone, Default)]
pub struct DockerConfig {
    /// The folder that contains `config.json`: `DOCKER_CONFIG` or `~/.docker`.
    pub folder: Option<PathBuf>,
    /// `PATH`, which is searched for `docker-credential-*` programs.
    pub search_path: Option<OsString>,
}

/// Everything that credentials are looked up in.
#[derive(Debug, Clone, Default)]
pub struct CredentialSources {
    /// The authentication methods of the matrix, by the registry's host.
    pub methods: BTreeMap<String, AuthMethod>,
    /// The variables that begin with one of [`CREDENTIAL_VARIABLES`], and those that `methods`
    /// name, in both spellings.
    pub variables: Variables,
    pub docker: DockerConfig,
    pub network: Network,
    /// Which credentials may be sent without TLS.
    pub plain_http: PlainHttp,
}

impl From<&DockerConfig> for CredentialSources {
    fn from(docker: &DockerConfig) -> Self {
        Self { docker: docker.clone(), ..Self::default() }
    }
}

/// The credentials of all registries. Each is looked up once and cached until it expires, so that a
/// helper that takes a second takes it once in some minutes, not once in each build.
pub struct Credentials {
    keychains: Vec<Box<dyn Keychain>>,
    plain_http: PlainHttp,
    cache: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<CachedCredential>>>>>,
    /// Every secret that was returned, so that none is printed.
    issued: Mutex<Concealer>,
}

type CredentialResult<T> = Result<Option<T>, Arc<CredentialsError>>;

impl Credentials {
    /// Reads Docker's configuration, if it exists. Everything else is looked up when it is needed.
    pub fn load(sources: impl Into<CredentialSources>) -> Result<Self, CredentialsError> {
        let CredentialSources { methods, variables, docker, network, plain_http } = sources.into();
        let variables = Arc::new(variables);
        let path = docker.search_path.clone();
        let cloud = Cloud::new(Arc::clone(&variables), network, plain_http.clone(), path);
        let methods = methods.into_iter();
        let methods = methods.map(|(host, method)| (key_of(&host).to_owned(), method)).collect();
        Ok(Self::with_keychains(
            vec![
                Box::new(matrix::MatrixKeychain { methods, cloud: cloud.clone() }),
                Box::new(variables::VariableKeychain {
                    variables: Arc::clone(&variables),
                    claims: Mutex::default(),
                }),
                Box::new(DockerKeychain::load(&docker, HELPER_TIMEOUT)?),
                Box::new(github::GitHubKeychain { variables }),
                Box::new(aws::AwsKeychain { cloud: cloud.clone() }),
                Box::new(google::GoogleKeychain { cloud }),
            ],
            plain_http,
        ))
    }

    fn with_keychains(keychains: Vec<Box<dyn Keychain>>, plain_http: PlainHttp) -> Self {
        Self { keychains, plain_http, cache: Mutex::default(), issued: Mutex::default() }
    }

    /// Returns no credential for any registry.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::with_keychains(Vec::new(), PlainHttp::default())
    }

    /// Redacts every secret that was returned so far. Returns `None` if `text` contains none.
    #[must_use]
    pub fn conceal(&self, text: &str) -> Option<String> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).conceal(text)
    }

    /// Returns the credential for the registry at `host`, if there is one.
    pub async fn get(&self, host: &str) -> CredentialResult<Credential> {
        Ok(self.find(host).await?.map(|found| found.credential))
    }

    /// Returns the credential for the registry at `host` and its source.
    pub async fn find(&self, host: &str) -> CredentialResult<ResolvedCredential> {
        let key = key_of(host);
        let cell = self.cell(key);
        let mut cached = cell.lock().await;
        match &*cached {
            Some(cached) if cached.is_fresh() => cached.result.clone(),
            _ => self.renew(key, &mut cached).await,
        }
    }

    /// Returns another credential than one that the registry at `host` refused although it accepted
    /// it before: passwords of clouds expire. Returns `None` if there is no other.
    pub async fn replace(&self, host: &str, refused: &Credential) -> CredentialResult<Credential> {
        let key = key_of(host);
        let cell = self.cell(key);
        let mut cached = cell.lock().await;
        let other = |result: CredentialResult<ResolvedCredential>| -> CredentialResult<Credential> {
            let credential = result?.map(|found| found.credential);
            Ok(credential.filter(|credential| !credential.is(refused)))
        };
        if let Some(cached) = &*cached {
            // A request that was refused at the same time has replaced it.
            let replaced = other(cached.result.clone())?;
            if replaced.is_some() || (cached.is_final && cached.is_fresh()) {
                return Ok(replaced);
            }
        }
        let replaced = other(self.renew(key, &mut cached).await)?;
        if let (None, Some(cached)) = (&replaced, &mut *cached) {
            cached.is_final = true;
        }
        Ok(replaced)
    }

    fn cell(&self, key: &str) -> Arc<tokio::sync::Mutex<Option<CachedCredential>>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(cache.entry(key.to_owned()).or_default())
    }

    /// Looks up the credential for `key` and caches the result. If that fails, one that has not
    /// expired is used for a while longer.
    async fn renew(
        &self,
        key: &str,
        cached: &mut Option<CachedCredential>,
    ) -> CredentialResult<ResolvedCredential> {
        let renewed = CachedCredential::new(self.look_up(key).await);
        let next = match (&renewed.result, cached.take().and_then(CachedCredential::extended)) {
            (Err(_), Some(extended)) => extended,
            _ => renewed,
        };
        if let Ok(Some(found)) = &next.result {
            let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
            issued.add(found.credential.secrets());
        }
        cached.insert(next).result.clone()
    }

    /// Returns which credentials may be sent without TLS.
    pub(super) fn plain_http(&self) -> &PlainHttp {
        &self.plain_http
    }

    /// Asks the keychains. Every user of credentials passes here: the registry client, and the
    /// engines that push and pull.
    async fn look_up(&self, key: &str) -> Result<Option<ResolvedCredential>, CredentialsError> {
        let name = name_of(key);
        let host = Host { key, name, is_plain: self.plain_http.refuses(name) };
        for keychain in &self.keychains {
            let Some(resolved) = keychain.resolve(host).await? else { continue };
            if host.is_plain {
                return Err(CredentialsError::plain_http(host, resolved.source));
            }
            return Ok(Some(resolved));
        }
        Ok(None)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials")
    }
}

#[cfg(test)]
mod tests;
