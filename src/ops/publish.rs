//! What publishing needs of a plan: the rows of a release, the names of its set, and the locks of this machine.

use std::collections::BTreeSet;
use std::path::PathBuf;

use futures_util::future::join_all;

use super::{ArgumentError, Recipe, Settings, release_set};
use crate::engine::Destination;
use crate::event::{Event, Events};
use crate::image::Digest;
use crate::matrix::ReleaseSetForm;
use crate::plan::Plan;
use crate::publish::{self, LockFile, ReleaseRequest, Row, RunLock, RunLockError};
use crate::registry::Registries;
use crate::report::RunReport;
use crate::verify;

/// Returns the release of `recipe`.
pub(super) fn release(
    recipe: &Recipe<'_>,
    overwrite: bool,
) -> Result<ReleaseRequest, ArgumentError> {
    let jobs = recipe.jobs(&Destination::Registry).into_iter();
    let inputs = recipe.inputs.iter().zip(recipe.uncertainties());
    let rows = jobs.zip(inputs).map(|(job, (inputs, uncertain))| Row {
        fingerprint: inputs.fingerprint(),
        uncertain,
        checks: verify::digest(&job.checks),
        job,
    });
    Ok(ReleaseRequest {
        rows: rows.collect(),
        version: recipe.plan.version.clone(),
        set: release_set::names(recipe.plan)?,
        known: release_set::of_version(recipe.plan)?,
        overwrite,
    })
}

/// Adds the sizes of the images to `report`. A size that cannot be looked up is left out.
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

/// Warns that nothing keeps an older release from moving the aliases back.
pub(super) fn warn_unguarded(plan: &Plan<'_>, events: &Events) {
    let is_off = plan.matrix.publish.release_set == ReleaseSetForm::Off;
    if is_off && plan.targets.iter().any(|target| !target.aliases.is_empty()) {
        let message = "no release set is written (`release_set = \"off\"`): an older release that \
                       runs later moves the aliases back";
        events.emit(&Event::Warning { target: None, message: message.to_owned() });
    }
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
    settings: &Settings,
    purpose: Purpose,
) -> Result<RunLock, RunLockError> {
    let folder = lock_folder(settings)?.join(match purpose {
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
fn lock_folder(settings: &Settings) -> Result<PathBuf, RunLockError> {
    match settings.state_folder.clone() {
        Some(folder) => Ok(folder),
        None => publish::user_folder(&settings.temporary_folder),
    }
}
