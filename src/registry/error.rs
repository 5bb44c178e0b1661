use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::retry::{Retry, Retryable};
use super::{CredentialsError, Problem};
use crate::error::{ExitCode, Explain};
use crate::image::Digest;

/// Why a registry did not do what it was asked to.
#[derive(Debug, Clone, thiserror::Error)]
#[error("failed to {action} `{subject}`")]
pub struct RegistryError {
    /// What was to be done, such as `push the manifest of`.
    action: &'static str,
    /// The repository or reference that it was to be done to.
    subject: String,
    /// What came in between.
    #[source]
    kind: Arc<RegistryErrorKind>,
}

impl RegistryError {
    pub(super) fn new(action: &'static str, subject: String, kind: RegistryErrorKind) -> Self {
        Self { action, subject, kind: Arc::new(kind) }
    }

    /// What came in between.
    #[must_use]
    pub fn kind(&self) -> &RegistryErrorKind {
        &self.kind
    }

    /// Whether the same request may succeed later. It was repeated as often as the policy allows.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.kind.is_transient()
    }
}

/// What can come between us and a registry.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryErrorKind {
    /// The client could not be set up.
    #[error("{problem}")]
    Setup {
        /// What is wrong.
        problem: String,
    },
    /// There are credentials, and they could not be had.
    #[error("the credentials of `{host}` could not be had")]
    Credentials {
        /// The registry.
        host: String,
        /// Why.
        #[source]
        source: Arc<CredentialsError>,
    },
    /// No connection, or one that broke.
    #[error("the connection to `{host}` failed: {problem}")]
    Unreachable {
        /// The host.
        host: String,
        /// What happened.
        problem: String,
        /// Whether it may be different the next time.
        transient: bool,
    },
    /// An answer that is no success.
    #[error("`{host}` answered {}{problem}", status_text(*.status))]
    Status {
        /// The host.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What it says.
        problem: Problem,
        /// How long it asks to be left alone.
        wait: Option<Duration>,
    },
    /// An answer that says who may not do what.
    #[error(
        "`{host}` refused {scope}{} with {}{problem}{}",
        if *.anonymous { " without credentials," } else { "" },
        status_text(*.status),
        clock_text(clock.as_deref())
    )]
    Denied {
        /// The host.
        host: String,
        /// What was to be allowed: `repository:acme/base:pull,push`.
        scope: String,
        /// The HTTP status: 401 or 403.
        status: u16,
        /// What it says.
        problem: Problem,
        /// Whether nobody's request was refused.
        anonymous: bool,
        /// How far this machine's clock is off, where it is.
        clock: Option<String>,
    },
    /// A repository that must be created before the first push.
    #[error("`{host}` has no repository `{path}`{problem}")]
    NoRepository {
        /// The host.
        host: String,
        /// The repository within the registry.
        path: String,
        /// The error that the registry reported.
        problem: Problem,
    },
    /// An answer that asks for a password, where all that was found is an identity token.
    #[error(
        "`{host}` refused {scope} with {}{problem}; the identity token that was found needs a \
         token server, and this registry has none",
        status_text(*.status)
    )]
    NoTokenServer {
        /// The host.
        host: String,
        /// What was to be allowed: `repository:acme/base:pull,push`.
        scope: String,
        /// The HTTP status: 401 or 403.
        status: u16,
        /// What it says.
        problem: Problem,
    },
    /// A wait that is longer than is borne.
    #[error("`{host}` asks to be left alone for {}", duration_text(*.wait))]
    Throttled {
        /// The host.
        host: String,
        /// How long.
        wait: Duration,
        /// The longest that is waited.
        limit: Duration,
    },
    /// Bytes that are not those asked for.
    #[error("`{host}` says the digest is {found}, and it must be {expected}")]
    WrongDigest {
        /// The host.
        host: String,
        /// What was asked for or sent.
        expected: String,
        /// What it is there.
        found: String,
    },
    /// An answer that breaks the distribution specification.
    #[error("the answer of `{host}` is no {expected}: {problem}")]
    Unexpected {
        /// The host.
        host: String,
        /// What should have come.
        expected: &'static str,
        /// What came.
        problem: String,
    },
    /// An answer that is larger than can be taken.
    #[error("`{host}` answered with more than {limit} bytes")]
    TooLarge {
        /// The host.
        host: String,
        /// The limit.
        limit: u64,
    },
    /// A tag that may not move, and names something else.
    #[error(
        "`{host}` does not let the tag `{tag}` move: it is {found}, and should become {wanted}"
    )]
    TagImmutable {
        /// The host.
        host: String,
        /// The tag.
        tag: String,
        /// What it names.
        found: Digest,
        /// What it should have named.
        wanted: Digest,
    },
    /// A manifest whose blobs are not there.
    #[error("`{host}` {}", missing_text(missing))]
    BlobUnknown {
        /// The host.
        host: String,
        /// The digests that it does not have; none where it has them all and says otherwise.
        missing: Vec<String>,
    },
    /// An address that a registry sends us to, and that we do not go to.
    #[error("`{host}` sends us to `{target}`, {problem}")]
    Elsewhere {
        /// The host.
        host: String,
        /// Where to, without query.
        target: String,
        /// Why not.
        problem: &'static str,
    },
    /// The blob that is to be sent cannot be read.
    #[error("the blob could not be read")]
    Source(#[source] Arc<io::Error>),
}

