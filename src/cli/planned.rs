//! `basegen plan` and `basegen list`: what would be built. Neither needs an engine or a network;
//! where there is one, `plan` says how each image stands to what is published.

use crate::error::{ExitCode, Report};
use crate::plan;
use crate::report::{Printer, escape_json};

use super::args::{GlobalArgs, ListArgs, PlanArgs, PlanFormat, PlannedArgs};
use super::recipe::Recipe;
use super::selection::ArgumentError;
use super::{Environment, fan_out, selection, since, stands};

pub(super) fn plan(
    args: &PlanArgs,
    global: &GlobalArgs,
    environment: &Environment,
    printer: &Printer,
) -> Result<ExitCode, Report> {
    if args.format == PlanFormat::Github {
        return fan_out::run(&args.planned, &args.jobs, global, environment, printer);
    }
    let reason = "only `--format github` divides the variants among jobs";
    if let Some(shards) = args.jobs.shards {
        return Err(ArgumentError::new("--shards", &shards.to_string(), &reason).into());
    }
    if let Some(runner) = args.jobs.runner.first() {
        return Err(ArgumentError::new("--runner", runner, &reason).into());
    }
    show(&args.planned, args.format, global, environment, printer)
}

/// Prints the plan in any format but GitHub's.
pub(super) fn show(
    args: &PlannedArgs,
    format: PlanFormat,
    global: &GlobalArgs,
    environment: &Environment,
    printer: &Printer,
) -> Result<ExitCode, Report> {
    if let Some(revision) = &args.since {
        return since::run(args, format, revision, global, printer);
    }
    let matrix = selection::load(global)?;
    let plan = selection::plan(&matrix, &args.selection, &args.naming)?;
    if args.offline || format == PlanFormat::Markdown {
        Recipe::check_templates(&plan)?;
    }
    let statuses = match format {
        PlanFormat::Markdown => None,
        _ => stands::of(args, &plan, environment, printer)?,
    };
    printer.result(&match format {
        PlanFormat::Table | PlanFormat::Github => plan::table(&plan, statuses.as_deref()),
        PlanFormat::Markdown => plan::markdown(&plan),
        PlanFormat::Json => escape_json(&plan::json(&plan, statuses.as_deref())),
    });
    Ok(ExitCode::Success)
}

pub(super) fn list(
    args: &ListArgs,
    global: &GlobalArgs,
    printer: &Printer,
) -> Result<ExitCode, Report> {
    let matrix = selection::load(global)?;
    let plan = selection::plan(&matrix, &args.selection, &args.naming)?;
    Recipe::check_templates(&plan)?;
    printer.result(&plan::names(&plan));
    Ok(ExitCode::Success)
}
