//! `--dry-run`: lists the images that the main command would build or publish.

use crate::error::Report;
use crate::plan::{self, Plan, PublicationStatus, PublishedState};

use super::args::BuildArgs;
use super::{Session, planned};
use crate::ops::{Recipe, lookup};

/// Prints the names of the images; with `--push`, also the planned action for each.
pub(super) fn run(args: &BuildArgs, plan: &Plan<'_>, session: &Session) -> Result<(), Report> {
    let Session { context, printer, .. } = session;
    let recipe = Recipe::of(plan)?;
    let stands = match args.output.push {
        true => planned::known(context.block_on(lookup::status(context, recipe))?, printer),
        false => None,
    };
    let Some(stands) = stands else {
        printer.result(&plan::names(plan));
        return Ok(());
    };
    if !args.output.overwrite {
        lookup::refuse_conflicting_tags(plan, &stands)?;
    }
    let is_forced = args.output.force || args.running.no_cache;
    let header = vec!["IMAGE".to_owned(), "ACTION".to_owned()];
    let rows = plan.targets.iter().zip(&stands).map(|(target, status)| {
        vec![target.reference.to_string(), action(status, is_forced).to_owned()]
    });
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    printer.result(&plan::columns(&rows));
    Ok(())
}

fn action(status: &PublicationStatus, is_forced: bool) -> &'static str {
    match status.state {
        _ if is_forced => "build",
        PublishedState::Published => "none: published",
        PublishedState::Retag => "tag",
        PublishedState::Changed | PublishedState::New => "build",
    }
}
