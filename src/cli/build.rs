//! The main call: build what is selected, and put it where it should be.

use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::engine::{
    self, BuildJob, BuildOptions, ConnectedEngine, Destination, EngineEnvironment, EngineRequest,
    OnFailure, Outcome, RunRequest, TlsFiles,
};
use crate::error::{ExitCode, Report};
use crate::event::FailureKind;
use crate::plan::{self, Plan};
use crate::registry::Credentials;
use crate::render::Renderer;
use crate::report::{self, Printer, RunReport};

use super::args::{BuildArgs, EngineArgs, GlobalArgs, OutputArgs};
use super::selection::ArgumentError;
use super::{Environment, inputs, metadata, progress, registries, selection, signals};

pub(super) fn run(
    args: &BuildArgs,
    global: &GlobalArgs,
    environment: &Environment,
    printer: &Printer,
) -> Result<ExitCode, Report> {
    let matrix = selection::load(&global.file)?;
    let plan = selection::plan(&matrix, &args.selection, &args.naming)?;
    let destination = destination(&args.output)?;
    if args.output.dry_run {
        printer.result(&plan::names(&plan));
        return Ok(ExitCode::Success);
    }
    let jobs = jobs(&plan, &destination)?;
    let options = BuildOptions {
        credentials: Arc::new(Credentials::load(registries::sources(&matrix, environment)?)?),
        secrets: inputs::secrets(&matrix, &args.running, environment)?,
        build_args: inputs::proxies(environment),
        no_cache: args.running.no_cache,
        ..BuildOptions::to(destination)
    };
    if let Some(path) = &args.output.metadata_file {
        metadata::check(path)?;
    }
    let report = progress::report(&args.running, global, environment, printer)?;
    let request = RunRequest {
        jobs,
        parallel: args.running.jobs.into(),
        on_failure: match args.running.fail_fast {
            true => OnFailure::FailFast,
            false => OnFailure::KeepGoing,
        },
        cancel: CancellationToken::new(),
    };
    let engine = engine_request(&args.engine, environment);
    let runtime = Runtime::new().map_err(metadata::FileError::runtime)?;
    let ended = runtime.block_on(build(&engine, options, &plan, request, &report));
    // What still hangs on a lost connection shall not keep the process.
    runtime.shutdown_background();
    let Some(outcomes) = ended? else { return Ok(ExitCode::Interrupted) };
    let record = report.record();
    let rows = record.finished.iter().map(|row| (row.references.as_slice(), &row.digest));
    printer.result(&report::published(rows));
    report.conclude();
    if let Some(path) = &args.output.metadata_file {
        metadata::write(path, &plan, &record)?;
    }
    Ok(exit_code(&outcomes))
}

/// Builds everything; `None` when a second interrupt ended it on the spot.
async fn build(
    engine: &EngineRequest,
    options: BuildOptions,
    plan: &Plan<'_>,
    request: RunRequest,
    report: &RunReport,
) -> Result<Option<Vec<Outcome>>, Report> {
    let connected = ConnectedEngine::connect(engine).await?;
    connected.check_platforms(plan.targets.iter().flat_map(|target| target.platforms.iter()))?;
    let builder = Arc::new(connected.builder(options)?);
    let interrupts = signals::watch(request.cancel.clone());
    let events = report.events();
    tokio::select! {
        outcomes = engine::run(builder, request, &events) => Ok(Some(outcomes)),
        () = interrupts => Ok(None),
    }
}

/// The targets with their contexts, ready to be built.
fn jobs(plan: &Plan<'_>, destination: &Destination) -> Result<Vec<BuildJob>, Report> {
    let variants: Vec<_> = plan.targets.iter().map(|target| target.variant).collect();
    let contexts = Renderer::new(plan.matrix)?.render_all(&variants)?;
    let mut after = match destination {
        Destination::Registry => plan.leaders(),
        Destination::Engine | Destination::OciLayout(_) => vec![Vec::new(); contexts.len()],
    };
    let jobs =
        plan.targets.iter().zip(contexts).enumerate().map(|(index, (target, context))| BuildJob {
            target: target.id().to_owned(),
            context,
            platforms: target.platforms.to_vec(),
            labels: target.labels.clone(),
            references: target.references().cloned().collect(),
            compression: target.compression,
            after: std::mem::take(&mut after[index]),
        });
    Ok(jobs.collect())
}

fn destination(args: &OutputArgs) -> Result<Destination, ArgumentError> {
    let Some(output) = &args.output else {
        return Ok(if args.push { Destination::Registry } else { Destination::Engine });
    };
    match output.strip_prefix("oci:").filter(|folder| !folder.is_empty()) {
        Some(folder) => Ok(Destination::OciLayout(folder.into())),
        None => Err(ArgumentError::new("--output", output, &"expected `oci:DIR`")),
    }
}

fn engine_request(args: &EngineArgs, environment: &Environment) -> EngineRequest {
    let tls = (&args.builder_ca, &args.builder_cert, &args.builder_key);
    let builder_tls = match tls {
        (Some(ca), Some(cert), Some(key)) => {
            Some(TlsFiles { ca: ca.clone(), cert: cert.clone(), key: key.clone() })
        }
        _ => None,
    };
    EngineRequest {
        builder: args.builder.clone(),
        builder_tls,
        environment: engine_environment(environment),
    }
}

pub(super) fn engine_environment(environment: &Environment) -> EngineEnvironment {
    let text = |name| environment.variable(name).map(str::to_owned);
    EngineEnvironment {
        buildkit_host: text("BUILDKIT_HOST"),
        docker_host: text("DOCKER_HOST"),
        docker_context: text("DOCKER_CONTEXT"),
        docker_tls_verify: text("DOCKER_TLS_VERIFY").is_some(),
        docker_cert_path: environment.path("DOCKER_CERT_PATH"),
        docker_config: environment.path("DOCKER_CONFIG"),
        home: environment.path("HOME"),
        runtime_dir: environment.path("XDG_RUNTIME_DIR"),
    }
}

/// The worst that happened.
fn exit_code(outcomes: &[Outcome]) -> ExitCode {
    let failed = |kind: FailureKind| {
        let is_kind = |outcome: &Outcome| matches!(outcome, Outcome::Failed(f) if f.kind == kind);
        outcomes.iter().any(is_kind)
    };
    let interrupted = crate::event::CancelReason::Interrupted;
    if outcomes.contains(&Outcome::Cancelled(interrupted)) {
        ExitCode::Interrupted
    } else if failed(FailureKind::Build) {
        ExitCode::Build
    } else if failed(FailureKind::Export) {
        ExitCode::Export
    } else if failed(FailureKind::Engine) {
        ExitCode::Engine
    } else {
        ExitCode::Success
    }
}
