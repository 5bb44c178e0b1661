//! Runs many builds: so many at a time, in an order that spares the registry, to an end
//! that is told whatever happens.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::shared_steps::SharedSteps;
use super::{BuildJob, BuiltImage, Engine, JobDependencies};
use crate::event::{CancelReason, Event, Events, Failure, FailureKind};

/// What is to be run, and how.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The jobs in plan order.
    pub jobs: Vec<BuildJob>,
    /// How many may be built at a time; at least one is, and never more than the engine takes.
    pub parallel: usize,
    /// What to do when one fails.
    pub on_failure: OnFailure,
    /// Stops the run: builds that run are stopped on the engine, the others not begun.
    pub cancel: CancellationToken,
}

/// What happens to the rest of a run when a job fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// All other jobs are built.
    #[default]
    KeepGoing,
    /// The run stops at once.
    FailFast,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The image is where it should be, and has passed its checks.
    Built(BuiltImage),
    /// It could not be built, or not be put there.
    Failed(Box<Failure>),
    /// It was not tried, or stopped half way.
    Cancelled(CancelReason),
}

/// Builds every job of `request` on `engine`; gives their outcomes in plan order.
///
/// Jobs begin in plan order; each hands its image on once all that it comes `after` are over,
/// however they ended. Every target is told of: finished, failed or cancelled.
pub async fn run<E: Engine>(
    engine: Arc<E>,
    mut request: RunRequest,
    events: &Events,
) -> Vec<Outcome> {
    let begun = Instant::now();
    request.parallel = request.parallel.min(engine.capacity()).max(1);
    events.emit(&Event::RunStarted {
        targets: request.jobs.iter().map(|job| job.target.clone()).collect(),
        engine: engine.name().to_owned(),
        jobs: request.parallel,
    });
    let outcomes = Run::new(engine, request, events.clone()).finish().await;
    events.emit(&Event::RunFinished { elapsed: begun.elapsed() });
    outcomes
}

struct Run<E> {
    engine: Arc<E>,
    jobs: Vec<Arc<BuildJob>>,
    parallel: usize,
    on_failure: OnFailure,
    cancel: CancellationToken,
    events: Events,
    waiting: VecDeque<usize>,
    running: JoinSet<Result<BuiltImage, Box<Failure>>>,
    /// Which job each task builds, and since when.
    tasks: Vec<(Id, usize, Instant)>,
    outcomes: Vec<Option<Outcome>>,
    /// Which jobs are over, for those whose turn comes after theirs.
    over: watch::Sender<Vec<bool>>,
    shared_steps: Arc<SharedSteps>,
}

impl<E: Engine> Run<E> {
    fn new(engine: Arc<E>, request: RunRequest, events: Events) -> Self {
        let count = request.jobs.len();
        let shared_steps = Arc::new(SharedSteps::new(&request.jobs));
        Self {
            engine,
            jobs: request.jobs.into_iter().map(Arc::new).collect(),
            parallel: request.parallel,
            on_failure: request.on_failure,
            cancel: request.cancel,
            events,
            waiting: (0..count).collect(),
            running: JoinSet::new(),
            tasks: Vec::new(),
            outcomes: vec![None; count],
            over: watch::channel(vec![false; count]).0,
            shared_steps,
        }
    }

    async fn finish(mut self) -> Vec<Outcome> {
        let cancel = self.cancel.clone();
        loop {
            if cancel.is_cancelled() {
                self.stop(CancelReason::Interrupted).await;
                break;
            }
            self.start_what_may();
            if self.running.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                ended = self.running.join_next_with_id() => if let Some(ended) = ended {
                    let failed = self.end(ended);
                    if failed && self.on_failure == OnFailure::FailFast {
                        self.stop(CancelReason::FailFast).await;
                        break;
                    }
                },
                () = cancel.cancelled() => {}
            }
        }
        self.outcomes.into_iter().flatten().collect()
    }

    /// Starts jobs in plan order, as long as there is room.
    fn start_what_may(&mut self) {
        while self.running.len() < self.parallel {
            let Some(index) = self.waiting.pop_front() else { return };
            self.start(index);
        }
    }

    fn start(&mut self, index: usize) {
        let (engine, job) = (Arc::clone(&self.engine), Arc::clone(&self.jobs[index]));
        let events = self.events.clone();
        let shared_steps = Arc::clone(&self.shared_steps);
        let dependencies =
            JobDependencies::new(index, &job.after, self.over.subscribe(), shared_steps);
        self.events.emit(&Event::TargetStarted { target: job.target.clone() });
        let task =
            self.running.spawn(async move { engine.build(&job, &events, dependencies).await });
        self.tasks.push((task.id(), index, Instant::now()));
    }

    /// Notes how a task ended; tells whether it failed.
    fn end(&mut self, ended: Result<(Id, Result<BuiltImage, Box<Failure>>), JoinError>) -> bool {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(Box::new(lost(error)))),
        };
        let Some(position) = self.tasks.iter().position(|(task, ..)| *task == id) else {
            return false;
        };
        let (_, index, begun) = self.tasks.swap_remove(position);
        let outcome = match result {
            Ok(image) => Outcome::Built(image),
            Err(failure) => Outcome::Failed(failure),
        };
        self.events.emit(&ending(&self.jobs[index], &outcome, begun.elapsed()));
        let failed = matches!(outcome, Outcome::Failed(_));
        self.outcomes[index] = Some(outcome);
        self.shared_steps.finish(index);
        self.over.send_modify(|over| over[index] = true);
        failed
    }

    /// Stops what runs and gives up what waits.
    async fn stop(&mut self, reason: CancelReason) {
        // What ended by itself in the meantime is told as it ended.
        while let Some(ended) = self.running.try_join_next_with_id() {
            self.end(ended);
        }
        self.running.shutdown().await;
        for (_, index, _) in std::mem::take(&mut self.tasks) {
            self.cancelled(index, reason);
        }
        self.cancel_waiting(reason);
    }

    fn cancel_waiting(&mut self, reason: CancelReason) {
        for index in std::mem::take(&mut self.waiting) {
            self.cancelled(index, reason);
        }
    }

    fn cancelled(&mut self, index: usize, reason: CancelReason) {
        let outcome = Outcome::Cancelled(reason);
        self.events.emit(&ending(&self.jobs[index], &outcome, Duration::ZERO));
        self.outcomes[index] = Some(outcome);
    }
}

/// The event that tells how `job` ended.
fn ending(job: &BuildJob, outcome: &Outcome, elapsed: Duration) -> Event {
    let target = job.target.clone();
    match outcome {
        Outcome::Built(image) if job.existing.is_some() => Event::TargetChecked {
            target,
            digest: image.digest.clone(),
            references: job.references.clone(),
            elapsed,
        },
        Outcome::Built(image) => Event::TargetFinished {
            target,
            digest: image.digest.clone(),
            references: job.references.clone(),
            cached: image.cached,
            elapsed,
        },
        Outcome::Failed(failure) => {
            Event::TargetFailed { target, failure: (**failure).clone(), elapsed }
        }
        Outcome::Cancelled(reason) => Event::TargetCancelled { target, reason: *reason },
    }
}

/// The failure of a build whose task did not come to its end.
fn lost(error: JoinError) -> Failure {
    let message = match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            format!("basegen itself failed: {}", text.unwrap_or_default())
        }
        Err(_) => "the build was given up".to_owned(),
    };
    let hint = "this is a fault in basegen: please report it".to_owned();
    Failure::new(FailureKind::Engine, message, Some(hint))
}

#[cfg(test)]
mod tests;
