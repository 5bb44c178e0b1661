//! `basegen status`: prints how a release differs from its registry.

use std::fmt::Write as _;

use serde_json::json;

use crate::error::{ExitCode, Report};
use crate::ops::{
    self,
    status::{StatusOutcome, StatusRequest},
};
use crate::plan;
use crate::publish::Finding;
use crate::report::{escape_json, format};

use super::Session;
use super::args::{StatusArgs, TextFormat};

pub(super) fn run(args: &StatusArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let request = StatusRequest { version: args.version.clone(), naming: args.naming.naming()? };
    let outcome = context.block_on(ops::status::run(context, request))?;
    printer.result(&match args.format {
        TextFormat::Table => table(&outcome),
        TextFormat::Json => escape_json(&json(&outcome)),
    });
    Ok(if outcome.is_intact() { ExitCode::Success } else { ExitCode::Drift })
}

fn table(outcome: &StatusOutcome) -> String {
    let mut rows = vec![["VARIANT", "STATE", "IMAGE"].map(str::to_owned).to_vec()];
    for image in &outcome.images {
        let reference = format!("{}@{}", image.image.reference, image.image.digest);
        rows.push(vec![image.id.clone(), image.finding.word().to_owned(), reference]);
    }
    for alias in &outcome.stray_aliases {
        let finding = if alias.found.is_some() { Finding::Moved } else { Finding::Untagged };
        let reference = format!("{}@{}", alias.reference, alias.digest);
        rows.push(vec![alias.id.clone(), finding.word().to_owned(), reference]);
    }
    let mut text = format!("{}\n{}\n", plan::columns(&rows), summary(outcome));
    let stray = outcome.stray_aliases.len();
    if stray > 0 {
        let aliases = if stray == 1 { "alias does" } else { "aliases do" };
        let _ = writeln!(
            text,
            "{stray} {aliases} not point to this release; `basegen --push` moves them"
        );
    }
    text
}

/// Formats the last line: `Release v1.0.0 is intact: 8 of 8 images match`.
fn summary(outcome: &StatusOutcome) -> String {
    let version = outcome.version.as_deref().unwrap_or("without a version");
    let state = if outcome.is_intact() { "is intact" } else { "differs from its registry" };
    let images = format::count(outcome.images.len(), "image");
    let sets = outcome.sets.iter().map(|(reference, digest)| format!("\n{reference}@{digest}"));
    format!(
        "Release {version} {state}: {} of {images} match{}",
        outcome.intact_images(),
        sets.collect::<String>()
    )
}

fn json(outcome: &StatusOutcome) -> String {
    let document = json!({
        "schema": 1,
        "set": outcome.sets.first().map(|(reference, _)| reference),
        "sets": outcome.sets.iter().map(|(reference, _)| reference).collect::<Vec<_>>(),
        "version": outcome.version,
        "whole": outcome.is_intact(),
        "images": outcome.images,
        "stray_aliases": outcome.stray_aliases,
    });
    format!("{}\n", serde_json::to_string_pretty(&document).expect("findings are JSON"))
}
