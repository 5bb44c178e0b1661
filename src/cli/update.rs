//! `basegen update`: pins base images in basegen.lock.

use crate::error::{ExitCode, Report};
use crate::ops::{
    self,
    update::{UpdateOutcome, UpdateRequest},
};
use crate::report::Verbosity;

use super::Session;
use super::args::UpdateArgs;

pub(super) fn run(args: &UpdateArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, style, .. } = session;
    let request = UpdateRequest { images: args.images.clone(), check: args.check };
    let outcome = context.block_on(ops::update::run(context, request))?;
    for name in &outcome.unknown {
        printer.message(&format!("`{name}` cannot be pinned: only the engine can identify it"));
    }
    if let Some(problem) = &outcome.mirrors_problem
        && style.verbosity == Verbosity::Verbose
    {
        printer.message(&format!("the engine's mirrors of Docker Hub are unknown: {problem}"));
    }
    printer.done(&text(&outcome));
    Ok(ExitCode::Success)
}

fn text(outcome: &UpdateOutcome) -> String {
    let moves = ops::update::align(&outcome.moves).join("\n");
    let unchanged = match outcome.unchanged {
        0 if moves.is_empty() => "no image to pin".to_owned(),
        0 => return moves,
        1 => "1 image is unchanged".to_owned(),
        count => format!("{count} images are unchanged"),
    };
    if moves.is_empty() { unchanged } else { format!("{moves}\n\n{unchanged}") }
}
