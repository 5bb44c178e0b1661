use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use tonic::Status;

use super::attempt::{Attempt, Part, arguments};
use super::context::SentContext;
use super::early::{EarlyLayers, Exports};
use super::export::Exporter;
use super::gateway::{Gateway, Solved};
use super::layout::OciLayout;
use super::lease::LeasePool;
use super::parents::with_parents;
use super::progress::Progress;
use super::reported::ReportedSteps;
use super::retry::{Attempts, is_network_fault};
use super::session::{Offer, Session};
use super::{ConnectedEngine, content, context, docker, export, failure, solve, transport};
use crate::engine::{
    BuildJob, BuiltImage, Destination, Engine, EngineError, JobDependencies, Secret,
};
use crate::error::one_line;
use crate::event::{Event, Events, Failure, FailureKind, WaitReason};
use crate::image::{Digest, Platform};
use crate::registry::{Credentials, Manifest, RetryPolicy};
use crate::verify;

/// The options that apply to every build of a run.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// The destination of the images.
    pub destination: Destination,
    /// The credentials for pulls and pushes.
    pub credentials: Arc<Credentials>,
    /// Whether pushes to a registry (`host[:port]`) use plain HTTP. By default only registries on
    /// this machine do.
    pub plain_http: BTreeMap<String, bool>,
    /// The secrets that steps can mount.
    pub secrets: Vec<Secret>,
    /// Build arguments for every job, such as proxies: `BuildKit` passes `HTTP_PROXY` and the like to
    /// steps and keeps them out of the image.
    pub build_args: BTreeMap<String, String>,
    /// Whether every step runs even if its result is cached.
    pub no_cache: bool,
    /// The retry policy for pushes that fail because of the network, and for steps that the engine did not start.
    pub retry: RetryPolicy,
}

impl BuildOptions {
    /// Returns options for `destination` without credentials, secrets or build arguments.
    #[must_use]
    pub fn to(destination: Destination) -> Self {
        Self {
            destination,
            credentials: Arc::new(Credentials::anonymous()),
            plain_http: BTreeMap::new(),
            secrets: Vec::new(),
            build_args: BTreeMap::new(),
            no_cache: false,
            retry: RetryPolicy::default(),
        }
    }
}

/// The number of times that a build exports its image again because the engine's store no longer has
/// it: an identical image has the same staging tag, and another build has just pushed and removed it.
const MAX_LOST: usize = 8;

/// The maximum number of attempts to check an image whose base images change in the registry.
const MAX_MOVED: usize = 4;

/// An [`Engine`] that builds the jobs of a run on a connected engine.
pub struct BuildKitEngine {
    engine: ConnectedEngine,
    options: BuildOptions,
    secrets: Arc<[Secret]>,
    layout: Option<Arc<OciLayout>>,
    leases: LeasePool,
    early_layers: EarlyLayers,
    reported: ReportedSteps,
}

impl Engine for BuildKitEngine {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn capacity(&self) -> usize {
        super::MAX_BUILDS
    }

    async fn build(
        &self,
        job: &BuildJob,
        events: &Events,
        mut dependencies: JobDependencies,
    ) -> Result<BuiltImage, Box<Failure>> {
        let (job, attributes) = &with_parents(job, &self.options.destination);
        let mut progress = Progress::new(&job.target, events, self.reported.snapshot())
            .with_lines(&job.context.common_lines())
            .with_checks(&verify::runs(&job.context.dockerfile, &job.checks));
        let mut attempts = Attempts::new(self.options.retry);
        let (mut lost, mut is_first) = (0, true);
        loop {
            let failure = match self
                .solve((job, attributes), &mut progress, &mut dependencies, is_first)
                .await
            {
                Err(failure) => failure,
                Ok(response) => match self.deliver(job, &response, &mut progress).await {
                    Ok(digest) => {
                        let manifests = self.pushed(&response).await.unwrap_or_default();
                        return Ok(BuiltImage { digest, cached: progress.all_cached(), manifests });
                    }
                    Err(problem) if lost < MAX_LOST && docker::is_name_gone(&problem) => {
                        (lost, is_first) = (lost + 1, false);
                        continue;
                    }
                    Err(problem) => {
                        let able = self.engine.0.abilities;
                        Box::new(failure::export_failure(job, &problem, able))
                    }
                },
            };
            let is_push = failure.kind == FailureKind::Export
                && self.options.destination == Destination::Registry;
            let fault = if is_push && is_network_fault(&failure.message) {
                // All steps and checks have run. The next attempt uses them from the engine's cache.
                is_first = false;
                Some("a network error")
            } else {
                progress.has_unstarted_step().then_some("the engine started no container")
            };
            let retry = fault.and_then(|fault| Some((fault, attempts.next_wait()?)));
            let Some((fault, wait)) = retry else { return Err(failure) };
            progress.report_retry(fault, &failure.message);
            tokio::time::sleep(wait).await;
        }
    }
}

