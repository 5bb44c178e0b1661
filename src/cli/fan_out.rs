//! `basegen plan --format github`: what must be built, divided among the jobs of a workflow.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value as Json, json};

use crate::error::{ExitCode, Explain, FileError, Report};
use crate::image::Platform;
use crate::plan::{Plan, PublishedState, Target, usual_shards};
use crate::render::BuildContext;
use crate::report::{MAX_OUTPUTS, Outputs, format, markdown};

use super::args::{JobsArgs, PlannedArgs};
use super::{Session, planned, selection, since};
use crate::ops::{ArgumentError, Recipe, lookup};

/// The longest text that Linux gives a process as one argument or one variable, in bytes, less
/// some room for what stands before it.
const MAX_ARGUMENTS: usize = (128 << 10) - 1024;

/// GitHub's own runner for most platforms.
const RUNNER: &str = "ubuntu-24.04";

/// GitHub's own runner for arm64.
const ARM_RUNNER: &str = "ubuntu-24.04-arm";

/// The jobs are too large for GitHub Actions, or for the processes that they start.
#[derive(Debug, thiserror::Error)]
enum FanOutError {
    #[error("a job's arguments take {size} bytes, and a process takes {MAX_ARGUMENTS}")]
    Arguments { size: usize },
    #[error(
        "the jobs take {size} bytes as outputs of a job, and GitHub Actions takes {MAX_OUTPUTS}"
    )]
    Outputs { size: usize },
}

impl Explain for FanOutError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Arguments { .. } => "ask for more jobs: `--shards 256`".to_owned(),
            Self::Outputs { .. } => {
                "plan a part of the matrix at a time, for example with `--only`".to_owned()
            }
        })
    }
}

pub(super) fn run(
    args: &PlannedArgs,
    jobs: &JobsArgs,
    session: &Session,
) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let runners = Runners::new(&jobs.runner)?;
    let matrix = context.matrix()?;
    let plan = selection::plan(context, &args.selection, &args.naming)?;
    let recipe = Recipe::of(&plan)?;
    let contexts = recipe.contexts.clone();
    let needed: Vec<usize> = match &args.since {
        Some(revision) => {
            let chosen = args.selection.selection()?;
            let since = since::compare(matrix, &chosen, &args.naming.naming()?, revision, context)?;
            let affected = since.comparison.affected.iter();
            let ids: HashSet<&str> = affected
                .filter(|affected| affected.is_built())
                .map(|affected| affected.id.as_str())
                .collect();
            places(&plan, |at| ids.contains(plan.targets[at].id()))
        }
        None if args.offline => places(&plan, |_| true),
        None => {
            let stands =
                planned::known(context.block_on(lookup::status(context, recipe))?, printer);
            if !jobs.overwrite {
                lookup::refuse_conflicting_tags(&plan, stands.as_deref().unwrap_or_default())?;
            }
            places(&plan, |at| {
                let known = stands.as_ref().map(|stands| (stands[at].state, stands[at].is_checked));
                let is_there = matches!(
                    known,
                    Some((PublishedState::Published | PublishedState::Missing, true))
                );
                !is_there
            })
        }
    };
    let count = jobs.shards.map_or_else(|| usual_shards(needed.len()), usize::from);
    let shards = runners.divide(&plan, &contexts, &needed, count);
    let outputs = outputs(&plan, &shards, &runners)?;
    match &context.settings.github.output {
        Some(path) => {
            outputs.append(path).map_err(FileError::outputs)?;
            printer.done(&told(&plan, &shards));
            if let Some(path) = &context.settings.github.step_summary {
                markdown::add(path, &summary(&plan, &shards)).map_err(FileError::summary)?;
            }
        }
        None => printer.result(&outputs.to_string()),
    }
    Ok(ExitCode::Success)
}

/// The targets of which something holds.
fn places(plan: &Plan<'_>, holds: impl Fn(usize) -> bool) -> Vec<usize> {
    (0..plan.targets.len()).filter(|at| holds(*at)).collect()
}

/// The labels of the runners that jobs ask for.
#[derive(Default)]
struct Runners {
    /// Those of the command line, by the platform that they build.
    given: Vec<(Platform, String)>,
}

