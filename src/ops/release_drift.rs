//! The drift between a plan and the release of its version: missing tags and images, and changed content.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;

use super::{Context, Recipe, lookup, registries, release_set};
use crate::error::Report;
use crate::image::Reference;
use crate::plan::{Plan, Target};
use crate::publish::{self, Audited, Finding, PublishError, ReleaseSet};
use crate::registry::Registries;

/// The drift between a plan and the release of its version.
#[derive(Debug, Default)]
pub struct ReleaseDrift {
    /// The missing or moved parts of the release.
    pub problems: Vec<Problem>,
    /// The targets whose images have different content now.
    pub changed: Vec<String>,
}

/// A part of a release that is missing or moved.
#[derive(Debug)]
pub struct Problem {
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Problem {
    fn new(message: String, hint: &str) -> Self {
        Self { message, hint: hint.to_owned() }
    }
}

const PUBLISH: &str = "`basegen --push` publishes it";
const PUBLISH_AGAIN: &str = "`basegen --push` publishes it again";

/// Compares `plan` with the release of its version. A version without a release is a problem only if one is `expected`.
pub async fn find(
    context: &Context,
    plan: &Plan<'_>,
    expected: bool,
) -> Result<ReleaseDrift, Report> {
    let Some(version) = &plan.version else { return Ok(ReleaseDrift::default()) };
    let registries = context.registries()?;
    let references = release_set::of_version(plan)?;
    if references.is_empty() {
        let missing = missing_tags(plan, &registries).await?;
        let is_known = expected || missing.len() < plan.version_tags().count();
        let problems = if is_known { missing } else { Vec::new() };
        return Ok(ReleaseDrift { problems, changed: Vec::new() });
    }
    let mut recipe = Recipe::new(plan)?;
    let (mut drift, mut sets) = (ReleaseDrift::default(), Vec::new());
    for (reference, newest) in references.iter().zip(release_set::newest(plan)) {
        if let Some((set, _)) = ReleaseSet::read(&registries, reference).await? {
            set.check_repositories(reference, &plan.repositories())?;
            set.check_matrix(reference, plan.references(), plan.version.as_ref())?;
            sets.push((set, newest));
        } else {
            let message = format!("{version} is not released: `{reference}` does not exist");
            drift.problems.push(Problem::new(message, "`basegen --push` releases it"));
        }
    }
    if sets.is_empty() {
        // A version that no registry has is the next one.
        drift.problems.retain(|_| expected);
        return Ok(drift);
    }
    lookup::resolve(context, &mut recipe).await?;
    for (set, newest) in &sets {
        drift.problems.extend(problems(plan, set, newest, &registries).await?);
    }
    drift.changed = changed(&recipe, &sets[0].0);
    Ok(drift)
}

/// Returns the targets whose fingerprints differ from those in the release `set`.
fn changed(recipe: &Recipe<'_>, set: &ReleaseSet) -> Vec<String> {
    let mut changed = Vec::new();
    for (target, fingerprint) in recipe.plan.targets.iter().zip(recipe.fingerprints()) {
        let released = set.images.get(target.id()).and_then(|image| image.fingerprint.as_ref());
        if let (Some(released), Some(now)) = (released, fingerprint)
            && *released != now.to_string()
        {
            changed.push(target.id().to_owned());
        }
    }
    changed
}

/// Returns the missing version tags of a release without a set.
async fn missing_tags(plan: &Plan<'_>, registries: &Registries) -> Result<Vec<Problem>, Report> {
    let tags: Vec<Reference> = plan.version_tags().collect();
    let found = registries::digests(registries, &tags).await;
    let mut missing = Vec::new();
    for (tag, found) in tags.into_iter().zip(found) {
        if found?.is_none() {
            missing.push(Problem::new(format!("the tag `{tag}` is missing"), PUBLISH));
        }
    }
    Ok(missing)
}

async fn problems(
    plan: &Plan<'_>,
    set: &ReleaseSet,
    newest: &Reference,
    registries: &Registries,
) -> Result<Vec<Problem>, PublishError> {
    let audited = publish::audit(registries, set).await?;
    let mut problems = Vec::new();
    for image in &audited {
        let reference = &image.image.reference;
        let (message, hint) = match image.finding {
            Finding::Ok => continue,
            Finding::Moved => (
                format!("the tag `{reference}` does not point to the released image"),
                "`basegen status` shows the digests",
            ),
            Finding::Untagged => (format!("the tag `{reference}` was deleted"), PUBLISH_AGAIN),
            Finding::Lost => (format!("the image of `{reference}` was deleted"), PUBLISH_AGAIN),
        };
        problems.push(Problem::new(message, hint));
    }
    for alias in publish::stray_aliases(registries, set, newest).await? {
        let message =
            format!("the alias `{}` does not point to the newest release", alias.reference);
        problems.push(Problem::new(message, "`basegen --push` moves it"));
    }
    let by_id: BTreeMap<&str, &Audited> =
        audited.iter().map(|image| (image.id.as_str(), image)).collect();
    let registry = newest.repository.registry();
    let gaps = plan.targets.iter().filter_map(|target| {
        let mut tags = target.version_tags();
        let tag = tags.find(|tag| tag.repository.registry() == registry)?;
        Some(gaps(registries, target, tag, by_id.get(target.id())))
    });
    for message in try_join_all(gaps).await?.into_iter().flatten() {
        problems.push(Problem::new(message, "release a new version: `basegen bump`"));
    }
    Ok(problems)
}

/// Reports the image or the platforms of a target that the release lacks.
async fn gaps(
    registries: &Registries,
    target: &Target<'_>,
    tag: Reference,
    image: Option<&&Audited>,
) -> Result<Vec<String>, PublishError> {
    // An image with another name belongs to the release, but is not the one that the plan names.
    let Some(image) = image.filter(|image| image.image.reference == tag) else {
        return Ok(vec![format!("`{tag}` is not part of the release")]);
    };
    // Other findings have been reported.
    if image.finding != Finding::Ok {
        return Ok(Vec::new());
    }
    let repository = &image.image.reference.repository;
    let found = publish::platforms(registries, repository, &image.image.digest).await?;
    let Some(found) = found else { return Ok(Vec::new()) };
    let missing = target.platforms.iter().filter(|platform| !found.contains(platform));
    Ok(missing.map(|platform| format!("`{tag}` lacks {platform}")).collect())
}
