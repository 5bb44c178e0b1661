use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::retry::{Retry, Retryable};
use super::{CredentialsError, Problem};
use crate::error::{ExitCode, Explain};
use crate::image::Digest;

/// The error of an operation on a registry.
#[derive(Debug, Clone, thiserror::Error)]
#[error("failed to {action} `{subject}`")]
pub struct RegistryError {
    /// The operation, such as `push the manifest of`.
    action: &'static str,
    /// The repository or reference of the operation.
    subject: String,
    #[source]
    kind: Arc<RegistryErrorKind>,
}

impl RegistryError {
    pub(super) fn new(action: &'static str, subject: String, kind: RegistryErrorKind) -> Self {
        Self { action, subject, kind: Arc::new(kind) }
    }

    #[must_use]
    pub fn kind(&self) -> &RegistryErrorKind {
        &self.kind
    }

    /// Returns true if the same request may succeed later. It has been retried already.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.kind.is_transient()
    }
}

/// How a refused request was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    Credential,
    Anonymous,
    /// Not at all: the registry requires a password, and only an identity token is configured.
    UnusedToken,
}

const NO_TOKEN_SERVER: &str =
    "; the configured identity token requires a token server, and this registry has none";

/// The cause of a [`RegistryError`]. `host` is always the host of the request.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryErrorKind {
    /// The client or the request is misconfigured.
    #[error("{problem}")]
    Setup { problem: String },
    #[error("failed to get credentials for `{host}`")]
    Credentials {
        host: String,
        #[source]
        source: Arc<CredentialsError>,
    },
    /// The connection was not established, or broke.
    #[error("the connection to `{host}` failed: {problem}")]
    Unreachable {
        host: String,
        problem: String,
        /// Whether another attempt may succeed.
        transient: bool,
    },
    /// A response with an error status.
    #[error("`{host}` answered {}{problem}", status_text(*.status))]
    Status {
        host: String,
        status: u16,
        problem: Problem,
        /// The wait that `Retry-After` requests.
        wait: Option<Duration>,
    },
    /// A response with status 401 or 403.
    #[error(
        "`{host}` refused {scope}{} with {}{problem}{}",
        if *.authentication == Authentication::Anonymous { " without credentials," } else { "" },
        status_text(*.status),
        if *.authentication == Authentication::UnusedToken { NO_TOKEN_SERVER } else { "" },
    )]
    Denied {
        host: String,
        /// The requested scope, such as `repository:acme/base:pull,push`.
        scope: String,
        status: u16,
        problem: Problem,
        authentication: Authentication,
    },
    /// A repository that must be created before the first push.
    #[error("`{host}` has no repository `{path}`{problem}")]
    NoRepository {
        host: String,
        /// The repository within the registry.
        path: String,
        problem: Problem,
    },
    /// A `Retry-After` that is longer than the policy's limit.
    #[error("rate limited by `{host}`: retry after {}", duration_text(*.wait))]
    Throttled { host: String, wait: Duration, limit: Duration },
    #[error("digest mismatch at `{host}`: expected {expected}, found {found}")]
    WrongDigest { host: String, expected: String, found: String },
    /// A response that violates the distribution specification.
    #[error("`{host}` returned an invalid {expected}: {problem}")]
    Unexpected { host: String, expected: &'static str, problem: String },
    #[error("the response of `{host}` exceeds {limit} bytes")]
    TooLarge { host: String, limit: u64 },
    /// An immutable tag that points to another manifest.
    #[error("`{host}` does not allow tag `{tag}` to move from {found} to {wanted}")]
    TagImmutable { host: String, tag: String, found: Digest, wanted: Digest },
    /// A manifest whose blobs the registry reports missing.
    #[error("`{host}` {}", missing_text(missing))]
    BlobUnknown {
        host: String,
        /// The digests that are missing; empty if the registry has all of them after all.
        missing: Vec<String>,
    },
    /// An address that the registry names and that is not used for security reasons.
    #[error("`{host}` redirects to `{target}`, {problem}")]
    ForbiddenTarget {
        host: String,
        /// The address without its query.
        target: String,
        problem: &'static str,
    },
}

