//! The main call with `--push`: a release, whole or not at all.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Report;
use crate::image::{Digest, Reference};
use crate::plan::Plan;
use crate::publish::{self, Journal, PublishRequest, Published, Row, SetName};

use super::Environment;
use super::build::{Call, Ended};
use super::recipe::Recipe;
use super::registries;

pub(super) async fn run(call: &Call<'_>, recipe: &Recipe<'_>) -> Result<Ended, Report> {
    let output = &call.args.output;
    let request = PublishRequest {
        rows: rows(call, recipe),
        set: set_name(call.plan),
        overwrite: output.overwrite,
        force: output.force || call.args.running.no_cache,
        run: call.run_request(Vec::new()),
    };
    let journal = Arc::new(Journal::open(&journal_path(call.plan, call.environment))?);
    // What was just pushed is not on any mirror yet.
    let registries = registries::open(&call.registries, Vec::new())?;
    let published =
        publish::publish(request, &registries, &journal, &call.events, || call.builder()).await?;
    Ok(match published {
        Published::Whole { set, .. } => Ended::Named(set),
        Published::Unnamed(outcomes) => Ended::Unnamed(outcomes),
    })
}

/// The images of a release.
pub(super) fn rows(call: &Call<'_>, recipe: &Recipe<'_>) -> Vec<Row> {
    let jobs = recipe.jobs(&call.destination).into_iter();
    let rows = jobs.zip(recipe.fingerprints());
    rows.map(|(job, fingerprint)| Row { job, fingerprint }).collect()
}

/// What a whole matrix' release set is called: in the repository of the first image, by the
/// version, and by a name that moves on with the matrix' own versions.
pub(super) fn set_name(plan: &Plan<'_>) -> Option<SetName> {
    let first = plan.targets.first().filter(|_| plan.whole)?;
    let version = plan.version.as_ref().map(|version| version.as_str().to_owned());
    let versioned = version.as_ref().map(|version| format!("{SET}-{version}"));
    let moving = (!plan.custom).then(|| SET.to_owned());
    let references = versioned.into_iter().chain(moving).filter_map(|tag| {
        let repository = first.reference.repository.clone();
        Some(Reference { repository, tag: tag.parse().ok()? })
    });
    let references: Vec<Reference> = references.collect();
    (!references.is_empty()).then_some(SetName { references, version })
}

/// The release set that moves on with the matrix' own versions.
pub(super) fn newest_set(plan: &Plan<'_>) -> Option<Reference> {
    // It is in the repository of the matrix' first image, be that in the plan or not.
    let repository = plan.first_repository.clone();
    Some(Reference { repository, tag: SET.parse().ok()? })
}

/// The tag of the newest release set; those of versions have the version behind it.
const SET: &str = "basegen-release";

/// Where the journal of this release is: two calls that set the same version tags share it.
fn journal_path(plan: &Plan<'_>, environment: &Environment) -> PathBuf {
    let mut names: Vec<String> =
        plan.targets.iter().map(|target| target.reference.canonical()).collect();
    names.sort();
    let key = Digest::of(names.join("\n").as_bytes()).hex();
    let state = environment.state_folder().unwrap_or_else(|| plan.matrix.folder().join(".basegen"));
    state.join("releases").join(format!("{}.json", &key[..16]))
}
