//! The main call: build what is selected, and put it where it should be.

use std::sync::{Arc, OnceLock};

use tokio::sync::OnceCell;

use crate::engine::{
    BuildJob, BuildKitEngine, BuildOptions, ConnectedEngine, Destination, OnFailure, Outcome,
    RunRequest, Secret,
};
use crate::error::{ExitCode, Report};
use crate::event::{CancelReason, Event, Events, FailureKind};
use crate::image::{Digest, Reference};
use crate::plan::{Fingerprint, Plan};
use crate::publish::Metadata;
use crate::registry::{Registries, RegistryOptions};
use crate::render::familiar;
use crate::report::{Printer, RunReport};

use super::args::{BuildArgs, OutputArgs};
use super::metadata::RunOutcome;
use super::pull_request::{Proposing, Wishes};
use super::{Session, dry_run, inputs, local, outputs, progress, publish, selection};
use crate::ops::{ArgumentError, Context, Recipe};

/// How a run ended.
pub(super) enum Ended {
    /// The images have their names; a whole release has its set, too.
    Named(Option<(Reference, Digest)>),
    /// The images are in their registry, and have no names.
    Staged,
    /// Something was not built, as these tell.
    Unnamed(Vec<Outcome>),
}

/// A main call, read and checked: what the ways to a destination have in common.
pub(super) struct Call<'a> {
    pub(super) args: &'a BuildArgs,
    pub(super) context: &'a Context,
    pub(super) plan: &'a Plan<'a>,
    pub(super) destination: Destination,
    pub(super) registries: &'a RegistryOptions,
    secrets: Vec<Secret>,
    pub(super) events: Events,
    engine: OnceCell<ConnectedEngine>,
    client: OnceLock<Registries>,
    /// What the targets are made of, once that is known.
    fingerprints: OnceLock<Vec<Option<Fingerprint>>>,
}

pub(super) fn run(args: &BuildArgs, session: &Session) -> Result<ExitCode, Report> {
    let context = &session.context;
    let plan = selection::plan(context, &args.selection, &args.naming)?;
    let wishes = Wishes { dry_run: args.output.dry_run, ..Wishes::default() };
    // What is wrong with it is said before anything is built.
    let proposing = match args.output.pr {
        true => Some(Proposing::new(&plan, wishes, session)?),
        false => None,
    };
    let code = match args.output.dry_run {
        true => {
            destination(&args.output)?;
            dry_run::run(args, &plan, session)?;
            ExitCode::Success
        }
        false => execute(args, &plan, session)?,
    };
    match proposing {
        Some(proposing) if code == ExitCode::Success => proposing.run(),
        _ => Ok(code),
    }
}

/// Builds `plan`, and puts it where the arguments say.
pub(super) fn execute(
    args: &BuildArgs,
    plan: &Plan<'_>,
    session: &Session,
) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let destination = destination(&args.output)?;
    let recipe = Recipe::of(plan)?;
    crate::ops::render::report_left_out(context, &recipe.left_out);
    if args.output.stage {
        recipe.require_pins()?;
    }
    if let Some(path) = &args.output.metadata_file {
        Metadata::check(path)?;
    }
    let registries = context.registry_options()?;
    let secrets = inputs::secrets(plan.matrix, &args.running, context)?;
    let mask = inputs::mask(&secrets, &registries.credentials, context);
    let report = progress::report(&args.running.telling, session, mask)?;
    let call = Call {
        args,
        context,
        plan,
        destination,
        registries,
        secrets,
        events: report.events(),
        engine: OnceCell::new(),
        client: OnceLock::new(),
        fingerprints: OnceLock::new(),
    };
    match context.block_on_cancellable(call.execute(recipe, &report)) {
        Ok(None) => Ok(ExitCode::Interrupted),
        Ok(Some(ended)) => conclude(&call, &ended, &report, printer),
        Err(error) => {
            // What was done before is told, and the error after it, whatever could not be told.
            if let Err(untold) = conclude(&call, &Ended::Unnamed(Vec::new()), &report, printer) {
                printer.message(&untold.to_string());
            }
            Err(error)
        }
    }
}

/// Tells how a run ended, to people and to other programs.
fn conclude(
    call: &Call<'_>,
    ended: &Ended,
    report: &RunReport,
    printer: &Printer,
) -> Result<ExitCode, Report> {
    let record = report.record();
    let (named, set, code) = match ended {
        Ended::Named(set) => (true, set.as_ref(), ExitCode::Success),
        Ended::Staged => (false, None, ExitCode::Success),
        // What an engine or a folder has got it has, be it all or not.
        Ended::Unnamed(outcomes) => {
            (call.destination != Destination::Registry, None, exit_code(outcomes))
        }
    };
    let staged = call.args.output.stage;
    if named || matches!(ended, Ended::Staged) {
        publish::show(call.plan, &record, named, printer);
    }
    if matches!(ended, Ended::Named(_) | Ended::Staged) || !record.is_empty() {
        report.conclude(named);
    }
    let fingerprints = call.fingerprints.get().map(Vec::as_slice).unwrap_or_default();
    let forced = call.is_forced();
    let outcome = RunOutcome { record: &record, fingerprints, named, staged, forced, set };
    if let Some(path) = &call.args.output.metadata_file {
        outcome.metadata(call.plan).write(path)?;
    }
    if call.destination == Destination::Registry {
        outputs::write(call.plan, &outcome, call.context, &call.events)?;
    }
    Ok(code)
}

