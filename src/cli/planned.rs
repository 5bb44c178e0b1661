//! `basegen plan` and `basegen list`: what would be built. Neither needs an engine or a network;
//! where there is one, `plan` says how each image stands to what is published.

use crate::error::{ExitCode, Explain as _, Report, one_line};
use crate::ops::list::ListRequest;
use crate::ops::plan::{PlanOutcome, PlanRequest};
use crate::ops::{self, ArgumentError, StatusLookup};
use crate::plan::{self, PublicationStatus};
use crate::report::{Printer, escape_json};

use super::args::{ListArgs, PlanArgs, PlanFormat, PlannedArgs};
use super::{Session, fan_out, since};

pub(super) fn plan(args: &PlanArgs, session: &Session) -> Result<ExitCode, Report> {
    if args.format == PlanFormat::Github {
        return fan_out::run(&args.planned, &args.jobs, session);
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
pub(super) fn show(
    args: &PlannedArgs,
    format: PlanFormat,
    session: &Session,
) -> Result<ExitCode, Report> {
    if let Some(revision) = &args.since {
        return since::run(args, format, revision, session);
    }
    let Session { context, printer, .. } = session;
    let request = PlanRequest {
        selection: args.selection.selection()?,
        naming: args.naming.naming()?,
        offline: args.offline || format == PlanFormat::Markdown,
    };
    let PlanOutcome { plan, status } = context.block_on(ops::plan::run(context, request))?;
    let status = status.and_then(|status| known(status, printer));
    printer.result(&match format {
        PlanFormat::Table | PlanFormat::Github => plan::table(&plan, status.as_deref()),
        PlanFormat::Markdown => plan::markdown(&plan),
        PlanFormat::Json => escape_json(&plan::json(&plan, status.as_deref())),
    });
    Ok(ExitCode::Success)
}

/// Returns the status of each target; warns if a registry did not answer.
pub(super) fn known(status: StatusLookup, printer: &Printer) -> Option<Vec<PublicationStatus>> {
    match status {
        StatusLookup::Known(status) => Some(status),
        StatusLookup::Failed(error) => {
            let problem = one_line(&error);
            let remedy = error.hint().map(|hint| format!("{hint}; ")).unwrap_or_default();
            printer.message(&format!(
                "warning: nothing is known of what is published: {problem}\n\
                 hint: {remedy}`--offline` does not ask\n"
            ));
            None
        }
    }
}

pub(super) fn list(args: &ListArgs, session: &Session) -> Result<ExitCode, Report> {
    let request =
        ListRequest { selection: args.selection.selection()?, naming: args.naming.naming()? };
    session.printer.result(&plan::names(&ops::list::run(&session.context, request)?));
    Ok(ExitCode::Success)
}
