//! The publication status of a plan's targets, looked up in their registries.

use super::recipe::Unresolved;
use super::{Context, Recipe, release_set};
use crate::error::Report;
use crate::plan::{Plan, PublicationStatus};
use crate::publish::{self, Candidate, PublishError};
use crate::verify;

/// The result of a lookup that an operation may do without.
#[derive(Debug)]
pub enum StatusLookup {
    /// The status of each target, in plan order.
    Known(Vec<PublicationStatus>),
    /// A registry did not answer.
    Failed(PublishError),
}

/// Looks up the status of each target of `recipe` with one attempt for each request.
pub async fn status(context: &Context, mut recipe: Recipe<'_>) -> Result<StatusLookup, Report> {
    resolve(context, &mut recipe).await?;
    let plan = recipe.plan;
    let registries = context.brief_registries(Vec::new())?;
    let known = release_set::of_version(plan)?;
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
    let newest = release_set::newest(plan);
    Ok(match publish::publication_status(&registries, &candidates, &newest, known.as_ref()).await {
        Ok(status) => StatusLookup::Known(status),
        Err(error) => StatusLookup::Failed(error),
    })
}

/// Looks up the status of each target for a decision: a registry that does not answer is an error.
pub async fn required_status(
    context: &Context,
    plan: &Plan<'_>,
) -> Result<Vec<PublicationStatus>, Report> {
    match status(context, Recipe::of(plan)?).await? {
        StatusLookup::Known(status) => Ok(status),
        StatusLookup::Failed(error) => Err(error.into()),
    }
}

/// Refuses a version whose tags point to images of different content.
pub fn refuse_conflicting_tags(
    plan: &Plan<'_>,
    status: &[PublicationStatus],
) -> Result<(), PublishError> {
    let conflicting =
        plan.targets.iter().zip(status).filter(|(_, status)| status.has_conflicting_tag);
    let references: Vec<_> = conflicting.map(|(target, _)| target.reference.clone()).collect();
    if references.is_empty() {
        return Ok(());
    }
    let version = plan.version.as_ref().map(ToString::to_string);
    Err(PublishError::Conflict { version, references, force: false })
}

/// Resolves the images that the lock does not pin, through the engine's mirrors too. Returns those that cannot be resolved.
pub async fn resolve(
    context: &Context,
    recipe: &mut Recipe<'_>,
) -> Result<Vec<Unresolved>, Report> {
    if recipe.unpinned().is_empty() {
        return Ok(Vec::new());
    }
    let mirrors = context.mirrors().await.unwrap_or_default();
    Ok(recipe.resolve(&context.brief_registries(mirrors)?).await)
}
