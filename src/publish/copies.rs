//! Copies images byte for byte, without an engine: mirrored images from their source, and images of the release to the
//! registries that lack them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::future::{BoxFuture, try_join_all};
use tokio::sync::Mutex as AsyncMutex;

use super::error::is_immutable;
use super::survey::{exists, fetch};
use super::{Place, PublishError, Row, Survey};
use crate::event::{Event, Events};
use crate::image::{Descriptor, Digest, Repository, Tag};
use crate::registry::{Manifest, Registries};

/// The repository that a blob was copied to, while nobody copies it.
type CopiedTo = Arc<AsyncMutex<Option<Repository>>>;

/// The copies of a run.
pub(super) struct Copies<'a> {
    registries: &'a Registries,
    events: &'a Events,
    /// A repository of each registry that has a blob which the run has copied. Others mount it from there.
    blobs: Mutex<HashMap<(String, Digest), CopiedTo>>,
}

/// An image of a row in one of its repositories, or in the one that is mirrored.
#[derive(Debug, Clone)]
pub(super) struct Copied<'a> {
    pub(super) row: &'a Row,
    pub(super) digest: &'a Digest,
    pub(super) from: &'a Repository,
    /// Whether the image has passed the checks of the row.
    pub(super) is_checked: bool,
}

/// Returns the images of `rows` that exist and that some of their repositories lack.
pub(super) fn incomplete_images<'a>(
    rows: &'a [Row],
    surveys: &'a [Survey],
) -> impl Iterator<Item = Copied<'a>> {
    let incomplete = rows.iter().zip(surveys).filter(|(_, survey)| !survey.is_everywhere());
    incomplete.filter_map(|(row, survey)| {
        let digest = survey.content.as_ref()?;
        let known = row.places().zip(&survey.places);
        let known = known.filter(|(_, found)| found.content.as_ref() == Some(digest));
        let known = known.map(|(place, _)| place.repository()).next();
        let from = known.or(row.mirror.as_ref().map(|mirror| &mirror.repository))?;
        Some(Copied { row, digest, from, is_checked: survey.is_checked })
    })
}

impl<'a> Copies<'a> {
    pub(super) fn new(registries: &'a Registries, events: &'a Events) -> Self {
        Self { registries, events, blobs: Mutex::default() }
    }

    /// Copies `images` to those of their repositories that lack them, and sets their staging tags there.
    pub(super) async fn complete(
        &self,
        images: impl IntoIterator<Item = Copied<'_>>,
    ) -> Result<(), PublishError> {
        let places = images.into_iter().flat_map(|image| {
            let places = image.row.places().filter(|place| place.repository() != image.from);
            places.map(|place| self.copy_to(place, image.clone())).collect::<Vec<_>>()
        });
        try_join_all(places).await?;
        Ok(())
    }

    async fn copy_to(&self, place: Place<'_>, image: Copied<'_>) -> Result<(), PublishError> {
        let (begun, repository) = (Instant::now(), place.repository());
        let Copied { row, digest, from, is_checked } = image;
        let Some(manifest) = self.registries.manifest(from, digest).await? else {
            let (repository, digest) = (from.clone(), digest.clone());
            return Err(match &row.mirror {
                Some(mirror) if mirror.repository == repository => {
                    PublishError::NoSource { target: row.job.target.clone(), repository, digest }
                }
                _ => PublishError::Lost { repository, digest },
            });
        };
        if exists(self.registries, repository, digest).await? {
            self.registries.remember(repository, &manifest);
        } else {
            let bytes = self.copy(&manifest, from, repository).await?;
            self.events.emit(&Event::ImageCopied {
                target: row.job.target.clone(),
                repository: repository.to_string(),
                bytes,
                elapsed: begun.elapsed(),
            });
        }
        self.set_staging_tags(row, repository, &manifest, is_checked).await
    }

    /// Sets the staging tags of an image of `row`.
    pub(super) async fn set_staging_tags(
        &self,
        row: &Row,
        repository: &Repository,
        manifest: &Manifest,
        is_checked: bool,
    ) -> Result<(), PublishError> {
        let Some(fingerprint) = &row.fingerprint else { return Ok(()) };
        for tag in fingerprint.staging_tags(row.checks.as_ref().filter(|_| is_checked)) {
            self.tag(repository, &tag, manifest).await?;
        }
        Ok(())
    }

    /// Sets a staging tag. An earlier image keeps one that cannot move.
    async fn tag(
        &self,
        repository: &Repository,
        tag: &Tag,
        manifest: &Manifest,
    ) -> Result<(), PublishError> {
        match self.registries.put_manifest(repository, tag, manifest).await {
            Err(error) if is_immutable(&error) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Copies a manifest and everything that it refers to. Returns the number of bytes that were sent.
    fn copy<'b>(
        &'b self,
        manifest: &'b Manifest,
        from: &'b Repository,
        to: &'b Repository,
    ) -> BoxFuture<'b, Result<u64, PublishError>> {
        Box::pin(async move {
            let needs = manifest.needs();
            let images = needs.manifests.iter().map(async |digest| {
                if exists(self.registries, to, digest).await? {
                    return Ok(0);
                }
                let image = fetch(self.registries, from, digest).await?;
                self.copy(&image, from, to).await
            });
            let blobs = manifest.blobs();
            let blobs = blobs.iter().map(|blob| self.copy_blob(blob, from, to));
            let (images, blobs) = tokio::try_join!(try_join_all(images), try_join_all(blobs))?;
            self.registries.put_manifest(to, &manifest.digest(), manifest).await?;
            self.registries.remember(to, manifest);
            let size = manifest.descriptor().size;
            Ok(size + images.iter().chain(&blobs).sum::<u64>())
        })
    }

    /// Copies a blob, which each registry gets once.
    async fn copy_blob(
        &self,
        blob: &Descriptor,
        from: &Repository,
        to: &Repository,
    ) -> Result<u64, PublishError> {
        let copied = {
            let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (to.registry().to_owned(), blob.digest.clone());
            Arc::clone(blobs.entry(key).or_default())
        };
        let mut copied = copied.lock().await;
        let sent = match &*copied {
            Some(known) if known == to => 0,
            Some(known) if self.registries.mount_blob(to, &blob.digest, known).await? => 0,
            _ => self.registries.copy_blob(to, blob, from).await?,
        };
        *copied = Some(to.clone());
        Ok(sent)
    }
}
