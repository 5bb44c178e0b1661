//! How the images of a plan stand to what their registries have.

use tokio::runtime::Runtime;

use crate::error::{Explain as _, FileError, Report, one_line};
use crate::plan::{Plan, PublicationStatus};
use crate::publish::{self, Candidate, PublishError};
use crate::report::Printer;
use crate::verify;

use super::args::{EngineArgs, PlannedArgs};
use super::publish::{newest_set, version_set};
use super::recipe::Recipe;
use super::{Environment, engines, registries};

/// Asks the registries of `plan`; nothing where they cannot be asked, which is said.
pub(super) fn of(
    args: &PlannedArgs,
    plan: &Plan<'_>,
    environment: &Environment,
    printer: &Printer,
) -> Result<Option<Vec<PublicationStatus>>, Report> {
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
) -> Result<Option<Vec<PublicationStatus>>, Report> {
    let runtime = Runtime::new().map_err(FileError::runtime)?;
    let stands = runtime.block_on(ask(recipe, environment));
    runtime.shutdown_background();
    match stands? {
        Ok(stands) => Ok(Some(stands)),
        Err(error) => {
            let problem = one_line(&error);
            let remedy = error.hint().map(|hint| format!("{hint}; ")).unwrap_or_default();
            printer.message(&format!(
                "warning: nothing is known of what is published: {problem}\n\
                 hint: {remedy}`--offline` does not ask\n"
            ));
            Ok(None)
        }
    }
}

/// The same where the answer decides what is done: no answer is an error.
pub(super) fn required(
    plan: &Plan<'_>,
    environment: &Environment,
) -> Result<Vec<PublicationStatus>, Report> {
    let recipe = Recipe::of(plan)?;
    let runtime = Runtime::new().map_err(FileError::runtime)?;
    let stands = runtime.block_on(ask(recipe, environment));
    runtime.shutdown_background();
    Ok(stands??)
}

/// Refuses a version whose tags point to images of different content.
pub(super) fn refuse_conflicting_tags(
    plan: &Plan<'_>,
    statuses: &[PublicationStatus],
) -> Result<(), PublishError> {
    let conflicting_tags =
        plan.targets.iter().zip(statuses).filter(|(_, status)| status.has_conflicting_tag);
    let references: Vec<_> = conflicting_tags.map(|(target, _)| target.reference.clone()).collect();
    if references.is_empty() {
        return Ok(());
    }
    let version = plan.version.as_ref().map(ToString::to_string);
    Err(PublishError::Taken { version, references, force: false })
}

/// Resolves the images that the lock does not pin. Asks the mirrors of the engine too.
pub(super) async fn resolve(
    recipe: &mut Recipe<'_>,
    environment: &Environment,
) -> Result<(), Report> {
    if recipe.unpinned().is_empty() {
        return Ok(());
    }
    let options = registries::brief(&registries::options(recipe.plan.matrix, environment)?);
    let request = engines::request(&EngineArgs::default(), environment);
    let mirrors = engines::mirrors(&request).await.unwrap_or_default();
    // What stays unpinned is reported row by row.
    recipe.resolve(&registries::open(&options, mirrors)?).await;
    Ok(())
}

async fn ask(
    mut recipe: Recipe<'_>,
    environment: &Environment,
) -> Result<Result<Vec<PublicationStatus>, PublishError>, Report> {
    let plan = recipe.plan;
    resolve(&mut recipe, environment).await?;
    let options = registries::brief(&registries::options(plan.matrix, environment)?);
    let registries = registries::open(&options, Vec::new())?;
    let known = version_set(plan)?;
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
    Ok(publish::publication_status(&registries, &candidates, &newest_set(plan), known.as_ref())
        .await)
}
