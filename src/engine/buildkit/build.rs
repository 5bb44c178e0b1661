use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard_buildkit_proto::moby::buildkit::v1::SolveRequest;
use futures_util::future::try_join_all;
use serde_json::Value;
use tonic::Status;

use super::context::Sent;
use super::export::Exporter;
use super::gateway::{DockerfileRequest, Gateway, Solved};
use super::hold::Holds;
use super::layout::OciLayout;
use super::past::Past;
use super::progress::Progress;
use super::retry::Attempts;
use super::session::{Offer, Session};
use super::{ConnectedEngine, content, context, export, failure, solve, transport};
use crate::engine::docker;
use crate::engine::{BuildJob, BuiltImage, Destination, Engine, EngineError, Peers, Secret};
use crate::error::one_line;
use crate::event::{Events, Failure, FailureKind};
use crate::image::Digest;
use crate::registry::{Credentials, Manifest, RetryPolicy};
use crate::verify;

/// What all builds of a run have in common.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Where the images go.
    pub destination: Destination,
    /// The credentials of the registries that are pulled from and pushed to.
    pub credentials: Arc<Credentials>,
    /// Which registries, as `host[:port]`, are pushed to without TLS, and which are not; where
    /// nothing is said, those on this machine alone are.
    pub plain_http: BTreeMap<String, bool>,
    /// The secrets that steps may mount.
    pub secrets: Vec<Secret>,
    /// Build arguments of every job, such as the proxies' (`HTTP_PROXY` and the like, which
    /// `BuildKit` gives to steps and keeps out of the image).
    pub build_args: BTreeMap<String, String>,
    /// Whether every step runs, even where its result is there already.
    pub no_cache: bool,
    /// How often a push that the network has ended is tried again.
    pub retry: RetryPolicy,
}

impl BuildOptions {
    /// Builds for `destination`, without credentials, secrets or arguments.
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

/// How often a build hands its image on anew when that is gone from the engine's store: an equal
/// image has the same staging tag, and was pushed and removed just then.
const MAX_LOST: usize = 8;

/// How often an image is checked when the images that it is built on are moved meanwhile.
const MAX_MOVED: usize = 4;

/// An engine with `BuildKit`'s API, set up for a run.
pub struct BuildKitEngine {
    engine: ConnectedEngine,
    options: BuildOptions,
    secrets: Arc<[Secret]>,
    layout: Option<Arc<OciLayout>>,
    holds: Holds,
    past: Past,
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
        mut peers: Peers,
    ) -> Result<BuiltImage, Box<Failure>> {
        let mut progress =
            Progress::new(&job.target, events, self.past.now()).with_lines(&job.context.lines);
        let mut attempts = Attempts::new(self.options.retry);
        let (mut lost, mut is_first) = (0, true);
        loop {
            let failure = match self.solve(job, &mut progress, &mut peers, is_first).await {
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
                        Box::new(failure::not_handed_on(job, &problem, able))
                    }
                },
            };
            let is_push = failure.kind == FailureKind::Export
                && self.options.destination == Destination::Registry;
            let wait = is_push.then(|| attempts.after(&failure.message)).flatten();
            let Some(wait) = wait else { return Err(failure) };
            progress.try_again(&failure.message);
            tokio::time::sleep(wait).await;
            // A new build: its image is checked as the first was, from the engine's cache.
            is_first = false;
        }
    }
}

impl BuildKitEngine {
    pub(super) fn new(engine: ConnectedEngine, options: BuildOptions) -> Result<Self, EngineError> {
        let layout = match &options.destination {
            Destination::OciLayout(folder) => Some(Arc::new(OciLayout::open(folder)?)),
            _ => None,
        };
        let secrets = options.secrets.clone().into();
        Ok(Self {
            engine,
            secrets,
            options,
            layout,
            holds: Holds::default(),
            past: Past::default(),
        })
    }

