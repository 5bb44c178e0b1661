//! The publication status of a plan's targets, looked up in their registries.

use super::recipe::Unresolved;
use super::{Context, Recipe, release_set};
use crate::contracts;
use crate::error::{Explain as _, Report, one_line};
use crate::image::Reference;
use crate::matrix::quoted_list;
use crate::plan::{Plan, PublicationStatus, PublishedState};
use crate::publish::{self, Candidate, PublishError};
use crate::registry::Registries;
use crate::verify;

/// Looks up the status of each target of the plan of `recipe`, in its order. Returns `None`, with a warning, if a registry does not
/// answer.
pub async fn status(
    context: &Context,
    recipe: &mut Recipe<'_>,
) -> Result<Option<Vec<PublicationStatus>>, Report> {
    let registries = prepare(context, recipe).await?;
    let sets = release_set::of_version(recipe.plan)?;
    match look_up(&registries, recipe, &sets).await {
        Ok(status) => {
            let below = built_below(recipe, &status);
            if !below.is_empty() {
                let below = quoted_list(&below);
                context.messages.note(&format!(
                    "note: the selected images are based on {below}, which must be built too"
                ));
            }
            Ok(Some(planned(recipe, status)))
        }
        Err(error) => {
            let problem = one_line(&error);
            let remedy = error.hint().map(|hint| format!("{hint}; ")).unwrap_or_default();
            context.messages.message(&format!(
                "warning: the publication status is unknown: {problem}\n\
                 hint: {remedy}`--offline` skips the lookup\n"
            ));
            Ok(None)
        }
    }
}

/// Looks up the status of each target for a decision: a registry that does not answer is an error.
pub async fn required_status(
    context: &Context,
    recipe: &mut Recipe<'_>,
) -> Result<Vec<PublicationStatus>, Report> {
    let registries = prepare(context, recipe).await?;
    let sets = release_set::of_version(recipe.plan)?;
    Ok(planned(recipe, look_up(&registries, recipe, &sets).await?))
}

/// Returns true if all targets of the plan of `recipe` are published with their current content.
pub async fn is_published(context: &Context, recipe: &mut Recipe<'_>) -> Result<bool, Report> {
    let status = required_status(context, recipe).await?;
    Ok(status.iter().all(|status| status.state == PublishedState::Published))
}

/// Returns those of the statuses that belong to the targets of the plan.
fn planned(recipe: &Recipe<'_>, mut status: Vec<PublicationStatus>) -> Vec<PublicationStatus> {
    status.truncate(recipe.plan.targets.len());
    status
}

/// Returns the ids of the images that are not selected, but must be built for images that are based on them.
fn built_below<'r>(recipe: &'r Recipe<'_>, status: &[PublicationStatus]) -> Vec<&'r str> {
    let exists = |at: usize| {
        let PublicationStatus { state, is_checked, .. } = &status[at];
        *is_checked || matches!(state, PublishedState::Published | PublishedState::Retag)
    };
    let graph = &recipe.graph;
    let needed = graph.needed(|at| !exists(at)).into_iter();
    let built = needed.filter(|at| !graph.is_planned(*at) && !exists(*at));
    built.map(|at| graph.targets[at].id()).collect()
}

/// Resolves the base images of `recipe` and returns the client for the lookup.
async fn prepare(context: &Context, recipe: &mut Recipe<'_>) -> Result<Registries, Report> {
    resolve(context, recipe).await?;
    context.brief_registries(Vec::new())
}

async fn look_up(
    registries: &Registries,
    recipe: &Recipe<'_>,
    sets: &[Reference],
) -> Result<Vec<PublicationStatus>, PublishError> {
    let plan = recipe.plan;
    let rows = recipe.graph.targets.iter().zip(&recipe.inputs).zip(&recipe.gpu);
    let candidates: Vec<Candidate<'_>> = rows
        .zip(recipe.mirrors()?)
        .map(|(((target, inputs), gpu), mirror)| Candidate {
            id: target.id(),
            references: target.references().collect(),
            mirror,
            inputs,
            checks: verify::digest(&contracts::checks(plan.matrix, target.variant)),
            gpu: gpu.as_ref(),
            has_max_size: plan
                .matrix
                .settings(target.variant)
                .last(|settings| settings.max_size.as_ref())
                .is_some(),
        })
        .collect();
    publish::publication_status(registries, &candidates, &release_set::newest(plan), sets).await
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
