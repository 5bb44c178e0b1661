//! The main call: builds the selected images and delivers them.

use std::collections::HashMap;

use crate::engine::{OnFailure, Outcome};
use crate::error::{ExitCode, Report};
use crate::event::{CancelReason, FailureKind};
use crate::image::Platform;
use crate::ops::build::{Build, BuildRequest, Delivery, Ended, Rebuild};
use crate::ops::inputs::StepInputs;
use crate::ops::pull_request::PullRequestOptions;
use crate::ops::{self, ArgumentError, Context};
use crate::plan::Plan;
use crate::report::{self, Printer, Record};

use super::args::{BuildArgs, OutputArgs, ProgressArgs};
use super::{Session, dry_run, progress, pull_request};

pub(super) fn run(args: &BuildArgs, session: &Session) -> Result<ExitCode, Report> {
    let context = &session.context;
    let (selection, naming) = (args.selection.selection()?, args.naming.naming()?);
    let request = request(args, context)?;
    let plan = if args.output.dry_run {
        ops::selection::plan(context, &selection, &naming)?
    } else {
        context.block_on(ops::build::plan(context, &selection, naming, &request))?
    };
    let options =
        PullRequestOptions { dry_run: args.output.dry_run, ..PullRequestOptions::default() };
    // Faults of the pull request are reported before anything is built.
    let pull_request =
        if args.output.pr { Some(pull_request::prepare(&plan, options, context)?) } else { None };
    let code = if args.output.dry_run {
        dry_run::run(args, &plan, session)?;
        ExitCode::Success
    } else {
        execute(request, &args.running.display, &plan, session)?
    };
    match pull_request {
        Some(pull_request) if code == ExitCode::Success => {
            pull_request::open(&pull_request, session)
        }
        _ => Ok(code),
    }
}

/// Builds `plan` and delivers its images.
pub(super) fn execute(
    request: BuildRequest,
    display: &ProgressArgs,
    plan: &Plan<'_>,
    session: &Session,
) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let mut build = Build::new(context, plan, request)?;
    ops::render::report_left_out(context, &build.recipe().left_out);
    let report = progress::report(display, session, build.mask()?)?;
    let ended = context.block_on_cancellable(build.run(&report));
    let (ended, error) = match ended {
        Ok(None) => return Ok(ExitCode::Interrupted),
        Ok(Some(ended)) => (ended, None),
        // The images that were built before the error are printed first.
        Err(error) => (Ended::Unfinished(Vec::new()), Some(error)),
    };
    let (record, is_tagged) = (report.record(), build.is_tagged(&ended));
    if is_tagged || matches!(ended, Ended::Staged) {
        show(plan, &record, is_tagged, printer);
    }
    if !matches!(ended, Ended::Unfinished(_)) || !record.is_empty() {
        report.conclude(is_tagged);
    }
    let written = build.write_outcome(&ended, &record, &report.events());
    match error {
        Some(error) => {
            if let Err(unwritten) = written {
                printer.message(&unwritten.to_string());
            }
            Err(error)
        }
        None => written.map(|()| exit_code(&ended)),
    }
}

/// Prints the images of `record`: by their references if they are tagged, or else by their digests.
pub(super) fn show(plan: &Plan<'_>, record: &Record, is_tagged: bool, printer: &Printer) {
    let images = record.images().map(|(id, digest, references)| (id, (digest, references)));
    let images: HashMap<_, _> = images.collect();
    for target in &plan.targets {
        let Some((digest, references)) = images.get(target.id()) else { continue };
        printer.result(&if is_tagged {
            report::published(*references, digest)
        } else {
            format!("{}@{digest}\n", target.reference.repository)
        });
    }
}

pub(super) fn request(args: &BuildArgs, context: &Context) -> Result<BuildRequest, ArgumentError> {
    let BuildArgs { output, running, .. } = args;
    Ok(BuildRequest {
        delivery: delivery(output)?,
        rebuild: if running.no_cache {
            Rebuild::WithoutCache
        } else if output.force {
            Rebuild::All
        } else {
            Rebuild::Missing
        },
        overwrite: output.overwrite,
        parallel: running.jobs.into(),
        on_failure: if running.fail_fast { OnFailure::FailFast } else { OnFailure::KeepGoing },
        inputs: StepInputs {
            secrets: running.secret.clone(),
            ca_certificates: running.ca_certificates.clone(),
        },
        engine: args.engine.request(context),
        metadata_file: output.metadata_file.clone(),
    })
}

fn delivery(args: &OutputArgs) -> Result<Delivery, ArgumentError> {
    if args.stage {
        let platform = args.only_platform.as_deref().map(|text| {
            let refused = |error| ArgumentError::new("--only-platform", text, &error);
            text.parse::<Platform>().map_err(refused)
        });
        return Ok(Delivery::Stage { platform: platform.transpose()? });
    }
    let Some(output) = &args.output else {
        return Ok(if args.push { Delivery::Push } else { Delivery::Engine });
    };
    match output.strip_prefix("oci:").filter(|folder| !folder.is_empty()) {
        Some(folder) => Ok(Delivery::OciLayout(folder.into())),
        None => Err(ArgumentError::new("--output", output, &"expected `oci:DIR`")),
    }
}

/// Returns the exit code of the worst failure.
fn exit_code(ended: &Ended) -> ExitCode {
    let Ended::Unfinished(outcomes) = ended else { return ExitCode::Success };
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
