//! `basegen plan --since REV`: which variants a range of commits affects, and why. Needs
//! neither an engine nor a network: both states are planned and rendered here.

use std::collections::HashSet;

use crate::error::{ExitCode, Explain, Report};
use crate::matrix::{self, Matrix, Selected, Selection};
use crate::plan::{Comparison, Inputs, Lock, Plan, PlanRequest};
use crate::render::Renderer;
use crate::report::Printer;
use crate::version::Version;

use super::args::{GlobalArgs, PlanArgs, PlanFormat};
use super::git::Snapshot;
use super::selection;

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
    args: &PlanArgs,
    revision: &str,
    global: &GlobalArgs,
    printer: &Printer,
) -> Result<ExitCode, Report> {
    let matrix = selection::load(&global.file)?;
    let (comparison, commit) = compare(&matrix, args, revision, global)?;
    printer.result(&match args.format {
        PlanFormat::Markdown => comparison.markdown(),
        PlanFormat::Json => comparison.json(revision, &commit),
        PlanFormat::Table | PlanFormat::Github => comparison.table(revision),
    });
    Ok(ExitCode::Success)
}

/// How the selected images differ from those at `revision`, and the commit that this is.
pub(super) fn compare(
    matrix: &Matrix,
    args: &PlanArgs,
    revision: &str,
    global: &GlobalArgs,
) -> Result<(Comparison, String), Report> {
    let chosen = args.selection.selection()?;
    // What an image is called is not what it is: any version will do.
    let request = args.naming.with_version(Version::custom("since").ok())?;
    let now = images(matrix, &matrix.select(&chosen)?, &request)?;
    let snapshot = Snapshot::new(revision, matrix.folder())?;
    let file = global.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    snapshot.require(&file)?;
    let then = |error: Report| ThenError {
        revision: revision.to_owned(),
        exit_code: error.exit_code(),
        told: told(&error, &snapshot.folder()),
    };
    let earlier = matrix::load(&snapshot.path(&file)).map_err(|error| then(error.into()))?;
    snapshot.fetch(&earlier.image.templates)?;
    snapshot.fetch(Lock::NAME)?;
    let selected = counterpart(&earlier, matrix, &now, &chosen);
    let before = images(&earlier, &selected, &request).map_err(then)?;
    Ok((Comparison::new(&before, &now), snapshot.commit().to_owned()))
}

/// What the selected images are made of, by their variants' ids.
fn images<'a>(
    matrix: &Matrix,
    selected: &Selected<'a>,
    request: &PlanRequest,
) -> Result<Vec<(&'a str, Inputs)>, Report> {
    let plan = Plan::new(matrix, selected, request.clone())?;
    let mut renderer = Renderer::new(matrix)?.pinned(Lock::of(matrix)?.pins);
    let contexts = renderer.render_all(&selected.variants)?;
    let inputs = Inputs::of_all(&plan.targets, &contexts, &matrix.build.secret_ids());
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
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    // The hint is about the state that is there now.
    let text = text.split("\n\nhint: ").next().unwrap_or(text);
    text.replace(folder, "")
}
