//! Docker's [credential helper protocol][protocol].
//!
//! [protocol]: https://github.com/docker/docker-credential-helpers#development

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::{Credential, CredentialsError};

/// The longest answer that a helper may give.
const MAX_ANSWER: u64 = 1 << 20;

/// How helpers say that they know nothing of a registry.
const NOT_FOUND: &str = "credentials not found";

/// The user's name that marks a secret as an identity token.
const TOKEN: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reply {
    username: String,
    secret: SecretString,
}

/// The program of the helper called `name`.
pub(super) fn program(name: &str) -> String {
    format!("docker-credential-{name}")
}

/// The programs that keep credentials.
pub(super) struct Helpers {
    search_path: Option<OsString>,
    timeout: Duration,
}

impl Helpers {
    pub(super) fn new(search_path: Option<OsString>, timeout: Duration) -> Self {
        Self { search_path, timeout }
    }

    /// Asks `docker-credential-<name>` for the credentials of `host`.
    pub(super) async fn ask(
        &self,
        name: &str,
        host: &str,
    ) -> Result<Option<Credential>, CredentialsError> {
        let helper = program(name);
        let program = self.find(&helper);
        let program = program.ok_or_else(|| CredentialsError::HelperMissing {
            helper: helper.clone(),
            host: host.to_owned(),
        })?;
        let run = run(program, host);
        let (status, answer) = match tokio::time::timeout(self.timeout, run).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) => return Err(protocol(helper, host, "could not be run")),
            Err(_) => {
                return Err(CredentialsError::HelperTimeout {
                    helper,
                    host: host.to_owned(),
                    limit: self.timeout,
                });
            }
        };
        if !status.success() {
            return if says_not_found(&answer) {
                Ok(None)
            } else {
                Err(CredentialsError::HelperFailed { helper, host: host.to_owned(), status })
            };
        }
        let reply: Reply = serde_json::from_slice(answer.expose_secret())
            .map_err(|_| protocol(helper, host, "did not answer with credentials"))?;
        Ok(credential(reply))
    }

    /// The program on the search path; a name with a `/` is no name.
    fn find(&self, helper: &str) -> Option<PathBuf> {
        if helper.contains('/') {
            return None;
        }
        let folders = env::split_paths(self.search_path.as_ref()?);
        folders
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(helper))
            .find(|program| program.is_file())
    }
}

fn credential(reply: Reply) -> Option<Credential> {
    if reply.secret.expose_secret().is_empty() {
        return None;
    }
    Some(if reply.username == TOKEN {
        Credential::IdentityToken(reply.secret)
    } else {
        Credential::Password { username: reply.username, password: reply.secret }
    })
}

fn protocol(helper: String, host: &str, problem: &'static str) -> CredentialsError {
    CredentialsError::HelperProtocol { helper, host: host.to_owned(), problem }
}

fn says_not_found(answer: &SecretSlice<u8>) -> bool {
    let text = String::from_utf8_lossy(answer.expose_secret());
    text.trim_start().starts_with(NOT_FOUND)
}

/// Runs the helper to its end; it is killed when this future is dropped.
async fn run(program: PathBuf, host: &str) -> std::io::Result<(ExitStatus, SecretSlice<u8>)> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut answer = Vec::new();
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let write = async {
        if let Some(mut input) = input {
            // A helper may close its input unread; what it answers is what counts.
            let _unread = input.write_all(host.as_bytes()).await;
        }
    };
    let read = async {
        match output {
            Some(output) => output.take(MAX_ANSWER).read_to_end(&mut answer).await,
            None => Ok(0),
        }
    };
    let (status, read) = tokio::join!(wait(&mut child), async { tokio::join!(write, read).1 });
    read?;
    Ok((status?, answer.into()))
}

async fn wait(child: &mut Child) -> std::io::Result<ExitStatus> {
    child.wait().await
}
