//! Publishes images that several jobs have staged: the second half of a release.

use std::time::Instant;

use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::by_platform::{self, JoinedIndex};
use super::copies::{Copies, incomplete_images};
use super::survey::{exists, staged};
use super::tags::TagSetter;
use super::{
    Absence, JobFile, Listed, ListedImage, PublishError, Published, ReleaseRequest, Row, Survey,
    limits, look_up, set_tags,
};
use crate::event::{Event, Events};
use crate::image::{Digest, Platform};
use crate::registry::Registries;

/// The staged images to publish.
#[derive(Debug)]
pub struct PromoteRequest<'a> {
    /// The images and their names.
    pub release: ReleaseRequest,
    /// The images that jobs have staged, in the order of the rows. The others must be in their registry.
    pub listed: &'a [Listed],
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
    let PromoteRequest { release, cancel, .. } = &request;
    let gathering = Gathering { request: &request, registries, events };
    let (surveys, indexes) = tokio::select! {
        gathered = gathering.run() => gathered?,
        () = cancel.cancelled() => return Ok(Published::Unfinished(Vec::new())),
    };
    release.refuse_conflicting_tags(&surveys, false)?;
    limits::refuse_losses(registries, release, &surveys).await?;
    let copies = Copies::new(registries, events);
    let copied = async {
        try_join_all(indexes.iter().map(|index| index.push(registries, &copies))).await?;
        copies.complete(incomplete_images(&release.rows, &surveys)).await
    };
    tokio::select! {
        copied = copied => copied?,
        () = cancel.cancelled() => return Ok(Published::Unfinished(Vec::new())),
    }
    drop(indexes);
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

/// Returns the image of each row, and fails unless every row has a checked image of its content in its registry, or of
/// each of its platforms. If a job's file lists a different image, the registry's image is used and a warning reports it:
/// the file travels between machines. Platforms are not compared if the whole image exists. The image of a forced build is
/// used only if it is the one of the row's staging tag.
pub async fn gather(
    request: &PromoteRequest<'_>,
    registries: &Registries,
    events: &Events,
) -> Result<Vec<Digest>, PublishError> {
    let gathering = Gathering { request, registries, events };
    let (surveys, _) = gathering.run().await?;
    Ok(surveys.into_iter().filter_map(|survey| survey.content).collect())
}

/// The lookup of the images that jobs have staged.
struct Gathering<'a> {
    request: &'a PromoteRequest<'a>,
    registries: &'a Registries,
    events: &'a Events,
}

/// The image of a row.
enum Gathered<'a> {
    /// It is in its registry.
    Staged,
    /// The images of all of its platforms are in its registry, but not yet their index.
    Joined(JoinedIndex<'a>),
    Absent(Absence),
}

impl<'a> Gathering<'a> {
    /// Returns the survey of each row, and the indexes that have yet to be pushed.
    async fn run(&self) -> Result<(Vec<Survey>, Vec<JoinedIndex<'a>>), PublishError> {
        let PromoteRequest { release, listed, .. } = self.request;
        let rows = &release.rows;
        let mut surveys = look_up(self.registries, release, false).await?;
        let looked_up = rows.iter().zip(&mut surveys).zip(*listed);
        let looked_up =
            looked_up.map(async |((row, survey), listed)| self.image(row, survey, listed).await);
        let (mut indexes, mut absent) = (Vec::new(), Vec::new());
        for (row, gathered) in rows.iter().zip(try_join_all(looked_up).await?) {
            match gathered {
                Gathered::Staged => {}
                Gathered::Joined(index) => indexes.push(index),
                Gathered::Absent(absence) => absent.push((row.job.target.clone(), absence)),
            }
        }
        if absent.is_empty() {
            Ok((surveys, indexes))
        } else {
            Err(PublishError::NotStaged { absent, total: rows.len() })
        }
    }

    /// Looks up the image of `row`, or those of its platforms if it does not exist or its checks have changed.
    async fn image(
        &self,
        row: &'a Row,
        survey: &mut Survey,
        listed: &Listed,
    ) -> Result<Gathered<'a>, PublishError> {
        let whole = listed.image.as_ref();
        let is_forced =
            whole.into_iter().chain(listed.platforms.values()).any(|listed| listed.forced);
        let has_image = whole.is_some() && survey.content.is_some() && !is_forced;
        if row.is_index() && !has_image && (is_forced || !survey.is_checked) {
            match (self.join(row, survey, is_forced, listed).await?, whole) {
                (Gathered::Joined(index), whole)
                    if whole.is_none_or(|listed| listed.image.digest == index.digest()) =>
                {
                    index.record_in(survey);
                    return Ok(Gathered::Joined(index));
                }
                (gathered, None) => return Ok(gathered),
                // A job lists the whole image.
                (_, Some(_)) => {}
            }
        }
        let absence = self.absence(row, survey, whole).await?;
        Ok(absence.map_or(Gathered::Staged, Gathered::Absent))
    }

    /// Joins the images of the platforms of `row`. `whole` is the survey of the row. Its image has not passed the checks or,
    /// with `is_forced`, is replaced.
    async fn join(
        &self,
        row: &'a Row,
        whole: &Survey,
        is_forced: bool,
        listed: &Listed,
    ) -> Result<Gathered<'a>, PublishError> {
        let platforms = row.job.platforms.iter().map(async |platform| {
            let joined = listed.platforms.get(platform);
            let is_replaced =
                joined.map_or(is_forced && listed.platforms.is_empty(), |joined| joined.forced);
            let known = Some(whole).filter(|_| !is_replaced);
            let part = row.for_platform(platform);
            let mut survey = by_platform::survey(self.registries, &part, platform, known).await?;
            let absence = self.absence(&part, &mut survey, joined).await?;
            let absent = absence.map(|absence| (platform.clone(), absence));
            Ok::<_, PublishError>(((part, survey), absent))
        });
        let (parts, absent): (Vec<_>, Vec<_>) = try_join_all(platforms).await?.into_iter().unzip();
        let absent: Vec<(Platform, Absence)> = absent.into_iter().flatten().collect();
        let is_same = |other: &(Platform, Absence)| other.1 == absent[0].1;
        Ok(match absent.first() {
            None => {
                let known = Some(whole).filter(|_| !is_forced);
                Gathered::Joined(JoinedIndex::new(self.registries, row, parts, known).await?)
            }
            Some((_, absence)) if absent.len() == parts.len() && absent.iter().all(is_same) => {
                Gathered::Absent(absence.clone())
            }
            Some(_) => Gathered::Absent(Absence::Platforms(absent)),
        })
    }

    /// Returns why the image of `row` cannot be published. `joined` is the image that a job lists.
    async fn absence(
        &self,
        row: &Row,
        survey: &mut Survey,
        joined: Option<&ListedImage>,
    ) -> Result<Option<Absence>, PublishError> {
        let absence = match joined {
            Some(joined) => compare(self.registries, row, survey, joined, self.events).await?,
            None => survey.content.is_none().then(|| nowhere(self.request, row)),
        };
        let is_unchecked = survey.content.is_some() && !survey.is_checked;
        Ok(absence.or(is_unchecked.then_some(Absence::Unchecked)))
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
    joined: &ListedImage,
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
