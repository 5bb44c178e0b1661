use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use super::HostOptions;

/// Limits the requests to one host: concurrency, request rate and `Retry-After` pauses.
pub(super) struct RateLimiter {
    permits: Semaphore,
    /// The minimum time between the starts of two requests.
    interval: Option<Duration>,
    schedule: Mutex<Schedule>,
}

#[derive(Default)]
struct Schedule {
    paused_until: Option<Instant>,
    next_start: Option<Instant>,
}

/// Counts as one active request until it is dropped.
pub(super) struct Permit<'a> {
    _permit: Option<SemaphorePermit<'a>>,
}

impl RateLimiter {
    pub(super) fn new(options: &HostOptions) -> Self {
        let rate = options.requests_per_second.filter(|rate| rate.is_finite() && *rate > 0.0);
        Self {
            permits: Semaphore::new(options.concurrency.max(1)),
            interval: rate.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok()),
            schedule: Mutex::default(),
        }
    }

    /// Waits until a request may start.
    pub(super) async fn acquire(&self) -> Permit<'_> {
        loop {
            while let Some(until) = self.paused_until() {
                sleep_until(until).await;
            }
            let permit = self.permits.acquire().await.ok();
            // In the meantime, another request may have received a `Retry-After`.
            if self.paused_until().is_some() {
                continue;
            }
            if let Some(start) = self.reserve_start() {
                sleep_until(start).await;
                if self.paused_until().is_some() {
                    continue;
                }
            }
            return Permit { _permit: permit };
        }
    }

    /// Starts no request for `wait`: a `Retry-After` applies to the whole host.
    pub(super) fn pause_for(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut schedule = self.schedule();
        schedule.paused_until = schedule.paused_until.max(Some(until));
    }

    fn paused_until(&self) -> Option<Instant> {
        self.schedule().paused_until.filter(|until| *until > Instant::now())
    }

    /// Reserves the next start that the request rate allows, if the rate is limited.
    fn reserve_start(&self) -> Option<Instant> {
        let interval = self.interval?;
        let mut schedule = self.schedule();
        let now = Instant::now();
        let start = schedule.next_start.map_or(now, |next| next.max(now));
        schedule.next_start = Some(start + interval);
        Some(start)
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn limiter(concurrency: usize, requests_per_second: Option<f64>) -> Arc<RateLimiter> {
        Arc::new(RateLimiter::new(&HostOptions {
            concurrency,
            requests_per_second,
            ..HostOptions::default()
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_delays_every_request() {
        let limiter = limiter(8, None);
        let started = Instant::now();
        limiter.pause_for(Duration::from_secs(30));
        limiter.pause_for(Duration::from_secs(5));
        let all = (0..4).map(|_| limiter.acquire());
        futures_util::future::join_all(all).await;
        assert!(started.elapsed() >= Duration::from_secs(30));
        assert!(started.elapsed() < Duration::from_secs(31));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_delays_requests_that_wait_for_a_permit() {
        let limiter = limiter(1, None);
        let permit = limiter.acquire().await;
        let started = Instant::now();
        let waiting = tokio::spawn({
            let limiter = Arc::clone(&limiter);
            async move {
                limiter.acquire().await;
                started.elapsed()
            }
        });
        tokio::task::yield_now().await;
        limiter.pause_for(Duration::from_secs(7));
        drop(permit);
        assert!(waiting.await.expect("no panic") >= Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_delays_requests_that_wait_for_their_start() {
        let limiter = limiter(8, Some(1.0));
        limiter.acquire().await;
        let started = Instant::now();
        let waiting = (0..3).map(|_| {
            let limiter = Arc::clone(&limiter);
            tokio::spawn(async move {
                limiter.acquire().await;
                started.elapsed().as_secs()
            })
        });
        let waiting: Vec<_> = waiting.collect();
        tokio::task::yield_now().await;
        limiter.pause_for(Duration::from_secs(7));
        let mut starts = Vec::new();
        for task in waiting {
            starts.push(task.await.expect("no panic"));
        }
        starts.sort_unstable();
        assert_eq!(starts, [7, 8, 9], "the rate applies after the pause too");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_start_at_the_configured_rate() {
        let limiter = limiter(8, Some(4.0));
        let started = Instant::now();
        for _ in 0..9 {
            limiter.acquire().await;
        }
        assert_eq!(started.elapsed().as_millis() / 100, 20);
    }
}
