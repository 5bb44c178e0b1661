//! `basegen plan --format github`: the images to build, divided among the jobs of a workflow.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures_util::future::try_join_all;
use indexmap::IndexSet;

use super::{ArgumentError, Context, NameOptions, Recipe, lookup, publish, selection, since};
use crate::error::Report;
use crate::image::Platform;
use crate::matrix::Selection;
use crate::plan::{Plan, PublicationStatus, PublishedState, Target, usual_shards};
use crate::publish::unstaged_platforms;

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
    pub jobs: Vec<Job>,
}

/// A job that stages images on one runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The positions of its targets in the plan, in order.
    pub targets: Vec<usize>,
    /// The label of its runner.
    pub runner: String,
    /// The platform that it builds for, if other jobs build the same images for other platforms.
    pub platform: Option<Platform>,
}

/// Divides the images that must be built.
pub async fn run(context: &Context, request: JobsRequest) -> Result<JobsOutcome<'_>, Report> {
    let JobsRequest { selection, naming, since, offline, overwrite, shards, runners } = request;
    let plan = selection::plan(context, &selection, &naming)?;
    let mut recipe = Recipe::new(&plan)?;
    let all: Vec<usize> = (0..plan.targets.len()).collect();
    let mut is_known = false;
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
        is_known = true;
        all.into_iter().filter(|at| must_be_built(&status[*at])).collect()
    } else {
        // Without an answer of the registries, every image may be missing.
        all
    };
    let mut groups = runners.groups(&recipe, &needed);
    if is_known && let Err(error) = remove_staged(context, &recipe, &mut groups).await {
        let message = format!("warning: cannot look up staged platforms: {}\n", error.message());
        context.messages.message(&message);
    }
    let count: usize = groups.values().map(Vec::len).sum();
    let count = shards.map_or_else(|| usual_shards(count), usize::from);
    let jobs = divide(&recipe, groups, count);
    Ok(JobsOutcome { plan, jobs })
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

    /// Returns the label of the runner that builds for a platform.
    fn label(&self, platform: &Platform) -> &str {
        let given = self.given.iter().rfind(|(known, _)| known == platform);
        match given {
            Some((_, label)) => label,
            None if platform.architecture() == "arm64" => ARM_RUNNER,
            None => RUNNER,
        }
    }

    fn labels<'a>(&'a self, platforms: &'a [Platform]) -> BTreeSet<&'a str> {
        platforms.iter().map(|platform| self.label(platform)).collect()
    }

    /// Divides the targets at `chosen` by the runners that build them.
    ///
    /// If the platforms of an image have runners with several labels, each platform is built on its own. Otherwise the
    /// runner for the first platform builds all of them, and its engine emulates the others. Images that need other
    /// platforms of an image of the matrix are built in this way, too.
    fn groups(&self, recipe: &Recipe<'_>, chosen: &[usize]) -> Groups {
        let (targets, contexts) = (&recipe.plan.targets, &recipe.contexts);
        let families = recipe.graph.families(chosen).into_iter();
        let families = families.map(|family| (platforms(targets, &family), family));
        let (divided, mut others): (Vec<_>, Vec<_>) = families.partition(|(platforms, family)| {
            self.labels(platforms).len() > 1
                && family.iter().all(|at| contexts[*at].selected_parent().is_none())
        });
        let is_divided = !divided.is_empty();
        let mut groups = Groups::new();
        for (all, family) in divided {
            for at in family {
                // A mirrored image has the platforms of its source.
                let own = Some(&*targets[at].platforms).filter(|own| !own.is_empty());
                for platform in own.unwrap_or(&all) {
                    let key = (self.label(platform).to_owned(), Some(platform.clone()));
                    groups.entry(key).or_default().push(at);
                }
            }
        }
        // Mirrored images need no runner of their own: they are added to any group.
        others.sort_by_key(|(platforms, _)| platforms.is_empty());
        for (all, family) in others {
            // Images for one platform join those that are divided.
            let key = match &all[..] {
                [] => groups.keys().next().cloned().unwrap_or((RUNNER.to_owned(), None)),
                [one] if is_divided => (self.label(one).to_owned(), Some(one.clone())),
                [first, ..] => (self.label(first).to_owned(), None),
            };
            groups.entry(key).or_default().extend(family);
        }
        for targets in groups.values_mut() {
            targets.sort_unstable();
        }
        groups
    }
}

/// Returns the platforms of the targets at `chosen`, in their order.
fn platforms(targets: &[Target<'_>], chosen: &[usize]) -> Vec<Platform> {
    let all: IndexSet<&Platform> = chosen.iter().flat_map(|at| &*targets[*at].platforms).collect();
    all.into_iter().cloned().collect()
}

/// The targets that runners with a label build, for one platform or for all of theirs.
type Groups = BTreeMap<(String, Option<Platform>), Vec<usize>>;

/// Removes the platforms of images that are staged for them.
async fn remove_staged(
    context: &Context,
    recipe: &Recipe<'_>,
    groups: &mut Groups,
) -> Result<(), Report> {
    let divided = groups.iter().filter(|((_, platform), _)| platform.is_some());
    let divided: BTreeSet<usize> = divided.flat_map(|(_, targets)| targets).copied().collect();
    if divided.is_empty() {
        return Ok(());
    }
    let registries = context.brief_registries(Vec::new())?;
    let release = publish::release(recipe, false)?;
    let rows = divided.into_iter().map(|at| (at, &release.rows[at]));
    let missing = rows.filter(|(_, row)| row.is_index()).map(async |(at, row)| {
        let platforms = unstaged_platforms(&registries, row).await?;
        Ok::<_, Report>((at, platforms))
    });
    let missing: HashMap<usize, Vec<&Platform>> =
        try_join_all(missing).await?.into_iter().collect();
    for ((_, platform), targets) in &mut *groups {
        let Some(platform) = platform else { continue };
        targets.retain(|at| missing.get(at).is_none_or(|missing| missing.contains(&&*platform)));
    }
    groups.retain(|_, targets| !targets.is_empty());
    Ok(())
}

/// Divides groups into `count` jobs, or into one for each group if these are more. No job is empty, so there may be fewer.
/// Images that are based on each other are in one job, since jobs do not wait for each other.
fn divide(recipe: &Recipe<'_>, groups: Groups, count: usize) -> Vec<Job> {
    let (mut left, mut targets) = (count, groups.values().map(Vec::len).sum::<usize>());
    let mut others = groups.len();
    let mut jobs = Vec::new();
    for ((runner, platform), group) in groups {
        others -= 1;
        // Its part of the jobs that are left, rounded, but one for each of the groups after it.
        let most = left.saturating_sub(others).max(1);
        let share = ((2 * left * group.len() + targets) / (2 * targets)).clamp(1, most);
        (left, targets) = (left.saturating_sub(share), targets - group.len());
        let families = recipe.graph.families(&group);
        let shards = recipe.plan.shards(&recipe.contexts, &families, share).into_iter();
        jobs.extend(shards.map(|targets| Job {
            targets,
            runner: runner.clone(),
            platform: platform.clone(),
        }));
    }
    jobs.sort_by(|one, other| {
        one.targets.cmp(&other.targets).then_with(|| one.platform.cmp(&other.platform))
    });
    jobs
}
