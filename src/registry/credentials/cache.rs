//! When a credential is looked up again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::keychain::{Lifetime, ResolvedCredential};
use super::{CredentialResult, CredentialsError};

/// How long before its end a password is renewed: a build that begins with it has that long.
const RENEWED_BEFORE: Duration = Duration::from_secs(10 * 60);

/// How long the answer of a helper is used. Helpers report no expiry. Docker runs them for each
/// command, and a token of a cloud may be close to the end of its hour.
pub(super) const HELPER_ANSWER: Duration = Duration::from_secs(5 * 60);

/// How long a temporary failure is cached.
const RETRIED_AFTER: Duration = Duration::from_secs(30);

/// The result of a lookup, until it is renewed.
pub(super) struct CachedCredential {
    pub(super) result: CredentialResult<ResolvedCredential>,
    /// When it is looked up again; `None` is never.
    renewal: Option<Instant>,
    /// When the credential expires, if that is known.
    expiry: Option<Instant>,
    /// How long it is used further if the renewal fails.
    extension: Duration,
    /// It was looked up again after a refusal, and was the same.
    pub(super) is_final: bool,
}

impl CachedCredential {
    pub(super) fn new(resolved: Result<Option<ResolvedCredential>, CredentialsError>) -> Self {
        let now = Instant::now();
        let (lifetime, result) = match resolved {
            Ok(Some(resolved)) => (resolved.lifetime, Ok(Some(resolved))),
            // A helper that has nothing now may have something later.
            Ok(None) => (Lifetime::Unknown, Ok(None)),
            Err(error) if error.is_temporary() => {
                (Lifetime::For(RENEWED_BEFORE + RETRIED_AFTER), Err(Arc::new(error)))
            }
            Err(error) => (Lifetime::Run, Err(Arc::new(error))),
        };
        let (renewal, expiry, extension) = match lifetime {
            Lifetime::Run => (None, None, RETRIED_AFTER),
            // A helper that fails may take its time: it is not run more often then.
            Lifetime::Unknown => (Some(now + HELPER_ANSWER), None, HELPER_ANSWER),
            Lifetime::For(time) => {
                let renewal = now + time.saturating_sub(RENEWED_BEFORE);
                (Some(renewal), Some(now + time), RETRIED_AFTER)
            }
        };
        Self { result, renewal, expiry, extension, is_final: false }
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.renewal.is_none_or(|renewal| Instant::now() < renewal)
    }

    /// Returns the same for a while longer, because the renewal failed; `None` if it was an error
    /// or has expired.
    pub(super) fn extended(self) -> Option<Self> {
        let now = Instant::now();
        let is_valid = self.result.is_ok() && self.expiry.is_none_or(|expiry| now < expiry);
        let renewal = Some(now + self.extension);
        is_valid.then_some(Self { renewal, is_final: false, ..self })
    }
}
