use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::BuildJob;
use crate::image::Platform;
use crate::render::Step;

/// A value that keeps the results of steps alive in the engine until it is dropped.
type Lease = Arc<dyn Any + Send + Sync>;

/// The identity of a step. The same step for other platforms is a different one.
type Key = (Step, Vec<Platform>);

/// The steps that several jobs of a run share, and the leases that keep their results alive.
#[derive(Default)]
pub(super) struct SharedSteps {
    /// The steps of each job.
    jobs: Vec<Vec<Key>>,
    steps: Mutex<HashMap<Key, SharedStep>>,
}

#[derive(Default)]
struct SharedStep {
    /// The number of unfinished jobs that have the step.
    users: usize,
    lease: LeaseState,
}

#[derive(Default)]
enum LeaseState {
    #[default]
    None,
    /// The job with this index is opening a lease.
    Claimed(usize),
    Held {
        _lease: Lease,
    },
}

impl SharedSteps {
    pub(super) fn new(jobs: &[BuildJob]) -> Self {
        let keys = |job: &BuildJob| -> Vec<Key> {
            let steps = job.context.steps().into_iter();
            steps.map(|step| (step, job.platforms.clone())).collect()
        };
        let jobs: Vec<Vec<Key>> = jobs.iter().map(keys).collect();
        let mut steps: HashMap<Key, SharedStep> = HashMap::new();
        for key in jobs.iter().flatten() {
            steps.entry(key.clone()).or_default().users += 1;
        }
        Self { jobs, steps: Mutex::new(steps) }
    }

    /// Claims every step of `job` that unfinished jobs share and that has no lease. Returns true if
    /// there is one; the caller must then call [`Self::keep`].
    pub(super) fn claim(&self, job: usize) -> bool {
        let mut is_claimed = false;
        self.update(job, |step| {
            if step.users > 1 && matches!(step.lease, LeaseState::None) {
                step.lease = LeaseState::Claimed(job);
                is_claimed = true;
            }
        });
        is_claimed
    }

    /// Stores `lease` for the steps that `job` claimed; without a lease they become free again.
    pub(super) fn keep(&self, job: usize, lease: Option<&Lease>) {
        self.update(job, |step| {
            if matches!(step.lease, LeaseState::Claimed(owner) if owner == job) {
                let needed = lease.filter(|_| step.users > 1).cloned();
                step.lease =
                    needed.map_or(LeaseState::None, |lease| LeaseState::Held { _lease: lease });
            }
        });
    }

    /// Records that `job` is finished and drops the leases that no other job needs.
    pub(super) fn finish(&self, job: usize) {
        self.keep(job, None);
        self.update(job, |step| {
            step.users -= 1;
            if step.users == 0 {
                step.lease = LeaseState::None;
            }
        });
    }

    fn update(&self, job: usize, mut update: impl FnMut(&mut SharedStep)) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        for key in self.jobs.get(job).into_iter().flatten() {
            if let Some(step) = steps.get_mut(key) {
                update(step);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns two jobs that share three steps, one that has two of these steps, and one that shares none.
    fn jobs() -> Vec<BuildJob> {
        let texts = [
            "FROM python\nRUN apt\nRUN pip\nRUN one\n",
            "FROM python\nRUN apt\nRUN pip\n",
            "FROM python\nRUN apt\n",
            "FROM other\nRUN apt\n",
        ];
        texts.map(BuildJob::of_dockerfile).into()
    }

    fn holders(lease: &Lease) -> usize {
        Arc::strong_count(lease) - 1
    }

    #[test]
    fn one_job_at_a_time_claims_a_shared_step() {
        let steps = SharedSteps::new(&jobs());
        assert!(steps.claim(2));
        assert!(!steps.claim(2));
        // Job 1 has one more shared step than job 2.
        assert!(steps.claim(1));
        assert!(!steps.claim(0));
        steps.keep(1, None);
        assert!(steps.claim(0));
        assert!(!steps.claim(3));
        assert!(!SharedSteps::default().claim(0));
    }

    #[test]
    fn a_finished_job_releases_its_claims() {
        let steps = SharedSteps::new(&jobs());
        assert!(steps.claim(0));
        assert!(!steps.claim(1));
        steps.finish(0);
        assert!(steps.claim(2));
    }

    #[test]
    fn jobs_for_different_platforms_share_no_step() {
        let mut jobs = jobs();
        jobs.truncate(2);
        jobs[1].platforms = vec!["linux/arm64".parse().expect("a platform")];
        assert!(!SharedSteps::new(&jobs).claim(0));
    }

    #[test]
    fn a_lease_ends_with_the_last_job_that_shares_the_step() {
        let steps = SharedSteps::new(&jobs());
        let lease: Lease = Arc::new(());
        assert!(steps.claim(0));
        steps.keep(0, Some(&lease));
        assert!(!steps.claim(1) && !steps.claim(2));
        assert_eq!(holders(&lease), 3);
        steps.finish(0);
        steps.finish(2);
        assert_eq!(holders(&lease), 3);
        steps.finish(1);
        assert_eq!(holders(&lease), 0);
    }

    #[test]
    fn the_last_job_keeps_no_lease() {
        let steps = SharedSteps::new(&jobs());
        assert!(steps.claim(0));
        steps.finish(1);
        steps.finish(2);
        let lease: Lease = Arc::new(());
        steps.keep(0, Some(&lease));
        assert_eq!(holders(&lease), 0);
        assert!(!steps.claim(0));
    }
}
