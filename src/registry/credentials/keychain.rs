//! What every source of credentials implements.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Credential, CredentialsError, DOCKER_HUB_HOSTS, DOCKER_HUB_KEY};

/// A source of credentials for registries.
pub(super) trait Keychain: Send + Sync {
    /// Returns the credential for `host`, or `None` if this source has none.
    fn resolve<'a>(&'a self, host: Host<'a>) -> Resolving<'a>;
}

pub(super) type Resolving<'a> = BoxFuture<'a, Result<Option<ResolvedCredential>, CredentialsError>>;

/// The registry that a credential is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host<'a> {
    /// The key in Docker's configuration, which for Docker Hub is a URL.
    pub(super) key: &'a str,
    /// The host as references name it.
    pub(super) name: &'a str,
    /// No credential may be sent to it, because it is reached without TLS.
    pub(super) is_plain: bool,
}

impl Host<'_> {
    /// Returns true for the registries of Google Cloud.
    pub(super) fn is_google(self) -> bool {
        self.name == "gcr.io" || self.name.ends_with(".gcr.io") || self.name.ends_with(".pkg.dev")
    }
}

/// How long a credential is valid.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lifetime {
    /// The whole run: it is stored in a file or a variable.
    Run,
    /// Unknown: a helper issued it, which is asked again from time to time.
    Unknown,
    For(Duration),
}

/// A credential for a registry and its source.
#[derive(Debug, Clone)]
pub struct ResolvedCredential {
    pub credential: Credential,
    pub source: CredentialSource,
    pub(super) lifetime: Lifetime,
}

/// Where a credential comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    Matrix {
        host: String,
        method: &'static str,
    },
    Variable(String),
    /// Docker's configuration, and the credential helper that it names.
    Docker {
        config: PathBuf,
        helper: Option<String>,
    },
    /// A cloud, as people write it: "AWS profile `ci` via SSO".
    Cloud(String),
}

impl CredentialSource {
    /// Describes the source to a user, whose home directory is written as `~`.
    #[must_use]
    pub fn describe(&self, home: Option<&Path>) -> String {
        match self {
            Self::Matrix { host, method } => format!("[registries.\"{host}\"] {method}"),
            Self::Variable(name) => format!("environment variable `{name}`"),
            Self::Docker { config, helper } => {
                let below = home.and_then(|home| config.strip_prefix(home).ok());
                let path = below.map_or_else(
                    || config.display().to_string(),
                    |below| format!("~/{}", below.display()),
                );
                let helper = helper.as_ref().map(|name| format!(", helper `{name}`"));
                format!("docker config {path}{}", helper.unwrap_or_default())
            }
            Self::Cloud(text) => text.clone(),
        }
    }
}

impl fmt::Display for CredentialSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.describe(None))
    }
}

/// Returns the key of `host` in Docker's configuration.
pub(super) fn key_of(host: &str) -> &str {
    if DOCKER_HUB_HOSTS.contains(&host) { DOCKER_HUB_KEY } else { host }
}

/// Returns the host of a key in Docker's configuration, as references name it.
pub(super) fn name_of(key: &str) -> &str {
    if key == DOCKER_HUB_KEY { DOCKER_HUB_HOSTS[0] } else { key }
}

/// Returns all spellings of a key.
pub(super) fn spellings(key: &str) -> impl Iterator<Item = &str> {
    let aliases = DOCKER_HUB_HOSTS.iter().copied().filter(move |_| key == DOCKER_HUB_KEY);
    std::iter::once(key).chain(aliases)
}
