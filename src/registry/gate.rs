use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::HostOptions;

/// What every request to one host passes: so many at once, so many a second, and none while the
/// host has asked to be left alone.
pub(super) struct Gate {
    places: Arc<Semaphore>,
    /// The time between the beginnings of two requests.
    interval: Option<Duration>,
    times: Mutex<Times>,
}

#[derive(Default)]
struct Times {
    closed_until: Option<Instant>,
    next_turn: Option<Instant>,
}

/// A place among the requests on their way; dropping it makes room for the next.
pub(super) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Gate {
    pub(super) fn new(options: &HostOptions) -> Self {
        let rate = options.requests_per_second.filter(|rate| rate.is_finite() && *rate > 0.0);
        Self {
            places: Arc::new(Semaphore::new(options.concurrency.max(1))),
            interval: rate.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok()),
            times: Mutex::default(),
        }
    }

    /// Waits until a request may begin.
    pub(super) async fn enter(&self) -> Place {
        loop {
            while let Some(until) = self.closed_until() {
                sleep_until(until).await;
            }
            let permit = Arc::clone(&self.places).acquire_owned().await.ok();
            // Whoever was inside before may have been told to wait meanwhile, and whoever had an
            // earlier turn too.
            if self.closed_until().is_some() {
                continue;
            }
            if let Some(turn) = self.turn() {
                sleep_until(turn).await;
                if self.closed_until().is_some() {
                    continue;
                }
            }
            return Place { _permit: permit };
        }
    }

    /// Lets nobody in for `wait`: one request was told to wait, and the others mean the same host.
    pub(super) fn close_for(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut times = self.times();
        times.closed_until = times.closed_until.max(Some(until));
    }

    fn closed_until(&self) -> Option<Instant> {
        self.times().closed_until.filter(|until| *until > Instant::now())
    }

    /// Takes the next turn where there is a rate.
    fn turn(&self) -> Option<Instant> {
        let interval = self.interval?;
        let mut times = self.times();
        let now = Instant::now();
        let turn = times.next_turn.map_or(now, |next| next.max(now));
        times.next_turn = Some(turn + interval);
        Some(turn)
    }

    fn times(&self) -> std::sync::MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(concurrency: usize, requests_per_second: Option<f64>) -> Arc<Gate> {
        Arc::new(Gate::new(&HostOptions {
            concurrency,
            requests_per_second,
            ..HostOptions::default()
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_holds_everybody_back() {
        let gate = gate(8, None);
        let begun = Instant::now();
        gate.close_for(Duration::from_secs(30));
        gate.close_for(Duration::from_secs(5));
        let all = (0..4).map(|_| gate.enter());
        futures_util::future::join_all(all).await;
        assert!(begun.elapsed() >= Duration::from_secs(30));
        assert!(begun.elapsed() < Duration::from_secs(31));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_for_a_place_sees_that_the_gate_was_closed() {
        let gate = gate(1, None);
        let place = gate.enter().await;
        let begun = Instant::now();
        let waiting = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move {
                gate.enter().await;
                begun.elapsed()
            }
        });
        tokio::task::yield_now().await;
        gate.close_for(Duration::from_secs(7));
        drop(place);
        assert!(waiting.await.expect("no panic") >= Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_for_a_turn_sees_that_the_gate_was_closed() {
        let gate = gate(8, Some(1.0));
        gate.enter().await;
        let begun = Instant::now();
        let waiting = (0..3).map(|_| {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move {
                gate.enter().await;
                begun.elapsed().as_secs()
            })
        });
        let waiting: Vec<_> = waiting.collect();
        tokio::task::yield_now().await;
        gate.close_for(Duration::from_secs(7));
        let mut entered = Vec::new();
        for task in waiting {
            entered.push(task.await.expect("no panic"));
        }
        entered.sort_unstable();
        assert_eq!(entered, [7, 8, 9], "at their rate again once it is open");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_begin_at_their_rate() {
        let gate = gate(8, Some(4.0));
        let begun = Instant::now();
        for _ in 0..9 {
            gate.enter().await;
        }
        assert_eq!(begun.elapsed().as_millis() / 100, 20);
    }
}
