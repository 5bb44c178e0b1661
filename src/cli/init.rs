//! `basegen init`: prints the files of a new repository.

use std::fmt::Write as _;
use std::path::Path;

use crate::error::{ExitCode, Report};
use crate::init::{Finding, Outcome};
use crate::matrix::is_invisible;
use crate::ops::{
    self,
    init::{InitRequest, NewFile},
};
use crate::plan::columns;
use crate::report::Printer;

use super::args::InitArgs;

pub(super) fn run(args: &InitArgs, printer: &Printer) -> Result<ExitCode, Report> {
    let InitArgs { folder, from, force, dry_run } = args.clone();
    // Printed paths do not begin with a dot.
    let folder = folder.strip_prefix(".").map(Path::to_owned).unwrap_or(folder);
    let outcome = ops::init::run(&InitRequest { folder: folder.clone(), from, force, dry_run })?;
    for NewFile { path, is_unchanged } in &outcome.files {
        let action = match (is_unchanged, dry_run) {
            (true, _) => "unchanged",
            (false, true) => "would write",
            (false, false) => "wrote",
        };
        let line = format!("{action} {}", path.display());
        if dry_run { printer.result(&line) } else { printer.done(&line) }
    }
    for import in &outcome.imports {
        printer.result(&list_findings(&import.origin, &import.image.findings));
    }
    if !dry_run {
        printer.done(&next_steps(&folder, outcome.needs_action));
    }
    Ok(ExitCode::Success)
}

/// Lists the imported keys of an origin, and those that were left out.
fn list_findings(origin: &str, findings: &[Finding]) -> String {
    let (taken, left): (Vec<&Finding>, Vec<&Finding>) =
        findings.iter().partition(|finding| matches!(finding.outcome, Outcome::Imported(_)));
    let mut text = String::new();
    for (title, findings) in [("imported", taken), ("not imported", left)] {
        let rows = findings.into_iter().map(|finding| {
            let (Outcome::Imported(text) | Outcome::Skipped(text)) = &finding.outcome;
            let place = format!("  {origin}:{}", finding.line);
            [&place, &finding.what, text].map(|cell| escape_invisible(cell)).to_vec()
        });
        let rows: Vec<Vec<String>> = rows.collect();
        if !rows.is_empty() {
            let list = columns(&rows);
            write!(text, "\n{title} from {origin}:\n{list}")
                .expect("writing to memory does not fail");
        }
    }
    text
}

fn escape_invisible(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if is_invisible(c) {
            escaped.extend(c.escape_debug());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn next_steps(folder: &Path, needs_action: bool) -> String {
    let file = if folder == Path::new("") {
        String::new()
    } else {
        format!(" -f {}", folder.join("matrix.toml").display())
    };
    let action = if needs_action {
        "  in .github/workflows/base-images.yml, name the action that installs basegen: this build of\n  \
         basegen is not from a release\n"
    } else {
        ""
    };
    format!(
        "\nnext:\n  \
         check matrix.toml: the names of the images are a guess\n  \
         basegen plan{file}    list the images\n  \
         basegen{file}         build and check them, into the engine\n  \
         basegen update{file}  pin their base images\n{action}"
    )
}
