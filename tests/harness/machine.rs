//! Publishes small releases through the library, with an engine that pushes images without building them.
//!
//! [`Machine`] publishes a [`Release`]. [`FakeEngine`] is its engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use basegen::engine::{
    BuildJob, BuiltImage, Engine, JobDependencies, OnFailure, Outcome, RunRequest,
};
use basegen::error::Report;
use basegen::event::{Events, Failure, FailureKind};
use basegen::image::{Compression, Digest, Platform, Reference, Repository};
use basegen::plan::Fingerprint;
use basegen::publish::{
    JobFile, JoinError, Listed, PromoteRequest, PublishError, PublishRequest, Published,
    ReleaseRequest, Row, SetForm, SetName, Staged, TargetMetadata, join, promote, publish, stage,
};
use basegen::registry::{
    Blob, Credentials, Manifest, Registries, RegistryError, RegistryOptions, RetryPolicy,
};
use basegen::render::BuildContext;
use basegen::version::Version;
use bytes::Bytes;
use futures_util::future::{self, LocalBoxFuture};
use indexmap::IndexMap;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::harness::events::RecordedEvents;
use crate::harness::registry::{FakeRegistry, FaultHandle};
use crate::harness::registry_client::password_credentials;

/// Returns an anonymous client with three attempts and short delays.
pub fn client() -> Registries {
    client_with(Credentials::anonymous().into())
}

fn client_with(credentials: Arc<Credentials>) -> Registries {
    let retry = RetryPolicy {
        attempts: 3,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(2),
        ..RetryPolicy::default()
    };
    Registries::new(&RegistryOptions { retry, ..RegistryOptions::new(credentials) })
        .expect("a client")
}

/// An engine that pushes an image with one layer: the job's Dockerfile.
#[derive(Clone)]
pub struct FakeEngine {
    registries: Registries,
    /// The built targets, in order.
    pub built: Arc<Mutex<Vec<String>>>,
    /// The targets whose checks ran in an existing image, and these images.
    pub checked: Arc<Mutex<Vec<(String, Digest)>>>,
    /// The targets whose build fails.
    pub failing_targets: BTreeSet<String>,
    /// The creation time in the images. Engines with different times produce different digests.
    pub created: &'static str,
    /// Whether it pushes to all repositories of a job, like BuildKit, or only to the first, like an old Docker Engine.
    pub pushes_everywhere: bool,
}

impl Engine for FakeEngine {
    fn name(&self) -> &'static str {
        "a fake engine"
    }

    async fn build(
        &self,
        job: &BuildJob,
        _events: &Events,
        mut dependencies: JobDependencies,
    ) -> Result<BuiltImage, Box<Failure>> {
        dependencies.wait_for_upload(|| ()).await;
        if self.failing_targets.contains(&job.target) {
            return Err(failure(FailureKind::Verify, "the image fails the check `python`"));
        }
        if let Some(digest) = &job.existing {
            let from = format!("FROM {}\n", job.references[0].pinned(digest));
            assert_eq!(job.context.dockerfile, from);
            self.checked.lock().expect("a list").push((job.target.clone(), digest.clone()));
            let (digest, manifests) = (digest.clone(), Vec::new());
            return Ok(BuiltImage { digest, cached: false, manifests });
        }
        let manifest = self.push_manifest(job).await;
        let manifest =
            manifest.map_err(|error| failure(FailureKind::Export, &error.to_string()))?;
        self.built.lock().expect("a list").push(job.target.clone());
        Ok(BuiltImage { digest: manifest.digest(), cached: false, manifests: vec![manifest] })
    }
}

impl FakeEngine {
    pub async fn push(&self, job: &BuildJob) -> Result<Digest, RegistryError> {
        Ok(self.push_manifest(job).await?.digest())
    }

    /// Pushes an image or, for several platforms, the image of each and their index.
    async fn push_manifest(&self, job: &BuildJob) -> Result<Manifest, RegistryError> {
        if let [] | [_] = &job.platforms[..] {
            return self.push_image(job, job.platforms.first()).await;
        }
        let mut images = Vec::new();
        for platform in &job.platforms {
            let image = self.push_image(job, Some(platform)).await?;
            images.push((platform.clone(), image.descriptor()));
        }
        let index = Manifest::index(&images);
        for repository in job.repositories().take(self.repositories()) {
            self.registries.put_manifest(repository, &index.digest(), &index).await?;
        }
        Ok(index)
    }