/// A job with the names of its parents, and the attributes of these.
type Named<'a> = (&'a BuildJob, &'a HashMap<String, String>);

impl BuildKitEngine {
    pub(super) fn new(engine: ConnectedEngine, options: BuildOptions) -> Result<Self, EngineError> {
        let layout = match &options.destination {
            Destination::OciLayout(folder) => Some(Arc::new(OciLayout::open(folder)?)),
            _ => None,
        };
        let secrets = options.secrets.clone().into();
        let early_layers = EarlyLayers::new(engine.0.channel.clone());
        Ok(Self {
            engine,
            secrets,
            options,
            layout,
            leases: LeasePool::default(),
            early_layers,
            reported: ReportedSteps::default(),
        })
    }

    /// Builds the image, waits for `dependencies`, and exports it. Only the first attempt may bypass the
    /// engine's cache.
    async fn solve(
        &self,
        job: Named<'_>,
        progress: &mut Progress,
        dependencies: &mut JobDependencies,
        is_first: bool,
    ) -> Result<HashMap<String, String>, Box<Failure>> {
        let mut solved = self.solve_once(job, progress, dependencies, is_first).await;
        // The call failed on a closed connection. The next call opens a new one.
        if solved.as_ref().is_err_and(|status| transport::is_unsent(status) && progress.is_empty())
        {
            solved = self.solve_once(job, progress, dependencies, is_first).await;
        }
        solved.map_err(|status| {
            let (native, able) = (self.engine.platforms(), self.engine.0.abilities);
            Box::new(failure::build_failure(&status, job.0, progress, native, able))
        })
    }

    async fn solve_once(
        &self,
        (job, named): Named<'_>,
        progress: &mut Progress,
        dependencies: &mut JobDependencies,
        is_first: bool,
    ) -> Result<HashMap<String, String>, Status> {
        let channel = &self.engine.0.channel;
        let mut context = SentContext::new(&job.context);
        let others = job.context.platforms.iter();
        let mut others: BTreeMap<&Platform, SentContext> =
            others.map(|(platform, other)| (platform, SentContext::new(other))).collect();
        let sent = std::iter::once(&mut context).chain(others.values_mut());
        let offer = Offer {
            secrets: Arc::clone(&self.secrets),
            credentials: Arc::clone(&self.options.credentials),
            uploads: sent.flat_map(|sent| std::mem::take(&mut sent.uploads)).collect(),
            layout: self.layout.clone(),
        };
        let session = Arc::new(Session::open(channel.clone(), offer).await?);
        let mut attributes = self.attributes(job, self.options.no_cache && is_first);
        attributes.extend(named.clone());
        let attempt =
            Attempt { job, events: progress.events(), context, others, session, attributes };
        let exporter = export::exporter(job, &self.options, self.engine.0.abilities);
        let request = attempt.build(exporter);
        let solved = solve::solve(channel.clone(), request, progress, |gateway, ended| {
            self.steer(gateway, ended, &attempt, dependencies)
        });
        Ok(solved.await?.exporter_response)
    }

