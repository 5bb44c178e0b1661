//! The main call without `--push`: images for the engine itself, or for a folder.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::engine::{self, BuildJob, Destination, Outcome};
use crate::error::Report;
use crate::event::Event;
use crate::image::Digest;
use crate::plan::Fingerprint;

use super::build::{Call, Ended};
use super::recipe::Recipe;

pub(super) async fn run(call: &Call<'_>, recipe: &Recipe<'_>) -> Result<Ended, Report> {
    let begun = Instant::now();
    let there = in_engine(call).await?;
    let mut jobs = Vec::new();
    for (job, fingerprint) in recipe.jobs(&call.destination).into_iter().zip(recipe.fingerprints())
    {
        match fingerprint.and_then(|fingerprint| there.get(&fingerprint.to_string())) {
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

/// The images that the engine has, by their fingerprints; none where they are to be built anew.
async fn in_engine(call: &Call<'_>) -> Result<HashMap<String, Digest>, Report> {
    let anew = call.args.output.force || call.args.running.no_cache;
    if anew || call.destination != Destination::Engine {
        return Ok(HashMap::new());
    }
    let images = call.engine().await?.images_with(Fingerprint::LABEL).await?;
    Ok(images.into_iter().map(|image| (image.label, image.id)).collect())
}

async fn name(call: &Call<'_>, job: &BuildJob, digest: &Digest) -> Result<(), Report> {
    call.engine().await?.tag(digest, &job.references).await?;
    call.kept(job, digest);
    Ok(())
}