    /// Returns the number of repositories of a job that it pushes to.
    fn repositories(&self) -> usize {
        if self.pushes_everywhere { usize::MAX } else { 1 }
    }

    async fn push_image(
        &self,
        job: &BuildJob,
        platform: Option<&Platform>,
    ) -> Result<Manifest, RegistryError> {
        let config = json!({
            "created": self.created,
            "architecture": platform.map(Platform::architecture).unwrap_or_default(),
            "config": { "Labels": &job.labels },
        });
        let config = config.to_string();
        let layer = job.context.dockerfile.clone();
        let part = |media_type: &str, text: &str| json!({ "mediaType": media_type, "digest": Digest::of(text.as_bytes()), "size": text.len() });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": Manifest::OCI_IMAGE,
            "config": part("application/vnd.oci.image.config.v1+json", &config),
            "layers": [part("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        let bytes = Bytes::from(manifest.to_string());
        let manifest = Manifest { media_type: Manifest::OCI_IMAGE.to_owned(), bytes };
        let digest = manifest.digest();
        for repository in job.repositories().take(self.repositories()) {
            for text in [&config, &layer] {
                self.registries
                    .push_blob(repository, &Blob::new(Bytes::from(text.clone())))
                    .await?;
            }
            self.registries.put_manifest(repository, &digest, &manifest).await?;
        }
        Ok(manifest)
    }
}

fn failure(kind: FailureKind, message: &str) -> Box<Failure> {
    Box::new(Failure::new(kind, message.to_owned(), None))
}

/// A machine that publishes releases: an engine, credentials and options.
pub struct Machine {
    pub engine: FakeEngine,
    pub recorded: Arc<RecordedEvents>,
    pub credentials: Arc<Credentials>,
    pub overwrite: bool,
    pub force: bool,
    /// The number of connections to the engine.
    pub connections: AtomicUsize,
}

impl Machine {
    pub fn new() -> Self {
        let registries = client();
        Self {
            engine: FakeEngine {
                registries,
                built: Arc::default(),
                checked: Arc::default(),
                failing_targets: BTreeSet::new(),
                created: "today",
                pushes_everywhere: false,
            },
            recorded: Arc::default(),
            credentials: Credentials::anonymous().into(),
            overwrite: false,
            force: false,
            connections: AtomicUsize::new(0),
        }
    }

    /// Returns whether a run connected to the engine.
    pub fn has_connected(&self) -> bool {
        self.connections.load(Ordering::Relaxed) > 0
    }

    fn connect(&self) -> FakeEngine {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.engine.clone()
    }

    /// Adds a password for the registry at `host`.
    pub fn with_password(mut self, host: &str, username: &str, password: &str) -> Self {
        self.credentials = Arc::new(password_credentials(host, username, password));
        self.engine.registries = self.client();
        self
    }

    fn client(&self) -> Registries {
        client_with(Arc::clone(&self.credentials))
    }

    /// Returns a machine whose engine builds different images from the same inputs.
    pub fn with_different_output() -> Self {
        let mut machine = Self::new();
        machine.engine.created = "tomorrow";
        machine
    }

    /// Waits until all tasks of a dropped run have ended, as when a process is killed.
    pub async fn wait_until_stopped(&self) {
        // Each task has a clone of the engine.
        while Arc::strong_count(&self.engine.built) > 1 {
            tokio::task::yield_now().await;
        }
    }

    pub fn built_targets(&self) -> Vec<String> {
        self.engine.built.lock().expect("a list").clone()
    }

    /// Returns the targets whose checks ran in an existing image.
    pub fn checked_targets(&self) -> Vec<String> {
        let checked = self.engine.checked.lock().expect("a list");
        checked.iter().map(|(target, _)| target.clone()).collect()
    }

    /// Returns the warnings of all runs.
    pub fn warnings(&self) -> Vec<String> {
        self.recorded.warnings()
    }

    pub async fn publish(&self, release: &Release) -> Result<Published, Report> {
        let request = self.request(release);
        publish(request, &self.client(), &self.events(), || async { Ok(self.connect()) }).await
    }

    fn release_request(&self, release: &Release) -> ReleaseRequest {
        ReleaseRequest {
            rows: release.rows.clone(),
            parents: Vec::new(),
            version: release.version.clone(),
            sets: release.sets.clone(),
            known: release.sets.iter().map(|set| set.references[0].clone()).collect(),
            newest: release.sets.iter().filter_map(|set| set.references.get(1).cloned()).collect(),
            overwrite: self.overwrite,
        }
    }

    fn request(&self, release: &Release) -> PublishRequest {
        PublishRequest {
            release: self.release_request(release),
            force: self.force,
            run: RunRequest {
                jobs: Vec::new(),
                parallel: 4,
                on_failure: OnFailure::KeepGoing,
                cancel: CancellationToken::new(),
            },
        }
    }

    fn events(&self) -> Events {
        self.recorded.events()
    }

    /// Stages the images of `release`.
    pub async fn stage(&self, release: &Release) -> Result<Staged, Report> {
        self.stage_for(release, None).await
    }

    /// Stages the images of `release` for one platform, or for all.
    pub async fn stage_for(
        &self,
        release: &Release,
        platform: Option<&Platform>,
    ) -> Result<Staged, Report> {
        let (request, events) = (self.request(release), self.events());
        let connect = || async { Ok(self.connect()) };
        stage(request, platform, &self.client(), &events, connect).await
    }

    /// Stages `release` and returns the digests. Panics unless all images are staged.
    pub async fn stage_whole(&self, release: &Release) -> Vec<Digest> {
        match self.stage(release).await {
            Ok(Staged::All { digests, .. }) => digests,
            Ok(Staged::Unfinished(outcomes)) => panic!("{outcomes:?}"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Sets the tags of images that jobs have staged.
    pub async fn promote(
        &self,
        release: &Release,
        files: &[JobFile],
    ) -> Result<Vec<Digest>, PublishError> {
        let listed = join_files(release, files).expect("consistent files");
        let request = PromoteRequest {
            release: self.release_request(release),
            listed: &listed,
            files,
            cancel: CancellationToken::new(),
        };
        match promote(request, &self.client(), &self.events()).await? {
            Published::Whole { digests, .. } => Ok(digests),
            Published::Unfinished(outcomes) => panic!("{outcomes:?}"),
        }
    }

    /// Publishes `release` and returns the digests. Panics unless all images are published.
    pub async fn publish_whole(&self, release: &Release) -> Vec<Digest> {
        match self.publish(release).await {
            Ok(Published::Whole { digests, .. }) => digests,
            Ok(Published::Unfinished(outcomes)) => panic!("{outcomes:?}"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Publishes `release` and returns the error. Panics if there is none.
    pub async fn publish_error(&self, release: &Release) -> Report {
        match self.publish(release).await {
            Ok(published) => panic!("{published:?}"),
            Err(error) => error,
        }
    }

    /// Publishes `release` and returns the outcomes. Panics unless a build fails.
    pub async fn publish_unfinished(&self, release: &Release) -> Vec<Outcome> {
        match self.publish(release).await {
            Ok(Published::Unfinished(outcomes)) => outcomes,
            Ok(published) => panic!("{published:?}"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Runs `quick` while a fault suspends `slow`, then releases the fault. Returns both results.
pub fn run_during_hang<'a, S: 'a, Q: 'a>(
    hang: &'a FaultHandle,
    slow: impl Future<Output = S> + 'a,
    quick: impl Future<Output = Q> + 'a,
) -> LocalBoxFuture<'a, (S, Q)> {
    let quick = async {
        hang.wait_until_used().await;
        let result = quick.await;
        hang.release();
        result
    };
    Box::pin(future::join(slow, quick))
}

/// A release: rows, each with an alias, and a release set in each registry.
#[derive(Clone)]
pub struct Release {
    pub rows: Vec<Row>,
    pub version: Option<Version>,
    pub sets: Vec<SetName>,
}

/// Assigns the images of job files to the rows of `release`.
pub fn join_files(release: &Release, files: &[JobFile]) -> Result<Vec<Listed>, JoinError> {
    let version = release.version.as_ref().map(Version::as_str);
    join(&release.rows, version, files)
}

/// Returns the file of a job that staged the first rows of `release` as `digests`.
pub fn job_file(name: &str, release: &Release, digests: &[Digest]) -> JobFile {
    let images = release.rows.iter().zip(digests).map(|(row, digest)| {
        let fingerprint = row.fingerprint.clone();
        let image = TargetMetadata {
            digest: digest.clone(),
            references: IndexMap::new(),
            cached: false,
            kept: false,
            fingerprint,
            platforms: Vec::new(),
            size: None,
        };
        (row.job.target.clone(), image)
    });
    JobFile {
        name: name.to_owned(),
        version: release.version.as_ref().map(ToString::to_string),
        images: images.collect(),
        failed: BTreeSet::new(),
        forced: false,
    }
}

/// Returns the release `version` of two rows, each in its own repository. The images contain `content`.
pub fn release(registry: &FakeRegistry, version: &str, content: &str) -> Release {
    let rows =
        ["a", "b"].map(|id| row(&registry.repository(&format!("acme/{id}")), id, version, content));
    Release {
        rows: rows.into(),
        version: Some(version.parse().expect("a version")),
        sets: vec![set_name(&registry.repository("acme/a"), "basegen-release", version)],
    }
}

/// Returns the names of the release set of a version: `tag` with the version, and `tag`.
pub fn set_name(repository: &Repository, tag: &str, version: &str) -> SetName {
    let references = [&format!("{tag}-{version}"), tag];
    SetName {
        references: references.map(|tag| reference(repository, tag)).into(),
        form: SetForm::default(),
    }
}

impl Release {
    /// Adds replicas of all images and the release set in another registry.
    pub fn with_replica(mut self, registry: &FakeRegistry) -> Self {
        let replica = |reference: &Reference| Reference {
            repository: registry.repository(reference.repository.path()),
            tag: reference.tag.clone(),
        };
        for row in &mut self.rows {
            let first = row.job.repositories().next().expect("a repository").clone();
            let own = row.job.references.iter().filter(|own| own.repository == first);
            let replicas: Vec<_> = own.map(replica).collect();
            row.job.references.extend(replicas);
        }
        let mut set = self.sets[0].clone();
        set.references.iter_mut().for_each(|reference| *reference = replica(reference));
        self.sets.push(set);
        self
    }

    /// Sets the digest of the checks to that of a text.
    pub fn with_checks(mut self, checks: &str) -> Self {
        for row in &mut self.rows {
            row.checks = Some(Digest::of(checks.as_bytes()));
        }
        self
    }
}

pub fn row(repository: &Repository, id: &str, version: &str, content: &str) -> Row {
    let dockerfile = format!("FROM {content} AS {id}");
    let fingerprint: Fingerprint =
        Digest::of(dockerfile.as_bytes()).to_string().parse().expect("a fingerprint");
    let labels = BTreeMap::from([(Fingerprint::LABEL.to_owned(), fingerprint.to_string())]);
    let job = BuildJob {
        target: id.to_owned(),
        context: BuildContext { dockerfile, ..BuildContext::default() },
        parents: Vec::new(),
        is_parent: false,
        checks: Vec::new(),
        alias_commands: Vec::new(),
        existing: None,
        platforms: Vec::new(),
        labels,
        references: vec![
            reference(repository, &format!("{id}-{version}")),
            reference(repository, id),
        ],
        staging: fingerprint.staging_tag(),
        compression: Compression::default(),
    };
    Row {
        job,
        fingerprint: Some(fingerprint),
        uncertain: None,
        checks: None,
        gpu: None,
        max_size: None,
        mirror: None,
        printed_tags: Vec::new(),
    }
}

pub fn reference(repository: &Repository, tag: &str) -> Reference {
    Reference { repository: repository.clone(), tag: tag.parse().expect("a tag") }
}

/// Returns the tags of both repositories, without staging tags.
pub fn published_tags(registry: &FakeRegistry) -> Vec<String> {
    let tags = ["acme/a", "acme/b"].map(|path| registry.tags(path)).into_iter().flatten();
    let is_staging = |tag: &str| tag.starts_with("basegen-") && !tag.starts_with("basegen-release");
    tags.map(|(tag, _)| tag).filter(|tag| !is_staging(tag)).collect()
}

/// The tags of a whole release `v1`.
pub const RELEASE_TAGS: [&str; 6] =
    ["a", "a-v1", "basegen-release", "basegen-release-v1", "b", "b-v1"];
