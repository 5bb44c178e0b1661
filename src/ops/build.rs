//! The main call: builds the images of a plan and delivers them to the engine, a folder or their registries.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OnceCell;

use super::inputs::{self, StepInputs};
use super::outcome::RunOutcome;
use super::{
    ArgumentError, Context, NameOptions, Recipe, lint, local, publish, release_set, selection,
};
use crate::engine::{
    BuildOptions, ConnectedEngine, Destination, EngineRequest, OnFailure, Outcome, RunRequest,
    Secret,
};
use crate::error::Report;
use crate::event::{Event, Events};
use crate::image::{Digest, Platform, Reference};
use crate::matrix::Selection;
use crate::plan::{Fingerprint, Plan, Target};
use crate::publish::{Metadata, PublishRequest, Published, Staged};
use crate::report::{Mask, Record, RunReport};

/// The destination of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The image store of the engine.
    Engine,
    /// A folder for an OCI image layout.
    OciLayout(PathBuf),
    /// The registries, without version tags. [`merge`](super::merge) sets them.
    Stage {
        /// The platform, if the images for the others are staged elsewhere.
        platform: Option<Platform>,
    },
    /// The registries, with all tags.
    Push,
}

/// Which existing images a run builds again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuild {
    /// None: only missing images are built.
    Missing,
    /// All images, with the cache of the engine.
    All,
    /// All images, and every step of them.
    WithoutCache,
}

/// The destination and the settings of a run.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    pub delivery: Delivery,
    pub rebuild: Rebuild,
    /// Whether version tags move that point to different images.
    pub overwrite: bool,
    /// The number of parallel builds.
    pub parallel: usize,
    /// What happens to the other builds when one fails.
    pub on_failure: OnFailure,
    /// Secrets and certificates of build steps from the command line.
    pub inputs: StepInputs,
    pub engine: EngineRequest,
    /// The file to describe the outcome in.
    pub metadata_file: Option<PathBuf>,
}

/// The end of a run that no error stopped.
#[derive(Debug)]
pub enum Ended {
    /// All images have their tags; a whole release also has its release sets, one in each registry.
    Tagged(Vec<(Reference, Digest)>),
    /// All images are in their registries, without tags.
    Staged,
    /// Some images are missing: the outcome of each build.
    Unfinished(Vec<Outcome>),
}

impl Ended {
    /// Returns the release sets that the run wrote.
    pub(super) fn sets(&self) -> &[(Reference, Digest)] {
        if let Self::Tagged(sets) = self { sets } else { &[] }
    }
}

impl Delivery {
    /// Returns the platform that images are staged for, if it is only one.
    fn platform(&self) -> Option<&Platform> {
        if let Self::Stage { platform } = self { platform.as_ref() } else { None }
    }
}

impl From<Published> for Ended {
    fn from(published: Published) -> Self {
        match published {
            Published::Whole { sets, .. } => Self::Tagged(sets),
            Published::Unfinished(outcomes) => Self::Unfinished(outcomes),
        }
    }
}

impl From<Staged> for Ended {
    fn from(staged: Staged) -> Self {
        match staged {
            Staged::All { .. } => Self::Staged,
            Staged::Unfinished(outcomes) => Self::Unfinished(outcomes),
        }
    }
}

/// Plans the selected variants. Images that stay in the engine are for its own platform.
pub async fn plan<'a>(
    context: &'a Context,
    selection: &Selection,
    naming: NameOptions,
    request: &BuildRequest,
) -> Result<Plan<'a>, Report> {
    match request.delivery {
        Delivery::Engine => local::plan(context, selection, naming, &request.engine).await,
        _ => selection::plan(context, selection, &naming),
    }
}

/// A build that has been checked as far as possible before it starts.
pub struct Build<'a> {
    context: &'a Context,
    plan: &'a Plan<'a>,
    request: BuildRequest,
    recipe: Recipe<'a>,
    /// Warnings about the Dockerfiles, to be reported when the run begins.
    warnings: Vec<String>,
    secrets: Vec<Secret>,
    /// The fingerprints of the targets; empty until the run knows them.
    fingerprints: Vec<Option<Fingerprint>>,
}

impl<'a> Build<'a> {
    /// Renders the plan, checks its contracts, reads the secrets and credentials, and checks that the metadata file can be
    /// written.
    pub fn new(
        context: &'a Context,
        plan: &'a Plan<'a>,
        request: BuildRequest,
    ) -> Result<Self, Report> {
        let recipe = Recipe::new(plan)?;
        let mut warnings = lint::require_contracts(&recipe)?;
        warnings.extend(recipe.own_images()?);
        warnings.extend(recipe.unused_contents());
        if let Delivery::Stage { platform } = &request.delivery {
            if let Some(platform) = platform {
                require_platform(&recipe, platform)?;
            }
            recipe.require_pins()?;
        }
        if let Some(path) = &request.metadata_file {
            Metadata::check(path)?;
        }
        context.registry_options()?;
        let secrets = inputs::secrets(plan.matrix, &request.inputs, &context.settings)?;
        Ok(Self { context, plan, request, recipe, warnings, secrets, fingerprints: Vec::new() })
    }

