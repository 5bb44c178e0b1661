//! Runs builds with bounded parallelism. Every target gets exactly one outcome.
//!
//! [`run`] starts the jobs of a [`RunRequest`] in plan order and returns their [`Outcome`]s. A job that is based on the
//! image of another job starts when that one has finished.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::dependencies::RunProgress;
use super::shared_steps::SharedSteps;
use super::uploads::Uploads;
use super::{BuildJob, BuiltImage, Engine, JobDependencies};
use crate::event::{CancelReason, Event, Events, Failure, FailureKind};

/// The jobs of a run, and its options.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The jobs in plan order.
    pub jobs: Vec<BuildJob>,
    /// The maximum number of concurrent builds: at least one, and limited by the engine's capacity. Builds that
    /// wait for the upload of another do not count.
    pub parallel: usize,
    pub on_failure: OnFailure,
    /// Cancels the run: running builds are stopped on the engine, the others never start.
    pub cancel: CancellationToken,
}

/// The reaction to a failed job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    #[default]
    KeepGoing,
    FailFast,
}

/// The outcome of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The image has passed its checks and was exported.
    Built(BuiltImage),
    /// The build, a check, or the export failed.
    Failed(Box<Failure>),
    /// The job was stopped or never started.
    Cancelled(CancelReason),
}

/// Builds every job of `request` on `engine` and returns the outcomes in plan order.
///
/// Jobs start in plan order, but after the jobs whose images they are based on. If one of these fails, they are
/// cancelled. If jobs share layers, the first that is ready uploads them, and the others wait until it
/// has finished, with any outcome. Every target gets a final event: finished, checked,
/// failed or cancelled.
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
    let outcomes = Run::new(engine, request, events.clone()).run_all().await;
    events.emit(&Event::RunFinished { elapsed: begun.elapsed() });
    outcomes
}

struct Run<E> {
    engine: Arc<E>,
    request: Arc<RunRequest>,
    events: Events,
    /// The positions of the jobs by target.
    by_target: HashMap<String, usize>,
    waiting: VecDeque<usize>,
    running: JoinSet<Result<BuiltImage, Box<Failure>>>,
    /// The job and the start time of each task.
    tasks: Vec<(Id, usize, Instant)>,
    outcomes: Vec<Option<Outcome>>,
    progress: Arc<watch::Sender<RunProgress>>,
    shared_steps: Arc<SharedSteps>,
    uploads: Arc<Uploads>,
}

impl<E: Engine> Run<E> {
    fn new(engine: Arc<E>, request: RunRequest, events: Events) -> Self {
        let count = request.jobs.len();
        let shared_steps = Arc::new(SharedSteps::new(&request.jobs));
        let uploads = Arc::new(Uploads::new(&request.jobs));
        let targets = request.jobs.iter().map(|job| job.target.clone());
        Self {
            engine,
            by_target: targets.zip(0..).collect(),
            request: Arc::new(request),
            events,
            waiting: (0..count).collect(),
            running: JoinSet::new(),
            tasks: Vec::new(),
            outcomes: vec![None; count],
            progress: Arc::default(),
            shared_steps,
            uploads,
        }
    }

