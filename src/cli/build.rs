//! The main call: build what is selected, and put it where it should be.

use crate::error::{ExitCode, Report};
use crate::plan;
use crate::report::Printer;

use super::args::{BuildArgs, GlobalArgs};
use super::{Environment, selection};

pub(super) fn run(
    args: &BuildArgs,
    global: &GlobalArgs,
    _environment: &Environment,
    printer: &Printer,
) -> Result<ExitCode, Report> {
    let matrix = selection::load(&global.file)?;
    let plan = selection::plan(&matrix, &args.selection, &args.naming)?;
    if args.output.dry_run {
        printer.result(&plan::names(&plan));
        return Ok(ExitCode::Success);
    }
    Ok(ExitCode::Failure)
}
