//! `basegen plan` and `basegen list`: what would be built. Neither needs an engine.

use crate::error::{ExitCode, Report};
use crate::plan;
use crate::report::Printer;

use super::args::{GlobalArgs, ListArgs, PlanArgs, PlanFormat};
use super::{selection, since};

pub(super) fn plan(
    args: &PlanArgs,
    global: &GlobalArgs,
    printer: &Printer,
) -> Result<ExitCode, Report> {
    if let Some(revision) = &args.since {
        return since::run(args, revision, global, printer);
    }
    let matrix = selection::load(&global.file)?;
    let plan = selection::plan(&matrix, &args.selection, &args.naming)?;
    printer.result(&match args.format {
        PlanFormat::Table => plan::table(&plan),
        PlanFormat::Markdown => plan::markdown(&plan),
        PlanFormat::Json => plan::json(&plan),
    });
    Ok(ExitCode::Success)
}

pub(super) fn list(
    args: &ListArgs,
    global: &GlobalArgs,
    printer: &Printer,
) -> Result<ExitCode, Report> {
    let matrix = selection::load(&global.file)?;
    let plan = selection::plan(&matrix, &args.selection, &args.naming)?;
    printer.result(&plan::names(&plan));
    Ok(ExitCode::Success)
}