    /// Builds the image and, once `peers` permit it, exports it. Only the first attempt may bypass
    /// the engine's cache.
    async fn solve(
        &self,
        job: &BuildJob,
        progress: &mut Progress,
        peers: &mut Peers,
        is_first: bool,
    ) -> Result<HashMap<String, String>, Box<Failure>> {
        let mut solved = self.attempt(job, progress, peers, is_first).await;
        // A connection that has ended takes nothing any more, and the next call opens another.
        if solved.as_ref().is_err_and(|status| transport::is_unsent(status) && progress.is_empty())
        {
            solved = self.attempt(job, progress, peers, is_first).await;
        }
        solved.map_err(|status| {
            let (native, able) = (self.engine.platforms(), self.engine.0.abilities);
            Box::new(failure::failure(&status, job, progress, native, able))
        })
    }

    async fn attempt(
        &self,
        job: &BuildJob,
        progress: &mut Progress,
        peers: &mut Peers,
        is_first: bool,
    ) -> Result<HashMap<String, String>, Status> {
        let channel = &self.engine.0.channel;
        let mut sent = Sent::new(&job.context);
        let offer = Offer {
            secrets: Arc::clone(&self.secrets),
            credentials: Arc::clone(&self.options.credentials),
            uploads: std::mem::take(&mut sent.uploads),
            layout: self.layout.clone(),
        };
        let session = Arc::new(Session::open(channel.clone(), offer).await?);
        let attributes = self.attributes(job, self.options.no_cache && is_first);
        let asked = Asked { job, sent, session, attributes };
        let exporter = export::exporter(job, &self.options, self.engine.0.abilities);
        let solved = solve::solve(channel.clone(), asked.build(exporter), progress, |gateway| {
            self.lead(gateway, &asked, peers)
        });
        Ok(solved.await?.exporter_response)
    }

    /// Leads a build from its first step to its export.
    ///
    /// The build is open until the image is exported: the engine holds what the steps have made,
    /// so that each runs once, and what was checked is what is exported. Two builds in a row have
    /// no such promise. The engine may drop what the first made, and it finds nothing in its cache
    /// that stands on a step which ran for the first time while yet another build holds that. For
    /// the same reason, what peers need too is held until they have had it.
    async fn lead(
        &self,
        gateway: Gateway,
        asked: &Asked<'_>,
        peers: &mut Peers,
    ) -> Result<(), Status> {
        let solved = solve_checked(&gateway, asked).await;
        asked.session.end_uploads();
        if peers.want_it_held() {
            let (channel, session) = (&self.engine.0.channel, &asked.session);
            let (build, image) = (asked.build(Exporter::none()), asked.image());
            let hold = self.holds.open(channel, session, build, &image).await;
            peers.keep(hold);
        }
        let image = solved?;
        peers.turn().await;
        gateway.export(image).await
    }

    fn attributes(&self, job: &BuildJob, no_cache: bool) -> HashMap<String, String> {
        let mut attributes =
            HashMap::from([("filename".to_owned(), context::DOCKERFILE.to_owned())]);
        let platforms: Vec<String> = job.platforms.iter().map(ToString::to_string).collect();
        if !platforms.is_empty() {
            attributes.insert("platform".to_owned(), platforms.join(","));
        }
        if no_cache {
            // Empty means every stage.
            attributes.insert("no-cache".to_owned(), String::new());
        }
        if job.existing.is_some() && self.options.destination == Destination::Engine {
            // The name may be another image's in a registry.
            attributes.insert("image-resolve-mode".to_owned(), "local".to_owned());
        }
        let labels = job.labels.iter();
        attributes.extend(labels.map(|(name, value)| (format!("label:{name}"), value.clone())));
        let arguments = self.options.build_args.iter();
        attributes
            .extend(arguments.map(|(name, value)| (format!("build-arg:{name}"), value.clone())));
        attributes
    }

