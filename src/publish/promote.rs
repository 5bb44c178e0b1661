//! Publishes images that several jobs have staged: the second half of a release.

use std::time::Instant;

use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::copies::{Copies, incomplete_images};
use super::survey::{exists, staged};
use super::tags::TagSetter;
use super::{
    Absence, JobFile, Joined, PublishError, Published, ReleaseRequest, Row, Survey, limits,
    look_up, set_tags,
};
use crate::event::{Event, Events};
use crate::image::Digest;
use crate::registry::Registries;

/// The staged images to publish.
#[derive(Debug)]
pub struct PromoteRequest<'a> {
    /// The images and their names.
    pub release: ReleaseRequest,
    /// The images that jobs have staged, in the order of the rows. The others must be in their registry.
    pub joined: &'a [Option<Joined>],
    /// The metadata files of the jobs, for messages about missing images.
    pub files: &'a [JobFile],
    pub cancel: CancellationToken,
}

/// Sets the tags of a release whose images are all in their registries. Builds nothing.
pub async fn promote(
    mut request: PromoteRequest<'_>,
    registries: &Registries,
    events: &Events,
) -> Result<Published, PublishError> {
    let begun = Instant::now();
    let surveys = tokio::select! {
        surveys = gather(&request, registries, events) => surveys?,
        () = request.cancel.cancelled() => return Ok(Published::Unfinished(Vec::new())),
    };
    let PromoteRequest { release, cancel, .. } = &request;
    release.refuse_conflicting_tags(&surveys, false)?;
    limits::refuse_losses(registries, release, &surveys).await?;
    let copies = Copies::new(registries, events);
    tokio::select! {
        copied = copies.complete(incomplete_images(&release.rows, &surveys)) => copied?,
        () = cancel.cancelled() => return Ok(Published::Unfinished(Vec::new())),
    }
    let digests: Vec<Digest> = surveys.into_iter().filter_map(|survey| survey.content).collect();
    limits::refuse_oversized(registries, &release.rows, &digests).await?;
    for (row, digest) in release.rows.iter().zip(&digests) {
        events.emit(&row.job.unchanged(digest));
    }
    request.release.read_aliases(registries, events, &digests).await?;
    let PromoteRequest { release, cancel, .. } = &request;
    let setter = TagSetter { registries, events, cancel, release, digests: &digests };
    let sets = set_tags(&setter, begun).await?;
    Ok(Published::Whole { digests, sets })
}

/// Returns the survey of each row, and fails unless every row has a checked image of its content in
/// its registry. If a job's file lists a different image, the registry's image is used and a
/// warning reports it: the file travels between machines. The image of a forced build is used
/// only if it is the one of the row's staging tag.
pub async fn gather(
    request: &PromoteRequest<'_>,
    registries: &Registries,
    events: &Events,
) -> Result<Vec<Survey>, PublishError> {
    let PromoteRequest { release, joined, .. } = request;
    let rows = &release.rows;
    let mut surveys = look_up(registries, release, false).await?;
    let looked_up = rows.iter().zip(&mut surveys).zip(*joined);
    let looked_up = looked_up.map(async |((row, survey), joined)| {
        let absence = match joined {
            Some(joined) => compare(registries, row, survey, joined, events).await?,
            None => survey.content.is_none().then(|| nowhere(request, row)),
        };
        let is_unchecked = survey.content.is_some() && !survey.is_checked;
        Ok::<_, PublishError>(absence.or(is_unchecked.then_some(Absence::Unchecked)))
    });
    let absent = try_join_all(looked_up).await?.into_iter().zip(rows);
    let absent: Vec<(String, Absence)> =
        absent.filter_map(|(absence, row)| Some((row.job.target.clone(), absence?))).collect();
    if absent.is_empty() {
        Ok(surveys)
    } else {
        Err(PublishError::NotStaged { absent, total: rows.len() })
    }
}

/// Returns why a row is missing that no metadata file lists.
fn nowhere(request: &PromoteRequest<'_>, row: &Row) -> Absence {
    let failed = request.files.iter().find(|file| file.failed.contains(&row.job.target));
    failed.map_or(Absence::Nowhere, |file| Absence::Failed(file.name.clone()))
}

/// Compares the image that a job lists with the one that the registry lists as built and checked, by a staging tag or a
/// release. Without either, the row is absent. The label of an image proves nothing: images that are based on it
/// inherit it.
async fn compare(
    registries: &Registries,
    row: &Row,
    survey: &mut Survey,
    joined: &Joined,
    events: &Events,
) -> Result<Option<Absence>, PublishError> {
    let (file, digest) = (joined.file.clone(), &joined.image.digest);
    let repository = &row.version().repository;
    let Some(content) = &survey.content else {
        let digest = digest.clone();
        return Ok(Some(if exists(registries, repository, &digest).await? {
            Absence::Other { file, digest }
        } else {
            Absence::Vanished { file, digest }
        }));
    };
    if content == digest {
        return Ok(None);
    }
    if joined.forced {
        // It replaces the released image, or the one of the staging tag.
        let known = match &row.fingerprint {
            Some(fingerprint) => {
                staged(registries, repository, fingerprint, row.checks.as_ref()).await?
            }
            None => None,
        };
        if known.as_ref() != Some(digest) {
            return Ok(Some(Absence::Other { file, digest: digest.clone() }));
        }
        if let Some(first) = survey.places.first_mut() {
            first.content.clone_from(&known);
        }
        (survey.content, survey.is_checked) = (known, true);
        return Ok(None);
    }
    let message = format!(
        "`{file}` lists {digest}, but `{repository}` lists {content} as built from the same inputs and checked: \
         the latter is used"
    );
    events.emit(&Event::Warning { target: Some(row.job.target.clone()), message });
    Ok(None)
}
