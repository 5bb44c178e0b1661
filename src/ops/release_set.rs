//! The names of release sets.

use super::ArgumentError;
use crate::error::{ExitCode, Explain};
use crate::image::{Reference, ReferenceError, Repository, Tag};
use crate::matrix::ReleaseSetForm;
use crate::plan::{Plan, Target};
use crate::publish::{SetForm, SetName};

/// The tag of the newest release set. The tag of a version's set appends the version.
const TAG: &str = "basegen-release";

/// Returns the names of the release sets of a whole matrix, one in each registry: a tag with the version, and one that
/// moves with the matrix' own versions. Returns none for a part of a matrix, or if the matrix has no release sets.
pub fn names(plan: &Plan<'_>) -> Result<Vec<SetName>, ArgumentError> {
    let form = match plan.matrix.publish.release_set {
        ReleaseSetForm::Artifact => SetForm::Artifact,
        ReleaseSetForm::Image => SetForm::Image,
        ReleaseSetForm::Off => return Ok(Vec::new()),
    };
    if !plan.whole {
        return Ok(Vec::new());
    }
    let of_version = of_version(plan)?;
    let moving = newest(plan).into_iter();
    let names = moving.map(|newest| {
        let repository = &newest.repository;
        let claim = of_version.iter().find(|claim| claim.repository == *repository).cloned();
        let moves = !plan.custom && !has_immutable_tags(plan, repository);
        let references = claim.into_iter().chain(moves.then_some(newest)).collect();
        SetName { references, form }
    });
    Ok(names.filter(|name| !name.references.is_empty()).collect())
}

/// Returns the release sets of the plan's version, in the repository of the matrix' first image in each registry even if
/// the plan does not contain that image. Returns none if the matrix has no release sets.
pub fn of_version(plan: &Plan<'_>) -> Result<Vec<Reference>, ArgumentError> {
    let is_off = plan.matrix.publish.release_set == ReleaseSetForm::Off;
    let Some(version) = plan.version.as_ref().filter(|_| !is_off) else { return Ok(Vec::new()) };
    let tag = format!("{}-{version}", tag(plan)).parse().map_err(|error: ReferenceError| {
        ArgumentError::new("--version-tag", version.as_str(), &error)
    })?;
    Ok(in_each_registry(plan, &tag))
}

/// Returns the release sets that move with the matrix' own versions, one in each registry.
#[must_use]
pub fn newest(plan: &Plan<'_>) -> Vec<Reference> {
    in_each_registry(plan, &tag(plan).parse().expect("a name is valid in a tag"))
}

fn in_each_registry(plan: &Plan<'_>, tag: &Tag) -> Vec<Reference> {
    let repositories = plan.first_repositories.iter().cloned();
    repositories.map(|repository| Reference { repository, tag: tag.clone() }).collect()
}

/// Returns the tag of the newest release set. No version begins with the separator of the name.
fn tag(plan: &Plan<'_>) -> String {
    match &plan.matrix.publish.name {
        Some(name) => format!("{TAG}_{}", name.as_str()),
        None => TAG.to_owned(),
    }
}

/// Returns true if the matrix declares that the tags of this registry cannot move.
#[must_use]
pub fn has_immutable_tags(plan: &Plan<'_>, repository: &Repository) -> bool {
    let settings = plan.matrix.registries.get(repository.registry());
    settings.is_some_and(|settings| settings.immutable_tags)
}

/// Aliases in a registry whose tags are immutable.
#[derive(Debug, thiserror::Error)]
#[error("aliases cannot move in `{host}`: `immutable_tags` is set for it")]
pub struct ImmutableAliases {
    host: String,
}

impl Explain for ImmutableAliases {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Matrix
    }

    fn hint(&self) -> Option<String> {
        Some(
            "remove `aliases` and `[[alias]]`, or exclude them from the registry's rule and remove \
             `immutable_tags`"
                .to_owned(),
        )
    }
}

/// Refuses a plan with aliases in a registry whose tags cannot move.
pub fn check_aliases(plan: &Plan<'_>) -> Result<(), ImmutableAliases> {
    let named = plan.targets.iter().filter(|target| target.has_aliases());
    let mut repositories = named.flat_map(Target::repositories);
    match repositories.find(|repository| has_immutable_tags(plan, repository)) {
        Some(repository) => Err(ImmutableAliases { host: repository.registry().to_owned() }),
        None => Ok(()),
    }
}
