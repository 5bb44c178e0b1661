use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use super::cloud::CloudProblem;
use super::keychain::{CredentialSource, Host};
use super::pair::PairProblem;
use super::plain_http::plain_http_hint;
use super::variables::VariableProblem;
use crate::error::{ExitCode, Explain};

/// Why the credentials of a registry are not available. Never quotes files, variables, helpers or clouds where
/// a secret is expected.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error("failed to read Docker's credentials")]
    Read(#[source] std::io::Error),
    // serde's message is left out: it quotes values.
    #[error("`{}` is not a Docker configuration: line {line}, column {column}", path.display())]
    Parse { path: PathBuf, line: usize, column: usize },
    /// An entry of `auths` that cannot be decoded.
    #[error("the credentials of `{host}` in `{}` cannot be used: `auth` {problem}", path.display())]
    Auth { path: PathBuf, host: String, problem: PairProblem },
    /// A variable that contains no credential.
    #[error("the credentials of `{host}` cannot be used: the variable `{variable}` {problem}")]
    Variable { variable: String, host: String, problem: VariableProblem },
    #[error(
        "the variables {} all name the registry `{host}`, and hold different credentials",
        list(variables)
    )]
    Ambiguous { variables: Vec<String>, host: String },
    /// Two registries share the shell-safe spelling of a variable.
    #[error("the variable `{variable}` may mean `{}` or `{}`", hosts[0], hosts[1])]
    Shared { variable: String, hosts: [String; 2] },
    /// A cloud issued no password.
    #[error("failed to get a password for `{host}` from {cloud}")]
    Cloud {
        cloud: &'static str,
        host: String,
        #[source]
        problem: CloudProblem,
    },
    #[error("the credentials of `{host}` from {origin} are not sent over plain HTTP")]
    PlainHttp { host: String, origin: CredentialSource },
    #[error("the credential helper `{helper}` for `{host}` {problem}")]
    Helper { helper: String, host: String, problem: HelperProblem },
}

/// How a credential helper failed. Never contains its output.
#[derive(Debug, thiserror::Error)]
pub enum HelperProblem {
    #[error("is not installed")]
    NotInstalled,
    #[error("could not be run")]
    NotExecutable,
    #[error("did not answer within {}s", .0.as_secs())]
    Timeout(Duration),
    #[error("failed ({0})")]
    Failed(ExitStatus),
    #[error("did not answer with credentials")]
    Protocol,
}

impl CredentialsError {
    pub(super) fn variable(variable: String, host: &str, problem: VariableProblem) -> Self {
        Self::Variable { variable, host: host.to_owned(), problem }
    }

    pub(super) fn cloud(cloud: &'static str, host: &str, problem: CloudProblem) -> Self {
        Self::Cloud { cloud, host: host.to_owned(), problem }
    }

    pub(super) fn plain_http(host: Host<'_>, origin: CredentialSource) -> Self {
        Self::PlainHttp { host: host.name.to_owned(), origin }
    }

    /// Returns true if a later attempt may succeed with nothing changed on this side.
    pub(super) fn is_temporary(&self) -> bool {
        matches!(self, Self::Cloud { problem, .. } if problem.is_temporary())
    }
}

impl Explain for CredentialsError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Cloud { .. } => ExitCode::Registry,
            Self::PlainHttp { .. } => ExitCode::Matrix,
            _ => ExitCode::Failure,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read(_) => return None,
            Self::Parse { .. } => {
                "correct the file, or name another folder with DOCKER_CONFIG".to_owned()
            }
            Self::Auth { host, .. } => format!("log in again: `docker login {host}`"),
            Self::Variable { host, problem, .. } => match problem {
                VariableProblem::Pair(_) => {
                    "it holds base64 of `user:password`: `echo -n 'user:password' | base64`"
                        .to_owned()
                }
                VariableProblem::ServiceAccount(_) => {
                    "it holds the JSON that Google issued for the key, all of it".to_owned()
                }
                VariableProblem::NotText => {
                    format!("see `[registries.\"{host}\"]` in the matrix file")
                }
                VariableProblem::NotSet | VariableProblem::Empty => {
                    format!("set it, or name another one in `[registries.\"{host}\"]`")
                }
            },
            Self::Ambiguous { .. } => "unset all but one of them".to_owned(),
            Self::Shared { hosts: [host, _], .. } => format!(
                "write the registry's name as it is: \
                 `env 'DOCKER_REGISTRY_{host}=…' basegen …`"
            ),
            Self::Cloud { problem, .. } => return problem.hint(),
            Self::PlainHttp { host, .. } => plain_http_hint(host),
            Self::Helper { helper, problem: HelperProblem::NotInstalled, .. } => format!(
                "install `{helper}`, or remove it from `credsStore` and `credHelpers` in Docker's \
                 config.json"
            ),
            Self::Helper { helper, host, .. } => {
                format!("run it to see its error: `echo {host} | {helper} get`")
            }
        })
    }
}

/// `` `a` and `b` ``
fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => quoted.concat(),
    }
}
