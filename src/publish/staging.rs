//! Sets staging tags: they keep images that were pushed by digest, and make them known to later runs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::is_immutable;
use super::image::manifests;
use super::survey::{manifest_of, staged};
use super::{PublishError, Row};
use crate::engine::{BuildJob, BuiltImage, Engine, JobDependencies};
use crate::error::{Explain, one_line};
use crate::event::{Event, Events, Failure, FailureKind};
use crate::image::{Digest, Repository, Tag};
use crate::plan::Fingerprint;
use crate::registry::{Registries, RegistryError};

/// An engine that sets staging tags after each build, and mounts layers that the registry has in another repository
/// before each push.
pub(super) struct Staging<E> {
    engine: E,
    events: Events,
    /// Whether rows are rebuilt that have a staged image.
    forced: bool,
    /// The positions of the rows by the ids of their targets.
    rows: HashMap<String, usize>,
    shared: Arc<Shared>,
}

/// The state that all builds share.
struct Shared {
    registries: Registries,
    rows: Vec<Row>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The digest of each row whose image is in its registry.
    digests: Vec<Option<Digest>>,
    /// The blobs that a build mounts into a repository, or has mounted.
    mounted: HashSet<(Repository, Digest)>,
}

impl<E: Engine> Staging<E> {
    /// Wraps `engine`. `digests` are those of the rows that were built before.
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

    /// Sets the staging tags of the image that a job has just pushed or checked. Returns the row's
    /// image: if another run has staged one already, that one, so that all runs use the same image.
    async fn stage(
        &self,
        job: &BuildJob,
        pushed: Digest,
        events: &Events,
    ) -> Result<Digest, Box<Failure>> {
        let row = self.rows[&job.target];
        let Row { fingerprint, checks, .. } = &self.shared.rows[row];
        let mut digest = pushed.clone();
        if let Some(fingerprint) = fingerprint {
            if job.existing.is_none() {
                digest = self
                    .stage_built(job, fingerprint, pushed.clone())
                    .await
                    .map_err(|error| failure(&error))?;
            }
            if let Some(checks) = checks {
                if digest != pushed {
                    self.check_earlier(job, (fingerprint, checks), &digest, events).await?;
                }
                let tag = fingerprint.checked_tag(checks);
                self.tag(job, &tag, &digest).await.map_err(|error| failure(&error))?;
            }
        }
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.digests[row] = Some(digest.clone());
        Ok(digest)
    }

    /// Sets the tag of images of `fingerprint`, unless another run has set it.
    async fn stage_built(
        &self,
        job: &BuildJob,
        fingerprint: &Fingerprint,
        pushed: Digest,
    ) -> Result<Digest, PublishError> {
        let repository = &job.references[0].repository;
        let earlier = async || {
            if self.forced {
                return Ok(None);
            }
            staged(&self.shared.registries, repository, fingerprint, None).await
        };
        if let Some(earlier) = earlier().await? {
            return Ok(earlier);
        }
        self.tag(job, &fingerprint.staging_tag(), &pushed).await?;
        // Another run may have set it at the same moment.
        Ok(earlier().await?.unwrap_or(pushed))
    }

    /// Runs the checks of `job` in the image that another run has staged, unless they have passed there.
    async fn check_earlier(
        &self,
        job: &BuildJob,
        (fingerprint, checks): (&Fingerprint, &Digest),
        earlier: &Digest,
        events: &Events,
    ) -> Result<(), Box<Failure>> {
        let (registries, repository) = (&self.shared.registries, &job.references[0].repository);
        let passed = staged(registries, repository, fingerprint, Some(checks)).await;
        if passed.map_err(|error| failure(&error))?.as_ref() != Some(earlier) {
            self.engine.build(&checking(job, earlier), events, JobDependencies::none()).await?;
        }
        Ok(())
    }

    async fn tag(&self, job: &BuildJob, tag: &Tag, digest: &Digest) -> Result<(), PublishError> {
        let (registries, repository) = (&self.shared.registries, &job.references[0].repository);
        let manifest = manifest_of(registries, &job.references[0], digest).await?;
        match registries.put_manifest(repository, tag, &manifest).await {
            // The image was rebuilt with `--force`, and the earlier one keeps the tag.
            Err(error) if is_immutable(&error) => {
                let message = format!("`{repository}:{tag}` keeps the image of an earlier build");
                let target = Some(job.target.clone());
                self.events.emit(&Event::Warning { target, message });
                Ok(())
            }
            other => Ok(other?),
        }
    }
}

/// Returns the job that runs the checks of `job` in the image `digest` of its repository.
pub(super) fn checking(job: &BuildJob, digest: &Digest) -> BuildJob {
    job.checking(&job.references[0].pinned(digest), digest)
}

fn failure(error: &PublishError) -> Box<Failure> {
    Box::new(Failure::new(FailureKind::Export, one_line(error), error.hint()))
}

impl Shared {
    /// Mounts the layers of the row's leaders into the repository of `row`, so that the engine need not send the layers
    /// that they share. An engine itself mounts only layers that it pulled, and older engines no zstd layers. Layers that
    /// cannot be mounted are sent.
    async fn mount(&self, row: usize) {
        let own = &self.rows[row].job.references[0].repository;
        for leader in &self.rows[row].job.after {
            let other = &self.rows[*leader].job.references[0].repository;
            let digest = {
                let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.digests[*leader].clone()
            };
            if let Some(digest) = digest.filter(|_| other != own) {
                // The push of the engine reports a fault of the registry.
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
        for manifest in manifests(&self.registries, other, image).await? {
            for layer in manifest.layers() {
                let key = (own.clone(), layer.digest.clone());
                let state = || self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let is_new = state().mounted.insert(key.clone());
                if is_new {
                    let mounted = self.registries.mount_blob(own, &layer.digest, other).await;
                    // Another row may succeed.
                    if mounted.is_err() {
                        state().mounted.remove(&key);
                    }
                    mounted?;
                }
            }
        }
        Ok(())
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
        dependencies: JobDependencies,
    ) -> Result<BuiltImage, Box<Failure>> {
        let row = self.rows[&job.target];
        let shared = Arc::clone(&self.shared);
        let dependencies = if shared.rows[row].job.after.is_empty() || job.existing.is_some() {
            dependencies
        } else {
            dependencies.before_export(async move { shared.mount(row).await })
        };
        let image = self.engine.build(job, events, dependencies).await?;
        for manifest in &image.manifests {
            self.shared.registries.remember(&job.references[0].repository, manifest);
        }
        let digest = self.stage(job, image.digest, events).await?;
        Ok(BuiltImage { digest, ..image })
    }
}
