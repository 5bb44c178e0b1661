use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use super::ecr::EcrProblem;
use super::pair::PairProblem;
use super::plain_http::plain_http_hint;
use super::variables::VariableProblem;
use crate::error::{ExitCode, Explain};

/// Why the credentials of a registry could not be had.
///
/// None of these ever holds what a file, a variable, a helper or a cloud said where a secret
/// was expected.
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
    #[error("the credentials of `{host}` in `{}` cannot be used: `auth` {problem}", path.display())]
    Auth {
        /// The file.
        path: PathBuf,
        /// The registry.
        host: String,
        /// What is wrong.
        problem: PairProblem,
    },
    /// A variable that is not base64 of `user:password`.
    #[error("the credentials of `{host}` cannot be used: the variable `{variable}` {problem}")]
    Pair {
        /// The variable.
        variable: String,
        /// The registry.
        host: String,
        /// What is wrong.
        problem: PairProblem,
    },
    /// A variable that the matrix names and that gives nothing.
    #[error(
        "the credentials of `{host}` are to come from the variable `{variable}`, which {problem}"
    )]
    Variable {
        /// The variable, as the matrix names it.
        variable: String,
        /// The registry.
        host: String,
        /// What is wrong.
        problem: VariableProblem,
    },
    /// Variables that disagree.
    #[error(
        "the variables {} all name the registry `{host}`, and hold different credentials",
        list(variables)
    )]
    Ambiguous {
        /// The variables.
        variables: Vec<String>,
        /// The registry.
        host: String,
    },
    /// A variable in whose spelling two registries look alike.
    #[error("the variable `{variable}` may mean `{}` or `{}`", hosts[0], hosts[1])]
    Shared {
        /// The variable.
        variable: String,
        /// The registries.
        hosts: [String; 2],
    },
    /// A variable that holds no service account's key.
    #[error("the credentials of `{host}` cannot be used: the variable `{variable}` {problem}")]
    ServiceAccount {
        /// The variable.
        variable: String,
        /// The registry.
        host: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// AWS gave no password for its registry.
    #[error("AWS gave no password for `{host}`")]
    Ecr {
        /// The registry.
        host: String,
        /// Why not.
        #[source]
        problem: EcrProblem,
    },
    /// The credentials would travel in the clear.
    #[error("the credentials of `{host}` from {origin} are not sent over plain HTTP")]
    PlainHttp {
        /// The registry.
        host: String,
        /// Where they were found.
        origin: super::CredentialSource,
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

impl CredentialsError {
    /// Whether a later attempt may succeed with nothing changed on this side.
    pub(super) fn is_temporary(&self) -> bool {
        matches!(self, Self::Ecr { problem, .. } if problem.is_temporary())
    }
}

impl Explain for CredentialsError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Ecr { .. } => ExitCode::Registry,
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
            Self::Pair { .. } => {
                "it holds base64 of `user:password`: `echo -n 'user:password' | base64`".to_owned()
            }
            Self::Variable { host, problem: VariableProblem::NotText, .. } => {
                format!("see `[registries.\"{host}\"]` in the matrix file")
            }
            Self::Variable { host, .. } => {
                format!("set it, or say another one in `[registries.\"{host}\"]`")
            }
            Self::Ambiguous { .. } => "unset all but one of them".to_owned(),
            Self::Shared { hosts: [host, _], .. } => format!(
                "write the registry's name as it is: \
                 `env 'DOCKER_REGISTRY_{host}=…' basegen …`"
            ),
            Self::ServiceAccount { .. } => {
                "it holds the JSON that Google gave out for the key, whole".to_owned()
            }
            Self::Ecr { problem, .. } => return problem.hint(),
            Self::PlainHttp { host, .. } => plain_http_hint(host),
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

/// `` `a` and `b` ``
fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => quoted.concat(),
    }
}