    #[must_use]
    pub fn recipe(&self) -> &Recipe<'a> {
        &self.recipe
    }

    /// Returns the mask of everything that the run prints.
    pub fn mask(&self) -> Result<Mask, Report> {
        let credentials = &self.context.registry_options()?.credentials;
        Ok(inputs::mask(&self.secrets, credentials, &self.context.settings))
    }

    /// Builds and delivers the images.
    pub async fn run(&mut self, report: &RunReport) -> Result<Ended, Report> {
        let (context, events, begun) = (self.context, report.events(), Instant::now());
        for message in std::mem::take(&mut self.warnings) {
            events.emit(&Event::Warning { target: None, message });
        }
        let engine = LazyEngine {
            request: self.request.engine.clone(),
            plan: self.plan,
            platform: self.request.delivery.platform(),
            engine: OnceCell::new(),
        };
        let destination = self.destination();
        let is_release = destination == Destination::Registry;
        if !is_release {
            // A release may need no engine; without one, there is nothing else to do.
            tokio::select! {
                connected = engine.get() => drop(connected?),
                () = context.cancel.cancelled() => return Ok(Ended::Unfinished(Vec::new())),
            }
        }
        tokio::select! {
            resolved = resolve(context, &mut self.recipe, &engine, &events) => resolved?,
            () = context.cancel.cancelled() => return Ok(Ended::Unfinished(Vec::new())),
        }
        self.fingerprints = self.recipe.fingerprints();
        if is_release {
            return self.release(&engine, report, &events).await;
        }
        let engine = engine.get().await?;
        let images = tokio::select! {
            images = local::images(engine, &destination, self.is_forced()) => images?,
            () = context.cancel.cancelled() => return Ok(Ended::Unfinished(Vec::new())),
        };
        let remaining = local::reuse(engine, &images, &self.recipe, &events).await?;
        let local::Remaining { mut jobs, staged } = remaining;
        if destination != Destination::Engine {
            // A folder lists only the images of the plan.
            for job in jobs.iter_mut().filter(|job| !self.is_planned(&job.target)) {
                job.references.clear();
            }
        }
        if jobs.is_empty() {
            events.emit(&Event::RunFinished { elapsed: begun.elapsed() });
            return Ok(Ended::Tagged(Vec::new()));
        }
        let run = RunRequest { jobs, ..self.run_request() };
        let outcomes = local::run(engine, self.options()?, run, &events).await?;
        if destination == Destination::Engine {
            local::remove_names(engine, staged).await;
        }
        let is_built = |outcome: &Outcome| matches!(outcome, Outcome::Built(_));
        Ok(if outcomes.iter().all(is_built) {
            Ended::Tagged(Vec::new())
        } else {
            Ended::Unfinished(outcomes)
        })
    }

    /// Publishes or stages the images, and reports their sizes.
    async fn release(
        &self,
        engine: &LazyEngine<'_>,
        report: &RunReport,
        events: &Events,
    ) -> Result<Ended, Report> {
        let Self { context, plan, request, recipe, .. } = self;
        let is_staging = self.is_staging();
        if !is_staging {
            release_set::check_aliases(plan)?;
            publish::warn_unguarded(plan, events);
        }
        let publish_request = PublishRequest {
            release: publish::release(recipe, request.overwrite)?,
            force: self.is_forced(),
            run: self.run_request(),
        };
        let registries = context.registries()?;
        let connect = async || Ok(engine.get().await?.builder(self.options()?)?);
        let ended = if is_staging {
            let platform = request.delivery.platform();
            let purpose = publish::Purpose::Staging(platform);
            let _lock = publish::lock(plan, &context.settings, purpose)?;
            let staged =
                crate::publish::stage(publish_request, platform, &registries, events, connect);
            staged.await?.into()
        } else {
            let _lock = publish::lock(plan, &context.settings, publish::Purpose::Release)?;
            crate::publish::publish(publish_request, &registries, events, connect).await?.into()
        };
        if !matches!(ended, Ended::Unfinished(_)) {
            let has_file = request.metadata_file.is_some();
            publish::measure(context, plan, has_file, &registries, report).await;
        }
        Ok(ended)
    }

    /// Writes the metadata file and the outputs of the step.
    pub fn write_outcome(
        &self,
        ended: &Ended,
        record: &Record,
        events: &Events,
    ) -> Result<(), Report> {
        let outcome = RunOutcome {
            plan: self.plan,
            record,
            fingerprints: &self.fingerprints,
            is_tagged: self.is_tagged(ended),
            staged: self.is_staging(),
            platform: self.request.delivery.platform(),
            forced: self.is_forced(),
            sets: ended.sets(),
        };
        let is_release = self.destination() == Destination::Registry;
        let step = is_release.then_some(&self.context.settings.github);
        outcome.write(self.request.metadata_file.as_deref(), step, events)
    }

    /// Returns true if the images that were built have their tags: an engine or a folder sets them one by one.
    #[must_use]
    pub fn is_tagged(&self, ended: &Ended) -> bool {
        match ended {
            Ended::Tagged(_) => true,
            Ended::Staged => false,
            Ended::Unfinished(_) => self.destination() != Destination::Registry,
        }
    }

    fn is_planned(&self, target: &str) -> bool {
        self.plan.targets.iter().any(|planned| planned.id() == target)
    }

    fn is_staging(&self) -> bool {
        matches!(self.request.delivery, Delivery::Stage { .. })
    }

    fn is_forced(&self) -> bool {
        self.request.rebuild != Rebuild::Missing
    }

    fn destination(&self) -> Destination {
        match &self.request.delivery {
            Delivery::Engine => Destination::Engine,
            Delivery::OciLayout(folder) => Destination::OciLayout(folder.clone()),
            Delivery::Stage { .. } | Delivery::Push => Destination::Registry,
        }
    }

    fn options(&self) -> Result<BuildOptions, Report> {
        let registries = self.context.registry_options()?;
        let hosts = registries.hosts.iter();
        Ok(BuildOptions {
            credentials: Arc::clone(&registries.credentials),
            plain_http: hosts
                .filter_map(|(host, options)| Some((host.clone(), options.plain_http?)))
                .collect(),
            secrets: self.secrets.clone(),
            build_args: self.context.settings.build_proxies.clone(),
            no_cache: self.request.rebuild == Rebuild::WithoutCache,
            ..BuildOptions::to(self.destination())
        })
    }

    fn run_request(&self) -> RunRequest {
        RunRequest {
            jobs: Vec::new(),
            parallel: self.request.parallel,
            on_failure: self.request.on_failure,
            cancel: self.context.cancel.clone(),
        }
    }
}

