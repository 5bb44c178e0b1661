//! `--dry-run`: lists the images that the main command would build or publish.

use crate::error::Report;
use crate::plan::{self, Plan, PublicationStatus, PublishedState, Target};

use super::Session;
use super::args::BuildArgs;
use crate::ops::{Recipe, lint, lookup};

/// Prints the names of the images; with `--push`, also the planned action for each.
pub(super) fn run(args: &BuildArgs, plan: &Plan<'_>, session: &Session) -> Result<(), Report> {
    let Session { context, printer, .. } = session;
    let mut recipe = Recipe::new(plan)?;
    lint::require_contracts(&recipe)?;
    let status = if args.output.push {
        context.block_on(lookup::status(context, &mut recipe))?
    } else {
        None
    };
    let Some(status) = status else {
        printer.result(&plan::names(plan));
        return Ok(());
    };
    if !args.output.overwrite {
        lookup::refuse_conflicting_tags(plan, &status)?;
    }
    let is_forced = args.output.force || args.running.no_cache;
    let header = vec!["IMAGE".to_owned(), "ACTION".to_owned()];
    let rows = plan.targets.iter().zip(&status).map(|(target, status)| {
        vec![target.reference.to_string(), action(target, status, is_forced).to_owned()]
    });
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    printer.result(&plan::columns(&rows));
    Ok(())
}

fn action(target: &Target<'_>, status: &PublicationStatus, is_forced: bool) -> &'static str {
    match status.state {
        PublishedState::Published if !is_forced => "none: published",
        PublishedState::Retag if !is_forced => "tag",
        _ if target.is_mirror => "copy",
        _ => "build",
    }
}
