use std::fmt;
use std::pin::Pin;

use tokio::sync::watch;

/// What is to be done when a turn has come, before the image is handed on.
type Arrival = Pin<Box<dyn Future<Output = ()> + Send>>;

/// When a job may hand its image on: once the jobs that it comes after are over.
pub struct Turn {
    after: Vec<usize>,
    over: watch::Receiver<Vec<bool>>,
    arrival: Option<Arrival>,
}

impl Turn {
    /// The turn of the job at `index`, of which `over` tells who is over. Jobs begin in order, so
    /// that it can wait for those before it only: they hold their places already.
    pub(super) fn new(index: usize, after: &[usize], over: watch::Receiver<Vec<bool>>) -> Self {
        let after = after.iter().copied().filter(|before| *before < index).collect();
        Self { after, over, arrival: None }
    }

    /// A turn that waits for nobody.
    #[must_use]
    pub fn now() -> Self {
        Self { after: Vec::new(), over: watch::channel(Vec::new()).1, arrival: None }
    }

    /// The same turn, in which `arrival` is done first.
    #[must_use]
    pub fn beginning_with(self, arrival: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { arrival: Some(Box::pin(arrival)), ..self }
    }

    /// Whether there is nothing to wait for.
    #[must_use]
    pub fn is_now(&self) -> bool {
        self.arrival.is_none() && are_over(&self.after, &self.over.borrow())
    }

    /// Waits until all that it waits for are over, and does what is to be done first.
    pub async fn come(mut self) {
        let Self { after, over, arrival } = &mut self;
        // A run that is gone has nobody to wait for.
        let _ = over.wait_for(|over| are_over(after, over)).await;
        if let Some(arrival) = arrival.take() {
            arrival.await;
        }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Turn").field("after", &self.after).finish_non_exhaustive()
    }
}

fn are_over(jobs: &[usize], over: &[bool]) -> bool {
    jobs.iter().all(|job| over[*job])
}
