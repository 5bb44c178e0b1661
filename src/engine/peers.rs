use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

use super::sharing::Shares;

/// What is to be done when a turn has come, before the image is handed on.
type Arrival = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a job has to do with the others of its run: whom it hands its image on after, and which
/// of its steps they have too.
pub struct Peers {
    after: Vec<usize>,
    over: watch::Receiver<Vec<bool>>,
    arrival: Option<Arrival>,
    index: usize,
    shares: Arc<Shares>,
}

impl Peers {
    /// The peers of the job at `index`; `over` tells which of them are over. Jobs begin in order,
    /// so that it can wait for those before it only: they hold their places already.
    pub(super) fn new(
        index: usize,
        after: &[usize],
        over: watch::Receiver<Vec<bool>>,
        shares: Arc<Shares>,
    ) -> Self {
        let after = after.iter().copied().filter(|before| *before < index).collect();
        Self { after, over, arrival: None, index, shares }
    }

    /// Those of a job that is alone.
    #[must_use]
    pub fn none() -> Self {
        Self::new(0, &[], watch::channel(Vec::new()).1, Arc::default())
    }

    /// The same peers, with whom its turn begins with `arrival`.
    #[must_use]
    pub fn beginning_with(self, arrival: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { arrival: Some(Box::pin(arrival)), ..self }
    }

    /// Waits until it is the job's turn to hand its image on: all that it comes after are over,
    /// and what is to be done first is done.
    pub async fn turn(&mut self) {
        let Self { after, over, arrival, .. } = self;
        // A run that is gone has nobody to wait for.
        let _ = over.wait_for(|over| after.iter().all(|job| over[*job])).await;
        if let Some(arrival) = arrival.take() {
            arrival.await;
        }
    }

    /// Whether others need what the job has made, and nobody holds it for them: then the job is
    /// to do that, and to tell [`Self::keep`].
    #[must_use]
    pub fn want_it_held(&self) -> bool {
        self.shares.is_wanted(self.index)
    }

    /// Keeps `hold`, which holds what the job has made, until the last who needs it is over.
    pub fn keep(&self, hold: Option<impl Any + Send + Sync>) {
        let hold = hold.map(|hold| Arc::new(hold) as Arc<_>);
        self.shares.keep(self.index, hold.as_ref());
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Peers").field("after", &self.after).finish_non_exhaustive()
    }
}
