//! `basegen plan --format github`: prints the jobs of a workflow as outputs of a step.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::error::{ExitCode, Explain, FileError, Report};
use crate::ops::{
    self,
    jobs::{Job, JobsOutcome, JobsRequest, Runners},
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
    let JobsOutcome { plan, jobs } = context.block_on(ops::jobs::run(context, request))?;
    let outputs = outputs(&plan, &jobs)?;
    answer::hand_on(&outputs, &describe(&plan, &jobs), session)?;
    let github = &context.settings.github;
    if let (Some(_), Some(path)) = (&github.output, &github.step_summary) {
        markdown::add(path, &summary(&plan, &jobs)).map_err(FileError::summary)?;
    }
    Ok(ExitCode::Success)
}

/// Returns the outputs of the step: `matrix`, `count`, `empty` and `version`.
fn outputs(plan: &Plan<'_>, jobs: &[Job]) -> Result<Outputs, FanOutError> {
    let count = built(jobs).len();
    let rows: Vec<Json> =
        jobs.iter().zip(1..).map(|(job, number)| row(plan, number, job)).collect();
    let lengths = rows.iter().filter_map(|job| job["args"].as_str()).map(str::len);
    if let Some(size) = lengths.max().filter(|size| *size > MAX_ARGUMENTS) {
        return Err(FanOutError::Arguments { size });
    }
    let version = plan.version.as_ref().map(ToString::to_string).unwrap_or_default();
    let outputs = Outputs::default()
        .with("matrix", json!({ "include": rows }))
        .with("count", count)
        .with("empty", count == 0)
        .with("version", version);
    match outputs.size() {
        size if size > MAX_OUTPUTS => Err(FanOutError::Outputs { size }),
        _ => Ok(outputs),
    }
}

/// Describes a job: its number, a display name, the runner, the variants, and the arguments that select
/// them. Ids contain only letters, digits, `.`, `_`, `+` and `-`, platforms also `/`, and need no quotes in a shell.
fn row(plan: &Plan<'_>, number: usize, job: &Job) -> Json {
    let ids = ids(plan, job);
    let mut name = match ids.len() {
        1 => ids[0].to_owned(),
        many => format!("{} and {} more", ids[0], many - 1),
    };
    let mut args = format!("--variant={}", ids.join(","));
    if let Some(platform) = &job.platform {
        name = format!("{name}, {platform}");
        args = format!("--only-platform={platform} {args}");
    }
    json!({
        "shard": number.to_string(), "name": name, "runner": job.runner, "args": args, "variants": ids,
    })
}

fn ids<'p>(plan: &'p Plan<'_>, job: &Job) -> Vec<&'p str> {
    job.targets.iter().map(|at| plan.targets[*at].id()).collect()
}

/// Describes the jobs for the log of the step.
fn describe(plan: &Plan<'_>, jobs: &[Job]) -> String {
    let rows = jobs.iter().zip(1..).map(|(job, number)| {
        let platform = job.platform.iter().map(|platform| format!(", {platform}"));
        format!("job {number}{}: {}\n", platform.collect::<String>(), ids(plan, job).join(" "))
    });
    format!("{}{}\n", rows.collect::<String>(), counted(plan, jobs))
}

/// Describes the jobs for the summary of the step.
fn summary(plan: &Plan<'_>, jobs: &[Job]) -> String {
    let rows = jobs.iter().zip(1..).map(|(job, number)| {
        let ids = ids(plan, job).into_iter().map(|id| format!("`{id}`"));
        let platform = job.platform.iter().map(|platform| format!("{platform}: "));
        let (platform, ids) = (platform.collect::<String>(), ids.collect::<Vec<_>>().join(" "));
        format!("| {number} | {platform}{ids} |\n")
    });
    let table = if jobs.is_empty() {
        String::new()
    } else {
        format!("\n| job | variants |\n|--:|---|\n{}\n", rows.collect::<String>())
    };
    format!("### basegen: {}\n{table}", counted(plan, jobs))
}

fn counted(plan: &Plan<'_>, jobs: &[Job]) -> String {
    let (count, jobs) = (built(jobs).len(), format::count(jobs.len(), "job"));
    format!("{count} of {} variants must be built, by {jobs}", plan.targets.len())
}

/// Returns the positions of all targets of `jobs`.
fn built(jobs: &[Job]) -> BTreeSet<usize> {
    jobs.iter().flat_map(|job| &job.targets).copied().collect()
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
        let jobs = all.chunks(variants.div_ceil(jobs)).map(|targets| Job {
            targets: targets.to_vec(),
            runner: "ubuntu-24.04".to_owned(),
            platform: None,
        });
        outputs(&plan, &jobs.collect::<Vec<_>>())
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