impl Runners {
    fn new(arguments: &[String]) -> Result<Self, ArgumentError> {
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
    fn label(&self, target: &Target<'_>) -> &str {
        let first = target.platforms.first();
        let given = self.given.iter().rfind(|(platform, _)| Some(platform) == first);
        match given {
            Some((_, label)) => label,
            None if first.is_some_and(|platform| platform.architecture() == "arm64") => ARM_RUNNER,
            None => RUNNER,
        }
    }

    /// Divides the targets at `chosen` into `count` jobs. A job has one kind of runner, so more
    /// kinds than `count` give more jobs. No job is empty, so there may be fewer.
    fn divide(
        &self,
        plan: &Plan<'_>,
        contexts: &[BuildContext],
        chosen: &[usize],
        count: usize,
    ) -> Vec<Vec<usize>> {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for at in chosen {
            groups.entry(self.label(&plan.targets[*at])).or_default().push(*at);
        }
        let (mut jobs, mut targets, mut others) = (count, chosen.len(), groups.len());
        let mut shards = Vec::new();
        for group in groups.values() {
            others -= 1;
            // Its part of the jobs that are left, but one for each of the groups after it.
            let most = jobs.saturating_sub(others).max(1);
            let share = (jobs * group.len() / targets).clamp(1, most);
            (jobs, targets) = (jobs.saturating_sub(share), targets - group.len());
            shards.extend(plan.shards(contexts, group, share));
        }
        shards.sort_unstable();
        shards
    }
}

/// The outputs of the step: `matrix`, `count`, `empty` and `version`.
fn outputs(
    plan: &Plan<'_>,
    shards: &[Vec<usize>],
    runners: &Runners,
) -> Result<Outputs, FanOutError> {
    let jobs = shards.iter().zip(1..).map(|(shard, number)| job(plan, number, shard, runners));
    let jobs: Vec<Json> = jobs.collect();
    let lengths = jobs.iter().filter_map(|job| job["args"].as_str()).map(str::len);
    if let Some(size) = lengths.max().filter(|size| *size > MAX_ARGUMENTS) {
        return Err(FanOutError::Arguments { size });
    }
    let count: usize = shards.iter().map(Vec::len).sum();
    let version = plan.version.as_ref().map(ToString::to_string).unwrap_or_default();
    let outputs = Outputs::default()
        .with("matrix", json!({ "include": jobs }))
        .with("count", count)
        .with("empty", count == 0)
        .with("version", version);
    match outputs.size() {
        size if size > MAX_OUTPUTS => Err(FanOutError::Outputs { size }),
        _ => Ok(outputs),
    }
}

/// One job: its number, a name for people, the runner, the variants, and the arguments that select
/// them. Ids contain only letters, digits, `.`, `_`, `+` and `-`, and need no quotes in a shell.
fn job(plan: &Plan<'_>, number: usize, shard: &[usize], runners: &Runners) -> Json {
    let ids: Vec<&str> = shard.iter().map(|at| plan.targets[*at].id()).collect();
    let name = match ids.len() {
        1 => ids[0].to_owned(),
        many => format!("{} and {} more", ids[0], many - 1),
    };
    let args = format!("--variant={}", ids.join(","));
    let runner = runners.label(&plan.targets[shard[0]]);
    json!({
        "shard": number.to_string(), "name": name, "runner": runner, "args": args, "variants": ids,
    })
}

/// What is told in the log of the step, where the outputs are in their file.
fn told(plan: &Plan<'_>, shards: &[Vec<usize>]) -> String {
    let rows = shards.iter().zip(1..).map(|(shard, number)| {
        let ids: Vec<&str> = shard.iter().map(|at| plan.targets[*at].id()).collect();
        format!("job {number}: {}\n", ids.join(" "))
    });
    format!("{}{}\n", rows.collect::<String>(), counted(plan, shards))
}

/// The same for the summary of the step.
fn summary(plan: &Plan<'_>, shards: &[Vec<usize>]) -> String {
    let rows = shards.iter().zip(1..).map(|(shard, number)| {
        let ids = shard.iter().map(|at| format!("`{}`", plan.targets[*at].id()));
        format!("| {number} | {} |\n", ids.collect::<Vec<_>>().join(" "))
    });
    let table = match shards.is_empty() {
        true => String::new(),
        false => format!("\n| job | variants |\n|--:|---|\n{}\n", rows.collect::<String>()),
    };
    format!("### basegen: {}\n{table}", counted(plan, shards))
}

fn counted(plan: &Plan<'_>, shards: &[Vec<usize>]) -> String {
    let count: usize = shards.iter().map(Vec::len).sum();
    let jobs = format::count(shards.len(), "job");
    format!("{count} of {} variants must be built, by {jobs}", plan.targets.len())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::matrix::{self, Selection};
    use crate::plan::PlanRequest;

    /// What is said of a matrix of so many variants, of which each of `jobs` gets as many.
    fn of(variants: usize, jobs: usize) -> Result<Outputs, FanOutError> {
        let models: Vec<String> = (0..variants).map(|model| format!("\"model-{model}\"")).collect();
        let text = format!(
            "[image]\nrepository = \"acme/base\"\ndockerfile = \"Dockerfile.hbs\"\n\
             platforms = [\"linux/amd64\"]\n[axes]\nmodel = [{}]\n",
            models.join(", ")
        );
        let matrix = matrix::parse(Path::new("matrix.toml"), &text).expect("a matrix");
        let selected = matrix.select(&Selection::default()).expect("all");
        let request = PlanRequest { version: "v1".parse().ok(), ..PlanRequest::default() };
        let plan = Plan::new(&matrix, &selected, request).expect("a plan");
        let all: Vec<usize> = (0..variants).collect();
        let shards: Vec<Vec<usize>> =
            all.chunks(variants.div_ceil(jobs)).map(<[usize]>::to_vec).collect();
        outputs(&plan, &shards, &Runners::default())
    }

    #[test]
    fn what_neither_github_nor_a_process_takes_is_refused() {
        assert!(of(10_000, 2).is_ok_and(|outputs| outputs.size() < MAX_OUTPUTS));
        let refused = [of(12_000, 1), of(40_000, 256)].map(|outputs| outputs.expect_err("refused"));
        let told = refused.map(|error| Report::from(error).to_string());
        insta::assert_snapshot!(told.join("\n\n"));
    }
}
