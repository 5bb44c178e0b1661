//! The notes of a release: its images, compared with the release of the version that the base branch has.
//!
//! [`published`] reads both releases from the registry. [`expected`] is for a preview of a release that does not exist
//! yet.

use std::collections::BTreeMap;

use super::{Context, Recipe, lookup, release_set};
use crate::error::Report;
use crate::forge::{ImageRow, Notes, RowChange};
use crate::image::{Digest, Reference};
use crate::plan::{Plan, PublishedState, Target};
use crate::publish::{self, ImageContent, ReleaseSet, Since};
use crate::registry::Registries;
use crate::version::Version;

/// Compares the published release `version` with the one of the version `before`.
pub(super) async fn published(
    context: &Context,
    plan: &Plan<'_>,
    version: &Version,
    before: &Version,
) -> Result<Notes, Report> {
    let registries = context.registries()?;
    let set = release(plan, &registries, version).await?;
    let previous =
        if before == version { None } else { release(plan, &registries, before).await? };
    let before = previous.as_ref().map(|(_, set, _)| set);
    let (images, removed) = if let Some((reference, set, _)) = &set {
        set.check_repositories(reference, &plan.repositories())?;
        let contents = publish::contents(&registries, set, before).await?;
        (rows(plan, set, &contents), removed(set, before))
    } else {
        Default::default()
    };
    Ok(Notes {
        version: version.to_string(),
        previous: previous.as_ref().and_then(|(_, set, _)| set.version.clone()),
        images,
        removed,
        set: set.map(|(reference, _, digest)| (reference, digest)),
        other_registries: other_registries(plan),
    })
}

/// Returns the notes of a release that is not published yet.
pub(super) async fn expected(
    context: &Context,
    plan: &Plan<'_>,
    version: &Version,
    before: &Version,
) -> Result<Notes, Report> {
    let mut recipe = Recipe::new(plan)?;
    // Images that depend on an unpinned base image count as changed.
    let fingerprints = recipe.fingerprints();
    let status = lookup::required_status(context, &mut recipe).await?;
    let previous = release(plan, &context.registries()?, before).await?.map(|(_, set, _)| set);
    let rows = plan.targets.iter().zip(status).zip(fingerprints);
    let rows = rows.map(|((target, status), fingerprint)| ImageRow {
        reference: target.reference.clone(),
        digest: None,
        blobs: Vec::new(),
        size_before: None,
        change: match previous.as_ref().map(|set| set.images.get(target.id())) {
            Some(Some(image)) => {
                let fingerprint = fingerprint.map(|fingerprint| fingerprint.to_string());
                if fingerprint.is_some() && image.fingerprint == fingerprint {
                    RowChange::Unchanged
                } else if status.state == PublishedState::Retag {
                    // The reasons compare with the image that is already pushed, not with the previous release.
                    RowChange::Changed(Vec::new())
                } else {
                    RowChange::Changed(status.reasons)
                }
            }
            Some(None) => RowChange::New,
            None => RowChange::Unknown,
        },
    });
    let previous = (before != version).then(|| before.to_string());
    let version = version.to_string();
    let (images, other_registries) = (rows.collect(), other_registries(plan));
    Ok(Notes { version, previous, images, other_registries, ..Notes::default() })
}

fn other_registries(plan: &Plan<'_>) -> Vec<String> {
    let others = plan.first_repositories.iter().skip(1);
    others.map(|repository| repository.registry().to_owned()).collect()
}

/// Reads the release set of a version in the first registry. All registries have the same images.
async fn release(
    plan: &Plan<'_>,
    registries: &Registries,
    version: &Version,
) -> Result<Option<(Reference, ReleaseSet, Digest)>, Report> {
    let first = release_set::of_version(plan)?.into_iter().next();
    let Some(mut reference) = first else { return Ok(None) };
    let planned = plan.version.as_ref().map_or("", Version::as_str);
    let Ok(tag) = reference.tag.as_str().replace(planned, version.as_str()).parse() else {
        return Ok(None);
    };
    reference.tag = tag;
    let set = ReleaseSet::read(registries, &reference).await?;
    Ok(set.map(|(set, digest)| (reference, set, digest)))
}

fn rows(plan: &Plan<'_>, set: &ReleaseSet, contents: &[ImageContent]) -> Vec<ImageRow> {
    let contents: BTreeMap<&str, &ImageContent> =
        contents.iter().map(|content| (content.id.as_str(), content)).collect();
    let row = |target: &Target<'_>| {
        let (image, content) = (set.images.get(target.id())?, contents.get(target.id())?);
        Some(ImageRow {
            reference: target.reference.clone(),
            digest: Some(image.digest.clone()),
            blobs: content.blobs.clone(),
            size_before: match content.since {
                Some(Since::Changed { size_before, .. }) => Some(size_before),
                _ => None,
            },
            change: match &content.since {
                None => RowChange::Unknown,
                Some(Since::New) => RowChange::New,
                Some(Since::Unchanged) => RowChange::Unchanged,
                Some(Since::Changed { reasons, .. }) => RowChange::Changed(reasons.clone()),
            },
        })
    };
    plan.targets.iter().filter_map(row).collect()
}

/// Returns the images of the previous release that this one does not contain.
fn removed(now: &ReleaseSet, before: Option<&ReleaseSet>) -> Vec<String> {
    let before = before.into_iter().flat_map(|set| &set.images);
    let removed = before.filter(|(id, _)| !now.images.contains_key(*id));
    removed.map(|(_, image)| image.reference.to_string()).collect()
}