impl RegistryErrorKind {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { transient, .. } => *transient,
            Self::Status { status, .. } => is_transient(*status),
            // It has them all, and will see it.
            Self::BlobUnknown { missing, .. } => missing.is_empty(),
            _ => false,
        }
    }

    /// Whether it says that we may not do what was asked for.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::NoTokenServer { .. })
    }

    /// Whether the registry has answered the request with a refusal, which repeating cannot change.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        let has_status = matches!(self, Self::Status { .. } | Self::NoRepository { .. });
        self.is_denied() || (has_status && !self.is_transient())
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Credentials { source, .. } => return source.hint(),
            Self::Denied { clock: Some(_), .. } => {
                "set this machine's clock: tokens are only good for minutes".to_owned()
            }
            Self::Denied { host, anonymous: true, .. } => {
                format!("no credentials were found for it; log in: `docker login {host}`")
            }
            Self::Denied { host, .. } => format!(
                "`basegen auth check` tells which credentials were found for `{host}`, and what \
                 they may do"
            ),
            Self::NoRepository { host, path, .. } if host.contains(".dkr.ecr.") => {
                format!("create it: `aws ecr create-repository --repository-name {path}`")
            }
            Self::NoRepository { .. } => {
                "create it: this registry does not do so on the first push".to_owned()
            }
            Self::NoTokenServer { host, .. } => {
                format!("log in with a user and a password: `docker login {host}`")
            }
            Self::Throttled { limit, .. } => format!(
                "basegen waits {} at most; run the same command again later, it goes on \
                 where it stopped",
                duration_text(*limit)
            ),
            Self::Status { status: 429, .. } => {
                "log in, or lower `requests_per_second` or `concurrency` of the registry".to_owned()
            }
            Self::TagImmutable { .. } => {
                "the repository makes its tags immutable: publish under a new version".to_owned()
            }
            _ => return None,
        })
    }

    /// Whether what was asked for may have been done all the same, and only the answer lost.
    pub(super) fn may_be_done(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// The error for a requested wait that is longer than `limit`.
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
            RegistryErrorKind::Setup { .. } | RegistryErrorKind::Source(_) => ExitCode::Failure,
            _ => ExitCode::Registry,
        }
    }

    fn hint(&self) -> Option<String> {
        self.kind.hint()
    }
}

/// Statuses that may be different the next time.
pub(super) fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

fn status_text(status: u16) -> String {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    reason.map_or_else(|| status.to_string(), |reason| format!("{status} {reason}"))
}

fn clock_text(clock: Option<&str>) -> String {
    clock.map(|clock| format!("; {clock}")).unwrap_or_default()
}

fn missing_text(missing: &[String]) -> String {
    match missing {
        [] => "misses a part of the manifest, and has them all".to_owned(),
        missing => format!("does not have what the manifest needs: {}", missing.join(", ")),
    }
}

/// A duration in the largest two units that it has: `90s`, `25m`, `1d 2h`.
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
    fn durations_are_told_in_their_large_units() {
        let texts = [45, 120, 179, 1500, 3600, 3660, 86_400, 93_600]
            .map(|seconds| duration_text(Duration::from_secs(seconds)));
        assert_eq!(texts, ["45s", "120s", "179s", "25m", "1h", "1h 1m", "1d", "1d 2h"]);
    }

    #[test]
    fn refusals_name_scope_and_way_out() {
        let denied = |anonymous, clock: Option<&str>| {
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
                    anonymous,
                    clock: clock.map(str::to_owned),
                },
            )
        };
        insta::assert_snapshot!(Report::from(denied(false, None)), @r"
        error: failed to push the manifest of `ghcr.io/acme/base:1`
          caused by: `ghcr.io` refused `repository:acme/base:pull,push` with 403 Forbidden: DENIED: permission_denied

        hint: `basegen auth check` tells which credentials were found for `ghcr.io`, and what they may do
        ");
        insta::assert_snapshot!(Report::from(denied(true, None)), @r"
        error: failed to push the manifest of `ghcr.io/acme/base:1`
          caused by: `ghcr.io` refused `repository:acme/base:pull,push` without credentials, with 403 Forbidden: DENIED: permission_denied

        hint: no credentials were found for it; log in: `docker login ghcr.io`
        ");
        let clock = Some("this machine's clock is 1h behind the registry's");
        insta::assert_snapshot!(Report::from(denied(false, clock)), @r"
        error: failed to push the manifest of `ghcr.io/acme/base:1`
          caused by: `ghcr.io` refused `repository:acme/base:pull,push` with 403 Forbidden: DENIED: permission_denied; this machine's clock is 1h behind the registry's

        hint: set this machine's clock: tokens are only good for minutes
        ");
    }
}
