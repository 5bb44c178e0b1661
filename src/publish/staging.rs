//! Between build and name: an image that was pushed by its digest is kept by its staging tag.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::survey::{manifest_of, staged};
use super::{PublishError, Row};
use crate::engine::{BuildJob, BuiltImage, Engine, Peers};
use crate::error::{Explain, one_line};
use crate::event::{Event, Events, Failure, FailureKind};
use crate::image::{Digest, Repository};
use crate::plan::Fingerprint;
use crate::registry::{Manifest, Registries, RegistryError, RegistryErrorKind};

/// An engine whose images are found by their fingerprints once they are built, and that sends a
/// registry nothing which it has in another repository.
pub(super) struct Staging<E> {
    engine: E,
    events: Events,
    /// Whether the rows are built although there are such images.
    forced: bool,
    /// The rows by their targets.
    rows: HashMap<String, usize>,
    shared: Arc<Shared>,
}

/// What the builds know of each other.
struct Shared {
    registries: Registries,
    rows: Vec<Row>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What each row is, once it is in its registry.
    digests: Vec<Option<Digest>>,
    /// The blobs that somebody mounts into a repository, or has.
    mounted: HashSet<(Repository, Digest)>,
}

impl<E: Engine> Staging<E> {
    /// `digests` are those of the rows that are there already.
    pub(super) fn new(
        engine: E,
        registries: &Registries,
        events: &Events,
        rows: &[Row],
        digests: &[Option<Digest>],
        forced: bool,
    ) -> Self {
        let state = State { digests: digests.to_vec(), mounted: HashSet::new() };
        Self {
            engine,
            events: events.clone(),
            forced,
            rows: rows.iter().map(|row| row.job.target.clone()).zip(0..).collect(),
            shared: Arc::new(Shared {
                registries: registries.clone(),
                rows: rows.to_vec(),
                state: Mutex::new(state),
            }),
        }
    }

    /// Names what was just pushed by its staging tag, and gives what the row is: the image that
    /// another run has staged meanwhile, where one has, so that all go on with the same.
    async fn stage(&self, row: usize, pushed: Digest) -> Result<Digest, PublishError> {
        let Row { job, fingerprint } = &self.shared.rows[row];
        let repository = &job.references[0].repository;
        let registries = &self.shared.registries;
        let mut digest = pushed;
        if let Some(fingerprint) = fingerprint {
            let others = async || match self.forced {
                true => Ok(None),
                false => staged(registries, repository, fingerprint).await,
            };
            if let Some(earlier) = others().await? {
                digest = earlier;
            } else {
                self.name(job, fingerprint, &digest).await?;
                // Another run may have done so at the same moment.
                digest = others().await?.unwrap_or(digest);
            }
        }
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.digests[row] = Some(digest.clone());
        Ok(digest)
    }

    async fn name(
        &self,
        job: &BuildJob,
        fingerprint: &Fingerprint,
        digest: &Digest,
    ) -> Result<(), PublishError> {
        let (registries, repository) = (&self.shared.registries, &job.references[0].repository);
        let manifest = manifest_of(registries, &job.references[0], digest).await?;
        let tag = fingerprint.staging_tag();
        match registries.put_manifest(repository, &tag, &manifest).await {
            // Built anew with `--force`, while what was built before keeps the tag.
            Err(error) if matches!(error.kind(), RegistryErrorKind::TagImmutable { .. }) => {
                let message = format!("`{repository}:{tag}` keeps the image of an earlier build");
                let target = Some(job.target.clone());
                self.events.emit(&Event::Warning { target, message });
                Ok(())
            }
            other => Ok(other?),
        }
    }
}

impl Shared {
    /// Mounts, into the repository of `row`, the layers of the rows that lead it in others: what
    /// it shares with them is there then, and the engine sends it nobody. An engine mounts by
    /// itself only what it pulled, and older ones no layer of zstd at all. What cannot be
    /// mounted is sent, as if nobody had tried.
    async fn mount(&self, row: usize) {
        let own = &self.rows[row].job.references[0].repository;
        for leader in &self.rows[row].job.after {
            let other = &self.rows[*leader].job.references[0].repository;
            let digest = {
                let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.digests[*leader].clone()
            };
            if let Some(digest) = digest.filter(|_| other != own) {
                // The engine's push says what is wrong with the registry, if it is.
                let _ = self.mount_layers(own, other, &digest).await;
            }
        }
    }

    async fn mount_layers(
        &self,
        own: &Repository,
        other: &Repository,
        image: &Digest,
    ) -> Result<(), RegistryError> {
        for manifest in self.manifests(other, image).await? {
            for layer in manifest.layers() {
                let key = (own.clone(), layer.digest.clone());
                let state = || self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let is_new = state().mounted.insert(key.clone());
                if is_new {
                    let mounted = self.registries.mount_blob(own, &layer.digest, other).await;
                    // Another row may have more luck.
                    if mounted.is_err() {
                        state().mounted.remove(&key);
                    }
                    mounted?;
                }
            }
        }
        Ok(())
    }

    /// The manifests of an image's platforms; it is one itself where it has one only.
    async fn manifests(
        &self,
        repository: &Repository,
        image: &Digest,
    ) -> Result<Vec<Manifest>, RegistryError> {
        let Some(manifest) = self.registries.manifest(repository, image).await? else {
            return Ok(Vec::new());
        };
        let mut manifests = Vec::new();
        for (_, platform) in manifest.platforms() {
            manifests.extend(self.registries.manifest(repository, &platform.digest).await?);
        }
        manifests.push(manifest);
        Ok(manifests)
    }
}

impl<E: Engine> Engine for Staging<E> {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn capacity(&self) -> usize {
        self.engine.capacity()
    }

    async fn build(
        &self,
        job: &BuildJob,
        events: &Events,
        peers: Peers,
    ) -> Result<BuiltImage, Box<Failure>> {
        let row = self.rows[&job.target];
        let shared = Arc::clone(&self.shared);
        let peers = if shared.rows[row].job.after.is_empty() {
            peers
        } else {
            peers.beginning_with(async move { shared.mount(row).await })
        };
        let image = self.engine.build(job, events, peers).await?;
        match self.stage(row, image.digest).await {
            Ok(digest) => Ok(BuiltImage { digest, ..image }),
            Err(error) => {
                let (message, hint) = (one_line(&error), error.hint());
                Err(Box::new(Failure::new(FailureKind::Export, message, hint)))
            }
        }
    }
}
