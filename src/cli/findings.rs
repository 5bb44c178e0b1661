//! Prints the findings of `basegen check` and `basegen lint`.

use serde_json::json;

use crate::error::ExitCode;
use crate::ops::finding::{Finding, Level};
use crate::report::{escape_json, format, github};

use super::Session;
use super::args::FindingsFormat;

/// Prints findings to stdout. `is_complete` is false if an error kept some of them from being found.
pub(super) fn print(
    findings: &[Finding],
    is_complete: bool,
    findings_format: FindingsFormat,
    session: &Session,
) {
    let Session { context, printer, .. } = session;
    let annotations = || findings.iter().map(annotation).collect::<Vec<_>>();
    match findings_format {
        FindingsFormat::Text => {
            printer.result(&findings.iter().map(Finding::line_of_text).collect::<String>());
            if context.settings.github.is_actions {
                printer.err.commands(&annotations());
            }
        }
        FindingsFormat::Github => printer.out.commands(&annotations()),
        FindingsFormat::Json => {
            let is_ok = is_complete && count_errors(findings) == 0;
            let document = json!({ "schema": 1, "ok": is_ok, "findings": findings });
            let text = serde_json::to_string_pretty(&document).expect("findings are JSON");
            printer.result(&escape_json(&text));
        }
    }
}

/// Prints how many errors there are, and returns the exit code.
pub(super) fn conclude(findings: &[Finding], session: &Session) -> ExitCode {
    match count_errors(findings) {
        0 => {
            session.printer.note("no problems found");
            ExitCode::Success
        }
        errors => {
            session.printer.message(&format!("{} found", format::count(errors, "problem")));
            ExitCode::Check
        }
    }
}

fn count_errors(findings: &[Finding]) -> usize {
    findings.iter().filter(|finding| finding.level == Level::Error).count()
}

fn annotation(finding: &Finding) -> github::Command {
    let command = if finding.level == Level::Note { "notice" } else { "error" };
    let rule = finding.rule.map(|rule| format!("{rule}: ")).unwrap_or_default();
    let hint = finding.hint.iter().map(|hint| format!("\n{hint}")).collect::<String>();
    let message = format!("{rule}{}{hint}", finding.message);
    github::at_line(command, &finding.path.to_string_lossy(), finding.line, &message)
}
