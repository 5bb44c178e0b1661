//! A small release, and an engine that only pushes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use basegen::engine::{
    BuildJob, BuiltImage, Engine, JobDependencies, OnFailure, Outcome, RunRequest,
};
use basegen::error::Report;
use basegen::event::{Event, Events, Failure, FailureKind, Listener};
use basegen::image::{Compression, Digest, Reference, Repository};
use basegen::plan::Fingerprint;
use basegen::publish::{
    JobFile, JoinError, PromoteRequest, PublishError, PublishRequest, Published, ReleaseRequest,
    Row, SetForm, SetName, Staged, TargetMetadata, join, promote, publish, stage,
};
use basegen::registry::{
    Blob, Credentials, DockerConfig, Manifest, Registries, RegistryError, RegistryOptions,
    RetryPolicy,
};
use basegen::render::BuildContext;
use basegen::version::Version;
use bytes::Bytes;
use futures_util::future::{self, LocalBoxFuture};
use indexmap::IndexMap;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::harness::registry::{FakeRegistry, FaultHandle};

/// A client that is as patient as a test can be.
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

/// An engine that builds an image of a layer that is its job's Dockerfile, and pushes it.
#[derive(Clone)]
pub struct Builder {
    registries: Registries,
    /// The targets that were built, in order.
    pub built: Arc<Mutex<Vec<String>>>,
    /// The targets whose checks ran in an image that was built before, and the images.
    pub checked: Arc<Mutex<Vec<(String, Digest)>>>,
    /// Those that fail.
    pub failing: BTreeSet<String>,
    /// What is different in its images, as times are in those of a real engine.
    pub made: &'static str,
    /// Whether it pushes to all repositories of a job, as BuildKit does, or to the first, as an old Docker Engine does.
    pub pushes_everywhere: bool,
}

