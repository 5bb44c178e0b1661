use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use rand::Rng as _;
use tokio::time::sleep;

use super::RegistryErrorKind;
use super::gate::Gate;

/// How often and for how long a request is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a request is sent, the first time included.
    pub attempts: u32,
    /// The longest wait before the second attempt; it doubles with each one after.
    pub first_wait: Duration,
    /// What the doubling ends at.
    pub longest_wait: Duration,
    /// The longest `Retry-After` that is waited for; a longer one fails at once.
    pub longest_told: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(20),
            longest_told: Duration::from_secs(300),
        }
    }
}

impl RetryPolicy {
    /// The wait after so many failures: anything from nothing to a doubling limit, so that
    /// clients that failed together do not come back together.
    pub(crate) fn wait(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let limit = self.first_wait.saturating_mul(doubled).min(self.longest_wait);
        limit.mul_f64(rand::rng().random())
    }
}

/// Why one attempt failed.
#[derive(Debug)]
pub(super) struct Failure {
    kind: RegistryErrorKind,
    /// Whether it was repeated already, because it came in between before anything was sent: a
    /// token that could not be had.
    is_repeated: bool,
}

impl Failure {
    /// A failure that was repeated already, on the way to what was to be attempted.
    pub(super) fn repeated(kind: RegistryErrorKind) -> Self {
        Self { kind, is_repeated: true }
    }

    /// Whether another attempt may succeed.
    pub(super) fn is_transient(&self) -> bool {
        !self.is_repeated && self.kind.is_transient()
    }

    /// Whether what was asked for may have been done all the same, and only the answer lost.
    pub(super) fn may_be_done(&self) -> bool {
        !self.is_repeated && self.kind.may_be_done()
    }
}

impl From<RegistryErrorKind> for Failure {
    fn from(kind: RegistryErrorKind) -> Self {
        Self { kind, is_repeated: false }
    }
}

impl From<Failure> for RegistryErrorKind {
    fn from(failure: Failure) -> Self {
        failure.kind
    }
}

/// The attempts at one thing.
pub(super) struct Attempts<'a> {
    policy: &'a RetryPolicy,
    gate: &'a Gate,
    failures: u32,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(policy: &'a RetryPolicy, gate: &'a Gate) -> Self {
        Self { policy, gate, failures: 0 }
    }

    /// Waits until the next attempt after this failure, or hands the failure back when there
    /// is to be none.
    pub(super) async fn after(
        &mut self,
        failure: impl Into<Failure>,
    ) -> Result<(), RegistryErrorKind> {
        let failure = failure.into();
        if !failure.is_transient() {
            return Err(failure.kind);
        }
        let failure = failure.kind;
        self.failures += 1;
        let told = failure.told_wait();
        if let Some(wait) = told {
            if wait > self.policy.longest_told {
                return Err(failure.too_long(self.policy.longest_told));
            }
            self.gate.close_for(wait);
        }
        if self.failures >= self.policy.attempts {
            return Err(failure);
        }
        if told.is_none() {
            sleep(self.policy.wait(self.failures)).await;
        }
        Ok(())
    }

    /// Forgets the failures so far: something was achieved since.
    pub(super) fn start_over(&mut self) {
        self.failures = 0;
    }
}

/// The wait that `Retry-After` asks for, in seconds or as a date ([RFC 9110][rfc], 10.2.3).
///
/// No time at all is nothing that was asked for: how long to pause is left to whoever repeats. A
/// date is compared with the server's own clock where it tells it, since ours may be off.
///
/// [rfc]: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let until = httpdate::parse_http_date(text).ok()?;
        until.duration_since(date(headers).unwrap_or(now)).ok()?
    };
    Some(wait).filter(|wait| !wait.is_zero())
}

