//! Credentials of registries, from where `docker login` keeps them.

mod config;
mod helper;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::OnceCell;

use self::config::Config;
use self::helper::Helpers;
use crate::error::{ExitCode, Explain};

/// The key under which Docker keeps the credentials of Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The other names under which Docker Hub is known.
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// How long a credential helper may take; some of them ask a person or a cloud.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

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

/// Where Docker's configuration is and where its helpers are; `cli` fills it in.
#[derive(Debug, Clone, Default)]
pub struct DockerConfig {
    /// The folder that holds `config.json`: `DOCKER_CONFIG` or `~/.docker`.
    pub folder: Option<PathBuf>,
    /// `PATH`, where `docker-credential-*` programs are looked for.
    pub search_path: Option<OsString>,
}

/// The credentials of every registry, each asked for once.
///
/// Clones of one registry's answer are handed out for the life of this value, so a helper
/// that takes a second takes it once a run, not once a build.
pub struct Credentials {
    config: Config,
    helpers: Helpers,
    answers: Mutex<HashMap<String, Arc<OnceCell<Answer>>>>,
}

type Answer = Result<Option<Credential>, Arc<CredentialsError>>;

impl Credentials {
    /// Reads Docker's configuration; one that is not there knows nobody.
    pub fn load(docker: &DockerConfig) -> Result<Self, CredentialsError> {
        Ok(Self {
            config: match &docker.folder {
                Some(folder) => Config::read(&folder.join("config.json"))?,
                None => Config::default(),
            },
            helpers: Helpers::new(docker.search_path.clone(), HELPER_TIMEOUT),
            answers: Mutex::default(),
        })
    }

    /// Nobody's: every registry is spoken to without credentials.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            config: Config::default(),
            helpers: Helpers::new(None, HELPER_TIMEOUT),
            answers: Mutex::default(),
        }
    }

    /// The credentials for the registry at `host`; `None` where there are none.
    pub async fn of(&self, host: &str) -> Answer {
        let key = key_of(host);
        let cell = {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(answers.entry(key.to_owned()).or_default())
        };
        let answer = cell.get_or_init(|| async { self.look_up(key).await.map_err(Arc::new) });
        answer.await.clone()
    }

    async fn look_up(&self, key: &str) -> Result<Option<Credential>, CredentialsError> {
        if let Some(helper) = self.config.helper(key) {
            let found = self.helpers.ask(helper, key).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        self.config.stored(key)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials")
    }
}

/// The key of `host` in Docker's configuration.
fn key_of(host: &str) -> &str {
    if DOCKER_HUB_HOSTS.contains(&host) { DOCKER_HUB_KEY } else { host }
}

/// Why the credentials of a registry could not be had.
///
/// None of these ever holds what a file or a helper said where a secret was expected.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The configuration is there and cannot be read.
    #[error("failed to read Docker's credentials")]
    Read(#[source] std::io::Error),
    /// The configuration is not what Docker writes.
    // serde's own message is left out: it quotes the values that it did not expect.
    #[error("`{}` is not a Docker configuration: line {line}, column {column}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// An entry of `auths` that cannot be decoded.
    #[error("the credentials of `{host}` in `{}` cannot be used: {problem}", path.display())]
    Auth {
        /// The file.
        path: PathBuf,
        /// The registry.
        host: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A helper that is not installed.
    #[error("the credential helper `{helper}` for `{host}` is not installed")]
    HelperMissing {
        /// The program.
        helper: String,
        /// The registry.
        host: String,
    },
    /// A helper that did not answer.
    #[error("the credential helper `{helper}` did not answer for `{host}` within {}s", limit.as_secs())]
    HelperTimeout {
        /// The program.
        helper: String,
        /// The registry.
        host: String,
        /// How long it was given.
        limit: Duration,
    },
    /// A helper that failed.
    #[error("the credential helper `{helper}` failed for `{host}` ({status})")]
    HelperFailed {
        /// The program.
        helper: String,
        /// The registry.
        host: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// A helper that could not be run or did not answer in its protocol.
    #[error("the credential helper `{helper}` for `{host}` {problem}")]
    HelperProtocol {
        /// The program.
        helper: String,
        /// The registry.
        host: String,
        /// What it did.
        problem: &'static str,
    },
}

impl Explain for CredentialsError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read(_) | Self::Parse { .. } => return None,
            Self::Auth { host, .. } => format!("log in again: `docker login {host}`"),
            Self::HelperMissing { helper, .. } => format!(
                "install `{helper}`, or take it out of `credsStore` and `credHelpers` in \
                 Docker's config.json"
            ),
            Self::HelperTimeout { helper, host, .. }
            | Self::HelperFailed { helper, host, .. }
            | Self::HelperProtocol { helper, host, .. } => {
                format!("see what it says by itself: `echo {host} | {helper} get`")
            }
        })
    }
}

#[cfg(test)]
mod tests;
