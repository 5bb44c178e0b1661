//! Records the outcome of a run from its events.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::event::{CancelReason, Event, Failure, Listener};
use crate::image::{Digest, Reference};

use super::logs::Logs;
use super::printer::lock;
use super::tail::Tail;

/// The outcome of a run.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The number of variants to build.
    pub total: usize,
    /// The built and exported variants.
    pub finished: Vec<Finished>,
    /// The variants whose image already existed, in plan order.
    pub unchanged: Vec<Unchanged>,
    /// The number of tags that were set, if the release is complete.
    pub tags: Option<usize>,
    /// The number of checks that passed, once for each image and platform.
    pub checks_passed: usize,
    pub failed: Vec<Failed>,
    /// The cancelled variants and the reasons.
    pub cancelled: Vec<(String, CancelReason)>,
    /// The duration of the run.
    pub elapsed: Duration,
    /// The known sizes of images in bytes, by target id.
    pub sizes: HashMap<String, u64>,
    /// The unchanged targets that other jobs have built for this run, and whether all steps were cached.
    pub staged: HashMap<String, bool>,
}

/// A variant that was built and exported.
#[derive(Debug, Clone)]
pub struct Finished {
    pub target: String,
    pub digest: Digest,
    pub references: Vec<Reference>,
    /// Whether all steps were cached.
    pub cached: bool,
    pub elapsed: Duration,
}

/// A variant whose image already existed.
#[derive(Debug, Clone)]
pub struct Unchanged {
    pub target: String,
    pub digest: Digest,
    pub references: Vec<Reference>,
    /// Whether its checks have run.
    pub checked: bool,
}

#[derive(Debug, Clone)]
pub struct Failed {
    pub target: String,
    pub failure: Failure,
    /// The last output of the failed step.
    pub lines: Vec<String>,
    /// The file of the full log, if there is one.
    pub log: Option<PathBuf>,
    pub elapsed: Duration,
}

impl Record {
    /// Returns true if the run has no outcome for any variant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { finished, unchanged, failed, cancelled, .. } = self;
        finished.is_empty() && unchanged.is_empty() && failed.is_empty() && cancelled.is_empty()
    }

    /// Returns the digests of all images by target id.
    #[must_use]
    pub fn digests(&self) -> HashMap<&str, &Digest> {
        self.images().map(|(target, digest, _)| (target, digest)).collect()
    }

    /// Returns the target ids, digests and references of all images.
    pub fn images(&self) -> impl Iterator<Item = (&str, &Digest, &[Reference])> {
        let finished = self.finished.iter().map(|row| (&row.target, &row.digest, &row.references));
        let unchanged =
            self.unchanged.iter().map(|row| (&row.target, &row.digest, &row.references));
        finished.chain(unchanged).map(|(id, digest, references)| (&**id, digest, &**references))
    }

    /// Sorts the variants by their place in `order`.
    fn sort(&mut self, order: &HashMap<String, usize>) {
        let place = |target: &String| order.get(target).copied().unwrap_or(usize::MAX);
        self.finished.sort_by_key(|finished| place(&finished.target));
        self.failed.sort_by_key(|failed| place(&failed.target));
        self.cancelled.sort_by_key(|(target, _)| place(target));
    }
}

/// Collects the record of a run.
pub(super) struct Recorder {
    logs: Arc<Logs>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    record: Record,
    order: HashMap<String, usize>,
    tails: HashMap<String, Tail>,
    /// The number of checks in each step that passed, by target and number.
    passed: HashMap<(String, usize), usize>,
}

impl Recorder {
    pub(super) fn new(logs: Arc<Logs>) -> Self {
        Self { logs, state: Mutex::default() }
    }

    pub(super) fn record_sizes(&self, sizes: impl Iterator<Item = (String, u64)>) {
        lock(&self.state).record.sizes.extend(sizes);
    }

    pub(super) fn record_staged(&self, targets: impl Iterator<Item = (String, bool)>) {
        lock(&self.state).record.staged.extend(targets);
    }

    /// Returns the record so far, in plan order.
    pub(super) fn record(&self) -> Record {
        let state = lock(&self.state);
        let mut record = state.record.clone();
        record.sort(&state.order);
        record
    }
}

impl Listener for Recorder {
    fn hear(&self, event: &Event) {
        let State { record, order, tails, passed } = &mut *lock(&self.state);
        let tail = event.target().filter(|_| event.ends_target()).and_then(|id| tails.remove(id));
        match event {
            Event::RunStarted { targets, .. } => {
                record.total = targets.len();
                *order = targets.iter().cloned().zip(0..).collect();
            }
            Event::RunFinished { elapsed } => record.elapsed = *elapsed,
            Event::Published { tags, elapsed } => {
                record.tags = Some(*tags);
                record.elapsed = *elapsed;
            }
            Event::Log { target, step, line } => match tails.get_mut(target) {
                Some(tail) => tail.push(*step, line),
                None => tails.entry(target.clone()).or_default().push(*step, line),
            },
            Event::StepFinished { target, step, error: None, .. } => {
                if !step.checks.is_empty() {
                    passed.insert((target.clone(), step.number), step.checks.len());
                    record.checks_passed = passed.values().sum();
                }
                if let Some(tail) = tails.get_mut(target) {
                    tail.forget(step.number);
                }
            }
            Event::TargetFinished { target, digest, references, cached, elapsed } => {
                record.finished.push(Finished {
                    target: target.clone(),
                    digest: digest.clone(),
                    references: references.clone(),
                    cached: *cached,
                    elapsed: *elapsed,
                });
            }
            Event::TargetKept { target, digest, references }
            | Event::TargetChecked { target, digest, references, .. } => {
                record.unchanged.push(Unchanged {
                    target: target.clone(),
                    digest: digest.clone(),
                    references: references.clone(),
                    checked: event.ends_target(),
                });
            }
            Event::AliasesPrinted { target, references } => {
                let finished =
                    record.finished.iter_mut().map(|row| (&row.target, &mut row.references));
                let kept =
                    record.unchanged.iter_mut().map(|row| (&row.target, &mut row.references));
                for (_, known) in finished.chain(kept).filter(|(other, _)| *other == target) {
                    known.clone_from(references);
                }
            }
            Event::TargetFailed { target, failure, elapsed } => {
                let step = failure.step.as_ref().map(|step| step.number);
                let lines = tail.zip(step).map(|(mut tail, step)| tail.take(step));
                record.failed.push(Failed {
                    target: target.clone(),
                    failure: failure.clone(),
                    lines: lines.unwrap_or_default(),
                    log: self.logs.path(target),
                    elapsed: *elapsed,
                });
            }
            Event::TargetCancelled { target, reason } => {
                record.cancelled.push((target.clone(), *reason));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::scripted::{run_of_three, send};
    use super::*;

    #[test]
    fn the_output_of_finished_targets_is_dropped() {
        let recorder = Recorder::new(Arc::new(Logs::new(PathBuf::from("unused"))));
        send(&recorder, &run_of_three());
        assert!(lock(&recorder.state).tails.is_empty());
        let record = recorder.record();
        let ends = (record.finished.len(), record.failed.len(), record.cancelled.len());
        assert_eq!((record.total, ends), (3, (1, 1, 1)));
        assert_eq!(record.failed[0].lines.len(), 10);
        assert_eq!(record.failed[0].lines[9], "ERROR: No matching distribution found for torch==9");
    }
}
