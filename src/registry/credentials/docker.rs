//! Docker's configuration and the credential helpers that it names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::FutureExt as _;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use super::helper::Helpers;
use super::keychain::{
    CredentialSource, Host, Keychain, Lifetime, ResolvedCredential, Resolving, spellings,
};
use super::pair;
use super::{Credential, CredentialsError, DockerConfig};

/// What `docker login` stores: in the configuration itself, or behind a helper.
pub(super) struct DockerKeychain {
    config: Config,
    helpers: Helpers,
}

impl DockerKeychain {
    /// Reads `config.json`. One that does not exist contains no credentials.
    pub(super) fn load(docker: &DockerConfig, timeout: Duration) -> Result<Self, CredentialsError> {
        let config = docker.folder.as_ref().map(|folder| Config::read(&folder.join("config.json")));
        let helpers = Helpers { search_path: docker.search_path.clone(), timeout };
        Ok(Self { config: config.transpose()?.unwrap_or_default(), helpers })
    }
}

impl Keychain for DockerKeychain {
    fn resolve<'a>(&'a self, host: Host<'a>) -> Resolving<'a> {
        async move {
            let source = |helper: Option<&str>| CredentialSource::Docker {
                config: self.config.path.clone(),
                helper: helper.map(str::to_owned),
            };
            let mut lifetime = Lifetime::Run;
            if let Some(helper) = self.config.helper(host.key) {
                // It is asked again later, whatever it answers now.
                lifetime = Lifetime::Unknown;
                if let Some(credential) = self.helpers.ask(helper, host.key).await? {
                    let source = source(Some(helper));
                    return Ok(Some(ResolvedCredential { credential, source, lifetime }));
                }
            }
            let stored = self.config.stored(host.key)?;
            let source = source(None);
            Ok(stored.map(|credential| ResolvedCredential { credential, source, lifetime }))
        }
        .boxed()
    }
}

/// The part of Docker's `config.json` that concerns credentials.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    #[serde(skip)]
    path: PathBuf,
    #[serde(deserialize_with = "or_null")]
    auths: HashMap<String, Option<Entry>>,
    #[serde(deserialize_with = "or_null")]
    cred_helpers: HashMap<String, Option<String>>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<SecretString>,
    username: Option<String>,
    password: Option<SecretString>,
    identitytoken: Option<SecretString>,
}

impl Config {
    fn read(path: &Path) -> Result<Self, CredentialsError> {
        let text = match fs_err::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(CredentialsError::Read(error)),
        };
        let mut config: Self =
            serde_json::from_slice(&text).map_err(|error| CredentialsError::Parse {
                path: path.to_owned(),
                line: error.line(),
                column: error.column(),
            })?;
        path.clone_into(&mut config.path);
        Ok(config)
    }

    /// Returns the name of the helper for `key`, without `docker-credential-`.
    fn helper(&self, key: &str) -> Option<&str> {
        let own = spellings(key).find_map(|name| self.cred_helpers.get(name));
        let helper = own.unwrap_or(&self.creds_store).as_deref();
        helper.filter(|helper| !helper.is_empty())
    }

    /// Returns the credential for `key` that the file itself contains.
    fn stored(&self, key: &str) -> Result<Option<Credential>, CredentialsError> {
        let exact = spellings(key).find_map(|name| self.auths.get(name));
        let by_host = || {
            let mut entries = self.auths.iter();
            entries.find_map(|(name, entry)| (host_of(name) == key).then_some(entry))
        };
        match exact.or_else(by_host).and_then(Option::as_ref) {
            None => Ok(None),
            Some(entry) => entry.decode().map_err(|problem| CredentialsError::Auth {
                path: self.path.clone(),
                host: key.to_owned(),
                problem,
            }),
        }
    }
}

impl Entry {
    fn decode(&self) -> Result<Option<Credential>, &'static str> {
        if let Some(token) = filled(self.identitytoken.as_ref()) {
            return Ok(Some(Credential::IdentityToken(token.clone())));
        }
        if let Some(auth) = filled(self.auth.as_ref()) {
            return pair::read(auth).map(Some);
        }
        Ok(match (&self.username, filled(self.password.as_ref())) {
            (Some(username), Some(password)) if !username.is_empty() => {
                Some(Credential::Password {
                    username: username.clone(),
                    password: password.clone(),
                })
            }
            // `docker login` writes an empty entry when a helper stores the secret.
            _ => None,
        })
    }
}

/// Reads `null` as empty, as programs in Go write it.
fn or_null<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn filled(secret: Option<&SecretString>) -> Option<&SecretString> {
    secret.filter(|secret| !secret.expose_secret().is_empty())
}

/// Returns the host of a key that is written as a URL.
pub(super) fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}
