//! Sets staging tags: they keep images that were pushed by digest, and make them known to later runs.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::TryFutureExt as _;
use tokio::sync::OnceCell;

use super::error::is_immutable;
use super::image::manifests;
use super::survey::{fetch, staged};
use super::{PublishError, Row};
use crate::engine::{BuildJob, BuiltImage, Engine, JobDependencies, Layer};
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
    /// The layers of each row.
    layers: Vec<BTreeSet<Layer>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The digest of each row whose image is in its registry.
    digests: Vec<Option<Digest>>,
    /// The blobs that builds mount into a repository, each once.
    mounts: HashMap<(Repository, Digest), Arc<OnceCell<()>>>,
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
        let state = State { digests: digests.to_vec(), mounts: HashMap::new() };
        Self {
            engine,
            events: events.clone(),
            forced,
            rows: rows.iter().map(|row| row.job.target.clone()).zip(0..).collect(),
            shared: Arc::new(Shared {
                registries: registries.clone(),
                rows: rows.to_vec(),
                layers: rows.iter().map(|row| row.job.layers()).collect(),
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
        let manifest = fetch(registries, repository, digest).await?;
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
    /// Mounts layers of images in other repositories that share layers with `row` into its own, so that the engine need
    /// not send these layers. An engine itself mounts only layers that it pulled, and older engines no zstd layers. Layers
    /// that cannot be mounted are sent.
    async fn mount(&self, row: usize) {
        for (other, digest) in self.relatives(row) {
            let (own, others) = (&self.rows[row].job, &self.rows[other].job);
            for (own, other) in own.repositories().zip(others.repositories()) {
                // The push of the engine reports a fault of the registry.
                let _ = self.mount_layers(own, other, &digest).await;
            }
        }
    }

    /// Returns rows with images in other repositories, as few as have all the layers that `row` shares with any of these.
    fn relatives(&self, row: usize) -> Vec<(usize, Digest)> {
        let own = &self.rows[row].job.references[0].repository;
        let digests = self.state.lock().unwrap_or_else(PoisonError::into_inner).digests.clone();
        let mut missing = self.layers[row].clone();
        let mut relatives = Vec::new();
        while !missing.is_empty() {
            let shared = |other: usize| self.layers[other].intersection(&missing).count();
            let others = (0..self.rows.len()).filter(|other| {
                digests[*other].is_some() && self.rows[*other].job.references[0].repository != *own
            });
            let Some(other) = others.max_by_key(|other| shared(*other)) else { break };
            if shared(other) == 0 {
                break;
            }
            missing.retain(|layer| !self.layers[other].contains(layer));
            relatives.extend(digests[other].clone().map(|digest| (other, digest)));
        }
        relatives
    }

    async fn mount_layers(
        &self,
        own: &Repository,
        other: &Repository,
        image: &Digest,
    ) -> Result<(), RegistryError> {
        for manifest in manifests(&self.registries, other, image).await? {
            for layer in manifest.layers() {
                let mount = {
                    let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                    let key = (own.clone(), layer.digest.clone());
                    Arc::clone(state.mounts.entry(key).or_default())
                };
                let mount_blob = || self.registries.mount_blob(own, &layer.digest, other);
                mount.get_or_try_init(|| mount_blob().map_ok(drop)).await?;
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
        let dependencies = dependencies.before_upload(async move { shared.mount(row).await });
        let image = self.engine.build(job, events, dependencies).await?;
        for repository in job.repositories() {
            for manifest in &image.manifests {
                self.shared.registries.remember(repository, manifest);
            }
        }
        let digest = self.stage(job, image.digest, events).await?;
        Ok(BuiltImage { digest, ..image })
    }
}
