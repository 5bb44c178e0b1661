//! Compares the images of the matrix with those of an earlier commit. Needs git, but neither an engine nor a network.

use std::collections::{BTreeSet, HashSet};

use super::{Context, NameOptions};
use crate::error::{ExitCode, Explain, Report};
use crate::git::Snapshot;
use crate::matrix::{Matrix, Selected, Selection, data_files, load_in};
use crate::plan::{Comparison, Graph, Inputs, Lock, Plan, PlanRequest};
use crate::render::Renderer;
use crate::version::{self, Version};

/// A matrix of an earlier commit that cannot be planned.
#[derive(Debug, thiserror::Error)]
#[error("failed to plan the matrix as of `{revision}`: {cause}")]
struct EarlierError {
    revision: String,
    cause: String,
    exit_code: ExitCode,
}

impl EarlierError {
    /// Reports an error about files of `snapshot` with the paths of the project. Its hint is left out, since it is about
    /// the current state.
    fn new(error: &Report, revision: &str, snapshot: &Snapshot) -> Self {
        Self {
            revision: revision.to_owned(),
            cause: error.message().replace(&snapshot.folder(), ""),
            exit_code: error.exit_code(),
        }
    }
}

impl Explain for EarlierError {
    fn exit_code(&self) -> ExitCode {
        self.exit_code
    }

    fn hint(&self) -> Option<String> {
        Some("choose a revision at which `basegen plan` works".to_owned())
    }
}

/// The images of the matrix, compared with those of an earlier commit.
pub struct Since {
    pub comparison: Comparison,
    pub(crate) earlier: Matrix,
    snapshot: Snapshot,
    revision: String,
}

impl Since {
    /// Returns the full id of the earlier commit.
    #[must_use]
    pub fn commit(&self) -> &str {
        self.snapshot.commit()
    }

    /// Returns the version at the earlier commit, or `None` if the matrix had none or its file did not exist.
    pub fn version(&self) -> Result<Option<Version>, Report> {
        let Some(table) = &self.earlier.version else { return Ok(None) };
        if !self.snapshot.fetch(table.file.get_ref())? {
            return Ok(None);
        }
        match version::read(table, &self.earlier.checkout) {
            Ok(version) => Ok(Some(version)),
            Err(error) => {
                Err(EarlierError::new(&error.into(), &self.revision, &self.snapshot).into())
            }
        }
    }
}

/// Compares the selected images with those of `revision`.
pub fn compare(
    context: &Context,
    selection: &Selection,
    naming: &NameOptions,
    revision: &str,
) -> Result<Since, Report> {
    let matrix = context.matrix()?;
    // Names do not count as a difference, so any version will do.
    let request = naming.with_version(Some(Version::any()));
    let now = images(matrix, &matrix.select(selection)?, &request)?;
    let snapshot = Snapshot::new(revision, matrix.folder())?;
    let file = context.settings.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    snapshot.require(&file)?;
    for path in data_files(&snapshot.path(&file)) {
        snapshot.fetch(&path)?;
    }
    let failed = |error: Report| EarlierError::new(&error, revision, &snapshot);
    let earlier = load_in(&snapshot.path(&file), snapshot.checkout())
        .map_err(|error| failed(error.into()))?;
    snapshot.fetch(&earlier.image.templates)?;
    let contexts = earlier.variants.iter().flat_map(|variant| earlier.context_paths(variant));
    for path in contexts.collect::<BTreeSet<String>>() {
        snapshot.fetch(&path)?;
    }
    snapshot.fetch(Lock::NAME)?;
    let selected = counterparts(&earlier, matrix, &now, selection);
    let before = images(&earlier, &selected, &request).map_err(failed)?;
    let comparison = Comparison::new(&before, &now);
    drop(before);
    Ok(Since { comparison, earlier, snapshot, revision: revision.to_owned() })
}

/// Returns the inputs of the selected images, with the ids of their variants.
fn images<'a>(
    matrix: &Matrix,
    selected: &Selected<'a>,
    request: &PlanRequest,
) -> Result<Vec<(&'a str, Inputs)>, Report> {
    let plan = Plan::new(matrix, selected, request.clone())?;
    let mut renderer = Renderer::new(matrix)?.pinned(Lock::read(matrix)?.pins);
    let (graph, contexts) = Graph::render(&plan, &mut renderer)?;
    let inputs = Inputs::for_targets(&graph.targets, &contexts, &matrix.build.secret_ids());
    let ids = selected.variants.iter().map(|variant| variant.id.as_str());
    Ok(ids.zip(inputs).collect())
}

/// Returns the earlier variants to compare with: those that still exist and are selected, and those that were removed
/// and match the selection.
fn counterparts<'a>(
    earlier: &'a Matrix,
    matrix: &Matrix,
    now: &[(&str, Inputs)],
    selection: &Selection,
) -> Selected<'a> {
    let now: HashSet<&str> = now.iter().map(|(id, _)| *id).collect();
    let all: HashSet<&str> = matrix.variants.iter().map(|variant| variant.id.as_str()).collect();
    let matching: HashSet<&str> =
        earlier.matching(selection).into_iter().map(|variant| variant.id.as_str()).collect();
    let variants = earlier.variants.iter().filter(|variant| {
        let id = variant.id.as_str();
        now.contains(id) || (matching.contains(id) && !all.contains(id))
    });
    Selected { variants: variants.collect(), whole: false }
}
