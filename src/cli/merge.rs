//! `basegen merge`: one release of what several jobs have staged.

use std::time::Instant;

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::error::{ExitCode, FileError, Report};
use crate::event::{Event, Events};
use crate::image::{Digest, Reference};
use crate::plan::{Fingerprint, Plan};
use crate::publish::{self, JobFile, Metadata, PromoteRequest, Published};
use crate::registry::{Registries, RegistryOptions};
use crate::report::{Printer, RunReport};
use crate::version::Version;

use super::args::{GlobalArgs, MergeArgs};
use super::metadata::RunOutcome;
use super::publish::{
    Purpose, check_aliases, lock, measure, rows, set_name, show, version_set, warn_unguarded,
};
use super::recipe::Recipe;
use super::{Environment, inputs, outputs, progress, registries, selection, signals};

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
    environment: &'a Environment,
    plan: &'a Plan<'a>,
    files: Vec<JobFile>,
    registries: RegistryOptions,
    report: RunReport,
    events: Events,
    cancel: CancellationToken,
}

pub(super) fn run(
    args: &MergeArgs,
    global: &GlobalArgs,
    environment: &Environment,
    printer: &Printer,
) -> Result<ExitCode, Report> {
    let matrix = selection::load(global)?;
    let plan = selection::plan(&matrix, &args.selection, &args.naming)?;
    let files = args.files.iter().map(|path| JobFile::read(path)).collect::<Result<_, _>>()?;
    let recipe = Recipe::of(&plan)?;
    recipe.require_pins()?;
    if let Some(path) = &args.metadata_file {
        Metadata::check(path)?;
    }
    let registries = registries::options(&matrix, environment)?;
    let mask = inputs::mask(&[], &registries.credentials, environment);
    let report = progress::report(&args.telling, global, environment, printer, mask)?;
    let events = report.events();
    let cancel = CancellationToken::new();
    let merge = Merge { args, environment, plan: &plan, files, registries, report, events, cancel };
    let runtime = Runtime::new().map_err(FileError::runtime)?;
    let merged = runtime.block_on(merge.execute(recipe));
    runtime.shutdown_background();
    match merged {
        None => Ok(ExitCode::Interrupted),
        Some(merged) => merge.conclude(&merged?, printer),
    }
}

impl Merge<'_> {
    /// Does everything; `None` when a second interrupt ended it on the spot.
    async fn execute(&self, recipe: Recipe<'_>) -> Option<Result<Merged, Report>> {
        let interrupts = signals::watch(self.cancel.clone());
        tokio::select! {
            merged = self.merge(recipe) => Some(merged),
            () = interrupts => None,
        }
    }

    async fn merge(&self, recipe: Recipe<'_>) -> Result<Merged, Report> {
        let begun = Instant::now();
        let registries = registries::open(&self.registries, Vec::new())?;
        let rows = rows(&recipe);
        let version = self.plan.version.as_ref().map(Version::as_str);
        let joined = publish::join(&rows, version, &self.files)?;
        let images = self.plan.targets.iter().zip(&joined);
        let images = images.filter_map(|(target, joined)| Some((target.id(), joined.as_ref()?)));
        let built = images.clone().filter(|(_, joined)| !joined.image.kept);
        self.report.note_staged(built.map(|(id, joined)| (id.to_owned(), joined.image.cached)));
        let request = PromoteRequest {
            rows,
            joined: &joined,
            files: &self.files,
            set: set_name(self.plan)?,
            version: self.plan.version.clone(),
            known: version_set(self.plan)?,
            overwrite: self.args.overwrite,
            cancel: self.cancel.clone(),
        };
        let ended = if self.args.push {
            check_aliases(self.plan)?;
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
        self.report.note_sizes(sizes);
        if self.args.metadata_file.is_some() || self.environment.is_actions() {
            measure(self.plan, &registries, &self.report).await;
        }
        Ok(Merged { ended, fingerprints: recipe.fingerprints() })
    }

    async fn promote(
        &self,
        request: PromoteRequest<'_>,
        registries: &Registries,
    ) -> Result<Ended, Report> {
        let _lock = lock(self.plan, self.environment, Purpose::Release)?;
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
        outputs::write(self.plan, &outcome, self.environment, &self.events)?;
        Ok(ExitCode::Success)
    }
}
