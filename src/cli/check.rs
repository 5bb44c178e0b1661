//! `basegen check`: prints the findings.

use serde_json::json;

use crate::error::{ExitCode, Report};
use crate::ops::{
    self,
    check::{CheckRequest, CheckResult, Finding, Level},
};
use crate::report::{escape_json, format, github};

use super::Session;
use super::args::{CheckArgs, FindingsFormat};

pub(super) fn run(args: &CheckArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let CheckArgs { offline, fix, strict, released, allow_unbumped, format } = *args;
    let request = CheckRequest { offline, fix, strict, released, allow_unbumped };
    let CheckResult { findings, lookup_error } =
        context.block_on(ops::check::run(context, request))?;
    let errors = findings.iter().filter(|finding| finding.level == Level::Error).count();
    let annotations = || findings.iter().map(annotation).collect::<Vec<_>>();
    match format {
        FindingsFormat::Text => {
            printer.result(&findings.iter().map(line).collect::<String>());
            if context.settings.github.is_actions {
                printer.err.commands(&annotations());
            }
        }
        FindingsFormat::Github => printer.out.commands(&annotations()),
        FindingsFormat::Json => {
            let is_ok = errors == 0 && lookup_error.is_none();
            let document = json!({ "schema": 1, "ok": is_ok, "findings": findings });
            let text = serde_json::to_string_pretty(&document).expect("findings are JSON");
            printer.result(&escape_json(&text));
        }
    }
    if let Some(error) = lookup_error {
        return Err(error);
    }
    if errors == 0 {
        printer.note("no problems found");
        return Ok(ExitCode::Success);
    }
    printer.message(&format!("{} found", format::count(errors, "problem")));
    Ok(ExitCode::Check)
}

/// Formats a finding as `path:line: message (hint)`.
fn line(finding: &Finding) -> String {
    let Finding { path, line, level, message, hint, .. } = finding;
    let note = if *level == Level::Note { "note: " } else { "" };
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let hint = hint.iter().map(|hint| format!(" ({hint})")).collect::<String>();
    format!("{}:{line}: {note}{message}{hint}\n", path.display())
}

fn annotation(finding: &Finding) -> github::Command {
    let command = if finding.level == Level::Note { "notice" } else { "error" };
    let hint = finding.hint.iter().map(|hint| format!("\n{hint}")).collect::<String>();
    let message = format!("{}{hint}", finding.message);
    github::at_line(command, &finding.path.to_string_lossy(), finding.line, &message)
}