impl<'a> Call<'a> {
    /// Builds everything.
    async fn execute(&self, mut recipe: Recipe<'a>, report: &RunReport) -> Result<Ended, Report> {
        let is_release = self.destination == Destination::Registry;
        if !is_release {
            // Without an engine there is nothing to do; a release may need none.
            tokio::select! {
                engine = self.engine() => { engine?; }
                () = self.context.cancel.cancelled() => return Ok(Ended::Unnamed(Vec::new())),
            }
        }
        tokio::select! {
            resolved = self.resolve(&mut recipe) => resolved?,
            () = self.context.cancel.cancelled() => return Ok(Ended::Unnamed(Vec::new())),
        }
        let _ = self.fingerprints.set(recipe.fingerprints());
        let ended = match is_release {
            true if self.args.output.stage => publish::stage(self, &recipe).await,
            true => publish::run(self, &recipe).await,
            false => local::run(self, &recipe).await,
        };
        if let Ok(Ended::Named(_) | Ended::Staged) = ended {
            tokio::select! {
                measured = self.measure(report) => measured?,
                // How large they are is not worth a wait.
                () = self.context.cancel.cancelled() => {}
            }
        }
        ended
    }

    /// Pins the images that the lock does not pin, as the engine that builds would pull them.
    /// Without an engine, asks the registries: a release whose images are all published builds
    /// nothing.
    async fn resolve(&self, recipe: &mut Recipe<'_>) -> Result<(), Report> {
        for message in recipe.unverified() {
            self.events.emit(&Event::Warning { target: None, message });
        }
        if recipe.unpinned().is_empty() {
            return Ok(());
        }
        let unresolved = match self.engine().await {
            Ok(engine) => recipe.resolve_with(engine, &self.registries.credentials).await,
            Err(error) => {
                let registries = self.context.registries()?;
                if !recipe.resolve(&registries).await.is_empty() {
                    // Images based on an unpinned one are always built, which needs the engine.
                    return Err(error);
                }
                Vec::new()
            }
        };
        for problem in unresolved {
            let image = familiar(&problem.image.canonical()).to_owned();
            let message = format!("images based on `{image}` are rebuilt on every run: {problem}");
            self.events.emit(&Event::Warning { target: None, message });
        }
        Ok(())
    }

    /// Looks up how many bytes the images of a release are, where that is to be told. The images
    /// are there whatever comes of it.
    async fn measure(&self, report: &RunReport) -> Result<(), Report> {
        let is_told =
            self.args.output.metadata_file.is_some() || self.context.settings.github.is_actions;
        if is_told && self.destination == Destination::Registry {
            publish::measure(self.plan, self.client()?, report).await;
        }
        Ok(())
    }

    /// Returns the client of the registries that images are pushed to, the same at each call. It
    /// remembers the pushed images. It asks no mirrors, which do not have new images yet.
    pub(super) fn client(&self) -> Result<&Registries, Report> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = self.context.registries()?;
        Ok(self.client.get_or_init(|| client))
    }

    /// The engine, connected at the first call.
    pub(super) async fn engine(&self) -> Result<&ConnectedEngine, Report> {
        let request = self.args.engine.request(self.context);
        let connect = || async {
            let connected = ConnectedEngine::connect(&request).await?;
            let targets = self.plan.targets.iter();
            connected.check_platforms(targets.map(|target| &*target.platforms))?;
            Ok(connected)
        };
        self.engine.get_or_try_init(connect).await
    }

    /// The engine, set up for this call's destination.
    pub(super) async fn builder(&self) -> Result<BuildKitEngine, Report> {
        let hosts = self.registries.hosts.iter();
        let options = BuildOptions {
            credentials: Arc::clone(&self.registries.credentials),
            plain_http: hosts
                .filter_map(|(host, options)| Some((host.clone(), options.plain_http?)))
                .collect(),
            secrets: self.secrets.clone(),
            build_args: self.context.settings.build_proxies.clone(),
            no_cache: self.args.running.no_cache,
            ..BuildOptions::to(self.destination.clone())
        };
        Ok(self.engine().await?.builder(options)?)
    }

    /// Whether images are built anew that are there.
    pub(super) fn is_forced(&self) -> bool {
        self.args.output.force || self.args.running.no_cache
    }

    /// A run of `jobs` as the arguments want it.
    pub(super) fn run_request(&self, jobs: Vec<BuildJob>) -> RunRequest {
        RunRequest {
            jobs,
            parallel: self.args.running.jobs.into(),
            on_failure: match self.args.running.fail_fast {
                true => OnFailure::FailFast,
                false => OnFailure::KeepGoing,
            },
            cancel: self.context.cancel.clone(),
        }
    }
}

fn destination(args: &OutputArgs) -> Result<Destination, ArgumentError> {
    let Some(output) = &args.output else {
        let is_release = args.push || args.stage;
        return Ok(if is_release { Destination::Registry } else { Destination::Engine });
    };
    match output.strip_prefix("oci:").filter(|folder| !folder.is_empty()) {
        Some(folder) => Ok(Destination::OciLayout(folder.into())),
        None => Err(ArgumentError::new("--output", output, &"expected `oci:DIR`")),
    }
}

/// The worst that happened.
fn exit_code(outcomes: &[Outcome]) -> ExitCode {
    let failed = |kind: FailureKind| {
        let is_kind = |outcome: &Outcome| matches!(outcome, Outcome::Failed(f) if f.kind == kind);
        outcomes.iter().any(is_kind)
    };
    if outcomes.contains(&Outcome::Cancelled(CancelReason::Interrupted)) {
        ExitCode::Interrupted
    } else if failed(FailureKind::Build) {
        ExitCode::Build
    } else if failed(FailureKind::Verify) {
        ExitCode::Verify
    } else if failed(FailureKind::Export) {
        ExitCode::Export
    } else if failed(FailureKind::Engine) {
        ExitCode::Engine
    } else {
        // Without a failure, it is an interrupt that left something to do.
        ExitCode::Interrupted
    }
}
