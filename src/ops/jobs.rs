//! `basegen plan --format github`: the images to build, divided among the jobs of a workflow.

use std::collections::{BTreeMap, HashSet};

use super::{ArgumentError, Context, NameOptions, Recipe, lookup, selection, since};
use crate::error::Report;
use crate::image::Platform;
use crate::matrix::Selection;
use crate::plan::{Plan, PublicationStatus, PublishedState, Target, usual_shards};

const RUNNER: &str = "ubuntu-24.04";

const ARM_RUNNER: &str = "ubuntu-24.04-arm";

/// The images to divide, and the jobs to divide them among.
#[derive(Debug, Default)]
pub struct JobsRequest {
    pub selection: Selection,
    /// The parts of their names that the matrix does not set.
    pub naming: NameOptions,
    /// The revision; only images that differ from it are built.
    pub since: Option<String>,
    /// Whether to build all images instead of looking them up in the registry.
    pub offline: bool,
    /// Whether tags may point to images of different content, since they will be moved.
    pub overwrite: bool,
    /// The number of jobs at most.
    pub shards: Option<u16>,
    pub runners: Runners,
}

/// A plan and its jobs.
#[derive(Debug)]
pub struct JobsOutcome<'a> {
    pub plan: Plan<'a>,
    /// The jobs, each with the positions of its targets in the plan.
    pub shards: Vec<Vec<usize>>,
    pub runners: Runners,
}

/// Divides the images that must be built.
pub async fn run(context: &Context, request: JobsRequest) -> Result<JobsOutcome<'_>, Report> {
    let JobsRequest { selection, naming, since, offline, overwrite, shards, runners } = request;
    let plan = selection::plan(context, &selection, &naming)?;
    let mut recipe = Recipe::new(&plan)?;
    let all: Vec<usize> = (0..plan.targets.len()).collect();
    let needed = if let Some(revision) = since {
        let since = since::compare(context, &selection, &naming, &revision)?;
        let affected = since.comparison.affected.iter().filter(|affected| affected.is_built());
        let ids: HashSet<&str> = affected.map(|affected| affected.id.as_str()).collect();
        all.into_iter().filter(|at| ids.contains(plan.targets[*at].id())).collect()
    } else if offline {
        all
    } else if let Some(status) = lookup::status(context, &mut recipe).await? {
        if !overwrite {
            lookup::refuse_conflicting_tags(&plan, &status)?;
        }
        all.into_iter().filter(|at| must_be_built(&status[*at])).collect()
    } else {
        // Without an answer of the registries, every image may be missing.
        all
    };
    let count = shards.map_or_else(|| usual_shards(needed.len()), usize::from);
    let shards = runners.divide(&recipe, &needed, count);
    Ok(JobsOutcome { plan, shards, runners })
}

/// Returns true unless the image exists and has passed its checks.
fn must_be_built(status: &PublicationStatus) -> bool {
    let exists = matches!(status.state, PublishedState::Published | PublishedState::Retag);
    !(exists && status.is_checked)
}

/// The labels of the runners that build platforms.
#[derive(Debug, Default)]
pub struct Runners {
    given: Vec<(Platform, String)>,
}

impl Runners {
    /// Parses values of `--runner`: `linux/arm64=LABEL`.
    pub fn new(arguments: &[String]) -> Result<Self, ArgumentError> {
        let mut given = Vec::new();
        for text in arguments {
            let refuse =
                |reason: &dyn std::fmt::Display| ArgumentError::new("--runner", text, reason);
            let (platform, label) = text.split_once('=').unwrap_or((text, ""));
            if label.is_empty() || label.chars().any(char::is_control) {
                let reason = "expected a platform and a label: `linux/arm64=ubuntu-24.04-arm`";
                return Err(refuse(&reason));
            }
            given.push((platform.parse().map_err(|error| refuse(&error))?, label.to_owned()));
        }
        Ok(Self { given })
    }

    /// The runner that builds a target: the one for its first platform. The engine emulates the others.
    #[must_use]
    pub fn label(&self, target: &Target<'_>) -> &str {
        let first = target.platforms.first();
        let given = self.given.iter().rfind(|(platform, _)| Some(platform) == first);
        match given {
            Some((_, label)) => label,
            None if first.is_some_and(|platform| platform.architecture() == "arm64") => ARM_RUNNER,
            None => RUNNER,
        }
    }

    /// Divides the targets at `chosen` into `count` jobs. A job has one kind of runner, so more
    /// kinds than `count` give more jobs. No job is empty, so there may be fewer. Images that are based on each other are
    /// in one job, since jobs do not wait for each other.
    fn divide(&self, recipe: &Recipe<'_>, chosen: &[usize], count: usize) -> Vec<Vec<usize>> {
        let Recipe { plan, contexts, .. } = recipe;
        let families = recipe.graph.families(chosen);
        let mut groups: BTreeMap<&str, Vec<Vec<usize>>> = BTreeMap::new();
        for family in families {
            groups.entry(self.label(&plan.targets[family[0]])).or_default().push(family);
        }
        let (mut jobs, mut targets, mut others) = (count, chosen.len(), groups.len());
        let mut shards = Vec::new();
        for group in groups.values() {
            others -= 1;
            // Its part of the jobs that are left, but one for each of the groups after it.
            let most = jobs.saturating_sub(others).max(1);
            let size: usize = group.iter().map(Vec::len).sum();
            let share = (jobs * size / targets).clamp(1, most);
            (jobs, targets) = (jobs.saturating_sub(share), targets - size);
            shards.extend(plan.shards(contexts, group, share));
        }
        shards.sort_unstable();
        shards
    }
}
