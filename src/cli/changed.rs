//! `basegen changed`: what release workflows ask first. Did the version change, and must images be
//! built? Needs git alone.

use serde_json::json;

use crate::error::{ExitCode, Report};
use crate::matrix::Selection;
use crate::report::{Outputs, escape_json};
use crate::version::{self, Version};

use super::args::{AnswerFormat, ChangedArgs};
use super::since::{self, Since};
use super::{Session, answer};
use crate::ops::Naming;

pub(super) fn run(args: &ChangedArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let matrix = context.matrix()?;
    let table = matrix.version.as_ref();
    let now = table.map(|table| version::read(table, &matrix.checkout)).transpose()?;
    let naming = Naming::default();
    let since = since::compare(matrix, &Selection::default(), &naming, &args.since, context)?;
    let change = Change { before: since.version()?, now, since: &since, revision: &args.since };
    match args.format {
        AnswerFormat::Text => printer.result(&change.text()),
        AnswerFormat::Json => printer.result(&escape_json(&change.json())),
        AnswerFormat::Github => {
            answer::hand_on(&change.outputs(), &change.text(), session)?;
        }
    }
    let has_changed = change.of_version() || !change.to_build().is_empty();
    Ok(if args.exit_code && has_changed { ExitCode::Drift } else { ExitCode::Success })
}

struct Change<'a> {
    before: Option<Version>,
    now: Option<Version>,
    since: &'a Since,
    revision: &'a str,
}

impl Change<'_> {
    /// Whether tags have another version than they had.
    fn of_version(&self) -> bool {
        self.before != self.now
    }

    /// The variants whose images must be built.
    fn to_build(&self) -> Vec<&str> {
        let affected = self.since.comparison.affected.iter();
        affected.filter(|row| row.is_built()).map(|row| row.id.as_str()).collect()
    }

    fn text(&self) -> String {
        let version = match (&self.before, &self.now) {
            (None, None) => String::new(),
            (before, Some(now)) if before.as_ref() == Some(now) => {
                format!("the version is {now}, as at {}\n\n", self.revision)
            }
            (Some(before), Some(now)) => format!("the version has changed: {before} → {now}\n\n"),
            (None, Some(now)) => {
                format!("the version has changed: it is {now}, there was none\n\n")
            }
            (Some(before), None) => format!("the version has changed: it was {before}\n\n"),
        };
        format!("{version}{}", self.since.comparison.table(self.revision))
    }

    fn json(&self) -> String {
        let document = json!({
            "schema": 1,
            "since": self.revision,
            "commit": self.since.snapshot.commit(),
            "version_changed": self.of_version(),
            "version_before": self.before,
            "version": self.now,
            "images_changed": !self.to_build().is_empty(),
            "variants": self.to_build(),
            "count": self.to_build().len(),
            "affected": self.since.comparison.affected_json(),
        });
        format!("{}\n", serde_json::to_string_pretty(&document).expect("a change is JSON"))
    }

    fn outputs(&self) -> Outputs {
        let word = |version: &Option<Version>| {
            version.as_ref().map(ToString::to_string).unwrap_or_default()
        };
        Outputs::default()
            .with("version_changed", self.of_version())
            .with("version_before", word(&self.before))
            .with("version", word(&self.now))
            .with("images_changed", !self.to_build().is_empty())
            .with("variants", json!(self.to_build()))
            .with("count", self.to_build().len())
    }
}
