//! `basegen prune`: what is kept of images that the matrix no longer makes.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{ConnectedEngine, StoredImage};
use crate::error::{ExitCode, Report, one_line};
use crate::image::{Reference, Repository, Tag};
use crate::matrix::Selection;
use crate::plan::{Fingerprint, Plan};
use crate::publish;
use crate::registry::Registries;
use crate::report::{Printer, format};
use crate::verify;
use crate::version::Version;

use super::Session;
use super::args::PruneArgs;
use crate::ops::{self, Context, Naming, Recipe};

/// What is no longer needed.
#[derive(Default)]
struct Leftovers {
    tags: Vec<Reference>,
    images: Vec<StoredImage>,
}

pub(super) fn run(args: &PruneArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    // Which version the tags would have is of no concern.
    let naming = Naming {
        version: Version::custom("prune").ok(),
        registry: args.registry.clone(),
        repository: args.repository.clone(),
        ..Naming::default()
    };
    let plan = ops::selection::plan(context, &Selection::default(), &naming)?;
    let recipe = Recipe::of(&plan)?;
    context.block_on(prune(args, context, recipe, printer))?;
    Ok(ExitCode::Success)
}

async fn prune(
    args: &PruneArgs,
    context: &Context,
    mut recipe: Recipe<'_>,
    printer: &Printer,
) -> Result<(), Report> {
    let plan = recipe.plan;
    let request = args.engine.request(context);
    let engine = ConnectedEngine::connect(&request).await;
    if let Err(error) = &engine {
        // The registry's part can be done without.
        printer.message(&format!("warning: no engine is looked through: {error}\n"));
    }
    if !recipe.unpinned().is_empty() {
        let problems = match &engine {
            Ok(engine) => {
                recipe.resolve_with(engine, &context.registry_options()?.credentials).await
            }
            Err(_) => recipe.resolve(&context.registries()?).await,
        };
        if let Some(problem) = problems.first() {
            printer.message(&format!("warning: nothing is pruned: {problem}\n"));
            return Ok(());
        }
    }
    let registries = context.registries()?;
    let needed: BTreeSet<Fingerprint> = recipe.fingerprints().into_iter().flatten().collect();
    let repositories = repositories(plan);
    let mut leftovers = Leftovers {
        tags: publish::stale_tags(&registries, &repositories, &staging_tags(&recipe)).await?,
        images: Vec::new(),
    };
    if let Ok(engine) = &engine {
        leftovers.images = stale_images(engine, &repositories, &needed).await?;
    }
    if args.yes {
        printer.done(&leftovers.text());
    } else {
        printer.result(&leftovers.text());
    }
    let deleted = match args.yes {
        true => Some(delete(&registries, engine.ok(), &leftovers, printer).await),
        false => None,
    };
    printer.note(&format!("{}\n", leftovers.summary(deleted)));
    Ok(())
}

/// The staging tags that images of today have.
fn staging_tags(recipe: &Recipe<'_>) -> BTreeSet<Tag> {
    let mut tags = BTreeSet::new();
    for (target, fingerprint) in recipe.plan.targets.iter().zip(recipe.fingerprints()) {
        let Some(fingerprint) = fingerprint else { continue };
        let checks = verify::digest(&recipe.plan.matrix.checks(target.variant));
        tags.extend(checks.map(|checks| fingerprint.checked_tag(&checks)));
        tags.insert(fingerprint.staging_tag());
    }
    tags
}

fn repositories(plan: &Plan<'_>) -> BTreeSet<Repository> {
    plan.targets.iter().map(|target| target.reference.repository.clone()).collect()
}

/// The engine's images of these repositories that are made of something else; those of other
/// projects carry the label too.
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

/// How much of what is left over was deleted.
#[derive(Default)]
struct Deleted {
    tags: usize,
    images: usize,
}

/// Deletes what is left over. What cannot be deleted is told, and the rest is all the same.
async fn delete(
    registries: &Registries,
    engine: Option<ConnectedEngine>,
    leftovers: &Leftovers,
    printer: &Printer,
) -> Deleted {
    let warn = |error: &dyn std::error::Error| {
        printer.message(&format!("warning: {}\n", one_line(error)));
    };
    let mut by_repository: BTreeMap<&Repository, Vec<&Tag>> = BTreeMap::new();
    for reference in &leftovers.tags {
        by_repository.entry(&reference.repository).or_default().push(&reference.tag);
    }
    let mut deleted = Deleted::default();
    for (repository, tags) in by_repository {
        match publish::delete_tags(registries, repository, &tags).await {
            Ok(count) => deleted.tags += count,
            Err(error) => warn(&error),
        }
    }
    if let Some(engine) = engine {
        for image in &leftovers.images {
            match engine.remove(&image.names).await {
                Ok(()) => deleted.images += 1,
                Err(error) => warn(&error),
            }
        }
    }
    deleted
}

impl Leftovers {
    fn text(&self) -> String {
        let tags = self.tags.iter().map(|reference| format!("registry  {reference}\n"));
        let images = self.images.iter().map(|image| {
            let names: Vec<String> = image.names.iter().map(ToString::to_string).collect();
            format!("engine    {}  {}\n", names.join(", "), format::bytes(image.size))
        });
        tags.chain(images).collect()
    }

    fn summary(&self, deleted: Option<Deleted>) -> String {
        let counted = |tags, images| {
            let (tags, images) =
                (format::count(tags, "staging tag"), format::count(images, "image"));
            format!("{tags} and {images}")
        };
        let (tags, images) = (self.tags.len(), self.images.len());
        match deleted {
            None if tags + images == 0 => "nothing to prune".to_owned(),
            None => format!("{} are needed no more: `--yes` deletes them", counted(tags, images)),
            Some(deleted) if (deleted.tags, deleted.images) == (tags, images) => {
                format!("{} deleted", counted(tags, images))
            }
            Some(deleted) => format!(
                "{} deleted, {} left: a registry that deletes no tag alone keeps those whose \
                 image has other tags, and an engine what a container uses",
                counted(deleted.tags, deleted.images),
                counted(tags - deleted.tags, images - deleted.images)
            ),
        }
    }
}
