//! The attempts at one registry request.

use tokio::time::sleep;

use super::limiter::RateLimiter;
use super::retry::{Retry, Retryable};
use super::{RegistryErrorKind, RetryPolicy};

/// Why one attempt at a registry request failed.
#[derive(Debug)]
pub(super) struct Failure {
    kind: RegistryErrorKind,
    /// Whether a nested request failed, after its own retries and before this one was sent.
    is_nested: bool,
}

impl Failure {
    /// The failure of a request on which this one depends, such as that for a token.
    pub(super) fn nested(kind: RegistryErrorKind) -> Self {
        Self { kind, is_nested: true }
    }

    /// Returns true if the registry may have executed the request although its answer was lost.
    pub(super) fn may_be_done(&self) -> bool {
        !self.is_nested && self.kind.may_be_done()
    }
}

impl Retryable for Failure {
    fn retry(&self) -> Retry {
        if self.is_nested { Retry::Never } else { self.kind.retry() }
    }
}

impl From<RegistryErrorKind> for Failure {
    fn from(kind: RegistryErrorKind) -> Self {
        Self { kind, is_nested: false }
    }
}

/// The attempts at one registry request. A `Retry-After` pauses all requests to the host.
pub(super) struct Attempts<'a> {
    policy: &'a RetryPolicy,
    limiter: &'a RateLimiter,
    failures: u32,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(policy: &'a RetryPolicy, limiter: &'a RateLimiter) -> Self {
        Self { policy, limiter, failures: 0 }
    }

    /// Waits until the next attempt, or returns the error if there is none.
    pub(super) async fn wait_after(
        &mut self,
        failure: impl Into<Failure>,
    ) -> Result<(), RegistryErrorKind> {
        let failure = failure.into();
        let retry = failure.retry();
        self.failures += 1;
        if let Retry::After(wait) = retry {
            let limit = self.policy.longest_retry_after;
            if wait > limit {
                return Err(failure.kind.into_throttled(limit));
            }
            self.limiter.pause_for(wait);
        }
        let wait = self.policy.next_wait(self.failures, retry).ok_or(failure.kind)?;
        sleep(wait).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::super::{HostOptions, Problem};
    use super::*;

    fn unavailable(wait: Option<Duration>) -> RegistryErrorKind {
        RegistryErrorKind::Status {
            host: "registry".to_owned(),
            status: 503,
            problem: Problem::default(),
            wait,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_limited() {
        let (policy, limiter) = (RetryPolicy::default(), RateLimiter::new(&HostOptions::default()));
        let mut attempts = Attempts::new(&policy, &limiter);
        for _ in 1..policy.attempts {
            attempts.wait_after(unavailable(None)).await.expect("another attempt");
        }
        attempts.wait_after(unavailable(None)).await.expect_err("no other attempt");
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_after_pauses_the_host_unless_it_exceeds_the_limit() {
        let (policy, limiter) = (RetryPolicy::default(), RateLimiter::new(&HostOptions::default()));
        let started = Instant::now();
        let mut attempts = Attempts::new(&policy, &limiter);
        let minute = unavailable(Some(Duration::from_secs(60)));
        let (outcome, _) = tokio::join!(attempts.wait_after(minute), async {
            tokio::task::yield_now().await;
            limiter.acquire().await
        });
        outcome.expect("another attempt");
        assert!(started.elapsed() >= Duration::from_secs(60));

        let started = Instant::now();
        let day = Duration::from_secs(24 * 60 * 60);
        let failure = attempts.wait_after(unavailable(Some(day))).await.expect_err("too long");
        assert!(matches!(failure, RegistryErrorKind::Throttled { wait, .. } if wait == day));
        limiter.acquire().await;
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_nested_request_is_not_repeated_and_pauses_nothing() {
        let (policy, limiter) = (RetryPolicy::default(), RateLimiter::new(&HostOptions::default()));
        let started = Instant::now();
        let failure = Failure::nested(unavailable(Some(Duration::from_secs(90))));
        assert!(!failure.may_be_done());
        Attempts::new(&policy, &limiter).wait_after(failure).await.expect_err("no other attempt");
        limiter.acquire().await;
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_not_repeated() {
        let (policy, limiter) = (RetryPolicy::default(), RateLimiter::new(&HostOptions::default()));
        for status in [400, 403, 404, 405, 409, 413] {
            let failure = RegistryErrorKind::Status {
                host: "registry".to_owned(),
                status,
                problem: Problem::default(),
                wait: None,
            };
            Attempts::new(&policy, &limiter)
                .wait_after(failure)
                .await
                .expect_err("no other attempt");
        }
    }
}