impl Engine for Builder {
    fn name(&self) -> &'static str {
        "a builder"
    }

    async fn build(
        &self,
        job: &BuildJob,
        _events: &Events,
        mut dependencies: JobDependencies,
    ) -> Result<BuiltImage, Box<Failure>> {
        dependencies.wait_for_upload(|| ()).await;
        if self.failing.contains(&job.target) {
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

impl Builder {
    pub async fn push(&self, job: &BuildJob) -> Result<Digest, RegistryError> {
        Ok(self.push_manifest(job).await?.digest())
    }

    async fn push_manifest(&self, job: &BuildJob) -> Result<Manifest, RegistryError> {
        let labels = &job.labels;
        let config = json!({ "created": self.made, "config": { "Labels": labels } }).to_string();
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
        let repositories = if self.pushes_everywhere { usize::MAX } else { 1 };
        for repository in job.repositories().take(repositories) {
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

#[derive(Default)]
pub struct Heard(Mutex<Vec<Event>>);

impl Listener for Heard {
    fn hear(&self, event: &Event) {
        self.0.lock().expect("events").push(event.clone());
    }
}

/// Someone who publishes from a machine of their own.
pub struct Machine {
    pub builder: Builder,
    pub heard: Arc<Heard>,
    pub credentials: Arc<Credentials>,
    pub overwrite: bool,
    pub force: bool,
    /// How often a run connected to the engine.
    pub connections: AtomicUsize,
}

impl Machine {
    pub fn new() -> Self {
        let registries = client();
        Self {
            builder: Builder {
                registries,
                built: Arc::default(),
                checked: Arc::default(),
                failing: BTreeSet::new(),
                made: "today",
                pushes_everywhere: false,
            },
            heard: Arc::default(),
            credentials: Credentials::anonymous().into(),
            overwrite: false,
            force: false,
            connections: AtomicUsize::new(0),
        }
    }

    /// Whether a run needed the engine.
    pub fn has_connected(&self) -> bool {
        self.connections.load(Ordering::Relaxed) > 0
    }

    /// Connects to the engine.
    fn connect(&self) -> Builder {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.builder.clone()
    }

    /// The same with a password for the registry at `host`.
    pub fn with_password(mut self, host: &str, username: &str, password: &str) -> Self {
        let auth = STANDARD.encode(format!("{username}:{password}"));
        let config = json!({ "auths": { host: { "auth": auth } } });
        let folder = tempfile::tempdir().expect("a folder");
        fs_err::write(folder.path().join("config.json"), config.to_string()).expect("a file");
        let docker = DockerConfig { folder: Some(folder.path().to_owned()), search_path: None };
        self.credentials = Arc::new(Credentials::load(&docker).expect("credentials"));
        self.builder.registries = self.client();
        self
    }

    fn client(&self) -> Registries {
        client_with(Arc::clone(&self.credentials))
    }

    /// One whose engine makes other bytes of the same.
    pub fn other() -> Self {
        let mut machine = Self::new();
        machine.builder.made = "tomorrow";
        machine
    }

    /// Waits until the tasks of a run that was dropped have ended, as the kernel sees to it when a
    /// process is killed.
    pub async fn is_gone(&self) {
        // Each of them holds the engine.
        while Arc::strong_count(&self.builder.built) > 1 {
            tokio::task::yield_now().await;
        }
    }

    pub fn built(&self) -> Vec<String> {
        self.builder.built.lock().expect("a list").clone()
    }

    /// The targets whose checks ran in an image that was built before.
    pub fn checked(&self) -> Vec<String> {
        let checked = self.builder.checked.lock().expect("a list");
        checked.iter().map(|(target, _)| target.clone()).collect()
    }

    /// What it was warned of.
    pub fn warnings(&self) -> Vec<String> {
        let heard = self.heard.0.lock().expect("events");
        let warnings = heard.iter().filter_map(|event| match event {
            Event::Warning { message, .. } => Some(message.clone()),
            _ => None,
        });
        warnings.collect()
    }

    pub async fn publish(&self, release: &Release) -> Result<Published, Report> {
        let request = self.request(release);
        let listener: Arc<dyn Listener> = Arc::<Heard>::clone(&self.heard);
        let events = Events::to(listener);
        publish(request, &self.client(), &events, || async { Ok(self.connect()) }).await
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
        let listener: Arc<dyn Listener> = Arc::<Heard>::clone(&self.heard);
        Events::to(listener)
    }

    /// Stages the rows of `release`.
    pub async fn stage(&self, release: &Release) -> Result<Staged, Report> {
        let request = self.request(release);
        stage(request, &self.client(), &self.events(), || async { Ok(self.connect()) }).await
    }

    /// Stages, and expects everything to be there.
    pub async fn staged(&self, release: &Release) -> Vec<Digest> {
        match self.stage(release).await {
            Ok(Staged::All { digests, .. }) => digests,
            Ok(Staged::Unfinished(outcomes)) => panic!("{outcomes:?}"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Names what jobs have staged.
    pub async fn promote(
        &self,
        release: &Release,
        files: &[JobFile],
    ) -> Result<Vec<Digest>, PublishError> {
        let joined = joined(release, files).expect("files that fit together");
        let request = PromoteRequest {
            release: self.release_request(release),
            joined: &joined,
            files,
            cancel: CancellationToken::new(),
        };
        match promote(request, &self.client(), &self.events()).await? {
            Published::Whole { digests, .. } => Ok(digests),
            Published::Unfinished(outcomes) => panic!("{outcomes:?}"),
        }
    }

    /// Publishes, and expects everything to be there.
    pub async fn whole(&self, release: &Release) -> Vec<Digest> {
        match self.publish(release).await {
            Ok(Published::Whole { digests, .. }) => digests,
            Ok(Published::Unfinished(outcomes)) => panic!("{outcomes:?}"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Publishes, and expects an error.
    pub async fn error(&self, release: &Release) -> Report {
        match self.publish(release).await {
            Ok(published) => panic!("{published:?}"),
            Err(error) => error,
        }
    }

    /// Publishes, and expects some builds to fail.
    pub async fn unfinished(&self, release: &Release) -> Vec<Outcome> {
        match self.publish(release).await {
            Ok(Published::Unfinished(outcomes)) => outcomes,
            Ok(published) => panic!("{published:?}"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Does `quick` while `slow` hangs by a fault, which then lets go; gives what came of both.
pub fn meanwhile<'a, S: 'a, Q: 'a>(
    hangs: &'a FaultHandle,
    slow: impl Future<Output = S> + 'a,
    quick: impl Future<Output = Q> + 'a,
) -> LocalBoxFuture<'a, (S, Q)> {
    let quick = async {
        hangs.reached().await;
        let done = quick.await;
        hangs.release();
        done
    };
    Box::pin(future::join(slow, quick))
}

/// A release: rows, each with an alias, and a set in each registry.
#[derive(Clone)]
pub struct Release {
    pub rows: Vec<Row>,
    pub version: Option<Version>,
    pub sets: Vec<SetName>,
}

/// What `files` tell of the rows of `release`.
pub fn joined(
    release: &Release,
    files: &[JobFile],
) -> Result<Vec<Option<basegen::publish::Joined>>, JoinError> {
    let version = release.version.as_ref().map(Version::as_str);
    join(&release.rows, version, files)
}

/// What a job that staged the first rows of `release` as `digests` writes.
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

/// The release `version` of two rows, in a repository each, whose images hold `content`.
pub fn release(registry: &FakeRegistry, version: &str, content: &str) -> Release {
    let rows =
        ["a", "b"].map(|id| row(&registry.repository(&format!("acme/{id}")), id, version, content));
    Release {
        rows: rows.into(),
        version: Some(version.parse().expect("a version")),
        sets: vec![set_name(&registry.repository("acme/a"), "basegen-release", version)],
    }
}

/// The release set of a version in `repository`, whose tags begin with `tag`.
pub fn set_name(repository: &Repository, tag: &str, version: &str) -> SetName {
    let references = [&format!("{tag}-{version}"), tag];
    SetName {
        references: references.map(|tag| reference(repository, tag)).into(),
        form: SetForm::default(),
    }
}

impl Release {
    /// The same release in another registry too.
    pub fn and_in(mut self, registry: &FakeRegistry) -> Self {
        let there = |reference: &Reference| Reference {
            repository: registry.repository(reference.repository.path()),
            tag: reference.tag.clone(),
        };
        for row in &mut self.rows {
            let first = row.job.repositories().next().expect("a repository").clone();
            let own = row.job.references.iter().filter(|own| own.repository == first);
            let others: Vec<_> = own.map(there).collect();
            row.job.references.extend(others);
        }
        let mut set = self.sets[0].clone();
        set.references.iter_mut().for_each(|reference| *reference = there(reference));
        self.sets.push(set);
        self
    }

    /// The same release with other checks, which are called `checks` here.
    pub fn checked_by(mut self, checks: &str) -> Self {
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

/// The tags of both repositories that users pull.
pub fn names(registry: &FakeRegistry) -> Vec<String> {
    let tags = ["acme/a", "acme/b"].map(|path| registry.tags(path)).into_iter().flatten();
    let is_name = |tag: &str| !tag.starts_with("basegen-") || tag.starts_with("basegen-release");
    tags.map(|(tag, _)| tag).filter(|tag| is_name(tag)).collect()
}

/// All that a whole release `v1` is called.
pub const WHOLE: [&str; 6] = ["a", "a-v1", "basegen-release", "basegen-release-v1", "b", "b-v1"];