    /// Runs the steps and checks of an open build, waits for its turn, and exports the image.
    ///
    /// One build does all of this. While it is open, the engine keeps the results of its steps, so each
    /// step runs once and the exported image is the one that was checked. With two builds in a row, the
    /// engine could discard results in between. A lease keeps the results that other jobs share.
    async fn steer(
        &self,
        gateway: Gateway,
        ended: UnboundedReceiver<String>,
        attempt: &Attempt<'_>,
        dependencies: &mut JobDependencies,
    ) -> Result<(), Status> {
        let steps = Box::pin(solve_checked(&gateway, attempt));
        let mut exports = Exports::new();
        let solved = if self.exports_early(attempt.job) {
            let layers = attempt.linked_layers(&gateway).await?;
            let early = &self.early_layers;
            early.export_during(&mut exports, steps, attempt, layers, ended).await
        } else {
            steps.await
        };
        attempt.session.end_uploads();
        if dependencies.needs_lease() {
            let (channel, session) = (&self.engine.0.channel, &attempt.session);
            let (build, image) = (attempt.build(Exporter::none()), attempt.leased());
            let lease = self.leases.open(channel, session, build, &image).await;
            dependencies.keep_lease(lease);
        }
        let image = with_printed_aliases(&gateway, attempt, solved?).await?;
        if self.options.destination == Destination::Registry && attempt.job.existing.is_none() {
            let (target, reason) = (attempt.job.target.clone(), WaitReason::Export);
            let waiting = || attempt.events.emit(&Event::TargetWaiting { target, reason });
            dependencies.wait_for_upload(waiting).await;
        }
        gateway.export(image).await?;
        exports.collect::<()>().await;
        Ok(())
    }

    /// Returns true if the image of `job` may have layers that can be compressed before its export.
    fn exports_early(&self, job: &BuildJob) -> bool {
        !self.engine.0.abilities.graph_driver && job.context.has_linked_layers()
    }

    fn attributes(&self, job: &BuildJob, no_cache: bool) -> HashMap<String, String> {
        let mut attributes =
            HashMap::from([("filename".to_owned(), context::DOCKERFILE.to_owned())]);
        let platforms: Vec<String> = job.platforms.iter().map(ToString::to_string).collect();
        if !platforms.is_empty() {
            attributes.insert("platform".to_owned(), platforms.join(","));
        }
        if no_cache {
            // The empty value means all stages.
            attributes.insert("no-cache".to_owned(), String::new());
        }
        if job.existing.is_some() && self.options.destination == Destination::Engine {
            // In a registry, the name may belong to another image.
            attributes.insert("image-resolve-mode".to_owned(), "local".to_owned());
        }
        let labels = job.labels.iter();
        attributes.extend(labels.map(|(name, value)| (format!("label:{name}"), value.clone())));
        attributes.extend(arguments(&self.options.build_args));
        attributes
    }

    /// Completes the export where the exporter cannot, and returns the image's digest.
    async fn deliver(
        &self,
        job: &BuildJob,
        response: &HashMap<String, String>,
        progress: &mut Progress,
    ) -> Result<Digest, String> {
        if let Some(digest) = &job.existing {
            return Ok(digest.clone());
        }
        if self.engine.0.abilities.graph_driver && self.options.destination == Destination::Registry
        {
            return self.push_from_store(job, progress).await;
        }
        if let Some(layout) = &self.layout {
            let descriptor = descriptor(response)?;
            let named = layout.name(&descriptor, &job.references).await;
            named.map_err(|error: io::Error| one_line(&error))?;
        }
        let digest = response.get("containerimage.digest");
        let digest = digest.ok_or("the engine returned no image digest")?;
        digest.parse().map_err(|error| one_line(&error))
    }

    /// Returns the pushed manifests, so that tagging need not fetch them from the registry.
    async fn pushed(&self, response: &HashMap<String, String>) -> Option<Vec<Manifest>> {
        if self.options.destination != Destination::Registry {
            return None;
        }
        let described = descriptor(response).ok()?;
        let media_type = described["mediaType"].as_str()?;
        let image = self.manifest(media_type, &described["digest"].as_str()?.parse().ok()?).await?;
        let mut manifests = Vec::new();
        for (_, platform) in image.platforms() {
            manifests.extend(self.manifest(&platform.media_type, &platform.digest).await);
        }
        manifests.push(image);
        Some(manifests)
    }

