//! `basegen prune`: staging tags and engine images that the matrix no longer needs.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, NameOptions, Recipe, local, selection};
use crate::contracts;
use crate::engine::{ConnectedEngine, EngineRequest, StoredImage};
use crate::error::{Report, one_line};
use crate::image::{Reference, Repository, Tag};
use crate::matrix::Selection;
use crate::plan::{Fingerprint, Plan};
use crate::publish;
use crate::registry::Registries;
use crate::verify;
use crate::version::Version;

#[derive(Debug)]
pub struct PruneRequest {
    /// Whether to delete the stale tags and images instead of only listing them.
    pub delete: bool,
    /// The registries, if they are not the matrix' own.
    pub registries: Vec<String>,
    /// The repository, if it is not the matrix' own.
    pub repository: Option<String>,
    pub engine: EngineRequest,
}

/// Stale tags and images, and how many of them were deleted.
#[derive(Debug)]
pub struct PruneOutcome {
    pub tags: Vec<Reference>,
    /// The images of the engine.
    pub images: Vec<StoredImage>,
    /// The number of deleted tags and images; `None` if they were only listed.
    pub deleted: Option<(usize, usize)>,
}

/// Finds stale tags and images, and deletes them if the request says so. Returns `None` if a base image cannot be
/// resolved, so that stale images are unknown.
pub async fn run(context: &Context, request: PruneRequest) -> Result<Option<PruneOutcome>, Report> {
    // Staging tags do not contain the version.
    let naming = NameOptions {
        version: Some(Version::any()),
        registries: request.registries,
        repository: request.repository,
        ..NameOptions::default()
    };
    let plan = selection::plan(context, &Selection::default(), &naming)?;
    let engine = match ConnectedEngine::connect(&request.engine).await {
        Ok(engine) => Some(engine),
        Err(error) => {
            context.messages.message(&format!("warning: images of the engine are kept: {error}\n"));
            None
        }
    };
    let registries = context.registries()?;
    let Some(recipe) = pinned_recipe(context, &plan, engine.as_ref(), &registries).await? else {
        return Ok(None);
    };
    let repositories: BTreeSet<Repository> = plan.repositories().into_iter().cloned().collect();
    let tags = publish::stale_tags(&registries, &repositories, &staging_tags(&recipe)).await?;
    let mut images = Vec::new();
    if let Some(engine) = &engine {
        let mut needed = recipe.fingerprints();
        // Images that were built for the engine have only its platform; pulled ones have all.
        let all = Selection::default();
        if let Some(plan) = local::native_plan(context, &plan, &all, naming, engine)? {
            let Some(native) = pinned_recipe(context, &plan, Some(engine), &registries).await?
            else {
                return Ok(None);
            };
            needed.extend(native.fingerprints());
        }
        let needed = needed.into_iter().flatten().collect();
        images = stale_images(engine, &repositories, &needed).await?;
    }
    let mut outcome = PruneOutcome { tags, images, deleted: None };
    if request.delete {
        let tags = delete_tags(context, &registries, &outcome.tags).await;
        let images = delete_images(context, engine.as_ref(), &outcome.images).await;
        outcome.deleted = Some((tags, images));
    }
    Ok(Some(outcome))
}

/// Returns the recipe of `plan` with all base images pinned; `None`, with a warning, if one cannot be resolved.
async fn pinned_recipe<'a>(
    context: &Context,
    plan: &'a Plan<'a>,
    engine: Option<&ConnectedEngine>,
    registries: &Registries,
) -> Result<Option<Recipe<'a>>, Report> {
    let mut recipe = Recipe::new(plan)?;
    if recipe.unpinned().is_empty() {
        return Ok(Some(recipe));
    }
    let problems = match engine {
        Some(engine) => recipe.resolve_with(engine, &context.registry_options()?.credentials).await,
        None => recipe.resolve(registries).await,
    };
    if let Some(problem) = problems.first() {
        context.messages.message(&format!("warning: nothing is pruned: {problem}\n"));
        return Ok(None);
    }
    Ok(Some(recipe))
}

/// Returns the staging tags of the current images, and of their single platforms.
fn staging_tags(recipe: &Recipe<'_>) -> BTreeSet<Tag> {
    let mut tags = BTreeSet::new();
    for (target, whole) in recipe.plan.targets.iter().zip(recipe.fingerprints()) {
        let Some(whole) = whole else { continue };
        let checks = verify::digest(&contracts::checks(recipe.plan.matrix, target.variant));
        let platforms = target.platforms.iter().map(|platform| whole.of_platform(platform));
        for fingerprint in platforms.chain([whole.clone()]) {
            tags.extend(fingerprint.staging_tags(checks.as_ref()));
        }
    }
    tags
}

/// Returns the engine's images whose names are all in `repositories` and whose fingerprint is not needed. Images of
/// other projects have the label too.
async fn stale_images(
    engine: &ConnectedEngine,
    repositories: &BTreeSet<Repository>,
    needed: &BTreeSet<Fingerprint>,
) -> Result<Vec<StoredImage>, Report> {
    let mut images = engine.images_with(Fingerprint::LABEL).await?;
    images.retain(|image| {
        let fingerprint = image.label.parse::<Fingerprint>();
        let is_stale = fingerprint.is_ok_and(|fingerprint| !needed.contains(&fingerprint));
        let is_ours = !image.names.is_empty()
            && image.names.iter().all(|name| repositories.contains(&name.repository));
        is_stale && is_ours
    });
    Ok(images)
}

/// Deletes tags and returns their number. Reports failures and continues.
async fn delete_tags(context: &Context, registries: &Registries, tags: &[Reference]) -> usize {
    let mut by_repository: BTreeMap<&Repository, Vec<&Tag>> = BTreeMap::new();
    for reference in tags {
        by_repository.entry(&reference.repository).or_default().push(&reference.tag);
    }
    let mut deleted = 0;
    for (repository, tags) in by_repository {
        match publish::delete_tags(registries, repository, &tags).await {
            Ok(count) => deleted += count,
            Err(error) => context.messages.message(&format!("warning: {}\n", one_line(&error))),
        }
    }
    deleted
}

/// Deletes images of the engine and returns their number. Reports failures and continues.
async fn delete_images(
    context: &Context,
    engine: Option<&ConnectedEngine>,
    images: &[StoredImage],
) -> usize {
    let Some(engine) = engine else { return 0 };
    let mut deleted = 0;
    for image in images {
        match engine.remove(&image.names).await {
            Ok(()) => deleted += 1,
            Err(error) => context.messages.message(&format!("warning: {}\n", one_line(&error))),
        }
    }
    deleted
}
