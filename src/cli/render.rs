//! `basegen render`: writes, compares or prints rendered variants.

use crate::error::{ExitCode, Report};
use crate::ops::{
    self,
    render::{RenderOutcome, RenderTarget},
};
use crate::render;
use crate::report::format;

use super::Session;
use super::args::RenderArgs;

pub(super) fn run(args: &RenderArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let target = match (&args.check, &args.output) {
        (Some(folder), _) => RenderTarget::Check(folder.clone()),
        (None, Some(folder)) => RenderTarget::Write(folder.clone()),
        (None, None) => RenderTarget::Print,
    };
    let outcome = ops::render::run(context, &args.selection.selection()?, &target)?;
    let RenderOutcome { dockerfiles, count, extra } = outcome;
    match target {
        RenderTarget::Check(folder) => {
            printer.note(&format!("{} matches the matrix", folder.display()));
        }
        RenderTarget::Write(folder) => {
            let variants = format::count(count, "variant");
            printer.note(&format!("wrote {variants} to {}", folder.display()));
            if !extra.is_empty() {
                let extra = render::list(&extra);
                printer.message(&format!(
                    "files that the matrix no longer renders are kept; remove them yourself:{extra}"
                ));
            }
        }
        RenderTarget::Print => {
            let several = dockerfiles.len() > 1;
            for (id, dockerfile) in dockerfiles {
                if several {
                    printer.result(&format!("# {id}"));
                }
                printer.file(&dockerfile);
            }
        }
    }
    Ok(ExitCode::Success)
}
