//! `basegen export bake`: prints or writes the plan for `docker buildx bake`.

use crate::error::{ExitCode, Report};
use crate::ops::{
    self,
    export::{ExportOutcome, ExportRequest, FILE},
};
use crate::report::escape_json;

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
    match context.block_on(ops::export::run(context, request))? {
        ExportOutcome::Written { folder, stale } => {
            let folder = folder.display();
            printer.note(&format!(
                "wrote {FILE} to {folder}; build it there: cd {folder} && docker buildx bake"
            ));
            for context in stale {
                let context = context.display();
                printer.message(&format!("{context} is no longer used; remove it yourself"));
            }
        }
        ExportOutcome::File(text) => printer.result(&escape_json(&text)),
    }
    Ok(ExitCode::Success)
}
