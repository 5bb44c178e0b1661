use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

use super::shared_steps::SharedSteps;

type Preparation = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The relations of a job to the other jobs of its run: which exports must precede its own, and
/// which steps it shares.
pub struct JobDependencies {
    /// The jobs that must finish first, as indexes into the run's list.
    after: Vec<usize>,
    finished: watch::Receiver<Vec<bool>>,
    preparation: Option<Preparation>,
    index: usize,
    shared_steps: Arc<SharedSteps>,
}

impl JobDependencies {
    /// Returns the dependencies of the job at `index`. Jobs start in list order, so it may only wait
    /// for earlier ones: these are running already or finished.
    pub(super) fn new(
        index: usize,
        after: &[usize],
        finished: watch::Receiver<Vec<bool>>,
        shared_steps: Arc<SharedSteps>,
    ) -> Self {
        let after = after.iter().copied().filter(|earlier| *earlier < index).collect();
        Self { after, finished, preparation: None, index, shared_steps }
    }

    /// Returns the dependencies of a job that is built alone.
    #[must_use]
    pub fn none() -> Self {
        Self::new(0, &[], watch::channel(Vec::new()).1, Arc::default())
    }

    /// Adds a future that runs between the wait for other jobs and the export.
    #[must_use]
    pub fn before_export(self, preparation: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { preparation: Some(Box::pin(preparation)), ..self }
    }

    /// Returns true if jobs that must finish before the export are still running.
    #[must_use]
    pub fn must_wait(&self) -> bool {
        let finished = self.finished.borrow();
        self.after.iter().any(|job| !finished[*job])
    }

    /// Waits until the job may export its image.
    pub async fn wait_for_export(&mut self) {
        let Self { after, finished, preparation, .. } = self;
        // An error means that the run has ended.
        let _ = finished.wait_for(|finished| after.iter().all(|job| finished[*job])).await;
        if let Some(preparation) = preparation.take() {
            preparation.await;
        }
    }

    /// Returns true if other unfinished jobs share a step with this one and no job keeps it alive
    /// for them. The caller then opens a lease and passes it to [`Self::keep_lease`].
    #[must_use]
    pub fn needs_lease(&self) -> bool {
        self.shared_steps.claim(self.index)
    }

    /// Keeps `lease` until the last job that shares the steps is finished.
    pub fn keep_lease(&self, lease: Option<impl Any + Send + Sync>) {
        let lease = lease.map(|lease| Arc::new(lease) as Arc<_>);
        self.shared_steps.keep(self.index, lease.as_ref());
    }
}

impl fmt::Debug for JobDependencies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("JobDependencies")
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}
