//! `basegen bump`: writes a new version to every place that contains it.

use serde_json::json;

use crate::error::{ExitCode, Report};
use crate::ops;
use crate::ops::bump::{BumpOutcome, BumpRequest};
use crate::report::{Outputs, escape_json, format};
use crate::version::{self, Prerelease};

use super::args::{AnswerFormat, BumpArgs, PrereleaseKind};
use super::{Session, answer};

pub(super) fn run(args: &BumpArgs, session: &Session) -> Result<ExitCode, Report> {
    let context = &session.context;
    let request = BumpRequest {
        to: args.to.clone(),
        prerelease: args.pre.map(|kind| match kind {
            PrereleaseKind::Dev => Prerelease::Dev,
            PrereleaseKind::Alpha => Prerelease::Alpha,
            PrereleaseKind::Beta => Prerelease::Beta,
            PrereleaseKind::Rc => Prerelease::Rc,
        }),
        allow_downgrade: args.allow_downgrade,
        if_changed: args.if_changed,
        since: args.since.clone(),
        dry_run: args.dry_run,
    };
    if args.format == AnswerFormat::Github && !args.dry_run {
        answer::check(context)?;
    }
    let outcome = context.block_on(ops::bump::run(context, request))?;
    print(&outcome, args, session)?;
    Ok(ExitCode::Success)
}

fn print(outcome: &BumpOutcome, args: &BumpArgs, session: &Session) -> Result<(), Report> {
    let printer = &session.printer;
    if args.dry_run && args.format == AnswerFormat::Text {
        printer.note(&headline(outcome));
        printer.result(&version::diff(&outcome.edits));
        return Ok(());
    }
    match args.format {
        AnswerFormat::Text => printer.done(&text(outcome)),
        AnswerFormat::Json => printer.result(&escape_json(&json(outcome, args.dry_run))),
        // Later steps would read the outputs as done.
        AnswerFormat::Github if args.dry_run => printer.result(&outputs(outcome).to_string()),
        AnswerFormat::Github => answer::hand_on(&outputs(outcome), &text(outcome), session)?,
    }
    Ok(())
}

fn files(outcome: &BumpOutcome) -> Vec<String> {
    outcome.edits.iter().map(|edit| edit.path.display().to_string()).collect()
}

fn headline(outcome: &BumpOutcome) -> String {
    let BumpOutcome { before, now, edits, unchanged } = outcome;
    if let Some(reason) = unchanged {
        format!("the version stays {now}: {reason}")
    } else if before != now {
        format!("{before} → {now}")
    } else if edits.is_empty() {
        format!("the version is {now} already")
    } else {
        format!("the version is {now}, now in {} more", format::count(edits.len(), "file"))
    }
}

fn text(outcome: &BumpOutcome) -> String {
    let files = files(outcome).into_iter().map(|file| format!("\n  {file}"));
    format!("{}{}\n", headline(outcome), files.collect::<String>())
}

fn json(outcome: &BumpOutcome, dry_run: bool) -> String {
    let document = json!({
        "schema": 1,
        "version_changed": outcome.before != outcome.now,
        "version_before": outcome.before,
        "version": outcome.now,
        "files": files(outcome),
        "reason": outcome.unchanged,
        "diff": dry_run.then(|| version::diff(&outcome.edits)),
    });
    format!("{}\n", serde_json::to_string_pretty(&document).expect("an answer is JSON"))
}

fn outputs(outcome: &BumpOutcome) -> Outputs {
    Outputs::default()
        .with("version_changed", outcome.before != outcome.now)
        .with("version_before", &outcome.before)
        .with("version", &outcome.now)
        .with("files", json!(files(outcome)))
}
