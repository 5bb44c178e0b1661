//! When a failed request is sent again: the policy for registries, clouds and GitHub.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use rand::Rng as _;
use tokio::time::sleep;

/// How often a failed request is repeated, and after which waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The number of attempts, including the first.
    pub attempts: u32,
    /// The longest backoff before the second attempt. It doubles with each further attempt.
    pub first_wait: Duration,
    /// The limit of the doubling.
    pub longest_wait: Duration,
    /// The longest `Retry-After` that is honoured. A longer one is an error at once.
    pub longest_retry_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(20),
            longest_retry_after: Duration::from_secs(300),
        }
    }
}

/// Whether a failed request may be sent again, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Another attempt fails too, or may do twice what must be done once.
    Never,
    /// After a wait that the policy chooses.
    Backoff,
    /// After the wait that the server requests.
    After(Duration),
}

/// Errors that know whether the request may be sent again.
pub trait Retryable {
    /// Returns whether the failed request may be sent again, and when.
    fn retry(&self) -> Retry;
}

impl RetryPolicy {
    /// Calls `attempt` until it succeeds, its error permits no retry, or no attempt is left.
    pub async fn run<T, E: Retryable, F: Future<Output = Result<T, E>>>(
        &self,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, E> {
        let mut failures = 0;
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            failures += 1;
            let Some(wait) = self.next_wait(failures, error.retry()) else { return Err(error) };
            sleep(wait).await;
        }
    }

    /// Returns the wait before the next attempt after this many failures, or `None` if there is
    /// none.
    #[must_use]
    pub fn next_wait(&self, failures: u32, retry: Retry) -> Option<Duration> {
        if failures >= self.attempts {
            return None;
        }
        match retry {
            Retry::Never => None,
            Retry::Backoff => Some(self.backoff(failures)),
            Retry::After(wait) => (wait <= self.longest_retry_after).then_some(wait),
        }
    }

    /// Returns a random wait between half of the doubled limit and all of it, so that clients that
    /// failed together do not retry together.
    fn backoff(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let limit = self.first_wait.saturating_mul(doubled).min(self.longest_wait);
        limit.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

/// Returns the wait that a `Retry-After` header requests, in seconds or as a date ([RFC 9110][rfc],
/// 10.2.3), or `None` if it requests none or zero.
///
/// A date is compared with the server's own clock if it sends one, since ours may be wrong.
///
/// [rfc]: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let until = httpdate::parse_http_date(text).ok()?;
        until.duration_since(server_date(headers).unwrap_or(now)).ok()?
    };
    Some(wait).filter(|wait| !wait.is_zero())
}

/// Returns the time of the server's clock, from the `Date` header.
#[must_use]
pub fn server_date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use tokio::time::Instant;

    use super::*;

    impl Retryable for Retry {
        fn retry(&self) -> Retry {
            *self
        }
    }

    fn headers(pairs: &[(http::HeaderName, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("a value")))
            .collect()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Fri, 20 Nov 2026 10:00:00 GMT").expect("a date");
        let wait = |value: &str| retry_after(&headers(&[(RETRY_AFTER, value)]), now);
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("Fri, 20 Nov 2026 10:01:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(wait("Fri, 20 Nov 2026 10:00:00 GMT"), None);
        assert_eq!(wait("Fri, 20 Nov 2026 09:00:00 GMT"), None);
        assert_eq!(wait("0"), None);
        assert_eq!(wait("soon"), None);
        assert_eq!(wait(&"9".repeat(40)), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(wait("-5"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_date_is_compared_with_the_clock_of_the_server() {
        let local = httpdate::parse_http_date("Fri, 20 Nov 2026 09:00:00 GMT").expect("a date");
        let headers = headers(&[
            (DATE, "Fri, 20 Nov 2026 10:00:00 GMT"),
            (RETRY_AFTER, "Fri, 20 Nov 2026 10:00:05 GMT"),
        ]);
        assert_eq!(retry_after(&headers, local), Some(Duration::from_secs(5)));
    }

    #[test]
    fn backoff_is_between_half_and_all_of_a_doubling_limit() {
        let policy = RetryPolicy::default();
        for (failures, limit) in [(1, 500), (2, 1000), (4, 4000), (7, 20_000), (u32::MAX, 20_000)] {
            let limit = Duration::from_millis(limit);
            for _ in 0..100 {
                assert!((limit / 2..=limit).contains(&policy.backoff(failures)), "{failures}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn run_repeats_until_success_a_final_error_or_the_last_attempt() {
        let policy = RetryPolicy::default();
        let run = async |errors: &[Retry]| {
            let (started, mut attempts) = (Instant::now(), 0);
            let result = policy.run(|| {
                attempts += 1;
                std::future::ready(errors.get(attempts - 1).map_or(Ok(()), |error| Err(*error)))
            });
            let is_ok = result.await.is_ok();
            (is_ok, attempts, started.elapsed().as_secs())
        };
        let minute = Retry::After(Duration::from_secs(60));
        assert_eq!(run(&[minute, minute]).await, (true, 3, 120));
        assert_eq!(run(&[minute, Retry::Never]).await, (false, 2, 60));
        assert_eq!(run(&[Retry::After(Duration::from_secs(301))]).await, (false, 1, 0));
        let (is_ok, attempts, _) = run(&[Retry::Backoff; 9]).await;
        assert_eq!((is_ok, attempts), (false, policy.attempts as usize));
    }
}
