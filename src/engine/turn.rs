use tokio::sync::watch;

/// When a job may hand its image on: once the jobs that it comes after are over.
#[derive(Debug, Clone)]
pub struct Turn {
    after: Vec<usize>,
    over: watch::Receiver<Vec<bool>>,
}

impl Turn {
    /// The turn of the job at `index`, of which `over` tells who is over. Jobs begin in order, so
    /// that it can wait for those before it only: they hold their places already.
    pub(super) fn new(index: usize, after: &[usize], over: watch::Receiver<Vec<bool>>) -> Self {
        let after = after.iter().copied().filter(|before| *before < index).collect();
        Self { after, over }
    }

    /// A turn that waits for nobody.
    #[must_use]
    pub fn now() -> Self {
        Self { after: Vec::new(), over: watch::channel(Vec::new()).1 }
    }

    /// Whether all that it waits for are over.
    #[must_use]
    pub fn is_now(&self) -> bool {
        are_over(&self.after, &self.over.borrow())
    }

    /// Waits until all that it waits for are over.
    pub async fn come(mut self) {
        let Self { after, over } = &mut self;
        // A run that is gone has nobody to wait for.
        let _ = over.wait_for(|over| are_over(after, over)).await;
    }
}

fn are_over(jobs: &[usize], over: &[bool]) -> bool {
    jobs.iter().all(|job| over[*job])
}
