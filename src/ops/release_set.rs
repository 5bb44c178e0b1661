//! The names of release sets.

use super::ArgumentError;
use crate::error::{ExitCode, Explain};
use crate::image::{Reference, ReferenceError, Repository};
use crate::matrix::ReleaseSetForm;
use crate::plan::Plan;
use crate::publish::{SetForm, SetName};

/// The tag of the newest release set. The tag of a version's set appends the version.
const TAG: &str = "basegen-release";

/// Returns the names of the release set of a whole matrix: one with the version, and one that moves with the
/// matrix' own versions. Returns `None` for a part of a matrix, or if the matrix has no release sets.
pub fn names(plan: &Plan<'_>) -> Result<Option<SetName>, ArgumentError> {
    let form = match plan.matrix.publish.release_set {
        ReleaseSetForm::Artifact => SetForm::Artifact,
        ReleaseSetForm::Image => SetForm::Image,
        ReleaseSetForm::Off => return Ok(None),
    };
    if !plan.whole {
        return Ok(None);
    }
    let moves = !plan.custom && !has_immutable_tags(plan, &plan.first_repository);
    let moving = moves.then(|| newest(plan));
    let references: Vec<Reference> = of_version(plan)?.into_iter().chain(moving).collect();
    Ok((!references.is_empty()).then_some(SetName { references, form }))
}

/// Returns the release set of the plan's version, in the repository of the matrix' first image even if the plan does not
/// contain that image. Returns `None` if the matrix has no release sets.
pub fn of_version(plan: &Plan<'_>) -> Result<Option<Reference>, ArgumentError> {
    let is_off = plan.matrix.publish.release_set == ReleaseSetForm::Off;
    let Some(version) = plan.version.as_ref().filter(|_| !is_off) else { return Ok(None) };
    let tag = format!("{TAG}-{version}").parse().map_err(|error: ReferenceError| {
        ArgumentError::new("--version-tag", version.as_str(), &error)
    })?;
    Ok(Some(Reference { repository: plan.first_repository.clone(), tag }))
}

/// Returns the release set that moves with the matrix' own versions.
#[must_use]
pub fn newest(plan: &Plan<'_>) -> Reference {
    let tag = TAG.parse().expect("a tag");
    Reference { repository: plan.first_repository.clone(), tag }
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
            "remove `aliases` from `[image]`, or exclude them from the registry's rule and remove \
             `immutable_tags`"
                .to_owned(),
        )
    }
}

/// Refuses a plan with aliases in a registry whose tags cannot move.
pub fn check_aliases(plan: &Plan<'_>) -> Result<(), ImmutableAliases> {
    let aliases = plan.targets.iter().flat_map(|target| &target.aliases);
    let mut repositories = aliases.map(|alias| &alias.repository);
    match repositories.find(|repository| has_immutable_tags(plan, repository)) {
        Some(repository) => Err(ImmutableAliases { host: repository.registry().to_owned() }),
        None => Ok(()),
    }
}
