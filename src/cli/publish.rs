//! The main call with `--push`: a release, whole or not at all; and with `--stage`, its first half.

use std::collections::BTreeSet;
use std::path::PathBuf;

use futures_util::future::join_all;

use crate::engine::Destination;
use crate::error::Report;
use crate::event::{Event, Events};
use crate::image::Digest;
use crate::matrix::ReleaseSetForm;
use crate::plan::Plan;
use crate::publish::{
    self, LockFile, PublishRequest, Published, Row, RunLock, RunLockError, StageRequest, Staged,
};
use crate::registry::Registries;
use crate::report::{self, Printer, Record, RunReport};
use crate::verify;

use super::build::{Call, Ended};
use crate::ops::{Context, Recipe, release_set};

pub(super) async fn run(call: &Call<'_>, recipe: &Recipe<'_>) -> Result<Ended, Report> {
    release_set::check_aliases(call.plan)?;
    warn_unguarded(call.plan, &call.events);
    let output = &call.args.output;
    let request = PublishRequest {
        rows: rows(recipe),
        set: release_set::names(call.plan)?,
        version: call.plan.version.clone(),
        known: release_set::of_version(call.plan)?,
        overwrite: output.overwrite,
        force: call.is_forced(),
        run: call.run_request(Vec::new()),
    };
    let _lock = lock(call.plan, call.context, Purpose::Release)?;
    let published =
        publish::publish(request, call.client()?, &call.events, || call.builder()).await?;
    Ok(match published {
        Published::Whole { set, .. } => Ended::Named(set),
        Published::Unnamed(outcomes) => Ended::Unnamed(outcomes),
    })
}

/// Builds and pushes, and names nothing.
pub(super) async fn stage(call: &Call<'_>, recipe: &Recipe<'_>) -> Result<Ended, Report> {
    let request = StageRequest {
        rows: rows(recipe),
        version: call.plan.version.clone(),
        known: release_set::of_version(call.plan)?,
        overwrite: call.args.output.overwrite,
        force: call.is_forced(),
        run: call.run_request(Vec::new()),
    };
    let _lock = lock(call.plan, call.context, Purpose::Staging)?;
    let staged = publish::stage(request, call.client()?, &call.events, || call.builder()).await?;
    Ok(match staged {
        Staged::All { .. } => Ended::Staged,
        Staged::Unfinished(outcomes) => Ended::Unnamed(outcomes),
    })
}

/// Tells `report` how many bytes the images are that it knows of. What cannot be looked up is
/// not told.
pub(super) async fn measure(plan: &Plan<'_>, registries: &Registries, report: &RunReport) {
    let record = report.record();
    let digests = record.digests();
    let sizes = plan.targets.iter().filter_map(|target| {
        if record.sizes.contains_key(target.id()) {
            return None;
        }
        let digest = (*digests.get(target.id())?).clone();
        let repository = &target.reference.repository;
        Some(async move {
            let size = publish::size(registries, repository, &digest).await.ok()??;
            Some((target.id().to_owned(), size))
        })
    });
    report.record_sizes(join_all(sizes).await.into_iter().flatten());
}

/// Prints the images that `record` knows: under their references where they are `named` so, or
/// else by their digests alone.
pub(super) fn show(plan: &Plan<'_>, record: &Record, named: bool, printer: &Printer) {
    let digests = record.digests();
    for target in &plan.targets {
        let Some(digest) = digests.get(target.id()) else { continue };
        printer.result(&match named {
            true => report::published(target.references(), digest),
            false => format!("{}@{digest}\n", target.reference.repository),
        });
    }
}

/// Warns that nothing keeps an older release from moving the aliases back.
pub(super) fn warn_unguarded(plan: &Plan<'_>, events: &Events) {
    let is_off = plan.matrix.publish.release_set == ReleaseSetForm::Off;
    if is_off && plan.targets.iter().any(|target| !target.aliases.is_empty()) {
        let message = "no release set is written (`release_set = \"off\"`): an older release that \
                       runs later moves the aliases back";
        events.emit(&Event::Warning { target: None, message: message.to_owned() });
    }
}

/// The images of a release.
pub(super) fn rows(recipe: &Recipe<'_>) -> Vec<Row> {
    let jobs = recipe.jobs(&Destination::Registry).into_iter();
    let inputs = recipe.inputs.iter().zip(recipe.uncertainties());
    let rows = jobs.zip(inputs).map(|(job, (inputs, uncertain))| Row {
        fingerprint: inputs.fingerprint(),
        uncertain,
        checks: verify::digest(&job.checks),
        job,
    });
    rows.collect()
}

/// The purpose of a run that takes locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A release.
    Release,
    /// Images that get no names.
    Staging,
}

/// Locks out, on this machine, all runs with the same purpose and version tags. A release of a
/// whole matrix also moves aliases, and locks out every other release into its repositories.
/// Partial releases may run at the same time; the state of the registry keeps them apart. Staging
/// moves no tag that anybody pulls, and blocks no release.
pub(super) fn lock(
    plan: &Plan<'_>,
    context: &Context,
    purpose: Purpose,
) -> Result<RunLock, RunLockError> {
    let folder = lock_folder(context)?.join(match purpose {
        Purpose::Release => "releases",
        Purpose::Staging => "staging",
    });
    let lock = |name: &str, shared| {
        let key = &Digest::of(name.as_bytes()).hex()[..16];
        LockFile { path: folder.join(format!("{key}.lock")), shared }
    };
    let mut names: Vec<String> =
        plan.targets.iter().map(|target| target.reference.canonical()).collect();
    names.sort();
    let mut locks = BTreeSet::from([lock(&names.join("\n"), false)]);
    if purpose == Purpose::Release {
        let repositories = plan.targets.iter().map(|target| &target.reference.repository);
        locks.extend(repositories.map(|name| lock(&name.canonical(), !plan.whole)));
    }
    let locks: Vec<LockFile> = locks.into_iter().collect();
    RunLock::acquire(&locks)
}

/// The user's state folder; for a user without one, a folder below the temporary folder. Never the
/// checkout, which may come from anybody.
fn lock_folder(context: &Context) -> Result<PathBuf, RunLockError> {
    match context.settings.state_folder.clone() {
        Some(folder) => Ok(folder),
        None => publish::user_folder(&context.settings.temporary_folder),
    }
}
