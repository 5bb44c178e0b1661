use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// A problem that `basegen check` or `basegen lint` found.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The file, relative to the working directory.
    pub path: PathBuf,
    pub line: usize,
    /// The column, from 1, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    pub level: Level,
    /// The subject of the check.
    pub check: &'static str,
    /// The id of the rule of a contract.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'static str>,
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The severity of a [`Finding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    /// Does not fail the check.
    Note,
}

impl fmt::Display for Finding {
    /// Writes `path:line:column: rule: message (hint)` in one line, without the level.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: ", self.path.display(), self.place())?;
        formatter.write_str(&self.text())
    }
}

impl Finding {
    /// Returns the line, with the column if it is known.
    fn place(&self) -> String {
        let column = self.column.map(|column| format!(":{column}")).unwrap_or_default();
        format!("{}{column}", self.line)
    }

    /// Returns `path:line:column: ` and the text after it, `note: ` first if it is a note.
    #[must_use]
    pub fn line_of_text(&self) -> String {
        let note = if self.level == Level::Note { "note: " } else { "" };
        format!("{}:{}: {note}{}\n", self.path.display(), self.place(), self.text())
    }

    fn text(&self) -> String {
        let message = self.message.split_whitespace().collect::<Vec<_>>().join(" ");
        let rule = self.rule.map(|rule| format!("{rule}: ")).unwrap_or_default();
        let hint = self.hint.iter().map(|hint| format!(" ({hint})")).collect::<String>();
        format!("{rule}{message}{hint}")
    }
}
