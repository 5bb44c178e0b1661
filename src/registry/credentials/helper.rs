//! Docker's [credential helper protocol][protocol].
//!
//! [protocol]: https://github.com/docker/docker-credential-helpers#development

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::{Credential, CredentialsError, HelperProblem};

/// The longest output that is read, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// What helpers print that have no credential for a registry.
const NOT_FOUND: &str = "credentials not found";

/// The user name that marks a secret as an identity token.
const TOKEN: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reply {
    username: String,
    secret: SecretString,
}

/// The credential helpers on this machine: programs named `docker-credential-*`.
pub(super) struct Helpers {
    pub(super) search_path: Option<OsString>,
    pub(super) timeout: Duration,
}

impl Helpers {
    /// Asks `docker-credential-<name>` for the credential of `host`.
    pub(super) async fn ask(
        &self,
        name: &str,
        host: &str,
    ) -> Result<Option<Credential>, CredentialsError> {
        let helper = format!("docker-credential-{name}");
        let answer = self.answer(&helper, host).await;
        answer.map_err(|problem| CredentialsError::Helper {
            helper,
            host: host.to_owned(),
            problem,
        })
    }

    async fn answer(&self, helper: &str, host: &str) -> Result<Option<Credential>, HelperProblem> {
        let program = Some(helper).filter(|helper| !helper.contains('/'));
        let program = program.and_then(|helper| find(helper, self.search_path.as_deref()));
        let program = program.ok_or(HelperProblem::NotInstalled)?;
        let run = run(&program, &["get"], host);
        let (status, answer) = match tokio::time::timeout(self.timeout, run).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) => return Err(HelperProblem::NotExecutable),
            Err(_) => return Err(HelperProblem::Timeout(self.timeout)),
        };
        if status.success() {
            let reply = serde_json::from_slice(answer.expose_secret());
            return Ok(credential(reply.map_err(|_| HelperProblem::Protocol)?));
        }
        if is_not_found(&answer) { Ok(None) } else { Err(HelperProblem::Failed(status)) }
    }
}

/// Returns the path of a program: as it is if it contains a `/`, or else in a folder of the search path.
pub(super) fn find(program: &str, search_path: Option<&OsStr>) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(program.into());
    }
    let folders = env::split_paths(search_path?);
    folders
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|program| program.is_file())
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

fn is_not_found(answer: &SecretSlice<u8>) -> bool {
    let text = String::from_utf8_lossy(answer.expose_secret());
    text.trim_start().starts_with(NOT_FOUND)
}

/// Runs a program to its end and returns its output. It is killed when this future is dropped.
pub(super) async fn run(
    program: &Path,
    arguments: &[&str],
    input: &str,
) -> std::io::Result<(ExitStatus, SecretSlice<u8>)> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut answer = Vec::new();
    let (stdin, output) = (child.stdin.take(), child.stdout.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program may close its input unread.
            let _unread = stdin.write_all(input.as_bytes()).await;
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
