//! `basegen plan --since REV`: which variants a range of commits affects, and why. Needs
//! neither an engine nor a network: both states are planned and rendered here.

use std::collections::HashSet;

use crate::error::{ExitCode, Explain, Report};
use crate::git::Snapshot;
use crate::matrix::{Matrix, Selected, Selection, load_in};
use crate::plan::{Comparison, Inputs, Lock, Plan, PlanRequest};
use crate::render::Renderer;
use crate::report::escape_json;
use crate::version::{self, Version};

use super::Session;
use super::args::{PlanFormat, PlannedArgs};
use crate::ops::{Context, Naming};

/// The state at the revision is no matrix that can be compared with.
#[derive(Debug, thiserror::Error)]
#[error("the matrix cannot be planned as it was at `{revision}`: {told}")]
struct ThenError {
    revision: String,
    told: String,
    exit_code: ExitCode,
}

impl Explain for ThenError {
    fn exit_code(&self) -> ExitCode {
        self.exit_code
    }

    fn hint(&self) -> Option<String> {
        Some("choose a revision at which `basegen plan` works".to_owned())
    }
}

pub(super) fn run(
    args: &PlannedArgs,
    format: PlanFormat,
    revision: &str,
    session: &Session,
) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let matrix = context.matrix()?;
    let chosen = args.selection.selection()?;
    let since = compare(&matrix, &chosen, &args.naming.naming()?, revision, context)?;
    printer.result(&match format {
        PlanFormat::Markdown => since.comparison.markdown(),
        PlanFormat::Json => escape_json(&since.comparison.json(revision, since.snapshot.commit())),
        PlanFormat::Table | PlanFormat::Github => since.comparison.table(revision),
    });
    Ok(ExitCode::Success)
}

/// An earlier state of a matrix, and how its images differ from those of today.
pub(super) struct Since {
    pub(super) comparison: Comparison,
    /// The matrix as it was.
    pub(super) earlier: Matrix,
    /// Where its files are.
    pub(super) snapshot: Snapshot,
    revision: String,
}

impl Since {
    /// The version as it was then; none where no file told of one.
    pub(super) fn version(&self) -> Result<Option<Version>, Report> {
        let Some(table) = &self.earlier.version else { return Ok(None) };
        if !self.snapshot.fetch(table.file.get_ref())? {
            return Ok(None);
        }
        let read = version::read(table, &self.earlier.checkout);
        Ok(Some(read.map_err(|error| then(&error.into(), &self.revision, &self.snapshot))?))
    }
}

/// Compares the images that are `chosen` of `matrix` with those of `revision`.
pub(super) fn compare(
    matrix: &Matrix,
    chosen: &Selection,
    naming: &Naming,
    revision: &str,
    context: &Context,
) -> Result<Since, Report> {
    // What an image is called is not what it is: any version will do.
    let request = naming.with_version(Version::custom("since").ok());
    let now = images(matrix, &matrix.select(chosen)?, &request)?;
    let snapshot = Snapshot::new(revision, matrix.folder())?;
    let file = context.settings.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    snapshot.require(&file)?;
    let then = |error: Report| then(&error, revision, &snapshot);
    let earlier =
        load_in(&snapshot.path(&file), snapshot.checkout()).map_err(|error| then(error.into()))?;
    snapshot.fetch(&earlier.image.templates)?;
    snapshot.fetch(Lock::NAME)?;
    let selected = counterpart(&earlier, matrix, &now, chosen);
    let before = images(&earlier, &selected, &request).map_err(then)?;
    let comparison = Comparison::new(&before, &now);
    drop(before);
    Ok(Since { comparison, earlier, snapshot, revision: revision.to_owned() })
}

fn then(error: &Report, revision: &str, snapshot: &Snapshot) -> ThenError {
    ThenError {
        revision: revision.to_owned(),
        exit_code: error.exit_code(),
        told: told(error, &snapshot.folder()),
    }
}

/// What the selected images are made of, by their variants' ids.
fn images<'a>(
    matrix: &Matrix,
    selected: &Selected<'a>,
    request: &PlanRequest,
) -> Result<Vec<(&'a str, Inputs)>, Report> {
    let plan = Plan::new(matrix, selected, request.clone())?;
    let mut renderer = Renderer::new(matrix)?.pinned(Lock::read(matrix)?.pins);
    let contexts = renderer.render_all(&selected.variants)?;
    let inputs = Inputs::for_targets(&plan.targets, &contexts, &matrix.build.secret_ids());
    let ids = selected.variants.iter().map(|variant| variant.id.as_str());
    Ok(ids.zip(inputs).collect())
}

/// The variants of an earlier matrix that those of `now` are compared with: the same ones, and
/// what would have been chosen and is there no more.
fn counterpart<'a>(
    earlier: &'a Matrix,
    matrix: &Matrix,
    now: &[(&str, Inputs)],
    chosen: &Selection,
) -> Selected<'a> {
    let now: HashSet<&str> = now.iter().map(|(id, _)| *id).collect();
    let all: HashSet<&str> = matrix.variants.iter().map(|variant| variant.id.as_str()).collect();
    let matching: HashSet<&str> =
        earlier.matching(chosen).into_iter().map(|variant| variant.id.as_str()).collect();
    let variants = earlier.variants.iter().filter(|variant| {
        let id = variant.id.as_str();
        now.contains(id) || (matching.contains(id) && !all.contains(id))
    });
    Selected { variants: variants.collect(), whole: false }
}

/// An error about files of the temporary folder, in the words of one about the project's.
fn told(error: &Report, folder: &str) -> String {
    // The hint is about the state that is there now.
    error.message().replace(folder, "")
}
