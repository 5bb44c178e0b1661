//! `basegen merge`: one release of what several jobs have staged.

use std::time::Instant;

use crate::error::{ExitCode, Report};
use crate::event::{Event, Events};
use crate::image::{Digest, Reference};
use crate::plan::{Fingerprint, Plan};
use crate::publish::{self, JobFile, Metadata, PromoteRequest, Published};
use crate::registry::Registries;
use crate::report::{Printer, RunReport};
use crate::version::Version;

use super::args::MergeArgs;
use super::metadata::RunOutcome;
use super::publish::{Purpose, lock, measure, rows, show, warn_unguarded};
use super::{Session, inputs, outputs, progress, selection};
use crate::ops::{Context, Recipe, release_set};

/// What a merge came to, and what the targets are made of.
struct Merged {
    ended: Ended,
    fingerprints: Vec<Option<Fingerprint>>,
}

/// How a merge ended.
enum Ended {
    /// Everything is there, and was not to be named.
    Joined,
    /// The images have their names; a whole release has its set, too.
    Named(Option<(Reference, Digest)>),
    /// Nothing was named.
    Interrupted,
}

struct Merge<'a> {
    args: &'a MergeArgs,
    context: &'a Context,
    plan: &'a Plan<'a>,
    files: Vec<JobFile>,
    report: RunReport,
    events: Events,
}

pub(super) fn run(args: &MergeArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let plan = selection::plan(context, &args.selection, &args.naming)?;
    let files = args.files.iter().map(|path| JobFile::read(path)).collect::<Result<_, _>>()?;
    let recipe = Recipe::of(&plan)?;
    recipe.require_pins()?;
    if let Some(path) = &args.metadata_file {
        Metadata::check(path)?;
    }
    let mask = inputs::mask(&[], &context.registry_options()?.credentials, context);
    let report = progress::report(&args.telling, session, mask)?;
    let events = report.events();
    let merge = Merge { args, context, plan: &plan, files, report, events };
    match context.block_on_cancellable(merge.merge(recipe))? {
        None => Ok(ExitCode::Interrupted),
        Some(merged) => merge.conclude(&merged, printer),
    }
}

impl Merge<'_> {
    async fn merge(&self, recipe: Recipe<'_>) -> Result<Merged, Report> {
        let begun = Instant::now();
        let registries = self.context.registries()?;
        let rows = rows(&recipe);
        let version = self.plan.version.as_ref().map(Version::as_str);
        let joined = publish::join(&rows, version, &self.files)?;
        let images = self.plan.targets.iter().zip(&joined);
        let images = images.filter_map(|(target, joined)| Some((target.id(), joined.as_ref()?)));
        let built = images.clone().filter(|(_, joined)| !joined.image.kept);
        self.report.record_staged(built.map(|(id, joined)| (id.to_owned(), joined.image.cached)));
        let request = PromoteRequest {
            rows,
            joined: &joined,
            files: &self.files,
            set: release_set::names(self.plan)?,
            version: self.plan.version.clone(),
            known: release_set::of_version(self.plan)?,
            overwrite: self.args.overwrite,
            cancel: self.context.cancel.clone(),
        };
        let ended = if self.args.push {
            release_set::check_aliases(self.plan)?;
            warn_unguarded(self.plan, &self.events);
            self.promote(request, &registries).await?
        } else {
            self.gather(request, &registries).await?;
            self.events.emit(&Event::RunFinished { elapsed: begun.elapsed() });
            Ended::Joined
        };
        let record = self.report.record();
        let digests = record.digests();
        let taken = images.filter(|(id, joined)| digests.get(id) == Some(&&joined.image.digest));
        let sizes = taken.filter_map(|(id, joined)| Some((id.to_owned(), joined.image.size?)));
        self.report.record_sizes(sizes);
        if self.args.metadata_file.is_some() || self.context.settings.github.is_actions {
            measure(self.plan, &registries, &self.report).await;
        }
        Ok(Merged { ended, fingerprints: recipe.fingerprints() })
    }

    async fn promote(
        &self,
        request: PromoteRequest<'_>,
        registries: &Registries,
    ) -> Result<Ended, Report> {
        let _lock = lock(self.plan, self.context, Purpose::Release)?;
        Ok(match publish::promote(request, registries, &self.events).await? {
            Published::Whole { set, .. } => Ended::Named(set),
            Published::Unnamed(_) => Ended::Interrupted,
        })
    }

    /// Makes sure that every image is there; registries are asked only for what no file tells, or
    /// two of them differently.
    async fn gather(
        &self,
        request: PromoteRequest<'_>,
        registries: &Registries,
    ) -> Result<(), Report> {
        let told = request.joined.iter().map(|joined| {
            let joined = joined.as_ref().filter(|joined| !joined.disputed)?;
            Some(joined.image.digest.clone())
        });
        let digests = match told.collect::<Option<Vec<Digest>>>() {
            Some(digests) => digests,
            None => publish::gather(&request, registries, &self.events)
                .await?
                .into_iter()
                .filter_map(|survey| survey.content)
                .collect(),
        };
        for (row, digest) in request.rows.iter().zip(&digests) {
            self.events.emit(&row.job.unchanged(digest));
        }
        Ok(())
    }

    fn conclude(&self, merged: &Merged, printer: &Printer) -> Result<ExitCode, Report> {
        let (named, set) = match &merged.ended {
            Ended::Joined => (false, None),
            Ended::Named(set) => (true, set.as_ref()),
            Ended::Interrupted => return Ok(ExitCode::Interrupted),
        };
        let record = self.report.record();
        show(self.plan, &record, named, printer);
        self.report.conclude(named);
        let outcome = RunOutcome {
            record: &record,
            fingerprints: &merged.fingerprints,
            named,
            staged: !named,
            forced: false,
            set,
        };
        if let Some(path) = &self.args.metadata_file {
            outcome.metadata(self.plan).write(path)?;
        }
        outputs::write(self.plan, &outcome, self.context, &self.events)?;
        Ok(ExitCode::Success)
    }
}
