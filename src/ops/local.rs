//! Builds for the engine itself or for a folder, without a registry.

use std::sync::Arc;

use super::Recipe;
use crate::engine::{
    self, BuildJob, BuildKitEngine, BuildOptions, BuiltImage, ConnectedEngine, Destination, Engine,
    JobDependencies, Outcome, RunRequest, StoredImage,
};
use crate::error::{Explain as _, Report, one_line};
use crate::event::{Events, Failure, FailureKind};
use crate::plan::Fingerprint;

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

/// Tags those of `images` that need no check, and returns the jobs of the other targets.
pub(super) async fn reuse(
    engine: &ConnectedEngine,
    images: &[StoredImage],
    recipe: &Recipe<'_>,
    events: &Events,
) -> Result<Vec<BuildJob>, Report> {
    let mut jobs = Vec::new();
    for (job, fingerprint) in recipe.jobs().into_iter().zip(recipe.fingerprints()) {
        let stored = fingerprint.and_then(|fingerprint| find(images, &fingerprint, &job));
        match stored {
            Some(stored) if job.checks.is_empty() => {
                engine.tag(&stored.image.id, &job.references).await?;
                events.emit(&job.unchanged(&stored.image.id));
            }
            Some(stored) => jobs.push(job.checking(&stored.name, &stored.image.id)),
            None => jobs.push(job),
        }
    }
    Ok(jobs)
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
            let tagged = self.engine.tag(&image.digest, &job.references).await;
            tagged.map_err(|error| {
                Box::new(Failure::new(FailureKind::Export, one_line(&error), error.hint()))
            })?;
        }
        Ok(image)
    }
}
