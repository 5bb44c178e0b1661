//! `basegen release`: publish the whole matrix, and bring the repository in step with it.

use crate::error::{ExitCode, Explain, Report};
use crate::matrix::{Matrix, Selection, VersionTable};
use crate::plan::{Plan, PlanRequest, PublicationStatus, PublishedState};
use crate::report::{Printer, format};
use crate::version::{self, BumpError, FileEdit, Level, Version, VersionOccurrence};

use super::args::{BuildArgs, NamingArgs, OutputArgs, ReleaseArgs, SelectionArgs};
use super::pull_request::{Proposing, Wishes};
use super::{Session, build, bump, in_step, pull_request};
use crate::ops::lookup;

/// A release goes forward.
#[derive(Debug, thiserror::Error)]
#[error("`{wanted}` is lower than `{now}`")]
struct Lower {
    wanted: String,
    now: String,
}

impl Explain for Lower {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("`basegen bump --allow-downgrade` goes back to a version".to_owned())
    }
}

pub(super) fn run(args: ReleaseArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let matrix = context.matrix()?;
    let table = matrix.version.as_ref().ok_or(bump::NoVersion)?;
    let wishes = Wishes {
        base: args.base.clone(),
        draft: args.draft,
        dry_run: args.dry_run,
        notes: args.notes.clone(),
    };
    let proposing = args.pr.then_some(&wishes);
    let version = version(args.to.as_deref(), table, matrix, proposing, session)?;
    let Some(version) = version else { return Ok(ExitCode::Success) };
    let plan = plan(matrix, &version)?;
    // What is wrong with it is said before anything is built.
    let proposing = match args.pr {
        true => Some(Proposing::new(&plan, wishes, session)?),
        false => None,
    };
    let edits = in_step::here(&plan, &version)?;
    if !args.dry_run {
        let code = build::execute(&build_args(args), &plan, session)?;
        if code != ExitCode::Success {
            return Ok(code);
        }
        return match proposing {
            Some(proposing) => proposing.run(),
            None => write(&plan, &version, edits, printer),
        };
    }
    if let Some(proposing) = proposing {
        return proposing.run();
    }
    printer.result(&crate::plan::names(&plan));
    printer.result(&version::diff(&named(&plan, edits)));
    Ok(ExitCode::Success)
}

/// The version to release; nothing where no image has changed.
fn version(
    to: Option<&str>,
    table: &VersionTable,
    matrix: &Matrix,
    proposing: Option<&Wishes>,
    session: &Session,
) -> Result<Option<Version>, Report> {
    let Session { context, printer, .. } = session;
    let Some(to) = to else { return Ok(Some(version::read(table, &matrix.checkout)?)) };
    let Ok(level) = to.parse::<Level>() else {
        let first = version::locate(&table.first(), &matrix.checkout)?;
        return match version::target(&first, to, false) {
            Err(BumpError::Lower { wanted, now }) => Err(Lower { wanted, now }.into()),
            other => Ok(Some(other?)),
        };
    };
    let first = version::agreed(table, &matrix.checkout)?.swap_remove(0);
    let plan = plan(matrix, &first.version)?;
    if !bump::is_released(&plan, context)? {
        let version = &first.version;
        printer.note(&format!(
            "{version} is not released yet: it is released, and what has changed goes with it"
        ));
        return Ok(Some(first.version));
    }
    let stands = context.block_on(lookup::required_status(context, &plan))?;
    if stands.iter().all(|stand| stand.state == PublishedState::Published) {
        let message = format!("nothing changed: no image has since {} was released", first.version);
        printer.done(&message);
        return Ok(None);
    }
    let earlier = match proposing {
        Some(wishes) => pull_request::earlier_versions(&plan, wishes, session)?,
        None => Vec::new(),
    };
    // An older version, or a text that is none, does not count.
    let earlier = earlier.iter().filter_map(|text| version::target(&first, text, false).ok());
    let earlier = earlier.filter_map(|version| Some((version.number().ok()?, version)));
    let newest = earlier.max_by(|one, other| one.0.cmp(&other.0));
    let version = match newest.filter(|(number, _)| *number > first.number) {
        Some((_, version)) => version,
        None => version::bump(&first, level, None)?,
    };
    Ok(Some(free_version(version, &first, level, matrix, session)?))
}

/// Counts up from `version` until no release has other content under it. A version that has the
/// content of the matrix already is taken: an earlier run may have stopped behind its release.
fn free_version(
    mut version: Version,
    first: &VersionOccurrence,
    level: Level,
    matrix: &Matrix,
    session: &Session,
) -> Result<Version, Report> {
    let Session { context, printer, .. } = session;
    loop {
        let plan = plan(matrix, &version)?;
        if !bump::is_released(&plan, context)? {
            return Ok(version);
        }
        let is_other = |stand: &PublicationStatus| {
            matches!(stand.state, PublishedState::Changed | PublishedState::New)
        };
        if !context.block_on(lookup::required_status(context, &plan))?.iter().any(is_other) {
            return Ok(version);
        }
        let next = version::bump(&first.at(&version)?, level, None)?;
        printer.message(&format!(
            "{version} is already published with different content: the next version is {next}"
        ));
        version = next;
    }
}

fn plan<'a>(matrix: &'a Matrix, version: &Version) -> Result<Plan<'a>, Report> {
    let request = PlanRequest { version: Some(version.clone()), ..PlanRequest::default() };
    Ok(Plan::new(matrix, &matrix.select(&Selection::default())?, request)?)
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

/// The edits by the paths that people would write.
fn named(plan: &Plan<'_>, edits: Vec<FileEdit>) -> Vec<FileEdit> {
    let folder = plan.matrix.folder();
    let edits = edits.into_iter();
    edits.map(|edit| FileEdit { path: version::display_path(folder, &edit.path), ..edit }).collect()
}

/// Writes what brings the working tree in step.
fn write(
    plan: &Plan<'_>,
    version: &Version,
    edits: Vec<FileEdit>,
    printer: &Printer,
) -> Result<ExitCode, Report> {
    version::write(&plan.matrix.checkout, &edits)?;
    let edits = named(plan, edits);
    let files: String = edits.iter().map(|edit| format!("\n  {}", edit.path.display())).collect();
    printer.note(&match edits.len() {
        0 => format!("the working tree is in step with {version} already"),
        count => format!("{version} is written to {}:{files}", format::count(count, "file")),
    });
    Ok(ExitCode::Success)
}
