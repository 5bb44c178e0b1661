//! The main call without `--push`: images for the engine itself, or for a folder.

use std::sync::Arc;
use std::time::Instant;

use crate::engine::{self, BuildJob, Destination, Outcome, StoredImage};
use crate::error::Report;
use crate::event::Event;
use crate::image::Digest;
use crate::plan::Fingerprint;

use super::build::{Call, Ended};
use super::recipe::Recipe;

pub(super) async fn run(call: &Call<'_>, recipe: &Recipe<'_>) -> Result<Ended, Report> {
    let begun = Instant::now();
    let there = tokio::select! {
        there = in_engine(call) => there?,
        () = call.cancel.cancelled() => return Ok(Ended::Unnamed(Vec::new())),
    };
    let mut jobs = Vec::new();
    for (job, fingerprint) in recipe.jobs(&call.destination).into_iter().zip(recipe.fingerprints())
    {
        match fingerprint.and_then(|fingerprint| ours(&there, &fingerprint, &job)) {
            Some(digest) => name(call, &job, digest).await?,
            None => jobs.push(job),
        }
    }
    if jobs.is_empty() {
        call.events.emit(&Event::RunFinished { elapsed: begun.elapsed() });
        return Ok(Ended::Named(None));
    }
    let builder = Arc::new(call.builder().await?);
    let outcomes = engine::run(builder, call.run_request(jobs), &call.events).await;
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

/// The image of `job`, if it is among `images`. Those that somebody has built on it inherit its
/// labels, but not its repository.
fn ours<'a>(
    images: &'a [StoredImage],
    fingerprint: &Fingerprint,
    job: &BuildJob,
) -> Option<&'a Digest> {
    let repository = &job.references[0].repository;
    let is_ours = |image: &&StoredImage| {
        image.label == fingerprint.to_string()
            && image.names.iter().any(|name| name.repository == *repository)
    };
    images.iter().find(is_ours).map(|image| &image.id)
}

async fn name(call: &Call<'_>, job: &BuildJob, digest: &Digest) -> Result<(), Report> {
    call.engine().await?.tag(digest, &job.references).await?;
    call.events.emit(&job.kept(digest));
    Ok(())
}
