//! The steps of a release that builds and merges share: its rows, its locks on this machine and the sizes of its images.

use std::collections::BTreeSet;
use std::path::PathBuf;

use futures_util::future::join_all;

use super::{Context, Recipe, Settings, release_set};
use crate::error::Report;
use crate::event::{Event, Events};
use crate::image::{Digest, Platform};
use crate::matrix::ReleaseSetForm;
use crate::plan::{Plan, Target};
use crate::publish::{self, LockFile, ReleaseRequest, Row, RunLock, RunLockError};
use crate::registry::Registries;
use crate::report::RunReport;
use crate::verify;

/// Returns the release of `recipe`.
pub(super) fn release(recipe: &Recipe<'_>, overwrite: bool) -> Result<ReleaseRequest, Report> {
    let jobs = recipe.jobs().into_iter();
    let inputs = recipe.inputs.iter().zip(recipe.uncertainties());
    let matrix = recipe.plan.matrix;
    let sizes = recipe.graph.targets.iter().map(|target| {
        matrix.settings(target.variant).last(|settings| settings.max_size.as_ref()).copied()
    });
    let limits = sizes.zip(&recipe.gpu);
    let printed = recipe.graph.targets.iter().map(|target| target.printed_tags.clone());
    let rows = jobs.zip(printed).zip(inputs).zip(limits).zip(recipe.mirrors()?);
    let rows =
        rows.map(|((((job, printed_tags), (inputs, uncertain)), (max_size, gpu)), mirror)| Row {
            fingerprint: inputs.fingerprint(),
            uncertain,
            checks: verify::digest(&job.checks),
            gpu: gpu.clone(),
            max_size,
            mirror,
            printed_tags,
            job,
        });
    let mut rows: Vec<Row> = rows.collect();
    let parents = rows.split_off(recipe.plan.targets.len());
    let has_sets = matrix.publish.release_set != ReleaseSetForm::Off;
    Ok(ReleaseRequest {
        rows,
        parents,
        version: recipe.plan.version.clone(),
        sets: release_set::names(recipe.plan)?,
        known: release_set::of_version(recipe.plan)?,
        newest: if has_sets { release_set::newest(recipe.plan) } else { Vec::new() },
        overwrite,
    })
}

/// Adds the sizes of the images to `report` if the metadata file or a step of GitHub Actions shows them. Leaves out a
/// size that cannot be looked up, and all of them after an interrupt.
pub(super) async fn measure(
    context: &Context,
    plan: &Plan<'_>,
    has_metadata_file: bool,
    registries: &Registries,
    report: &RunReport,
) {
    if !has_metadata_file && !context.settings.github.is_actions {
        return;
    }
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
    tokio::select! {
        sizes = join_all(sizes) => report.record_sizes(sizes.into_iter().flatten()),
        () = context.cancel.cancelled() => {}
    }
}

/// Warns that nothing keeps an older release from moving the aliases back.
pub(super) fn warn_unguarded(plan: &Plan<'_>, events: &Events) {
    let is_off = plan.matrix.publish.release_set == ReleaseSetForm::Off;
    if is_off && plan.targets.iter().any(Target::has_aliases) {
        let message = "no release set is written (`release_set = \"off\"`): an older release that \
                       runs later moves the aliases back";
        events.emit(&Event::Warning { target: None, message: message.to_owned() });
    }
}

/// The purpose of a run that takes locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose<'a> {
    Release,
    /// Staging, which sets no version tag, for one platform or for all.
    Staging(Option<&'a Platform>),
}

/// Locks out, on this machine, all runs with the same purpose and version tags. A release of a whole matrix also moves
/// aliases, so it locks out every other release to its repositories. Partial releases may run at the same time: the
/// state of the registry keeps them apart. Staging moves no public tag and blocks no release.
pub(super) fn lock(
    plan: &Plan<'_>,
    settings: &Settings,
    purpose: Purpose<'_>,
) -> Result<RunLock, RunLockError> {
    let folder = lock_folder(settings)?.join(match purpose {
        Purpose::Release => "releases",
        Purpose::Staging(_) => "staging",
    });
    let lock = |name: &str, shared| {
        let key = &Digest::of(name.as_bytes()).hex()[..16];
        LockFile { path: folder.join(format!("{key}.lock")), shared }
    };
    let mut names: Vec<String> =
        plan.version_tags().map(|reference| reference.canonical()).collect();
    names.sort();
    if let Purpose::Staging(Some(platform)) = purpose {
        names.push(platform.to_string());
    }
    let mut locks = BTreeSet::from([lock(&names.join("\n"), false)]);
    if purpose == Purpose::Release {
        let repositories = plan.targets.iter().flat_map(Target::repositories);
        locks.extend(repositories.map(|name| lock(&name.canonical(), !plan.whole)));
    }
    let locks: Vec<LockFile> = locks.into_iter().collect();
    RunLock::acquire(&locks)
}

/// Returns the user's state folder, or else a folder below the temporary folder. Never the checkout, whose content may
/// be untrusted.
fn lock_folder(settings: &Settings) -> Result<PathBuf, RunLockError> {
    match settings.state_folder.clone() {
        Some(folder) => Ok(folder),
        None => publish::user_folder(&settings.temporary_folder),
    }
}
