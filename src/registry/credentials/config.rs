use std::collections::HashMap;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use super::pair::{self, PairProblem};
use super::{Credential, CredentialsError, spellings};

/// The part of Docker's `config.json` that concerns credentials.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Config {
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
    pub(super) fn read(path: &Path) -> Result<Self, CredentialsError> {
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

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The helper that knows `key`, without its `docker-credential-`.
    pub(super) fn helper(&self, key: &str) -> Option<&str> {
        let own = spellings(key).find_map(|name| self.cred_helpers.get(name));
        let helper = own.unwrap_or(&self.creds_store).as_deref();
        helper.filter(|helper| !helper.is_empty())
    }

    /// The credentials that the file itself holds for `key`.
    pub(super) fn stored(&self, key: &str) -> Result<Option<Credential>, CredentialsError> {
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
    fn decode(&self) -> Result<Option<Credential>, PairProblem> {
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
            // `docker login` leaves an empty entry behind when a helper keeps the secret.
            _ => None,
        })
    }
}

/// What programs in Go, such as Docker, write as `null` where it is empty, and read so.
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

/// The host of a key that is written as a URL.
pub(super) fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}