impl RegistryErrorKind {
    /// Returns true if the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { transient, .. } => *transient,
            Self::Status { status, .. } => is_transient(*status),
            // The registry has all of the blobs and will notice.
            Self::BlobUnknown { missing, .. } => missing.is_empty(),
            _ => false,
        }
    }

    /// Returns true if permission was denied.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied { .. })
    }

    /// Returns true if the registry refused the request for good.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        let has_status = matches!(self, Self::Status { .. } | Self::NoRepository { .. });
        self.is_denied() || (has_status && !self.is_transient())
    }

    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Credentials { source, .. } => return source.hint(),
            Self::Denied { host, authentication, .. } => match authentication {
                Authentication::Credential => format!(
                    "run `basegen auth check` to see which credentials are used for `{host}` and \
                     what they allow"
                ),
                Authentication::Anonymous => {
                    format!("no credentials were found; run `docker login {host}`")
                }
                Authentication::UnusedToken => {
                    format!("log in with a username and a password: `docker login {host}`")
                }
            },
            Self::NoRepository { host, path, .. } if host.contains(".dkr.ecr.") => {
                format!("create it: `aws ecr create-repository --repository-name {path}`")
            }
            Self::NoRepository { .. } => {
                "create it: this registry does not create repositories on the first push".to_owned()
            }
            Self::Throttled { limit, .. } => format!(
                "basegen waits at most {}; rerun the same command later to continue",
                duration_text(*limit)
            ),
            Self::Status { status: 429, .. } => {
                "log in, or lower `requests_per_second` or `concurrency` of the registry".to_owned()
            }
            Self::Unreachable { host, problem, .. } if problem.contains("onnection refused") => {
                let port = loopback_port(host)?;
                format!(
                    "nothing listens there; \
                     `docker run --detach --publish {port}:5000 registry:2` starts a registry"
                )
            }
            Self::TagImmutable { .. } => {
                "tags of this repository are immutable: publish under a new version".to_owned()
            }
            _ => return None,
        })
    }

    /// Returns true if the registry may have executed the request although its answer was lost.
    pub(super) fn may_be_done(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// Converts an error that requests a wait longer than `limit`.
    pub(super) fn into_throttled(self, limit: Duration) -> Self {
        match self {
            Self::Status { host, wait: Some(wait), .. } => Self::Throttled { host, wait, limit },
            other => other,
        }
    }
}

impl Retryable for RegistryErrorKind {
    fn retry(&self) -> Retry {
        match self {
            _ if !self.is_transient() => Retry::Never,
            Self::Status { wait: Some(wait), .. } => Retry::After(*wait),
            _ => Retry::Backoff,
        }
    }
}

impl Explain for RegistryError {
    fn exit_code(&self) -> ExitCode {
        match &*self.kind {
            RegistryErrorKind::Credentials { source, .. } => source.exit_code(),
            RegistryErrorKind::Setup { .. } => ExitCode::Failure,
            _ => ExitCode::Registry,
        }
    }

    fn hint(&self) -> Option<String> {
        self.kind.hint()
    }
}

/// Returns true for statuses of temporary faults.
pub(super) fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// Returns the port of a host on this machine.
fn loopback_port(host: &str) -> Option<u16> {
    let (name, port) = host.rsplit_once(':')?;
    let is_loopback = name == "localhost" || name == "[::1]" || name.starts_with("127.");
    if is_loopback { port.parse().ok() } else { None }
}

fn status_text(status: u16) -> String {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    reason.map_or_else(|| status.to_string(), |reason| format!("{status} {reason}"))
}

fn missing_text(missing: &[String]) -> String {
    if missing.is_empty() {
        "reports missing blobs of the manifest, but has all of them".to_owned()
    } else {
        format!("lacks blobs of the manifest: {}", missing.join(", "))
    }
}

/// Formats a duration in its largest two units: `90s`, `25m`, `1d 2h`.
pub(super) fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0..=2) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, 0) => format!("{hours}h"),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, 0, _) => format!("{days}d"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Report;

    #[test]
    fn a_refused_connection_to_a_local_registry_has_a_hint() {
        let hint = |host: &str, problem: &str| {
            let (host, problem) = (host.to_owned(), problem.to_owned());
            RegistryErrorKind::Unreachable { host, problem, transient: true }.hint()
        };
        let refused = "Connection refused (os error 111)";
        let local = hint("localhost:5001", refused).expect("a hint");
        assert!(local.contains("--publish 5001:5000 registry:2"), "{local}");
        assert_eq!(hint("ghcr.io", refused), None);
        assert_eq!(hint("127.0.0.1:5001", "it did not respond in time"), None);
    }

    #[test]
    fn durations_have_at_most_two_units() {
        let texts = [45, 120, 179, 1500, 3600, 3660, 86_400, 93_600]
            .map(|seconds| duration_text(Duration::from_secs(seconds)));
        assert_eq!(texts, ["45s", "120s", "179s", "25m", "1h", "1h 1m", "1d", "1d 2h"]);
    }

    #[test]
    fn a_refusal_names_the_scope_and_has_a_hint() {
        let denied = |authentication| {
            RegistryError::new(
                "push the manifest of",
                "ghcr.io/acme/base:1".to_owned(),
                RegistryErrorKind::Denied {
                    host: "ghcr.io".to_owned(),
                    scope: "`repository:acme/base:pull,push`".to_owned(),
                    status: 403,
                    problem: Problem {
                        codes: vec!["DENIED".to_owned()],
                        message: "permission_denied".to_owned(),
                    },
                    authentication,
                },
            )
        };
        insta::assert_snapshot!(Report::from(denied(Authentication::Credential)), @r"
        error: failed to push the manifest of `ghcr.io/acme/base:1`
          caused by: `ghcr.io` refused `repository:acme/base:pull,push` with 403 Forbidden: DENIED: permission_denied

        hint: run `basegen auth check` to see which credentials are used for `ghcr.io` and what they allow
        ");
        insta::assert_snapshot!(Report::from(denied(Authentication::Anonymous)), @r"
        error: failed to push the manifest of `ghcr.io/acme/base:1`
          caused by: `ghcr.io` refused `repository:acme/base:pull,push` without credentials, with 403 Forbidden: DENIED: permission_denied

        hint: no credentials were found; run `docker login ghcr.io`
        ");
    }
}
