//! `basegen check`: whether everything that repeats something is in step with it.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;

use crate::error::{ExitCode, Report};
use crate::report::{escape_json, format, github};

use super::args::{CheckArgs, FindingsFormat};
use super::{Session, findings};

/// Something that is out of step.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    /// The file, as the user would name it.
    pub(super) path: PathBuf,
    /// Its line, from 1.
    pub(super) line: usize,
    /// How bad it is.
    pub(super) level: Level,
    /// What has been looked at.
    pub(super) check: &'static str,
    /// What is wrong.
    pub(super) message: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// It must be mended.
    Error,
    /// It is worth knowing.
    Note,
}

impl Finding {
    /// `path:line: what (how to mend it)`
    fn line(&self) -> String {
        let note = if self.level == Level::Note { "note: " } else { "" };
        let hint = self.hint.iter().map(|hint| format!(" ({hint})")).collect::<String>();
        format!("{}:{}: {note}{}{hint}\n", self.path.display(), self.line, one_line(&self.message))
    }

    fn annotation(&self) -> github::Command {
        let command = if self.level == Level::Note { "notice" } else { "error" };
        let hint = self.hint.iter().map(|hint| format!("\n{hint}")).collect::<String>();
        let message = format!("{}{hint}", self.message);
        github::at_line(command, &self.path.to_string_lossy(), self.line, &message)
    }
}

fn annotations(found: &[Finding]) -> Vec<github::Command> {
    found.iter().map(Finding::annotation).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn run(args: &CheckArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let matrix = context.matrix()?;
    let findings::Found { findings: mut found, unasked } = findings::of(&matrix, args, session)?;
    found.sort_by_key(|finding| finding.level == Level::Note);
    let wrong = found.iter().filter(|finding| finding.level == Level::Error).count();
    match args.format {
        FindingsFormat::Text => {
            printer.result(&found.iter().map(Finding::line).collect::<String>());
            if context.settings.github.is_actions {
                printer.err.commands(&annotations(&found));
            }
        }
        FindingsFormat::Github => {
            printer.out.commands(&annotations(&found));
        }
        FindingsFormat::Json => {
            let document =
                json!({ "schema": 1, "ok": wrong == 0 && unasked.is_none(), "findings": found });
            let text = serde_json::to_string_pretty(&document).expect("findings are JSON");
            printer.result(&escape_json(&text));
        }
    }
    if let Some(error) = unasked {
        return Err(error);
    }
    if wrong == 0 {
        printer.note("everything is in step");
        return Ok(ExitCode::Success);
    }
    printer.message(&format!("{} out of step", format::count(wrong, "thing")));
    Ok(ExitCode::Check)
}
