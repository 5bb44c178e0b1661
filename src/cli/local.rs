//! The main call without `--push`: images for the engine itself, or for a folder.

use std::sync::Arc;
use std::time::Instant;

use crate::engine::{
    self, BuildJob, BuildKitEngine, BuiltImage, ConnectedEngine, Destination, Engine,
    JobDependencies, Outcome, StoredImage,
};
use crate::error::{Explain as _, Report, one_line};
use crate::event::{Event, Events, Failure, FailureKind};
use crate::plan::Fingerprint;

use super::build::{Call, Ended};
use crate::ops::Recipe;

pub(super) async fn run(call: &Call<'_>, recipe: &Recipe<'_>) -> Result<Ended, Report> {
    let begun = Instant::now();
    let there = tokio::select! {
        there = in_engine(call) => there?,
        () = call.context.cancel.cancelled() => return Ok(Ended::Unnamed(Vec::new())),
    };
    let mut jobs = Vec::new();
    for (job, fingerprint) in recipe.jobs(&call.destination).into_iter().zip(recipe.fingerprints())
    {
        let stored = fingerprint.and_then(|fingerprint| ours(&there, &fingerprint, &job));
        match stored {
            Some(stored) if job.checks.is_empty() => name(call, &job, &stored).await?,
            Some(stored) => jobs.push(job.checking(&stored.name, &stored.image.id)),
            None => jobs.push(job),
        }
    }
    if jobs.is_empty() {
        call.events.emit(&Event::RunFinished { elapsed: begun.elapsed() });
        return Ok(Ended::Named(None));
    }
    let builder = Naming { builder: call.builder().await?, engine: call.engine().await?.clone() };
    let outcomes = engine::run(Arc::new(builder), call.run_request(jobs), &call.events).await;
    let is_built = |outcome: &Outcome| matches!(outcome, Outcome::Built(_));
    Ok(match outcomes.iter().all(is_built) {
        true => Ended::Named(None),
        false => Ended::Unnamed(outcomes),
    })
}

/// The images that the engine has; none where they are to be built anew.
async fn in_engine(call: &Call<'_>) -> Result<Vec<StoredImage>, Report> {
    if call.is_forced() || call.destination != Destination::Engine {
        return Ok(Vec::new());
    }
    Ok(call.engine().await?.images_with(Fingerprint::LABEL).await?)
}

/// An image of the engine and a name of it.
struct Stored<'a> {
    image: &'a StoredImage,
    name: String,
}

/// The image of `job`, if it is among `images`. Those that somebody has built on it inherit its
/// labels, but not its repository.
fn ours<'a>(
    images: &'a [StoredImage],
    fingerprint: &Fingerprint,
    job: &BuildJob,
) -> Option<Stored<'a>> {
    let repository = &job.references[0].repository;
    let mut ours = images.iter().filter(|image| image.label == fingerprint.to_string());
    ours.find_map(|image| {
        let name = image.names.iter().find(|name| name.repository == *repository)?;
        Some(Stored { image, name: name.canonical() })
    })
}

async fn name(call: &Call<'_>, job: &BuildJob, stored: &Stored<'_>) -> Result<(), Report> {
    call.engine().await?.tag(&stored.image.id, &job.references).await?;
    call.events.emit(&job.unchanged(&stored.image.id));
    Ok(())
}

/// An engine that names images which it has once they have passed their checks.
struct Naming {
    builder: BuildKitEngine,
    engine: ConnectedEngine,
}

impl Engine for Naming {
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
            let named = self.engine.tag(&image.digest, &job.references).await;
            named.map_err(|error| {
                Box::new(Failure::new(FailureKind::Export, one_line(&error), error.hint()))
            })?;
        }
        Ok(image)
    }
}