/// The time that the server says it is.
#[must_use]
pub fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use tokio::time::Instant;

    use super::super::{HostOptions, Problem};
    use super::*;

    fn headers(pairs: &[(http::HeaderName, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("a value")))
            .collect()
    }

    fn unavailable(wait: Option<Duration>) -> RegistryErrorKind {
        RegistryErrorKind::Status {
            host: "registry".to_owned(),
            status: 503,
            problem: Problem::default(),
            wait,
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Fri, 20 Nov 2026 10:00:00 GMT").expect("a date");
        let asked = |value: &str| retry_after(&headers(&[(RETRY_AFTER, value)]), now);
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Fri, 20 Nov 2026 10:01:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(asked("Fri, 20 Nov 2026 10:00:00 GMT"), None);
        assert_eq!(asked("Fri, 20 Nov 2026 09:00:00 GMT"), None);
        assert_eq!(asked("0"), None);
        assert_eq!(asked("soon"), None);
        assert_eq!(asked(&"9".repeat(40)), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(asked("-5"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_date_is_compared_with_the_clock_of_the_server() {
        let ours = httpdate::parse_http_date("Fri, 20 Nov 2026 09:00:00 GMT").expect("a date");
        let headers = headers(&[
            (DATE, "Fri, 20 Nov 2026 10:00:00 GMT"),
            (RETRY_AFTER, "Fri, 20 Nov 2026 10:00:05 GMT"),
        ]);
        assert_eq!(retry_after(&headers, ours), Some(Duration::from_secs(5)));
    }

    #[test]
    fn waits_stay_below_their_limits() {
        let policy = RetryPolicy::default();
        let longest = |failures| (0..100).map(|_| policy.wait(failures)).max().expect("some");
        for (failures, limit) in [(1, 500), (2, 1000), (4, 4000), (7, 20_000), (u32::MAX, 20_000)] {
            let limit = Duration::from_millis(limit);
            assert!(longest(failures) <= limit && longest(failures) > limit / 2, "{failures}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_end() {
        let (policy, gate) = (RetryPolicy::default(), Gate::new(&HostOptions::default()));
        let mut attempts = Attempts::new(&policy, &gate);
        for _ in 1..policy.attempts {
            attempts.after(unavailable(None)).await.expect("another attempt");
        }
        attempts.after(unavailable(None)).await.expect_err("no other attempt");
    }

    #[tokio::test(start_paused = true)]
    async fn being_told_to_wait_closes_the_gate_and_too_long_fails_at_once() {
        let (policy, gate) = (RetryPolicy::default(), Gate::new(&HostOptions::default()));
        let begun = Instant::now();
        let mut attempts = Attempts::new(&policy, &gate);
        attempts.after(unavailable(Some(Duration::from_secs(90)))).await.expect("another attempt");
        gate.enter().await;
        assert!(begun.elapsed() >= Duration::from_secs(90));

        let begun = Instant::now();
        let day = Duration::from_secs(24 * 60 * 60);
        let failure = attempts.after(unavailable(Some(day))).await.expect_err("too long");
        assert!(matches!(failure, RegistryErrorKind::Throttled { wait, .. } if wait == day));
        gate.enter().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_repeated_is_handed_on_and_closes_no_gate() {
        let (policy, gate) = (RetryPolicy::default(), Gate::new(&HostOptions::default()));
        let begun = Instant::now();
        let failure = Failure::repeated(unavailable(Some(Duration::from_secs(90))));
        assert!(!failure.may_be_done());
        Attempts::new(&policy, &gate).after(failure).await.expect_err("no other attempt");
        gate.enter().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_get_better_is_not_repeated() {
        let (policy, gate) = (RetryPolicy::default(), Gate::new(&HostOptions::default()));
        for status in [400, 403, 404, 405, 409, 413] {
            let failure = RegistryErrorKind::Status {
                host: "registry".to_owned(),
                status,
                problem: Problem::default(),
                wait: None,
            };
            Attempts::new(&policy, &gate).after(failure).await.expect_err("no other attempt");
        }
    }
}
