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
        self.has_come(&self.over.borrow())
    }

    /// Waits until all that it waits for are over.
    pub async fn come(mut self) {
        let after = std::mem::take(&mut self.after);
        // A run that is gone has nobody to wait for.
        let _ = self.over.wait_for(|over| after.iter().all(|before| over[*before])).await;
    }

    fn has_come(&self, over: &[bool]) -> bool {
        self.after.iter().all(|before| over[*before])
    }
}
