//! What a run came to, gathered while it goes on.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::event::{CancelReason, Event, Failure, Listener};
use crate::image::{Digest, Reference};

use super::logs::Logs;
use super::printer::lock;
use super::tail::Tail;

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// How many variants were to be built.
    pub total: usize,
    /// Those that are where they should be, in the order in which they got there.
    pub finished: Vec<Finished>,
    /// Those that were there already, in plan order.
    pub unchanged: Vec<Unchanged>,
    /// How many tags were set, when a release became whole.
    pub tags: Option<usize>,
    /// Those that failed, in the order in which they did.
    pub failed: Vec<Failed>,
    /// Those that were not tried or stopped, and why.
    pub cancelled: Vec<(String, CancelReason)>,
    /// How long the run took.
    pub elapsed: Duration,
    /// The bytes of the images, by their targets' ids, where they are known.
    pub sizes: HashMap<String, u64>,
    /// The targets that were built elsewhere for this run, and count among those that were there;
    /// for each, whether no step had to run.
    pub staged: HashMap<String, bool>,
}

/// A variant that is where it should be.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The target's id.
    pub target: String,
    /// What its references stand for.
    pub digest: Digest,
    /// Its references, the version tag first.
    pub references: Vec<Reference>,
    /// Whether no step had to run.
    pub cached: bool,
    /// From its start to its end.
    pub elapsed: Duration,
}

/// A variant whose image was there already.
#[derive(Debug, Clone)]
pub struct Unchanged {
    /// The target's id.
    pub target: String,
    /// What its references stand for.
    pub digest: Digest,
    /// Its references, the version tag first.
    pub references: Vec<Reference>,
    /// Whether its checks had to run.
    pub checked: bool,
}

/// A variant that failed.
#[derive(Debug, Clone)]
pub struct Failed {
    /// The target's id.
    pub target: String,
    /// What went wrong.
    pub failure: Failure,
    /// What the failing step wrote last.
    pub lines: Vec<String>,
    /// Its full log, where there is one.
    pub log: Option<PathBuf>,
    /// From its start to its end.
    pub elapsed: Duration,
}

impl Record {
    /// Whether nothing came of any variant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { finished, unchanged, failed, cancelled, .. } = self;
        finished.is_empty() && unchanged.is_empty() && failed.is_empty() && cancelled.is_empty()
    }

    /// The digests of the images that there are, by their targets' ids.
    #[must_use]
    pub fn digests(&self) -> HashMap<&str, &Digest> {
        let finished = self.finished.iter().map(|row| (row.target.as_str(), &row.digest));
        finished
            .chain(self.unchanged.iter().map(|row| (row.target.as_str(), &row.digest)))
            .collect()
    }

    /// The variants that are where they should be, in the order of their ids in `order`.
    pub(super) fn sort(&mut self, order: &HashMap<String, usize>) {
        let place = |target: &String| order.get(target).copied().unwrap_or(usize::MAX);
        self.finished.sort_by_key(|finished| place(&finished.target));
        self.failed.sort_by_key(|failed| place(&failed.target));
        self.cancelled.sort_by_key(|(target, _)| place(target));
    }
}

/// Listens and keeps what the end of the run will tell.
pub(super) struct Recorder {
    logs: Arc<Logs>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    record: Record,
    order: HashMap<String, usize>,
    tails: HashMap<String, Tail>,
}

impl Recorder {
    pub(super) fn new(logs: Arc<Logs>) -> Self {
        Self { logs, state: Mutex::default() }
    }

    /// Notes how many bytes images are.
    pub(super) fn note_sizes(&self, sizes: impl Iterator<Item = (String, u64)>) {
        lock(&self.state).record.sizes.extend(sizes);
    }

    /// Notes that targets were built elsewhere for this run.
    pub(super) fn note_staged(&self, targets: impl Iterator<Item = (String, bool)>) {
        lock(&self.state).record.staged.extend(targets);
    }

    /// What is known so far, in plan order.
    pub(super) fn record(&self) -> Record {
        let state = lock(&self.state);
        let mut record = state.record.clone();
        record.sort(&state.order);
        record
    }
}

impl Listener for Recorder {
    fn hear(&self, event: &Event) {
        let state = &mut *lock(&self.state);
        match event {
            Event::RunStarted { targets, .. } => {
                state.record.total = targets.len();
                state.order = targets.iter().cloned().zip(0..).collect();
            }
            Event::RunFinished { elapsed } => state.record.elapsed = *elapsed,
            Event::TargetKept { target, digest, references } => {
                state.record.unchanged.push(Unchanged {
                    target: target.clone(),
                    digest: digest.clone(),
                    references: references.clone(),
                    checked: false,
                })
            }
            Event::Published { tags, elapsed } => {
                state.record.tags = Some(*tags);
                state.record.elapsed = *elapsed;
            }
            Event::Log { target, step, line } => {
                if !state.tails.contains_key(target) {
                    state.tails.insert(target.clone(), Tail::default());
                }
                if let Some(tail) = state.tails.get_mut(target) {
                    tail.push(*step, line);
                }
            }
            Event::StepFinished { target, step, error: None, .. } => {
                if let Some(tail) = state.tails.get_mut(target) {
                    tail.forget(step.number);
                }
            }
            _ if event.ends_target() => state.end(event, &self.logs),
            _ => {}
        }
    }
}

impl State {
    fn end(&mut self, event: &Event, logs: &Logs) {
        match event {
            Event::TargetFinished { target, digest, references, cached, elapsed } => {
                self.tails.remove(target);
                self.record.finished.push(Finished {
                    target: target.clone(),
                    digest: digest.clone(),
                    references: references.clone(),
                    cached: *cached,
                    elapsed: *elapsed,
                });
            }
            Event::TargetChecked { target, digest, references, .. } => {
                self.tails.remove(target);
                self.record.unchanged.push(Unchanged {
                    target: target.clone(),
                    digest: digest.clone(),
                    references: references.clone(),
                    checked: true,
                });
            }
            Event::TargetFailed { target, failure, elapsed } => {
                let tail = self.tails.remove(target);
                let step = failure.step.as_ref().map(|step| step.number);
                let lines = tail.zip(step).map(|(mut tail, step)| tail.take(step));
                self.record.failed.push(Failed {
                    target: target.clone(),
                    failure: failure.clone(),
                    lines: lines.unwrap_or_default(),
                    log: logs.path(target),
                    elapsed: *elapsed,
                });
            }
            Event::TargetCancelled { target, reason } => {
                self.tails.remove(target);
                self.record.cancelled.push((target.clone(), *reason));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{run_of_three, tell};
    use super::*;

    #[test]
    fn nothing_is_kept_of_a_target_that_ended_but_its_end() {
        let recorder = Recorder::new(Arc::new(Logs::new(PathBuf::from("unused"))));
        tell(&recorder, &run_of_three());
        assert!(lock(&recorder.state).tails.is_empty());
        let record = recorder.record();
        let ends = (record.finished.len(), record.failed.len(), record.cancelled.len());
        assert_eq!((record.total, ends), (3, (1, 1, 1)));
        assert_eq!(record.failed[0].lines.len(), 10);
        assert_eq!(record.failed[0].lines[9], "ERROR: No matching distribution found for torch==9");
    }
}
