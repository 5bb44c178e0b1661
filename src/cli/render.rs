//! `basegen render`: each variant's Dockerfile and context, on disk or on stdout.

use std::collections::BTreeSet;

use crate::error::{ExitCode, Report};
use crate::plan::Lock;
use crate::render::{self, Rendered, Renderer};
use crate::report::Printer;

use super::Session;
use super::args::RenderArgs;

/// How many of the files that contexts have left out are reported by name.
const MAX_LEFT_OUT: usize = 10;

pub(super) fn run(args: &RenderArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let matrix = context.matrix()?;
    let selected = matrix.select(&args.selection.selection()?)?;
    let pins = Lock::read(&matrix)?.pins;
    let mut renderer = Renderer::new(&matrix)?.pinned(pins);
    let contexts = renderer.render_all(&selected.variants)?;
    report_left_out(&renderer.left_out(), printer);
    if let Some(folder) = &args.check {
        Rendered::new(&selected, &contexts).check(folder)?;
        printer.note(&format!("{} matches the matrix", folder.display()));
    } else if let Some(folder) = &args.output {
        let rendered = Rendered::new(&selected, &contexts);
        render::write(folder, &rendered.files)?;
        let count = contexts.len();
        printer.note(&format!("wrote {count} variants to {}", folder.display()));
        let extra = rendered.extra(folder)?;
        if !extra.is_empty() {
            let extra = render::list(&extra);
            printer.message(&format!(
                "files that the matrix no longer renders are kept; remove them yourself:{extra}"
            ));
        }
    } else {
        for (variant, context) in selected.variants.iter().zip(&contexts) {
            if contexts.len() > 1 {
                printer.result(&format!("# {}", variant.id));
            }
            printer.file(&context.dockerfile);
        }
    }
    Ok(ExitCode::Success)
}

/// Reports the files that contexts have left out.
pub(super) fn report_left_out(files: &BTreeSet<String>, printer: &Printer) {
    if files.is_empty() {
        return;
    }
    let shown: Vec<String> =
        files.iter().take(MAX_LEFT_OUT).map(|file| format!("`{file}`")).collect();
    let more = files.len().saturating_sub(MAX_LEFT_OUT);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    printer.note(&format!(
        "note: images do not get {}{more}: `.git`, `.env` and the like may hold credentials",
        shown.join(", ")
    ));
}
