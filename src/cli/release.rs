//! `basegen release`: publishes the whole matrix, and updates the repository.

use crate::error::{ExitCode, Report};
use crate::ops::pull_request::PullRequestOptions;
use crate::ops::release::{self, NextVersion};
use crate::ops::{self, release_edits};
use crate::report::format;
use crate::version;

use super::args::{BuildArgs, NamingArgs, OutputArgs, ReleaseArgs, SelectionArgs};
use super::{Session, build, pull_request};

pub(super) fn run(args: ReleaseArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let options = PullRequestOptions {
        base: args.base.clone(),
        draft: args.draft,
        dry_run: args.dry_run,
        notes: args.notes.clone(),
    };
    let pull_request = args.pr.then_some(&options);
    let next = release::next_version(context, args.to.as_deref(), pull_request);
    let version = match context.block_on_cancellable(next)? {
        None => return Ok(ExitCode::Interrupted),
        Some(NextVersion::Unchanged(version)) => {
            let message = format!("no image has changed since {version}");
            printer.done(&message);
            return Ok(ExitCode::Success);
        }
        Some(NextVersion::Release(version)) => version,
    };
    let plan = ops::bump::plan(context.matrix()?, &version)?;
    // Faults of the pull request and of the edits are reported before anything is built.
    let pull_request =
        if args.pr { Some(pull_request::prepare(&plan, options, context)?) } else { None };
    let mut edits = release_edits::of_working_tree(&plan, &version)?;
    let is_dry_run = args.dry_run;
    if !is_dry_run {
        let build = build_args(args);
        let request = build::request(&build, context)?;
        let code = build::execute(request, &build.running.display, &plan, session)?;
        if code != ExitCode::Success {
            return Ok(code);
        }
    }
    if let Some(pull_request) = pull_request {
        return pull_request::open(&pull_request, session);
    }
    if is_dry_run {
        printer.result(&crate::plan::names(&plan));
        release_edits::show_paths_to_caller(plan.matrix, &mut edits);
        printer.result(&version::diff(&edits));
        return Ok(ExitCode::Success);
    }
    version::write(&plan.matrix.checkout, &edits)?;
    release_edits::show_paths_to_caller(plan.matrix, &mut edits);
    let files: String = edits.iter().map(|edit| format!("\n  {}", edit.path.display())).collect();
    printer.note(&if edits.is_empty() {
        format!("the working tree already has {version}")
    } else {
        format!("{version} is written to {}:{files}", format::count(edits.len(), "file"))
    });
    Ok(ExitCode::Success)
}

/// A release is a push of the whole matrix.
fn build_args(args: ReleaseArgs) -> BuildArgs {
    BuildArgs {
        selection: SelectionArgs::default(),
        naming: NamingArgs::default(),
        output: OutputArgs {
            push: true,
            overwrite: args.overwrite,
            metadata_file: args.metadata_file,
            ..OutputArgs::default()
        },
        running: args.running,
        engine: args.engine,
    }
}
