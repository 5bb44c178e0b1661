//! What the builds of a run have told already.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The steps that have run in the builds of a run. To each build, the engine tells the past of the
/// steps that it joins, though they ran before it began.
#[derive(Clone, Default)]
pub(super) struct Past(Arc<Mutex<Executions>>);

/// In which order they ended, by the digest of the vertex and when it was started.
type Executions = HashMap<(String, Duration), usize>;

/// What was past when a build began.
pub(super) struct Before {
    past: Past,
    count: usize,
}

impl Past {
    /// What is past now.
    pub(super) fn now(&self) -> Before {
        Before { past: self.clone(), count: self.with(|executions| executions.len()) }
    }

    fn with<T>(&self, then: impl FnOnce(&mut Executions) -> T) -> T {
        then(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Before {
    /// Whether `vertex`, which was started at this time, had ended by then.
    pub(super) fn has(&self, vertex: &str, started: Duration) -> bool {
        let execution = (vertex.to_owned(), started);
        let ended = self.past.with(|executions| executions.get(&execution).copied());
        ended.is_some_and(|ended| ended < self.count)
    }

    /// Notes that `vertex`, which was started at this time, has ended now.
    pub(super) fn add(&self, vertex: &str, started: Duration) {
        self.past.with(|executions| {
            let count = executions.len();
            executions.entry((vertex.to_owned(), started)).or_insert(count);
        });
    }
}
