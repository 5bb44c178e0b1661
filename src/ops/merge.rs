//! `basegen merge`: makes one release of the images that several jobs have staged.

use std::path::PathBuf;
use std::time::Instant;

use super::build::Ended;
use super::outcome::RunOutcome;
use super::{Context, Recipe, inputs, publish, release_set};
use crate::error::Report;
use crate::event::{Event, Events};
use crate::image::Digest;
use crate::plan::{Fingerprint, Plan};
use crate::publish::{JobFile, Metadata, PromoteRequest, join, promote};
use crate::registry::Registries;
use crate::report::{Mask, Record, RunReport};
use crate::version::Version;

/// The staged images to merge.
#[derive(Debug, Clone, Default)]
pub struct MergeRequest {
    /// The metadata files of the jobs.
    pub files: Vec<PathBuf>,
    /// Whether the images get their tags.
    pub push: bool,
    /// Whether version tags move that point to different images.
    pub overwrite: bool,
    /// The file to describe the outcome in.
    pub metadata_file: Option<PathBuf>,
}

/// A merge whose files have been read.
pub struct Merge<'a> {
    context: &'a Context,
    plan: &'a Plan<'a>,
    request: MergeRequest,
    files: Vec<JobFile>,
    recipe: Recipe<'a>,
    fingerprints: Vec<Option<Fingerprint>>,
}

impl<'a> Merge<'a> {
    /// Reads the files of the jobs, and checks that the metadata file can be written.
    pub fn new(
        context: &'a Context,
        plan: &'a Plan<'a>,
        request: MergeRequest,
    ) -> Result<Self, Report> {
        let files =
            request.files.iter().map(|path| JobFile::read(path)).collect::<Result<_, _>>()?;
        let recipe = Recipe::new(plan)?;
        recipe.require_pins()?;
        if let Some(path) = &request.metadata_file {
            Metadata::check(path)?;
        }
        let fingerprints = recipe.fingerprints();
        Ok(Self { context, plan, request, files, recipe, fingerprints })
    }

    /// Returns the mask of everything that the run prints.
    pub fn mask(&self) -> Result<Mask, Report> {
        let credentials = &self.context.registry_options()?.credentials;
        Ok(inputs::mask(&[], credentials, &self.context.settings))
    }

    /// Joins the files of the jobs, and publishes the images or checks that all are staged.
    pub async fn run(&self, report: &RunReport) -> Result<Ended, Report> {
        let Self { context, plan, request, files, recipe, .. } = self;
        let (begun, events) = (Instant::now(), report.events());
        let registries = context.registries()?;
        let release = publish::release(recipe, request.overwrite)?;
        let version = plan.version.as_ref().map(Version::as_str);
        let listed = join(&release.rows, version, files)?;
        let rows = plan.targets.iter().zip(&listed);
        let built = rows.clone();
        let built = built.filter_map(|(target, row)| Some((target.id(), row.was_cached()?)));
        report.record_staged(built.map(|(id, cached)| (id.to_owned(), cached)));
        let cancel = context.cancel.clone();
        let promotion = PromoteRequest { release, listed: &listed, files, cancel };
        let ended = if request.push {
            release_set::check_aliases(plan)?;
            publish::warn_unguarded(plan, &events);
            let _lock = publish::lock(plan, &context.settings, publish::Purpose::Release)?;
            promote(promotion, &registries, &events).await?.into()
        } else {
            gather(&promotion, &registries, &events).await?;
            events.emit(&Event::RunFinished { elapsed: begun.elapsed() });
            Ended::Staged
        };
        if matches!(ended, Ended::Unfinished(_)) {
            return Ok(ended);
        }
        let record = report.record();
        let digests = record.digests();
        let images = rows.filter_map(|(target, row)| Some((target.id(), row.image.as_ref()?)));
        let used = images.filter(|(id, joined)| digests.get(id) == Some(&&joined.image.digest));
        let sizes = used.filter_map(|(id, joined)| Some((id.to_owned(), joined.image.size?)));
        report.record_sizes(sizes);
        let has_file = request.metadata_file.is_some();
        publish::measure(context, plan, has_file, &registries, report).await;
        Ok(ended)
    }

    /// Writes the metadata file and the outputs of the step.
    pub fn write_outcome(
        &self,
        ended: &Ended,
        record: &Record,
        events: &Events,
    ) -> Result<(), Report> {
        let is_tagged = matches!(ended, Ended::Tagged(_));
        let outcome = RunOutcome {
            plan: self.plan,
            record,
            fingerprints: &self.fingerprints,
            is_tagged,
            staged: !is_tagged,
            platform: None,
            forced: self.files.iter().any(|file| file.forced),
            sets: ended.sets(),
        };
        let step = Some(&self.context.settings.github);
        outcome.write(self.request.metadata_file.as_deref(), step, events)
    }
}

/// Verifies that every image is staged. Registries are asked only if a file lists no digest of an image, or two files
/// list different ones.
async fn gather(
    request: &PromoteRequest<'_>,
    registries: &Registries,
    events: &Events,
) -> Result<(), Report> {
    let listed = request.listed.iter().map(|row| {
        let joined = row.image.as_ref().filter(|joined| !joined.disputed)?;
        Some(joined.image.digest.clone())
    });
    let digests = if let Some(digests) = listed.collect::<Option<Vec<Digest>>>() {
        digests
    } else {
        crate::publish::gather(request, registries, events).await?
    };
    for (row, digest) in request.release.rows.iter().zip(&digests) {
        events.emit(&row.job.unchanged(digest));
    }
    Ok(())
}
