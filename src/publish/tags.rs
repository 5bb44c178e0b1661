//! Sets version tags and aliases once every image has been pushed.
//!
//! [`TagSetter`] verifies that each digest exists in its repository, sets the version tags and aliases, and reads them back.
//! Each tag is set by sending the pushed manifest again, so no blob is transferred.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio_util::sync::CancellationToken;

use super::survey::{OutdatedTag, digest_of, exists, fetch, outdated_tags};
use super::{Place, PublishError, ReleaseRequest, Row};
use crate::error::one_line;
use crate::event::{Event, Events};
use crate::image::{Digest, Reference};
use crate::registry::Registries;

/// The waits before tags are read back again.
pub(super) const READ_BACK: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// A kind of tags.
#[derive(Clone, Copy)]
enum Kind<'a> {
    Versions,
    /// The aliases in these registries.
    Aliases(&'a [&'a str]),
}

impl Kind<'_> {
    /// Returns the tags of this kind in a repository.
    fn of(self, place: Place<'_>) -> &[Reference] {
        match self {
            Self::Versions => place.versions(),
            Self::Aliases(registries) if registries.contains(&place.registry()) => place.aliases(),
            Self::Aliases(_) => &[],
        }
    }
}

/// Sets the tags of images that are in the registry.
pub(super) struct TagSetter<'a> {
    pub(super) registries: &'a Registries,
    pub(super) events: &'a Events,
    pub(super) cancel: &'a CancellationToken,
    pub(super) release: &'a ReleaseRequest,
    /// The digests of the images, in the order of the rows.
    pub(super) digests: &'a [Digest],
}

impl TagSetter<'_> {
    /// Verifies that every image is in all of its repositories.
    pub(super) async fn barrier(&self) -> Result<(), PublishError> {
        let places = self.rows().flat_map(|(row, digest)| row.places().map(move |at| (at, digest)));
        let checks = places.map(async |(place, digest)| {
            if exists(self.registries, place.repository(), digest).await? {
                return Ok(());
            }
            Err(PublishError::Lost {
                repository: place.repository().clone(),
                digest: digest.clone(),
            })
        });
        try_join_all(checks).await?;
        Ok(())
    }

    /// Sets the version tags and returns the number of changed ones. A tag that another run has set since the survey is
    /// an error.
    pub(super) async fn set_versions(&self) -> Result<usize, PublishError> {
        let outdated = self.outdated(Kind::Versions).await?;
        if !self.release.overwrite {
            let conflicting_tags = outdated.iter().filter(|tag| tag.found.is_some());
            let conflicting_tags: Vec<Reference> =
                conflicting_tags.map(|tag| tag.reference.clone()).collect();
            if !conflicting_tags.is_empty() {
                return Err(PublishError::Overtaken { references: conflicting_tags });
            }
        }
        self.set(outdated, Kind::Versions).await
    }

    /// Sets the aliases in `registries`, where the release takes part in no order. Returns the number of changed ones.
    pub(super) async fn set_aliases(&self, registries: &[&str]) -> Result<usize, PublishError> {
        let aliases = Kind::Aliases(registries);
        self.set(self.outdated(aliases).await?, aliases).await
    }

    /// Moves the aliases in a registry, even if another run has just moved them. Returns the number of moves.
    pub(super) async fn move_aliases(&self, registry: &str) -> Result<usize, PublishError> {
        self.put(&self.outdated(Kind::Aliases(&[registry])).await?, false).await
    }

    /// Verifies tags that were set, so that of two runs that set them at the same time, neither succeeds with a
    /// mixture. A registry may take a moment to return its new tags.
    async fn read_back(&self, tags: Kind<'_>) -> Result<(), PublishError> {
        let mut mixed = self.outdated(tags).await?;
        for wait in READ_BACK {
            if mixed.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(wait).await;
            mixed = self.outdated(tags).await?;
        }
        if mixed.is_empty() {
            return Ok(());
        }
        Err(PublishError::Mixed {
            references: mixed.into_iter().map(|tag| tag.reference).collect(),
        })
    }

    fn rows(&self) -> impl Iterator<Item = (&Row, &Digest)> {
        self.release.rows.iter().zip(self.digests)
    }

    /// Returns the tags that do not point to their row's image yet.
    async fn outdated(&self, tags: Kind<'_>) -> Result<Vec<OutdatedTag>, PublishError> {
        let tags = self.rows().flat_map(|(row, digest)| {
            let id = row.job.target.as_str();
            let references = row.places().flat_map(move |place| tags.of(place));
            references.map(move |reference| (id, reference.clone(), digest))
        });
        outdated_tags(self.registries, tags).await
    }

    /// Sets `outdated` tags and reads all of `tags` back. Returns the number of tags that were set; if it is 0,
    /// nothing is read back.
    async fn set(&self, outdated: Vec<OutdatedTag>, tags: Kind<'_>) -> Result<usize, PublishError> {
        let done = self.put(&outdated, true).await?;
        if done > 0 {
            self.read_back(tags).await?;
        }
        Ok(done)
    }

    /// Sets `outdated` tags and returns their number. With `exclusive`, a tag that another run
    /// has set to a different image since the lookup is an error.
    pub(super) async fn put(
        &self,
        outdated: &[OutdatedTag],
        exclusive: bool,
    ) -> Result<usize, PublishError> {
        let done = AtomicUsize::new(0);
        let results =
            join_all(outdated.iter().map(|tag| self.set_one(tag, exclusive, &done))).await;
        let (mut failed, mut conflicting_tags) = (Vec::new(), Vec::new());
        for (tag, result) in outdated.iter().zip(results) {
            match result {
                Ok(()) => {}
                Err(PublishError::Mixed { references }) => conflicting_tags.extend(references),
                Err(PublishError::Registry(error)) => {
                    failed.push((tag.reference.clone(), error));
                }
                Err(other) => return Err(other),
            }
        }
        if !conflicting_tags.is_empty() {
            for (reference, error) in failed {
                let message = format!("`{reference}` could not be set: {}", one_line(&error));
                self.events.emit(&Event::Warning { target: None, message });
            }
            return Err(PublishError::Mixed { references: conflicting_tags });
        }
        let (done, total) = (done.into_inner(), outdated.len());
        if !failed.is_empty() {
            return Err(PublishError::Tags { failed, total });
        }
        if done < total {
            return Err(PublishError::Interrupted { done, total });
        }
        Ok(done)
    }

    async fn set_one(
        &self,
        tag: &OutdatedTag,
        exclusive: bool,
        done: &AtomicUsize,
    ) -> Result<(), PublishError> {
        // The same bytes: a manifest that was encoded again would have another digest.
        let reference = &tag.reference;
        let manifest = fetch(self.registries, &reference.repository, &tag.digest).await?;
        if self.cancel.is_cancelled() {
            return Ok(());
        }
        // Others may have set it since all of them were looked up.
        if exclusive {
            let now = digest_of(self.registries, reference).await?;
            if now != tag.found && now.as_ref() != Some(&tag.digest) {
                return Err(PublishError::Mixed { references: vec![reference.clone()] });
            }
        }
        self.registries.put_manifest(&reference.repository, &reference.tag, &manifest).await?;
        done.fetch_add(1, Ordering::Relaxed);
        self.events.emit(&Event::Tagged {
            target: tag.id.clone(),
            reference: reference.clone(),
            digest: tag.digest.clone(),
            before: tag.found.clone(),
        });
        Ok(())
    }
}
