use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::BuildJob;
use crate::image::Platform;
use crate::render::Step;

/// What is alive as long as somebody keeps it.
type Hold = Arc<dyn Any + Send + Sync>;

/// The same step for other platforms is another.
type Key = (Step, Vec<Platform>);

/// The steps that the jobs of a run have in common.
#[derive(Default)]
pub(super) struct Shares {
    /// The steps of each job.
    jobs: Vec<Vec<Key>>,
    steps: Mutex<HashMap<Key, State>>,
}

#[derive(Default)]
struct State {
    /// How many jobs have the step and are not over.
    users: usize,
    held: Held,
}

#[derive(Default)]
enum Held {
    #[default]
    Not,
    /// This job is about to.
    Soon(usize),
    By(#[expect(dead_code, reason = "it is for its drop")] Hold),
}

impl Shares {
    pub(super) fn of(jobs: &[BuildJob]) -> Self {
        let keys = |job: &BuildJob| -> Vec<Key> {
            let steps = job.context.steps().into_iter();
            steps.map(|step| (step, job.platforms.clone())).collect()
        };
        let jobs: Vec<Vec<Key>> = jobs.iter().map(keys).collect();
        let mut states: HashMap<Key, State> = HashMap::new();
        for key in jobs.iter().flatten() {
            states.entry(key.clone()).or_default().users += 1;
        }
        Self { jobs, steps: Mutex::new(states) }
    }

    /// Whether `job` is to hold what it has made: others need a step of it, who are not over, and
    /// nobody holds that for them. It then tells what came of it with [`Self::keep`].
    pub(super) fn is_wanted(&self, job: usize) -> bool {
        let mut wanted = false;
        self.change(job, |state| {
            if state.users > 1 && matches!(state.held, Held::Not) {
                state.held = Held::Soon(job);
                wanted = true;
            }
        });
        wanted
    }

    /// Keeps `hold` until all that need what `job` was to hold are over.
    pub(super) fn keep(&self, job: usize, hold: Option<&Hold>) {
        self.change(job, |state| {
            if matches!(state.held, Held::Soon(holder) if holder == job) {
                let needed = hold.filter(|_| state.users > 1).cloned();
                state.held = needed.map_or(Held::Not, Held::By);
            }
        });
    }

    /// Lets go of what nobody needs any more now that `job` is over.
    pub(super) fn over(&self, job: usize) {
        self.keep(job, None);
        self.change(job, |state| {
            state.users -= 1;
            if state.users == 0 {
                state.held = Held::Not;
            }
        });
    }

    fn change(&self, job: usize, mut change: impl FnMut(&mut State)) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        for key in self.jobs.get(job).into_iter().flatten() {
            if let Some(state) = steps.get_mut(key) {
                change(state);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::image::Compression;
    use crate::render::BuildContext;

    fn job(dockerfile: &str) -> BuildJob {
        BuildJob {
            target: String::new(),
            context: BuildContext { dockerfile: dockerfile.to_owned(), ..BuildContext::default() },
            platforms: Vec::new(),
            labels: BTreeMap::new(),
            references: Vec::new(),
            compression: Compression::default(),
            after: Vec::new(),
            checks: Vec::new(),
            existing: None,
            staging: "staged".parse().expect("a tag"),
        }
    }

    /// Two with three steps in common, one with two of these, and one that is alone.
    fn jobs() -> Vec<BuildJob> {
        let texts = [
            "FROM python\nRUN apt\nRUN pip\nRUN one\n",
            "FROM python\nRUN apt\nRUN pip\n",
            "FROM python\nRUN apt\n",
            "FROM other\nRUN apt\n",
        ];
        texts.map(job).into()
    }

    fn held(hold: &Hold) -> usize {
        Arc::strong_count(hold) - 1
    }

    #[test]
    fn one_job_at_a_time_holds_what_several_need() {
        let shares = Shares::of(&jobs());
        assert!(shares.is_wanted(2));
        assert!(!shares.is_wanted(2));
        // It has one step more that somebody needs.
        assert!(shares.is_wanted(1));
        assert!(!shares.is_wanted(0));
        shares.keep(1, None);
        assert!(shares.is_wanted(0));
        assert!(!shares.is_wanted(3));
        assert!(!Shares::default().is_wanted(0));
    }

    #[test]
    fn one_that_is_over_gives_up_what_it_was_to_hold() {
        let shares = Shares::of(&jobs());
        assert!(shares.is_wanted(0));
        assert!(!shares.is_wanted(1));
        shares.over(0);
        assert!(shares.is_wanted(2));
    }

    #[test]
    fn other_platforms_share_nothing() {
        let mut jobs = jobs();
        jobs.truncate(2);
        jobs[1].platforms = vec!["linux/arm64".parse().expect("a platform")];
        assert!(!Shares::of(&jobs).is_wanted(0));
    }

    #[test]
    fn what_is_held_is_let_go_with_the_last_that_needs_it() {
        let shares = Shares::of(&jobs());
        let hold: Hold = Arc::new(());
        assert!(shares.is_wanted(0));
        shares.keep(0, Some(&hold));
        assert!(!shares.is_wanted(1) && !shares.is_wanted(2));
        assert_eq!(held(&hold), 3);
        shares.over(0);
        shares.over(2);
        assert_eq!(held(&hold), 3);
        shares.over(1);
        assert_eq!(held(&hold), 0);
    }

    #[test]
    fn nothing_is_held_for_the_last() {
        let shares = Shares::of(&jobs());
        assert!(shares.is_wanted(0));
        shares.over(1);
        shares.over(2);
        let hold: Hold = Arc::new(());
        shares.keep(0, Some(&hold));
        assert_eq!(held(&hold), 0);
        assert!(!shares.is_wanted(0));
    }
}
