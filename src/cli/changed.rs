//! `basegen changed`: the questions of release workflows. Did the version change, and must images be built?

use serde_json::json;

use crate::error::{ExitCode, Report};
use crate::ops::{self, changed::ChangedOutcome};
use crate::report::{Outputs, escape_json};
use crate::version::Version;

use super::args::{AnswerFormat, ChangedArgs};
use super::{Session, answer};

pub(super) fn run(args: &ChangedArgs, session: &Session) -> Result<ExitCode, Report> {
    let outcome = ops::changed::run(&session.context, &args.since)?;
    let text = text(&outcome, &args.since);
    match args.format {
        AnswerFormat::Text => session.printer.result(&text),
        AnswerFormat::Json => session.printer.result(&escape_json(&json(&outcome, &args.since))),
        AnswerFormat::Github => answer::hand_on(&outputs(&outcome), &text, session)?,
    }
    Ok(if args.exit_code && outcome.has_changed() { ExitCode::Drift } else { ExitCode::Success })
}

fn text(outcome: &ChangedOutcome, revision: &str) -> String {
    let version = match (&outcome.before, &outcome.now) {
        (None, None) => String::new(),
        (Some(before), Some(now)) if before == now => {
            format!("the version is {now}, unchanged since {revision}\n\n")
        }
        (Some(before), Some(now)) => format!("the version has changed: {before} → {now}\n\n"),
        (None, Some(now)) => format!("the version has changed: none → {now}\n\n"),
        (Some(before), None) => format!("the version has changed: {before} → none\n\n"),
    };
    format!("{version}{}", outcome.since.comparison.table(revision))
}

fn json(outcome: &ChangedOutcome, revision: &str) -> String {
    let variants = outcome.variants_to_build();
    let document = json!({
        "schema": 1,
        "since": revision,
        "commit": outcome.since.commit(),
        "version_changed": outcome.is_version_changed(),
        "version_before": outcome.before,
        "version": outcome.now,
        "images_changed": !variants.is_empty(),
        "variants": variants,
        "count": variants.len(),
        "affected": outcome.since.comparison.affected_json(),
    });
    format!("{}\n", serde_json::to_string_pretty(&document).expect("a change is JSON"))
}

fn outputs(outcome: &ChangedOutcome) -> Outputs {
    let variants = outcome.variants_to_build();
    let word =
        |version: &Option<Version>| version.as_ref().map(ToString::to_string).unwrap_or_default();
    Outputs::default()
        .with("version_changed", outcome.is_version_changed())
        .with("version_before", word(&outcome.before))
        .with("version", word(&outcome.now))
        .with("images_changed", !variants.is_empty())
        .with("variants", json!(variants))
        .with("count", variants.len())
}
