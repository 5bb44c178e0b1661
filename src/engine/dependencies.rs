use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

use super::shared_steps::SharedSteps;
use super::uploads::Uploads;

type Preparation = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The relations of a job to the other jobs of its run: which steps they share, and whose upload must
/// precede its own.
pub struct JobDependencies {
    index: usize,
    shared_steps: Arc<SharedSteps>,
    uploads: Arc<Uploads>,
    progress: Arc<watch::Sender<RunProgress>>,
    preparation: Option<Preparation>,
}

/// The part of a run's state that jobs and scheduler wait for.
#[derive(Debug, Default)]
pub(super) struct RunProgress {
    /// The number of finished jobs.
    pub(super) finished: usize,
    /// The number of running jobs that wait for the upload of another.
    pub(super) waiting: usize,
}

impl JobDependencies {
    /// Returns the dependencies of the job at `index`.
    pub(super) fn new(
        index: usize,
        shared_steps: Arc<SharedSteps>,
        uploads: Arc<Uploads>,
        progress: Arc<watch::Sender<RunProgress>>,
    ) -> Self {
        Self { index, shared_steps, uploads, progress, preparation: None }
    }

    /// Returns the dependencies of a job that is built alone.
    #[must_use]
    pub fn none() -> Self {
        Self::new(0, Arc::default(), Arc::default(), Arc::default())
    }

    /// Adds a future that runs between the wait for other jobs and the upload.
    #[must_use]
    pub fn before_upload(self, preparation: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { preparation: Some(Box::pin(preparation)), ..self }
    }

    /// Waits until no other job uploads a layer of this one. Calls `waiting` first if there is such a job. A
    /// waiting job leaves its place to others.
    pub async fn wait_for_upload(&mut self, waiting: impl FnOnce()) {
        let mut progress = self.progress.subscribe();
        if !self.uploads.begin(self.index) {
            waiting();
            let _place = FreePlace::new(&self.progress);
            let is_free = |_: &RunProgress| self.uploads.begin(self.index);
            // The sender lives as long as `self`.
            let _ = progress.wait_for(is_free).await;
        }
        if let Some(preparation) = self.preparation.take() {
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
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// Counts a job as waiting until it is dropped.
struct FreePlace<'a>(&'a watch::Sender<RunProgress>);

impl<'a> FreePlace<'a> {
    fn new(progress: &'a watch::Sender<RunProgress>) -> Self {
        progress.send_modify(|progress| progress.waiting += 1);
        Self(progress)
    }
}

impl Drop for FreePlace<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|progress| progress.waiting -= 1);
    }
}
