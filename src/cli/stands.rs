//! How the images of a plan stand to what their registries have.

use tokio::runtime::Runtime;

use crate::error::{Report, one_line};
use crate::plan::{Plan, Standing};
use crate::publish::{self, Candidate, PublishError};
use crate::report::Printer;
use crate::verify;

use super::args::{EngineArgs, PlannedArgs};
use super::metadata::FileError;
use super::publish::newest_set;
use super::recipe::Recipe;
use super::{Environment, engines, registries};

/// Asks the registries of `plan`; nothing where they cannot be asked, which is said.
pub(super) fn of(
    args: &PlannedArgs,
    plan: &Plan<'_>,
    environment: &Environment,
    printer: &Printer,
) -> Result<Option<Vec<Standing>>, Report> {
    if args.offline {
        return Ok(None);
    }
    asked(Recipe::of(plan)?, environment, printer)
}

/// The same for what was rendered already.
pub(super) fn asked(
    recipe: Recipe<'_>,
    environment: &Environment,
    printer: &Printer,
) -> Result<Option<Vec<Standing>>, Report> {
    let runtime = Runtime::new().map_err(FileError::runtime)?;
    let stands = runtime.block_on(ask(recipe, environment));
    runtime.shutdown_background();
    match stands? {
        Ok(stands) => Ok(Some(stands)),
        Err(error) => {
            let problem = one_line(&error);
            printer.message(&format!(
                "warning: nothing is known of what is published: {problem}\n\
                 hint: `--offline` does not ask\n"
            ));
            Ok(None)
        }
    }
}

/// The same where the answer decides what is done: no answer is an error.
pub(super) fn required(
    plan: &Plan<'_>,
    environment: &Environment,
) -> Result<Vec<Standing>, Report> {
    let recipe = Recipe::of(plan)?;
    let runtime = Runtime::new().map_err(FileError::runtime)?;
    let stands = runtime.block_on(ask(recipe, environment));
    runtime.shutdown_background();
    Ok(stands??)
}

async fn ask(
    mut recipe: Recipe<'_>,
    environment: &Environment,
) -> Result<Result<Vec<Standing>, PublishError>, Report> {
    let plan = recipe.plan;
    let options = registries::brief(&registries::options(plan.matrix, environment)?);
    if !recipe.unpinned().is_empty() {
        let request = engines::request(&EngineArgs::default(), environment);
        let mirrors = engines::mirrors(&request).await.unwrap_or_default();
        let upstreams = registries::open(&options, mirrors)?;
        // What stays unpinned is told as such, row by row.
        recipe.resolve(&upstreams).await;
    }
    let registries = registries::open(&options, Vec::new())?;
    let rows = plan.targets.iter().zip(&recipe.inputs);
    let candidates: Vec<Candidate<'_>> = rows
        .map(|(target, inputs)| Candidate {
            id: target.id(),
            version: &target.reference,
            aliases: &target.aliases,
            inputs,
            checks: verify::digest(&plan.matrix.checks(target.variant)),
        })
        .collect();
    Ok(publish::stands(&registries, &candidates, &newest_set(plan)).await)
}
