//! The second half of a release alone: names for images that several jobs have staged.

use std::time::Instant;

use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::naming::Naming;
use super::survey::{is_there, staged};
use super::{
    Absence, JobFile, Joined, PublishError, Published, Row, SetName, Survey, look_up,
    refuse_conflicting_tags,
};
use crate::event::{Event, Events};
use crate::image::{Digest, Reference};
use crate::registry::Registries;
use crate::version::Version;

/// What is to be named, and how.
#[derive(Debug)]
pub struct PromoteRequest<'a> {
    /// The images, in plan order.
    pub rows: Vec<Row>,
    /// Which of them jobs have staged, in the same order; the others must be in their registry.
    pub joined: &'a [Option<Joined>],
    /// The jobs' files, for what they say of the others.
    pub files: &'a [JobFile],
    /// Where the release set goes, and what it says; `None` for a part of a matrix.
    pub set: Option<SetName>,
    /// The version of the images, for messages.
    pub version: Option<Version>,
    /// The release set of this version, from when it was released before.
    pub known: Option<Reference>,
    /// Whether version tags that stand for other images are moved.
    pub overwrite: bool,
    /// Stops the run.
    pub cancel: CancellationToken,
}

/// Names the rows of `request`, of which each must be in its registry: nothing is built.
pub async fn promote(
    request: PromoteRequest<'_>,
    registries: &Registries,
    events: &Events,
) -> Result<Published, PublishError> {
    let begun = Instant::now();
    let surveys = tokio::select! {
        surveys = gather(&request, registries, events) => surveys?,
        () = request.cancel.cancelled() => return Ok(Published::Unnamed(Vec::new())),
    };
    let PromoteRequest { rows, set, version, overwrite, cancel, .. } = request;
    if !overwrite {
        refuse_conflicting_tags(&rows, &surveys, version, false)?;
    }
    let digests: Vec<Digest> = surveys.into_iter().filter_map(|survey| survey.content).collect();
    for (row, digest) in rows.iter().zip(&digests) {
        events.emit(&row.job.unchanged(digest));
    }
    let naming =
        Naming { registries, events, cancel: &cancel, rows: &rows, digests: &digests, overwrite };
    let set = naming.all(set.as_ref(), begun).await?;
    Ok(Published::Whole { digests, set })
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
    let PromoteRequest { rows, joined, known, .. } = request;
    let mut surveys = look_up(registries, rows, known.as_ref(), false).await?;
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
    match absent.is_empty() {
        true => Ok(surveys),
        false => Err(PublishError::NotStaged { absent, total: rows.len() }),
    }
}

/// Why a row that no file tells of is not there.
fn nowhere(request: &PromoteRequest<'_>, row: &Row) -> Absence {
    let failed = request.files.iter().find(|file| file.failed.contains(&row.job.target));
    failed.map_or(Absence::Nowhere, |file| Absence::Failed(file.name.clone()))
}

/// Holds what a job says against what the registry says was made of the same, and checked: a
/// staging tag does, and so does a release. Where there is neither, the row is absent; the label
/// of an image says nothing, as who builds on it inherits it.
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
        return Ok(Some(match is_there(registries, repository, &digest).await? {
            true => Absence::Other { file, digest },
            false => Absence::Vanished { file, digest },
        }));
    };
    if content == digest {
        return Ok(None);
    }
    if joined.forced {
        // It is to be named in place of what was released, or of what its staging tag keeps.
        let known = match &row.fingerprint {
            Some(fingerprint) => {
                staged(registries, repository, fingerprint, row.checks.as_ref()).await?
            }
            None => None,
        };
        if known.as_ref() != Some(digest) {
            return Ok(Some(Absence::Other { file, digest: digest.clone() }));
        }
        (survey.content, survey.is_checked) = (known, true);
        return Ok(None);
    }
    let message = format!(
        "`{file}` says {digest}, but `{repository}` knows {content} as made of the same and checked: \
         that is taken"
    );
    events.emit(&Event::Warning { target: Some(row.job.target.clone()), message });
    Ok(None)
}
