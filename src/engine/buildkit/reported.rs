use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The executions of steps that the builds of a run have reported.
///
/// The engine reports a shared step to every build that joins it, even if the step ended before that
/// build began. A value of this type is a build's view: [`Self::snapshot`] makes one when the build
/// begins.
#[derive(Clone, Default)]
pub(super) struct ReportedSteps {
    executions: Arc<Mutex<Executions>>,
    /// The number of executions that had ended when the build began.
    ended_before: usize,
}

#[derive(Default)]
struct Executions {
    /// By the digest of the vertex and its start time.
    by_vertex: HashMap<(String, Duration), Execution>,
    ended: usize,
}

struct Execution {
    /// The target that first reported it.
    owner: String,
    /// Its place in the order in which executions ended.
    ended: Option<usize>,
}

impl ReportedSteps {
    /// Returns a view for a build that begins now.
    pub(super) fn snapshot(&self) -> Self {
        let ended_before = self.with(|executions| executions.ended);
        Self { executions: Arc::clone(&self.executions), ended_before }
    }

    /// Returns true if the execution of `vertex` that began at `started` had ended before the build
    /// began.
    pub(super) fn ended_before_build(&self, vertex: &str, started: Duration) -> bool {
        let key = (vertex.to_owned(), started);
        let ended = self.with(|executions| executions.by_vertex.get(&key)?.ended);
        ended.is_some_and(|ended| ended < self.ended_before)
    }

    /// Records that `target` reports a running execution. Returns the other target that reported it
    /// first, if any.
    pub(super) fn start(&self, vertex: &str, started: Duration, target: &str) -> Option<String> {
        let owner = self.with(|executions| executions.entry(vertex, started, target).owner.clone());
        (owner != target).then_some(owner)
    }

    /// Records that the execution has ended successfully.
    pub(super) fn end(&self, vertex: &str, started: Duration, target: &str) {
        self.with(|executions| {
            let ended = executions.ended;
            let execution = executions.entry(vertex, started, target);
            if execution.ended.is_none() {
                execution.ended = Some(ended);
                executions.ended += 1;
            }
        });
    }

    fn with<T>(&self, access: impl FnOnce(&mut Executions) -> T) -> T {
        access(&mut self.executions.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Executions {
    fn entry(&mut self, vertex: &str, started: Duration, target: &str) -> &mut Execution {
        let execution = || Execution { owner: target.to_owned(), ended: None };
        self.by_vertex.entry((vertex.to_owned(), started)).or_insert_with(execution)
    }
}
