//! Builds for the engine itself or for a folder, without a registry.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Context, NameOptions, Recipe, selection};
use crate::engine::{
    self, BuildJob, BuildKitEngine, BuildOptions, BuiltImage, ConnectedEngine, Destination, Engine,
    EngineRequest, JobDependencies, Outcome, RunRequest, StoredImage,
};
use crate::error::{Explain as _, Report, one_line};
use crate::event::{Events, Failure, FailureKind};
use crate::image::{Digest, Platform, Reference};
use crate::matrix::Selection;
use crate::plan::{Fingerprint, Plan};

/// Plans images that stay in the engine. Like `docker build`, it plans them only for the engine's own platform, unless the request names
/// platforms or an image is not for this one. If the engine does not answer, the images are for all of their platforms: the build
/// reports the engine later.
pub(super) async fn plan<'a>(
    context: &'a Context,
    selection: &Selection,
    naming: NameOptions,
    engine: &EngineRequest,
) -> Result<Plan<'a>, Report> {
    let plan = selection::plan(context, selection, &naming)?;
    if !has_several_platforms(&plan) || !naming.platforms.is_empty() {
        return Ok(plan);
    }
    let Ok(engine) = ConnectedEngine::connect(engine).await else { return Ok(plan) };
    let native = native_plan(context, &plan, selection, naming, &engine)?;
    let (Some(native), Some(platform)) = (native, engine.native_platform()) else {
        return Ok(plan);
    };
    context.messages.note(&format!(
        "note: building only for {platform}, the platform of the engine; `--platform` selects others"
    ));
    Ok(native)
}

/// Returns `plan` for only the engine's own platform; `None` if it is for no other, or an image is not for this one.
pub(super) fn native_plan<'a>(
    context: &'a Context,
    plan: &Plan<'_>,
    selection: &Selection,
    naming: NameOptions,
    engine: &ConnectedEngine,
) -> Result<Option<Plan<'a>>, Report> {
    let is_for = |native: &Platform| {
        let mut built = plan.targets.iter().filter(|target| !target.is_mirror);
        built.all(|target| target.platforms.contains(native))
    };
    let native = engine.native_platform().filter(|native| is_for(native)).cloned();
    if native.is_none() || !has_several_platforms(plan) {
        return Ok(None);
    }
    selection::plan(context, selection, &NameOptions { native, ..naming }).map(Some)
}

fn has_several_platforms(plan: &Plan<'_>) -> bool {
    plan.targets.iter().any(|target| target.platforms.len() > 1)
}

/// Returns the images of the engine that may be reused: none for a folder, or if the build is forced.
pub(super) async fn images(
    engine: &ConnectedEngine,
    destination: &Destination,
    force: bool,
) -> Result<Vec<StoredImage>, Report> {
    if force || *destination != Destination::Engine {
        return Ok(Vec::new());
    }
    Ok(engine.images_with(Fingerprint::LABEL).await?)
}

/// The work that is left after the reuse of images of the engine.
pub(super) struct Remaining {
    /// The jobs of missing images, and of those whose checks have not run.
    pub(super) jobs: Vec<BuildJob>,
    /// The names by which these jobs find the images that they are based on.
    pub(super) staged: Vec<Reference>,
}

/// Tags those of `images` that need no check, and returns the jobs of the other targets, and of missing images that
/// these are based on.
pub(super) async fn reuse(
    engine: &ConnectedEngine,
    images: &[StoredImage],
    recipe: &Recipe<'_>,
    events: &Events,
) -> Result<Remaining, Report> {
    let jobs = recipe.jobs();
    let fingerprints = recipe.fingerprints().into_iter();
    let stored: Vec<Option<Stored<'_>>> = fingerprints
        .zip(&jobs)
        .map(|(fingerprint, job)| fingerprint.and_then(|known| find(images, &known, job)))
        .collect();
    let graph = &recipe.graph;
    let needed = graph.needed(|at| stored[at].is_none());
    let built = needed.iter().filter(|at| stored[**at].is_none());
    let parents: BTreeSet<usize> = built.flat_map(|at| graph.parents(*at)).copied().collect();
    let ids: HashMap<String, Digest> = jobs
        .iter()
        .zip(&stored)
        .filter_map(|(job, stored)| Some((job.target.clone(), stored.as_ref()?.image.id.clone())))
        .collect();
    let mut remaining = Remaining { jobs: Vec::new(), staged: Vec::new() };
    for (at, (mut job, stored)) in jobs.into_iter().zip(stored).enumerate() {
        if !needed.contains(&at) {
            continue;
        }
        job.is_parent = parents.contains(&at);
        remaining.staged.extend(job.staged().filter(|_| job.is_parent));
        match stored {
            Some(stored) if job.checks.is_empty() => {
                engine.tag(&stored.image.id, &job.local_names()).await?;
                if graph.is_planned(at) {
                    events.emit(&job.unchanged(&stored.image.id));
                }
            }
            Some(stored) => remaining.jobs.push(job.checking(&stored.name, &stored.image.id)),
            None => {
                for parent in &mut job.parents {
                    parent.digest = ids.get(&parent.target).cloned();
                }
                remaining.jobs.push(job);
            }
        }
    }
    Ok(remaining)
}

/// Removes names of images that have others. A name that cannot be removed does no harm.
pub(super) async fn remove_names(engine: &ConnectedEngine, names: Vec<Reference>) {
    for name in names {
        let _ = engine.remove(&[name]).await;
    }
}

/// Builds or checks the jobs of `run`, and returns the outcome of each.
pub(super) async fn run(
    engine: &ConnectedEngine,
    options: BuildOptions,
    run: RunRequest,
    events: &Events,
) -> Result<Vec<Outcome>, Report> {
    let builder = TaggingEngine { builder: engine.builder(options)?, engine: engine.clone() };
    Ok(engine::run(Arc::new(builder), run, events).await)
}

/// An image of the engine and one of its names.
struct Stored<'a> {
    image: &'a StoredImage,
    name: String,
}

/// Returns the image of `job`. Images that others have based on it inherit its labels, but not its repository.
fn find<'a>(
    images: &'a [StoredImage],
    fingerprint: &Fingerprint,
    job: &BuildJob,
) -> Option<Stored<'a>> {
    let repository = &job.references[0].repository;
    let mut stored = images.iter().filter(|image| image.label == fingerprint.to_string());
    stored.find_map(|image| {
        let name = image.names.iter().find(|name| name.repository == *repository)?;
        Some(Stored { image, name: name.canonical() })
    })
}

/// An engine that tags existing images once they have passed their checks.
struct TaggingEngine {
    builder: BuildKitEngine,
    engine: ConnectedEngine,
}

impl Engine for TaggingEngine {
    fn name(&self) -> &str {
        self.builder.name()
    }

    fn capacity(&self) -> usize {
        self.builder.capacity()
    }

    async fn build(
        &self,
        job: &BuildJob,
        events: &Events,
        dependencies: JobDependencies,
    ) -> Result<BuiltImage, Box<Failure>> {
        let image = self.builder.build(job, events, dependencies).await?;
        if job.existing.is_some() {
            let tagged = self.engine.tag(&image.digest, &job.local_names()).await;
            tagged.map_err(|error| {
                Box::new(Failure::new(FailureKind::Export, one_line(&error), error.hint()))
            })?;
        }
        Ok(image)
    }
}
