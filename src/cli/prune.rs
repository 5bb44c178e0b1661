//! `basegen prune`: what is kept of images that the matrix no longer makes.

use std::collections::{BTreeMap, BTreeSet};

use tokio::runtime::Runtime;

use crate::engine::{ConnectedEngine, StoredImage};
use crate::error::{ExitCode, Report};
use crate::image::{Reference, Repository, Tag};
use crate::matrix::Selection;
use crate::plan::{Fingerprint, Plan};
use crate::publish;
use crate::registry::Registries;
use crate::report::{Printer, format};

use super::args::{GlobalArgs, PruneArgs};
use super::metadata::FileError;
use super::recipe::Recipe;
use super::{Environment, engines, registries, selection};

/// What is no longer needed.
#[derive(Default)]
struct Leftovers {
    tags: Vec<Reference>,
    images: Vec<StoredImage>,
}

pub(super) fn run(
    args: &PruneArgs,
    global: &GlobalArgs,
    environment: &Environment,
    printer: &Printer,
) -> Result<ExitCode, Report> {
    let matrix = selection::load(&global.file)?;
    let plan = selection::plan_of(&matrix, &Selection::default(), &args.naming)?;
    let recipe = Recipe::of(&plan)?;
    let runtime = Runtime::new().map_err(FileError::runtime)?;
    runtime.block_on(prune(args, environment, recipe, printer))?;
    Ok(ExitCode::Success)
}

async fn prune(
    args: &PruneArgs,
    environment: &Environment,
    mut recipe: Recipe<'_>,
    printer: &Printer,
) -> Result<(), Report> {
    let plan = recipe.plan;
    let options = registries::options(plan.matrix, environment)?;
    let request = engines::request(&args.engine, environment);
    // The registry's part can be done where there is no engine.
    let engine = ConnectedEngine::connect(&request).await;
    if !recipe.unpinned().is_empty() {
        let mirrors = engine.as_ref().map(|engine| engine.registry_mirrors().to_vec());
        let mirrors = mirrors.unwrap_or_default();
        let upstreams = registries::open(&options, mirrors)?;
        let problems = recipe.resolve(&upstreams).await;
        if let Some(problem) = problems.into_iter().next() {
            printer.message(&format!("warning: nothing is pruned: {problem}"));
            return Ok(());
        }
    }
    let registries = registries::open(&options, Vec::new())?;
    let needed: BTreeSet<Fingerprint> = recipe.fingerprints().into_iter().flatten().collect();
    let repositories = repositories(plan);
    let mut leftovers = Leftovers {
        tags: publish::stale_tags(&registries, &repositories, &needed).await?,
        images: Vec::new(),
    };
    if let Ok(engine) = &engine {
        leftovers.images = stale_images(engine, &repositories, &needed).await?;
    }
    printer.result(&leftovers.text());
    let deleted = match args.yes {
        true => Some(delete(&registries, engine.ok(), &leftovers).await?),
        false => None,
    };
    printer.message(&format!("{}\n", leftovers.summary(deleted)));
    Ok(())
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

/// Deletes what is left over; gives how many tags could be deleted.
async fn delete(
    registries: &Registries,
    engine: Option<ConnectedEngine>,
    leftovers: &Leftovers,
) -> Result<usize, Report> {
    let mut by_repository: BTreeMap<&Repository, Vec<&Tag>> = BTreeMap::new();
    for reference in &leftovers.tags {
        by_repository.entry(&reference.repository).or_default().push(&reference.tag);
    }
    let mut deleted = 0;
    for (repository, tags) in by_repository {
        deleted += publish::delete_tags(registries, repository, &tags).await?;
    }
    if let Some(engine) = engine {
        for image in &leftovers.images {
            engine.remove(&image.id).await?;
        }
    }
    Ok(deleted)
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

    fn summary(&self, deleted: Option<usize>) -> String {
        let tags = format::count(deleted.unwrap_or(self.tags.len()), "staging tag");
        let images = format::count(self.images.len(), "image");
        let Some(deleted) = deleted else {
            return match self.tags.is_empty() && self.images.is_empty() {
                true => "nothing to prune".to_owned(),
                false => format!("{tags} and {images} are needed no more: `--yes` deletes them"),
            };
        };
        let left = match self.tags.len() - deleted {
            0 => String::new(),
            left => format!(
                "; {} left, since the registry deletes no tag alone and others stand for the same",
                format::count(left, "tag")
            ),
        };
        format!("{tags} and {images} deleted{left}")
    }
}