    async fn manifest(&self, media_type: &str, digest: &Digest) -> Option<Manifest> {
        let bytes = content::read(self.engine.0.channel.clone(), digest).await?;
        Some(Manifest { media_type: media_type.to_owned(), bytes })
    }

    /// Pushes the image with the Engine API under its staging tag, then removes that name from the
    /// engine. The `moby` exporter of a graph-driver engine cannot push.
    ///
    /// Exporting the image and pushing its blobs from here is slower. For an image of 440 MB (157 MB of
    /// Python base, 157 MB random, 157 MB text; Docker 26.1, 2 cores, registry on loopback), the engine's
    /// push took 7.3 s and 275 MB into an empty registry, 3.9 s and 227 MB with the base present, and
    /// 0.05 s with all blobs present. An export has uncompressed layers and is always complete: 5.5 s and
    /// 446 MB as is, 7.1 s and 253 MB with zstd, 18.9 s and 278 MB with gzip, at least 5 s with all blobs
    /// present, and the base layers got new digests.
    async fn push_from_store(
        &self,
        job: &BuildJob,
        progress: &mut Progress,
    ) -> Result<Digest, String> {
        let docker_engine = self.engine.0.docker.as_ref();
        let docker_engine = docker_engine.ok_or("only a Docker Engine has a graph driver")?;
        let staging = job.staged().ok_or("the image has no reference")?;
        let credential = self.options.credentials.get(staging.repository.registry()).await;
        let credential = credential.map_err(|error| one_line(&*error))?;
        let step = progress.begin_client_step(&format!("pushing to {}", staging.repository));
        let moved = |current, total| step.moved("pushing layers", current, total);
        let digest = docker::push(docker_engine, &staging, credential, moved).await;
        let digest = digest.map_err(|error| one_line(&*error));
        step.end(digest.as_ref().err().map(String::as_str));
        // The layers stay in the build cache. If this fails, `basegen prune` finds the image.
        let _ = docker::remove_name(docker_engine, &staging).await;
        digest
    }
}

/// Runs all steps of the image and its checks.
async fn solve_checked(gateway: &Gateway, attempt: &Attempt<'_>) -> Result<Solved, Status> {
    if attempt.job.checks.is_empty() {
        return attempt.solve(gateway, Part::Image).await;
    }
    for _ in 0..MAX_MOVED {
        let checked = attempt.solve(gateway, Part::Checks).await?;
        let image = attempt.finish(gateway, Part::Image).await?;
        // Each solve looks up upstream tags again.
        if checked.contains(&image) {
            return Ok(image);
        }
    }
    Err(moved_base())
}

/// Runs the commands that print aliases in `image`, and returns it with these aliases in its label.
async fn with_printed_aliases(
    gateway: &Gateway,
    attempt: &Attempt<'_>,
    image: Solved,
) -> Result<Solved, Status> {
    let BuildJob { alias_commands, existing, .. } = attempt.job;
    if alias_commands.is_empty() || existing.is_some() {
        return Ok(image);
    }
    let printed = attempt.solve(gateway, Part::Aliases).await?;
    let mut tags = Vec::new();
    for (index, command) in alias_commands.iter().enumerate() {
        let outputs = gateway.read(&printed, &verify::alias_file(index)).await?;
        let tag = verify::printed_alias(command, &outputs).map_err(Status::failed_precondition)?;
        tags.push(tag.to_string());
    }
    let label = serde_json::to_string(&tags).expect("tags are JSON");
    let labelled = attempt.finish(gateway, Part::Labelled(&label)).await?;
    // The label is no operation: both are the same image, unless a base image has moved in between.
    if labelled.contains(&image) { Ok(labelled) } else { Err(moved_base()) }
}

/// The error for base images that change while the image is checked.
fn moved_base() -> Status {
    Status::aborted(
        "the base images changed during every attempt to check the image: \
         pin them with `basegen update`",
    )
}

fn descriptor(response: &HashMap<String, String>) -> Result<Value, String> {
    let encoded = response.get("containerimage.descriptor");
    let encoded = encoded.ok_or("the engine returned no image descriptor")?;
    let json = STANDARD.decode(encoded).map_err(|error| one_line(&error))?;
    serde_json::from_slice(&json).map_err(|error| one_line(&error))
}