    async fn run_all(mut self) -> Vec<Outcome> {
        let request = Arc::clone(&self.request);
        let mut progress = self.progress.subscribe();
        loop {
            if request.cancel.is_cancelled() {
                self.stop(CancelReason::Interrupted).await;
                break;
            }
            self.start_next();
            if self.running.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                ended = self.running.join_next_with_id() => if let Some(ended) = ended {
                    let failed = self.end(ended);
                    if failed && request.on_failure == OnFailure::FailFast {
                        self.stop(CancelReason::FailFast).await;
                        break;
                    }
                },
                // A job that waits has left its place to others.
                _ = progress.changed() => {}
                () = request.cancel.cancelled() => {}
            }
        }
        self.outcomes.into_iter().flatten().collect()
    }

    /// Starts jobs in plan order up to the maximum number, but none whose parents are not built.
    fn start_next(&mut self) {
        while self.has_place() {
            let mut waiting = self.waiting.iter().enumerate();
            let next = waiting.find_map(|(at, index)| Some((at, self.with_parents(*index)?)));
            let Some((at, job)) = next else { return };
            if let Some(index) = self.waiting.remove(at) {
                self.start(index, job);
            }
        }
    }

    /// Returns the job at `index` with the images that it is based on. `None` if one is not built yet.
    fn with_parents(&self, index: usize) -> Option<BuildJob> {
        let job = &self.request.jobs[index];
        let mut parents = job.parents.clone();
        for parent in &mut parents {
            if let Some(at) = self.by_target.get(&parent.target) {
                let Some(Outcome::Built(image)) = &self.outcomes[*at] else { return None };
                parent.digest = Some(image.digest.clone());
            }
        }
        Some(BuildJob { parents, ..job.clone() })
    }

    fn has_place(&self) -> bool {
        let running = self.running.len();
        let active = running.saturating_sub(self.progress.borrow().waiting);
        active < self.request.parallel && running < self.engine.capacity()
    }

    fn start(&mut self, index: usize, job: BuildJob) {
        let (engine, events) = (Arc::clone(&self.engine), self.events.clone());
        let dependencies = JobDependencies::new(
            index,
            Arc::clone(&self.shared_steps),
            Arc::clone(&self.uploads),
            Arc::clone(&self.progress),
        );
        self.events.emit(&Event::TargetStarted { target: job.target.clone() });
        let task =
            self.running.spawn(async move { engine.build(&job, &events, dependencies).await });
        self.tasks.push((task.id(), index, Instant::now()));
    }

    /// Records the outcome of a task. Returns true if it failed.
    fn end(&mut self, ended: Result<(Id, Result<BuiltImage, Box<Failure>>), JoinError>) -> bool {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(Box::new(task_failure(error)))),
        };
        let Some(position) = self.tasks.iter().position(|(task, ..)| *task == id) else {
            return false;
        };
        let (_, index, begun) = self.tasks.swap_remove(position);
        let outcome = match result {
            Ok(image) => Outcome::Built(image),
            Err(failure) => Outcome::Failed(failure),
        };
        self.events.emit(&final_event(&self.request.jobs[index], &outcome, begun.elapsed()));
        let failed = matches!(outcome, Outcome::Failed(_));
        self.outcomes[index] = Some(outcome);
        self.shared_steps.finish(index);
        self.uploads.finish(index, !failed);
        self.progress.send_modify(|progress| progress.finished += 1);
        if failed {
            self.cancel_children(index);
        }
        failed
    }

    /// Cancels the jobs that are based on the image of the job at `index`, and those based on their images.
    fn cancel_children(&mut self, index: usize) {
        let request = Arc::clone(&self.request);
        let is_child = |child: &usize| {
            let mut parents = request.jobs[*child].parents.iter();
            parents.any(|parent| parent.target == request.jobs[index].target)
        };
        let children: Vec<usize> = self.waiting.iter().copied().filter(is_child).collect();
        self.waiting.retain(|waiting| !children.contains(waiting));
        for child in children {
            self.cancel(child, CancelReason::ParentFailed);
            self.shared_steps.finish(child);
            self.cancel_children(child);
        }
    }

    /// Stops the running jobs and cancels the waiting ones.
    async fn stop(&mut self, reason: CancelReason) {
        // Jobs that have just ended keep their outcome.
        while let Some(ended) = self.running.try_join_next_with_id() {
            self.end(ended);
        }
        self.running.shutdown().await;
        for (_, index, _) in std::mem::take(&mut self.tasks) {
            self.cancel(index, reason);
        }
        for index in std::mem::take(&mut self.waiting) {
            self.cancel(index, reason);
        }
    }

    fn cancel(&mut self, index: usize, reason: CancelReason) {
        let outcome = Outcome::Cancelled(reason);
        self.events.emit(&final_event(&self.request.jobs[index], &outcome, Duration::ZERO));
        self.outcomes[index] = Some(outcome);
    }
}

/// Returns the final event of `job`.
fn final_event(job: &BuildJob, outcome: &Outcome, elapsed: Duration) -> Event {
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

/// Returns the failure of a task that panicked or was aborted.
fn task_failure(error: JoinError) -> Failure {
    let message = match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            format!("internal error in basegen: {}", text.unwrap_or_default())
        }
        Err(_) => "the build was aborted".to_owned(),
    };
    let hint = "this is a bug in basegen: please report it".to_owned();
    Failure::new(FailureKind::Engine, message, Some(hint))
}

#[cfg(test)]
mod tests;