/// An engine that is connected when it is first needed.
struct LazyEngine<'a> {
    request: EngineRequest,
    plan: &'a Plan<'a>,
    /// The only platform that it builds for; `None` if it builds for all of the plan.
    platform: Option<&'a Platform>,
    engine: OnceCell<ConnectedEngine>,
}

impl LazyEngine<'_> {
    /// Returns the engine after checking that it builds for all platforms of the plan.
    async fn get(&self) -> Result<&ConnectedEngine, Report> {
        let connect = async || {
            let connected = ConnectedEngine::connect(&self.request).await?;
            let targets = self.plan.targets.iter();
            let platforms = targets
                .map(|target| self.platform.map_or(&*target.platforms, std::slice::from_ref));
            connected.check_platforms(platforms)?;
            Ok(connected)
        };
        self.engine.get_or_try_init(connect).await
    }
}

/// Refuses a platform that an image of the plan is not built for, or that it cannot be built for on its own.
fn require_platform(recipe: &Recipe<'_>, platform: &Platform) -> Result<(), ArgumentError> {
    let refuse =
        |reason: &str| ArgumentError::new("--only-platform", &platform.to_string(), &reason);
    let lacks = |target: &&Target<'_>| !target.is_mirror && !target.platforms.contains(platform);
    if let Some(target) = recipe.plan.targets.iter().find(lacks) {
        let own = Platform::list(&target.platforms);
        return Err(refuse(&format!("{} is built for {own}", target.id())));
    }
    for (target, context) in recipe.graph.targets.iter().zip(&recipe.contexts) {
        if let Some(parent) = context.selected_parent().filter(|_| target.platforms.len() > 1) {
            let (place, id) = (context.place(parent.line), &parent.id);
            let reason = format!("{place}: {} selects a platform of {id}", target.id());
            return Err(refuse(&reason));
        }
    }
    Ok(())
}

/// Pins the images that the lock does not pin, as the engine would pull them. Without an engine, asks the registries: a
/// release whose images are all published needs no build.
async fn resolve(
    context: &Context,
    recipe: &mut Recipe<'_>,
    engine: &LazyEngine<'_>,
    events: &Events,
) -> Result<(), Report> {
    let warn = |message| events.emit(&Event::Warning { target: None, message });
    recipe.unverified().into_iter().for_each(warn);
    if recipe.unpinned().is_empty() {
        return Ok(());
    }
    let unresolved = match engine.get().await {
        Ok(engine) => recipe.resolve_with(engine, &context.registry_options()?.credentials).await,
        Err(error) => {
            if !recipe.resolve(&context.registries()?).await.is_empty() {
                // Images based on an unpinned one are always built, which needs the engine.
                return Err(error);
            }
            Vec::new()
        }
    };
    for problem in unresolved {
        warn(format!("{problem}; images based on it are rebuilt on every run"));
    }
    Ok(())
}
