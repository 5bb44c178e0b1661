//! `basegen plan` and `basegen list`: print the images. Neither needs an engine, and only `plan` without `--offline`
//! needs a registry.

use crate::error::{ExitCode, Report};
use crate::ops::plan::{PlanOutcome, PlanRequest};
use crate::ops::{self, ArgumentError};
use crate::plan;
use crate::report::escape_json;

use super::args::{ListArgs, PlanArgs, PlanFormat, PlannedArgs};
use super::{Session, jobs};

pub(super) fn plan(args: &PlanArgs, session: &Session) -> Result<ExitCode, Report> {
    if args.format == PlanFormat::Github {
        return jobs::run(&args.planned, &args.jobs, session);
    }
    let reason = "only `--format github` divides the variants among jobs";
    if let Some(shards) = args.jobs.shards {
        return Err(ArgumentError::new("--shards", &shards.to_string(), &reason).into());
    }
    if let Some(runner) = args.jobs.runner.first() {
        return Err(ArgumentError::new("--runner", runner, &reason).into());
    }
    show(&args.planned, args.format, session)
}

/// Prints the plan in any format but GitHub's.
fn show(args: &PlannedArgs, format: PlanFormat, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    if let Some(revision) = &args.since {
        let (selection, naming) = (args.selection.selection()?, args.naming.naming()?);
        let since = ops::since::compare(context, &selection, &naming, revision)?;
        printer.result(&match format {
            PlanFormat::Markdown => since.comparison.markdown(),
            PlanFormat::Json => escape_json(&since.comparison.json(revision, since.commit())),
            PlanFormat::Table | PlanFormat::Github => since.comparison.table(revision),
        });
        return Ok(ExitCode::Success);
    }
    let request = PlanRequest {
        selection: args.selection.selection()?,
        naming: args.naming.naming()?,
        offline: args.offline || format == PlanFormat::Markdown,
    };
    let PlanOutcome { plan, status } = context.block_on(ops::plan::run(context, request))?;
    printer.result(&match format {
        PlanFormat::Table | PlanFormat::Github => plan::table(&plan, status.as_deref()),
        PlanFormat::Markdown => plan::markdown(&plan),
        PlanFormat::Json => escape_json(&plan::json(&plan, status.as_deref())),
    });
    Ok(ExitCode::Success)
}

pub(super) fn list(args: &ListArgs, session: &Session) -> Result<ExitCode, Report> {
    let (selection, naming) = (args.selection.selection()?, args.naming.naming()?);
    let names = if args.all_tags {
        plan::all_names(&ops::plan::with_aliases(&session.context, &selection, &naming)?)
    } else {
        plan::names(&ops::plan::without_status(&session.context, &selection, &naming)?)
    };
    session.printer.result(&names);
    Ok(ExitCode::Success)
}
