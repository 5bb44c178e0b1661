//! Whether registries have all that the version of a plan was released as.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;

use crate::error::Report;
use crate::image::Reference;
use crate::plan::{Plan, Target};
use crate::publish::{self, Audited, Finding, PublishError, ReleaseSet};
use crate::registry::Registries;

use crate::ops::{Context, Recipe, lookup, registries, release_set};

/// How a plan differs from the release of its version.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// The missing parts of the release, each with a hint.
    pub(super) problems: Vec<(String, String)>,
    /// The targets whose images have different content now.
    pub(super) changed: Vec<String>,
}

/// How `plan` differs from the release of its version. A version without a release is a problem only
/// where one is `expected`.
pub(super) fn differences(
    plan: &Plan<'_>,
    expected: bool,
    context: &Context,
) -> Result<Differences, Report> {
    let Some(version) = &plan.version else { return Ok(Differences::default()) };
    let registries = context.registries()?;
    let Some(reference) = release_set::of_version(plan)? else {
        let missing = context.block_on(missing_tags(plan, &registries));
        let missing = missing?;
        let is_known = expected || missing.len() < plan.targets.len();
        let problems = if is_known { missing } else { Vec::new() };
        return Ok(Differences { problems, changed: Vec::new() });
    };
    let mut recipe = Recipe::of(plan)?;
    let found = context.block_on(async {
        let Some((set, _)) = ReleaseSet::read(&registries, &reference).await? else {
            return Ok::<_, Report>(None);
        };
        set.check_repositories(&reference, &plan.repositories())?;
        lookup::resolve(context, &mut recipe).await?;
        let problems = of_set(plan, &set, &registries).await?;
        Ok(Some(Differences { problems, changed: changed(&recipe, &set) }))
    });
    Ok(match found? {
        Some(differences) => differences,
        None if expected => {
            let message = format!("{version} is not released: there is no `{reference}`");
            let problems = vec![(message, "`basegen --push` releases it".to_owned())];
            Differences { problems, changed: Vec::new() }
        }
        None => Differences::default(),
    })
}

/// The targets whose images were made of something else in the release `set`.
fn changed(recipe: &Recipe<'_>, set: &ReleaseSet) -> Vec<String> {
    let targets = recipe.plan.targets.iter().zip(recipe.fingerprints());
    let changed = targets.filter(|(target, fingerprint)| {
        let released = set.images.get(target.id()).and_then(|image| image.fingerprint.as_ref());
        match (released, fingerprint) {
            (Some(released), Some(now)) => *released != now.to_string(),
            _ => false,
        }
    });
    changed.map(|(target, _)| target.id().to_owned()).collect()
}

/// The version tags that are missing, of a release without a set.
async fn missing_tags(
    plan: &Plan<'_>,
    registries: &Registries,
) -> Result<Vec<(String, String)>, Report> {
    let tags: Vec<&Reference> = plan.targets.iter().map(|target| &target.reference).collect();
    let found = registries::digests(registries, tags.iter().copied()).await;
    let mut missing = Vec::new();
    for (tag, found) in tags.into_iter().zip(found) {
        if found?.is_none() {
            let hint = "`basegen --push` publishes it".to_owned();
            missing.push((format!("the tag `{tag}` is missing"), hint));
        }
    }
    Ok(missing)
}

async fn of_set(
    plan: &Plan<'_>,
    set: &ReleaseSet,
    registries: &Registries,
) -> Result<Vec<(String, String)>, PublishError> {
    let audited = publish::audit(registries, set).await?;
    let by_id: BTreeMap<&str, &Audited<'_>> =
        audited.iter().map(|image| (image.id, image)).collect();
    let again = || "`basegen --push` publishes it again".to_owned();
    let mut differences = Vec::new();
    for image in &audited {
        let reference = &image.image.reference;
        match image.finding {
            Finding::Whole => {}
            Finding::Moved => {
                let message = format!("`{reference}` stands for another image than was released");
                differences.push((message, "`basegen status` shows which".to_owned()));
            }
            Finding::Untagged => {
                differences.push((format!("the tag `{reference}` is gone"), again()));
            }
            Finding::Lost => {
                differences.push((format!("the image of `{reference}` is gone"), again()));
            }
        }
    }
    for alias in publish::stray_aliases(registries, set, &release_set::newest(plan)).await? {
        let message =
            format!("the alias `{}` does not point to the newest release", alias.reference);
        differences.push((message, "`basegen --push` moves it".to_owned()));
    }
    let gaps = plan.targets.iter().map(|target| gaps(registries, target, by_id.get(target.id())));
    let gaps = try_join_all(gaps).await?.into_iter().flatten();
    let anew = "release it under a new version: `basegen bump`";
    differences.extend(gaps.map(|message| (message, anew.to_owned())));
    Ok(differences)
}

/// What the release does not have of a target: it, or some of its platforms.
async fn gaps(
    registries: &Registries,
    target: &Target<'_>,
    image: Option<&&Audited<'_>>,
) -> Result<Vec<String>, PublishError> {
    // Under another name it is one that the release has, and not the one that is asked for.
    let Some(image) = image.filter(|image| image.image.reference == target.reference) else {
        return Ok(vec![format!("`{}` is not part of the release", target.reference)]);
    };
    // What else is wrong with it has been told.
    if image.finding != Finding::Whole {
        return Ok(Vec::new());
    }
    let repository = &image.image.reference.repository;
    let there = publish::platforms(registries, repository, &image.image.digest).await?;
    let Some(there) = there else { return Ok(Vec::new()) };
    let missing = target.platforms.iter().filter(|platform| !there.contains(platform));
    let told =
        missing.map(|platform| format!("`{}` is not there for {platform}", target.reference));
    Ok(told.collect())
}