    /// Does what the exporter leaves to this side, and gives the image's digest.
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
        let digest = digest.ok_or("the engine did not tell the image's digest")?;
        digest.parse().map_err(|error| one_line(&error))
    }

    /// The manifests that were pushed, so that nobody has to fetch them to name the image.
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

    /// Pushes with the Engine API, where the exporter cannot, under the staging tag, and takes
    /// that name away from the engine again.
    ///
    /// Exporting the image and pushing its blobs from here would be slower and send more. Of an
    /// image of 440 MB (Python's base, 157 MB of random bytes, 157 MB of text; Docker 26.1, 2
    /// cores, a registry on loopback), the engine's push took 7.3 s and 275 MB into an empty
    /// registry, 3.9 s and 227 MB where the base was there, and 0.05 s where all was. The export
    /// has no compressed layers, and nothing of it can be left out: as it is it took 5.5 s and
    /// 446 MB, 7.1 s and 253 MB with zstd, 18.9 s and 278 MB with gzip, 5 s and more where all
    /// was there, and the base became a blob that is not its own.
    async fn push_from_store(
        &self,
        job: &BuildJob,
        progress: &mut Progress,
    ) -> Result<Digest, String> {
        let docker = self.engine.0.docker.as_ref();
        let docker = docker.ok_or("only a Docker Engine keeps images in a graph driver")?;
        let staging = job.staged().ok_or("it has no reference")?;
        let credential = self.options.credentials.of(staging.repository.registry()).await;
        let credential = credential.map_err(|error| one_line(&*error))?;
        let step = progress.begin_own(&format!("pushing to {}", staging.repository));
        let moved = |current, total| step.moved("pushing layers", current, total);
        let digest = docker.push(&staging, credential, moved).await;
        let digest = digest.map_err(|error| one_line(&*error));
        step.end(digest.as_ref().err().map(String::as_str));
        // What it was made from stays in the build cache. Where this fails, or a run is killed
        // before, `basegen prune` finds the image.
        let _ = docker.remove_name(&staging).await;
        digest
    }
}

/// Runs all steps of the image that is `asked` for, and its checks.
async fn solve_checked(gateway: &Gateway, asked: &Asked<'_>) -> Result<Solved, Status> {
    let dockerfile = &asked.job.context.dockerfile;
    let Some(with_checks) = verify::with_checks(dockerfile, &asked.job.checks) else {
        return asked.solve(gateway, dockerfile).await;
    };
    for _ in 0..MAX_MOVED {
        let checked = asked.solve(gateway, &with_checks).await?;
        let image = gateway.solve(&asked.image()).await?;
        // Each looks upstream tags up anew.
        if checked.contains(&image) {
            return Ok(image);
        }
    }
    Err(Status::aborted(
        "the images that it is built on have moved each time that it was checked: \
         pin them with `basegen update`",
    ))
}

/// What the engine is asked for in one attempt at a job.
struct Asked<'a> {
    job: &'a BuildJob,
    sent: Sent,
    session: Arc<Session>,
    attributes: HashMap<String, String>,
}

impl Asked<'_> {
    /// The job's image.
    fn image(&self) -> DockerfileRequest {
        self.image_of(&self.job.context.dockerfile)
    }

    /// The image that `dockerfile` makes of the job's files.
    fn image_of(&self, dockerfile: &str) -> DockerfileRequest {
        DockerfileRequest {
            attributes: self.attributes.clone(),
            inputs: self.sent.inputs(dockerfile),
        }
    }

    /// Runs the steps of what `dockerfile` makes, those of all platforms at a time.
    async fn solve(&self, gateway: &Gateway, dockerfile: &str) -> Result<Solved, Status> {
        let image = self.image_of(dockerfile);
        if self.job.platforms.len() > 1 {
            let each = self.job.platforms.iter().map(|platform| async {
                let mut image = image.clone();
                image.attributes.insert("platform".to_owned(), platform.to_string());
                // So that its steps are called as those of the whole image.
                image.attributes.insert("multi-platform".to_owned(), "true".to_owned());
                gateway.solve(&image).await
            });
            try_join_all(each).await?;
        }
        gateway.solve(&image).await
    }

    /// A build of the job that ends with `exporter`.
    fn build(&self, exporter: Exporter) -> SolveRequest {
        solve::request(&self.session, self.attributes.clone(), exporter)
    }
}

fn descriptor(response: &HashMap<String, String>) -> Result<Value, String> {
    let encoded = response.get("containerimage.descriptor");
    let encoded = encoded.ok_or("the engine did not describe the image")?;
    let json = STANDARD.decode(encoded).map_err(|error| one_line(&error))?;
    serde_json::from_slice(&json).map_err(|error| one_line(&error))
}
