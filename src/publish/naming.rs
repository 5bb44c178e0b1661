//! When a tag moves: after everything that it stands for is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{join_all, try_join_all};
use tokio_util::sync::CancellationToken;

use super::survey::digest_of;
use super::{Journal, PublishError, Row};
use crate::event::{Event, Events};
use crate::image::{Digest, Reference};
use crate::registry::{Manifest, Registries, RegistryError};

/// Names rows whose images are in the registry.
pub(super) struct Naming<'a> {
    pub(super) registries: &'a Registries,
    pub(super) journal: &'a Arc<Journal>,
    pub(super) events: &'a Events,
    pub(super) cancel: &'a CancellationToken,
    pub(super) rows: &'a [Row],
    /// What the rows are, in their order.
    pub(super) digests: &'a [Digest],
    /// Whether version tags that stand for something else are moved.
    pub(super) overwrite: bool,
}

/// A tag that does not stand yet for what it should.
struct Move<'a> {
    row: &'a Row,
    reference: &'a Reference,
    digest: &'a Digest,
    before: Option<Digest>,
}

impl Naming<'_> {
    /// Makes sure that every image is there, and that no other run has set a version tag since
    /// the survey.
    pub(super) async fn barrier(&self) -> Result<(), PublishError> {
        try_join_all(self.rows().map(|(row, digest)| self.is_there(row, digest))).await?;
        if self.overwrite {
            return Ok(());
        }
        let moves = self.moves(Row::versions).await?;
        let taken: Vec<Reference> = moves
            .into_iter()
            .filter(|tag| tag.before.is_some())
            .map(|tag| tag.reference.clone())
            .collect();
        match taken.is_empty() {
            true => Ok(()),
            false => Err(PublishError::Taken { references: taken, force: false }),
        }
    }

    /// Sets the tags of the version, and reads them back: of two runs that set them at the same
    /// time, neither may believe in a mixture. Gives how many had to be set.
    pub(super) async fn versions(&self) -> Result<usize, PublishError> {
        let done = self.set(Row::versions).await?;
        let mixed: Vec<Reference> =
            self.moves(Row::versions).await?.iter().map(|tag| tag.reference.clone()).collect();
        match mixed.is_empty() {
            true => Ok(done),
            false => Err(PublishError::Mixed { references: mixed }),
        }
    }

    /// Moves the aliases; gives how many had to be.
    pub(super) async fn aliases(&self) -> Result<usize, PublishError> {
        self.set(Row::aliases).await
    }

    fn rows(&self) -> impl Iterator<Item = (&Row, &Digest)> {
        self.rows.iter().zip(self.digests)
    }

    async fn is_there(&self, row: &Row, digest: &Digest) -> Result<(), PublishError> {
        let found = self.registries.head(&row.version().repository, digest).await?;
        if found.is_some_and(|found| found.digest == *digest) {
            return Ok(());
        }
        let reference = row.version().clone();
        Err(PublishError::Lost { reference, digest: digest.clone() })
    }

    /// Those of the tags that do not stand for their row's image.
    async fn moves<'a>(
        &'a self,
        tags: impl Fn(&'a Row) -> &'a [Reference],
    ) -> Result<Vec<Move<'a>>, PublishError> {
        let all = self.rows().flat_map(|(row, digest)| {
            tags(row).iter().map(move |reference| (row, reference, digest))
        });
        let looked_up = all.map(async |(row, reference, digest)| {
            let before = digest_of(self.registries, reference).await?;
            Ok::<_, PublishError>(Move { row, reference, digest, before })
        });
        let mut moves = try_join_all(looked_up).await?;
        moves.retain(|tag| tag.before.as_ref() != Some(tag.digest));
        Ok(moves)
    }

    async fn set<'a>(
        &'a self,
        tags: impl Fn(&'a Row) -> &'a [Reference],
    ) -> Result<usize, PublishError> {
        let moves = self.moves(tags).await?;
        let done = AtomicUsize::new(0);
        let results = join_all(moves.iter().map(|tag| self.set_one(tag, &done))).await;
        let mut failed = Vec::new();
        for (tag, result) in moves.iter().zip(results) {
            match result {
                Ok(()) => {}
                Err(PublishError::Registry(error)) => {
                    failed.push((tag.reference.clone(), error));
                }
                Err(other) => return Err(other),
            }
        }
        let (done, total) = (done.into_inner(), moves.len());
        if !failed.is_empty() {
            return Err(PublishError::Tags { failed, total });
        }
        match done == total {
            true => Ok(done),
            false => Err(PublishError::Interrupted { done, total }),
        }
    }

    async fn set_one(&self, tag: &Move<'_>, done: &AtomicUsize) -> Result<(), PublishError> {
        let manifest = self.manifest(tag).await?;
        if self.cancel.is_cancelled() {
            return Ok(());
        }
        let reference = tag.reference;
        self.registries.put_manifest(&reference.repository, &reference.tag, &manifest).await?;
        self.journal.tagged(&tag.row.job.target, reference, tag.digest).await?;
        done.fetch_add(1, Ordering::Relaxed);
        self.events.emit(&Event::Tagged {
            target: tag.row.job.target.clone(),
            reference: reference.clone(),
            digest: tag.digest.clone(),
            before: tag.before.clone(),
        });
        Ok(())
    }

    /// The very bytes that are there: made anew, they would be another image.
    async fn manifest(&self, tag: &Move<'_>) -> Result<Manifest, PublishError> {
        let repository = &tag.reference.repository;
        let found: Result<_, RegistryError> =
            self.registries.manifest(repository, tag.digest).await;
        let lost =
            || PublishError::Lost { reference: tag.reference.clone(), digest: tag.digest.clone() };
        found?.ok_or_else(lost)
    }
}
