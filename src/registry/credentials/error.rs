use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use http::StatusCode;
use reqwest::Url;

use super::keychain::{CredentialSource, Host};
use super::plain_http::plain_http_hint;
use crate::error::{ExitCode, Explain};
use crate::registry::transport::authority;
use crate::registry::{RegistryErrorKind, Retry, Retryable};

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
    Auth { path: PathBuf, host: String, problem: &'static str },
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

/// Why a variable contains no credential. Never quotes its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VariableProblem {
    #[error("is not set")]
    NotSet,
    #[error("is empty")]
    Empty,
    #[error("is not a text")]
    NotText,
    #[error("{0}")]
    Pair(&'static str),
    #[error("{0}")]
    ServiceAccount(&'static str),
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

/// The codes of a signature that AWS did not accept.
pub(super) const SIGNATURE_CODES: [&str; 5] = [
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "IncompleteSignatureException",
];

/// Why a cloud issued no password. Never contains a key, a token or a password.
#[derive(Debug, thiserror::Error)]
pub enum CloudProblem {
    #[error("the host is not that of a private ECR registry, and no region is given")]
    NoRegion,
    #[error("the access key is a temporary one, and the variable `{0}` is not set")]
    NoSessionToken(String),
    #[error("this machine has no identity token for it")]
    NoIdentityToken,
    #[error("the variable `{0}` is not the URL of an endpoint")]
    Endpoint(String),
    #[error("this machine's clock is {offset}, so the signature was refused ({code})")]
    Clock { offset: String, code: String },
    #[error("{code} (status {status}){}", .message.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        status: u16,
        code: String,
        /// The cloud's message, unless it repeats a secret.
        message: Option<String>,
    },
    #[error(transparent)]
    Unreachable(Box<RegistryErrorKind>),
    #[error("AWS' keys are not sent to `{0}` over plain HTTP")]
    PlainHttp(String),
    #[error("`{endpoint}` answered with status {status}, but not as the API of a cloud does")]
    Protocol { endpoint: String, status: u16 },
    /// A place that holds credentials, and gave none.
    #[error("{origin}: {problem}")]
    Source { origin: String, problem: String, is_temporary: bool },
}

impl CloudProblem {
    pub(super) fn setup(problem: &str) -> Self {
        RegistryErrorKind::Setup { problem: problem.to_owned() }.into()
    }

    pub(super) fn protocol(url: &Url, status: StatusCode) -> Self {
        Self::Protocol { endpoint: authority(url), status: status.as_u16() }
    }

    /// Describes an error of reqsign, which found or asked `origin`.
    pub(super) fn from_reqsign(origin: &str, error: &reqsign_core::Error) -> Self {
        // Our own error is below the message of reqsign.
        let mut causes =
            std::iter::successors(std::error::Error::source(error), |error| error.source());
        let sent = causes.find_map(|cause| cause.downcast_ref::<Self>());
        let problem = sent.map_or_else(|| without_quotes(&error.to_string()), ToString::to_string);
        let is_temporary = sent.map_or(error.is_retryable(), Self::is_temporary);
        Self::Source { origin: origin.to_owned(), problem, is_temporary }
    }

    /// Returns true if the same request may succeed a moment later.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(kind) => kind.is_transient(),
            Self::Refused { status, code, .. } => {
                *status >= 500 || *status == 429 || code.starts_with("Throttling")
            }
            Self::Protocol { status, .. } => *status >= 500 || *status == 429,
            Self::Source { is_temporary, .. } => *is_temporary,
            _ => false,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoRegion => {
                "its host is `<account>.dkr.ecr.<region>.amazonaws.com`; for another, set \
                 `aws_region` or `aws_oidc_region` beside `auth_method`"
            }
            Self::NoSessionToken(_) => "set the session token that was issued with the keys",
            Self::NoIdentityToken => {
                "in GitHub Actions, give the job `permissions: id-token: write`; elsewhere, set \
                 AWS_WEB_IDENTITY_TOKEN_FILE or GOOGLE_APPLICATION_CREDENTIALS"
            }
            Self::Endpoint(_) => {
                "unset it, or set it to such as `https://api.ecr.eu-west-1.amazonaws.com`"
            }
            Self::PlainHttp(host) => return Some(plain_http_hint(host)),
            Self::Clock { .. } => "set the clock, for instance by `timedatectl set-ntp true`",
            Self::Refused { code, .. } => match code.as_str() {
                code if SIGNATURE_CODES.contains(&code) => {
                    "the secret access key is not the one that belongs to the access key's id"
                }
                "UnrecognizedClientException" | "InvalidClientTokenId" => {
                    "AWS does not know the access key: it may be deleted, of another partition, \
                     or temporary and without its session token"
                }
                "ExpiredTokenException" | "ExpiredToken" => "get new temporary keys",
                "AccessDeniedException" | "AccessDenied" => {
                    "allow `ecr:GetAuthorizationToken` on `*` to the owner of the keys"
                }
                "invalid_grant" => "log in again: `gcloud auth application-default login`",
                _ => return None,
            },
            Self::Unreachable(kind) if matches!(**kind, RegistryErrorKind::Setup { .. }) => {
                return None;
            }
            Self::Unreachable(_) => {
                "is there a proxy or a firewall? AWS_ENDPOINT_URL_ECR names another endpoint"
            }
            Self::Protocol { .. } => "a proxy may have answered in place of the cloud",
            Self::Source { origin, .. } if origin.ends_with("via SSO") => "log in: `aws sso login`",
            Self::Source { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

impl Retryable for CloudProblem {
    fn retry(&self) -> Retry {
        if self.is_temporary() { Retry::Backoff } else { Retry::Never }
    }
}

impl From<RegistryErrorKind> for CloudProblem {
    fn from(kind: RegistryErrorKind) -> Self {
        Self::Unreachable(Box::new(kind))
    }
}

/// Removes quotes of files and answers from a message of reqsign. They follow a colon, as do the status of an
/// answer and the text after an error code, which are kept.
fn without_quotes(message: &str) -> String {
    match message.split_once(": ") {
        Some((start, _)) if !is_code(start) && !start.ends_with(" status") => start.to_owned(),
        _ => one_line(message),
    }
}

/// Shortens a message of a cloud to one line.
pub(super) fn one_line(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

/// Returns true if `text` has the form of an error code and can be printed.
pub(super) fn is_code(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(is_word)
}
