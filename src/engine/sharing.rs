use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::BuildJob;
use crate::image::Platform;
use crate::render::{PlacedStep, Step};

/// A step that several jobs of a run have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedStep {
    step: Step,
    /// Where it ends in its job's Dockerfile, in bytes: what is before makes it, and nothing else.
    pub end: usize,
}

/// What is alive as long as somebody keeps it.
type Hold = Arc<dyn Any + Send + Sync>;

/// The same step for other platforms is another.
type Key = (Step, Vec<Platform>);

/// The steps that the jobs of a run have in common.
#[derive(Default)]
pub(super) struct Shares {
    jobs: Vec<Sharer>,
    steps: Mutex<HashMap<Key, State>>,
}

#[derive(Default)]
struct Sharer {
    platforms: Vec<Platform>,
    steps: Vec<SharedStep>,
}

#[derive(Default)]
struct State {
    /// How many jobs have the step and are not over.
    users: usize,
    hold: Option<Hold>,
}

impl Shares {
    /// Of each stage, the last step that as many jobs have is told: what holds it holds those
    /// before it.
    pub(super) fn of(jobs: &[BuildJob]) -> Self {
        let stages: Vec<Vec<Vec<PlacedStep>>> =
            jobs.iter().map(|job| job.context.stages()).collect();
        let mut users: HashMap<Key, usize> = HashMap::new();
        for (job, stages) in jobs.iter().zip(&stages) {
            for placed in stages.iter().flatten() {
                *users.entry((placed.step, job.platforms.clone())).or_default() += 1;
            }
        }
        let sharers = jobs.iter().zip(&stages).map(|(job, stages)| {
            let users = |placed: &PlacedStep| users[&(placed.step, job.platforms.clone())];
            let lasts = stages.iter().flat_map(|stage| {
                stage.iter().enumerate().filter(|(at, placed)| {
                    let next = stage.get(at + 1).map_or(0, users);
                    users(placed) > next.max(1)
                })
            });
            let steps = lasts.map(|(_, placed)| SharedStep { step: placed.step, end: placed.end });
            Sharer { platforms: job.platforms.clone(), steps: steps.collect() }
        });
        let sharers: Vec<Sharer> = sharers.collect();
        let mut states: HashMap<Key, State> = HashMap::new();
        for sharer in &sharers {
            for shared in &sharer.steps {
                states.entry((shared.step, sharer.platforms.clone())).or_default().users += 1;
            }
        }
        Self { jobs: sharers, steps: Mutex::new(states) }
    }

    /// The steps of `job` that others need who are not over, and that are not held.
    pub(super) fn wanted(&self, job: usize) -> Vec<SharedStep> {
        let mut wanted = Vec::new();
        self.change(job, |shared, state| {
            if state.users > 1 && state.hold.is_none() {
                wanted.push(shared);
            }
        });
        wanted
    }

    /// Keeps `hold` until all that need any of `steps` of `job` are over.
    pub(super) fn keep(&self, job: usize, steps: &[SharedStep], hold: &Hold) {
        self.change(job, |shared, state| {
            if state.users > 1 && steps.contains(&shared) {
                state.hold = Some(Arc::clone(hold));
            }
        });
    }

    /// Lets go of what nobody needs any more now that `job` is over.
    pub(super) fn over(&self, job: usize) {
        self.change(job, |_, state| {
            state.users -= 1;
            if state.users == 0 {
                state.hold = None;
            }
        });
    }

    fn change(&self, job: usize, mut change: impl FnMut(SharedStep, &mut State)) {
        let Some(sharer) = self.jobs.get(job) else { return };
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        for shared in &sharer.steps {
            if let Some(state) = steps.get_mut(&(shared.step, sharer.platforms.clone())) {
                change(*shared, state);
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
            staging: "staged".parse().expect("a tag"),
        }
    }

    const BASE: &str = "FROM a AS tools\nRUN fetch\nFROM python\nRUN apt\n";

    fn jobs() -> Vec<BuildJob> {
        let ends =
            ["COPY --from=tools x /\nRUN pip\nRUN one\n", "COPY --from=tools x /\nRUN pip\n", ""];
        ends.map(|end| job(&format!("{BASE}{end}"))).into()
    }

    fn wanted(shares: &Shares, jobs: &[BuildJob], index: usize) -> Vec<String> {
        let text = |shared: SharedStep| {
            let dockerfile = &jobs[index].context.dockerfile[..shared.end];
            dockerfile.lines().last().expect("a line").to_owned()
        };
        shares.wanted(index).into_iter().map(text).collect()
    }

    #[test]
    fn the_last_steps_that_several_have_are_wanted() {
        let jobs = jobs();
        let shares = Shares::of(&jobs);
        assert_eq!(wanted(&shares, &jobs, 0), ["RUN fetch", "RUN apt", "RUN pip"]);
        assert_eq!(wanted(&shares, &jobs, 1), ["RUN fetch", "RUN apt", "RUN pip"]);
        // It needs nothing of the tools.
        assert_eq!(wanted(&shares, &jobs, 2), ["RUN apt"]);
        assert!(wanted(&Shares::default(), &jobs, 0).is_empty());
    }

    #[test]
    fn other_platforms_share_nothing() {
        let mut jobs = jobs();
        jobs.truncate(2);
        jobs[1].platforms = vec!["linux/arm64".parse().expect("a platform")];
        assert!(Shares::of(&jobs).wanted(0).is_empty());
    }

    #[test]
    fn what_is_held_is_let_go_with_the_last_that_needs_it() {
        let jobs = jobs();
        let shares = Shares::of(&jobs);
        let hold: Hold = Arc::new(());
        let steps = shares.wanted(0);
        shares.keep(0, &steps, &hold);
        assert!(shares.wanted(0).is_empty() && shares.wanted(2).is_empty());
        let held = || Arc::strong_count(&hold) - 1;
        assert_eq!(held(), 3);
        shares.over(0);
        assert_eq!(held(), 3);
        shares.over(1);
        assert_eq!(held(), 1);
        shares.over(2);
        assert_eq!(held(), 0);
    }

    #[test]
    fn nothing_is_held_for_the_last() {
        let jobs = jobs();
        let shares = Shares::of(&jobs);
        let steps = shares.wanted(0);
        shares.over(1);
        assert_eq!(wanted(&shares, &jobs, 0), ["RUN apt"]);
        shares.over(2);
        let hold: Hold = Arc::new(());
        shares.keep(0, &steps, &hold);
        assert_eq!(Arc::strong_count(&hold), 1);
    }
}
