//! `basegen export bake`: writes the plan for `docker buildx bake`.

use crate::error::{ExitCode, Report};
use crate::ops::{
    self,
    export::{ExportRequest, FILE},
};

use super::Session;
use super::args::{ExportBakeArgs, ExportCommand};

pub(super) fn run(command: &ExportCommand, session: &Session) -> Result<ExitCode, Report> {
    let ExportCommand::Bake(args) = command;
    let ExportBakeArgs { selection, naming, output, offline } = args;
    let Session { context, printer, .. } = session;
    let request = ExportRequest {
        selection: selection.selection()?,
        naming: naming.naming()?,
        offline: *offline,
        certificates: ops::inputs::ca_certificates(context.matrix()?, None, &context.settings)?,
        output: output.clone(),
    };
    let stale = context.block_on(ops::export::run(context, request))?;
    let folder = output.display();
    printer.note(&format!(
        "wrote {FILE} to {folder}; build it there: cd {folder} && docker buildx bake"
    ));
    for context in stale {
        let context = context.display();
        printer.message(&format!("{context} is no longer used; remove it yourself"));
    }
    Ok(ExitCode::Success)
}
