//! The second half of a release alone: names for images that several jobs have staged.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::naming::Naming;
use super::{
    Absence, JobFile, Joined, Journal, PublishError, Published, Row, SetName, Survey, look_up,
    refuse_taken,
};
use crate::event::Events;
use crate::image::{Digest, Reference};
use crate::registry::Registries;

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
    journal: &Arc<Journal>,
    events: &Events,
) -> Result<Published, PublishError> {
    let begun = Instant::now();
    let surveys = tokio::select! {
        surveys = gather(&request, registries, Some(journal)) => surveys?,
        () = request.cancel.cancelled() => return Ok(Published::Unnamed(Vec::new())),
    };
    let PromoteRequest { rows, set, overwrite, cancel, .. } = request;
    if !overwrite {
        refuse_taken(&rows, &surveys, false)?;
    }
    let digests: Vec<Digest> = surveys.into_iter().filter_map(|survey| survey.content).collect();
    for (row, digest) in rows.iter().zip(&digests) {
        events.emit(&row.job.kept(digest));
    }
    let naming = Naming {
        registries,
        journal,
        events,
        cancel: &cancel,
        rows: &rows,
        digests: &digests,
        overwrite,
    };
    let set = naming.all(set.as_ref(), begun).await?;
    Ok(Published::Whole { digests, set })
}

/// What there is of each row, all of which are there: what the jobs' files say, looked up, and
/// for the others what the registry has of what they are made of, or what the `journal` notes of
/// a run that did not end.
pub async fn gather(
    request: &PromoteRequest<'_>,
    registries: &Registries,
    journal: Option<&Journal>,
) -> Result<Vec<Survey>, PublishError> {
    let PromoteRequest { rows, joined, files, known, .. } = request;
    let state = journal.map(Journal::state).unwrap_or_default();
    let mut surveys = look_up(registries, rows, known.as_ref(), &state, false).await?;
    let checks = rows.iter().zip(&surveys).zip(*joined);
    let checks = checks.map(async |((row, survey), joined)| match joined {
        Some(joined) => check(registries, row, survey, joined).await,
        None => Ok(None),
    });
    let wrong = try_join_all(checks).await?;
    let mut absent = Vec::new();
    for (((row, survey), joined), wrong) in rows.iter().zip(&mut surveys).zip(*joined).zip(wrong) {
        if let Some(joined) = joined {
            survey.content = Some(joined.image.digest.clone());
        }
        let id = &row.job.target;
        let nowhere = || {
            let failed = files.iter().find(|file| file.failed.contains(id));
            failed.map_or(Absence::Nowhere, |file| Absence::Failed(file.name.clone()))
        };
        let absence = wrong.or_else(|| survey.content.is_none().then(nowhere));
        absent.extend(absence.map(|absence| (id.clone(), absence)));
    }
    match absent.is_empty() {
        true => Ok(surveys),
        false => Err(PublishError::NotStaged { absent, total: rows.len() }),
    }
}

/// What is wrong with what a job says: its image is not there, or nothing in the registry says that
/// it was made of what the row is made of, and checked. A staging tag does, and so does a release;
/// the file came a long way, and the label of an image is inherited by who builds on it.
async fn check(
    registries: &Registries,
    row: &Row,
    survey: &Survey,
    joined: &Joined,
) -> Result<Option<Absence>, PublishError> {
    let (file, digest) = (joined.file.clone(), joined.image.digest.clone());
    let found = registries.head(&row.version().repository, &digest).await?;
    if found.is_none_or(|found| found.digest != digest) {
        return Ok(Some(Absence::Vanished { file, digest }));
    }
    let is_known = survey.content.as_ref() == Some(&digest);
    Ok((!is_known).then_some(Absence::Other { file, digest }))
}
