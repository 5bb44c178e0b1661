//! `basegen plan --format github`: prints the jobs of a workflow as outputs of a step.

use serde_json::{Value as Json, json};

use crate::error::{ExitCode, Explain, FileError, Report};
use crate::ops::{
    self,
    jobs::{JobsOutcome, JobsRequest, Runners},
};
use crate::plan::Plan;
use crate::report::{MAX_OUTPUTS, Outputs, format, markdown};

use super::args::{JobsArgs, PlannedArgs};
use super::{Session, answer};

/// The longest argument or variable that Linux passes to a process, in bytes, less
/// some room for the name of the variable.
const MAX_ARGUMENTS: usize = (128 << 10) - 1024;

/// Jobs that are too large for GitHub Actions or for a process.
#[derive(Debug, thiserror::Error)]
enum FanOutError {
    #[error("the arguments of a job have {size} bytes, but a process accepts {MAX_ARGUMENTS}")]
    Arguments { size: usize },
    #[error("the outputs of the step have {size} bytes, but GitHub Actions accepts {MAX_OUTPUTS}")]
    Outputs { size: usize },
}

impl Explain for FanOutError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Arguments { .. } => "request more jobs: `--shards 256`".to_owned(),
            Self::Outputs { .. } => {
                "plan one part of the matrix at a time, for example with `--only`".to_owned()
            }
        })
    }
}

pub(super) fn run(
    args: &PlannedArgs,
    jobs: &JobsArgs,
    session: &Session,
) -> Result<ExitCode, Report> {
    let context = &session.context;
    let request = JobsRequest {
        runners: Runners::new(&jobs.runner)?,
        selection: args.selection.selection()?,
        naming: args.naming.naming()?,
        since: args.since.clone(),
        offline: args.offline,
        overwrite: jobs.overwrite,
        shards: jobs.shards,
    };
    let JobsOutcome { plan, shards, runners } =
        context.block_on(ops::jobs::run(context, request))?;
    let outputs = outputs(&plan, &shards, &runners)?;
    answer::hand_on(&outputs, &describe(&plan, &shards), session)?;
    let github = &context.settings.github;
    if let (Some(_), Some(path)) = (&github.output, &github.step_summary) {
        markdown::add(path, &summary(&plan, &shards)).map_err(FileError::summary)?;
    }
    Ok(ExitCode::Success)
}

/// Returns the outputs of the step: `matrix`, `count`, `empty` and `version`.
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

/// Describes a job: its number, a display name, the runner, the variants, and the arguments that select
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

/// Describes the jobs for the log of the step.
fn describe(plan: &Plan<'_>, shards: &[Vec<usize>]) -> String {
    let rows = shards.iter().zip(1..).map(|(shard, number)| {
        let ids: Vec<&str> = shard.iter().map(|at| plan.targets[*at].id()).collect();
        format!("job {number}: {}\n", ids.join(" "))
    });
    format!("{}{}\n", rows.collect::<String>(), counted(plan, shards))
}

/// Describes the jobs for the summary of the step.
fn summary(plan: &Plan<'_>, shards: &[Vec<usize>]) -> String {
    let rows = shards.iter().zip(1..).map(|(shard, number)| {
        let ids = shard.iter().map(|at| format!("`{}`", plan.targets[*at].id()));
        format!("| {number} | {} |\n", ids.collect::<Vec<_>>().join(" "))
    });
    let table = if shards.is_empty() {
        String::new()
    } else {
        format!("\n| job | variants |\n|--:|---|\n{}\n", rows.collect::<String>())
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

    /// Returns the outputs for so many variants, divided evenly among `jobs`.
    fn outputs_of(variants: usize, jobs: usize) -> Result<Outputs, FanOutError> {
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
    fn jobs_that_are_too_large_for_github_or_a_process_are_refused() {
        assert!(outputs_of(10_000, 2).is_ok_and(|outputs| outputs.size() < MAX_OUTPUTS));
        let refused = [outputs_of(12_000, 1), outputs_of(40_000, 256)]
            .map(|outputs| outputs.expect_err("refused"));
        let errors = refused.map(|error| Report::from(error).to_string());
        insta::assert_snapshot!(errors.join("\n\n"));
    }
}
