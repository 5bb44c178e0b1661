//! From a selection to a plan.

use jiff::Timestamp;

use super::{ArgumentError, Context};
use crate::error::{ExitCode, Explain, Report};
use crate::git::{self, GitError};
use crate::image::Platform;
use crate::matrix::{Matrix, Selected, Selection};
use crate::plan::{NameError, Plan, PlanRequest};
use crate::version::{self, Version};

/// The parts of image names that a request sets instead of the matrix.
#[derive(Debug, Clone, Default)]
pub struct NameOptions {
    /// A version that is not the matrix' own.
    pub version: Option<Version>,
    /// Registries that are not those of the matrix.
    pub registries: Vec<String>,
    /// The repository, with placeholders as in the matrix.
    pub repository: Option<String>,
    /// The version tag, with placeholders as in an alias.
    pub tag: Option<String>,
    /// The platforms to build for.
    pub platforms: Vec<Platform>,
    /// The engine's own platform, for images that stay in the engine; see [`PlanRequest::native`].
    pub native: Option<Platform>,
}

impl NameOptions {
    /// Sets a version that is not the matrix' own: any text that a tag can contain.
    pub fn with_custom_version(mut self, version: &str) -> Result<Self, ArgumentError> {
        let invalid = |_| ArgumentError::new("--version-tag", version, &"it cannot be in a tag");
        self.version = Some(Version::custom(version).map_err(invalid)?);
        Ok(self)
    }

    /// Returns the request of a plan. Reads the version from its file unless the request sets one, and the commit and the
    /// date if a tag contains them.
    pub fn request(&self, matrix: &Matrix) -> Result<PlanRequest, Report> {
        let version = match (&self.version, &matrix.version) {
            (Some(version), _) => Some(version.clone()),
            (None, Some(table)) => Some(version::read(table, &matrix.checkout)?),
            (None, None) => None,
        };
        let is_used = |name: &str| {
            let mut aliases = matrix.image.aliases.iter().flat_map(|alias| alias.tag.names());
            aliases.any(|(used, _)| used == name)
                || self.tag.as_ref().is_some_and(|tag| tag.contains(name))
        };
        let is_commit_used = is_used("git.sha") || is_used("git.short_sha");
        let commit = is_commit_used.then(|| git::head(matrix.folder()).map_err(NoCommit));
        let date = is_used("date").then(|| Timestamp::now().strftime("%Y-%m-%d").to_string());
        Ok(PlanRequest { commit: commit.transpose()?, date, ..self.with_version(version) })
    }

    /// Returns the request of a plan for `version`, without a commit and a date.
    #[must_use]
    pub fn with_version(&self, version: Option<Version>) -> PlanRequest {
        PlanRequest {
            version,
            is_custom: self.version.is_some(),
            registries: self.registries.clone(),
            repository: self.repository.clone(),
            tag: self.tag.clone(),
            commit: None,
            date: None,
            platforms: self.platforms.clone(),
            native: self.native.clone(),
        }
    }
}

/// A tag contains the commit, and there is none.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the commit for a tag with `{{{{git.sha}}}}` or `{{{{git.short_sha}}}}`")]
struct NoCommit(#[source] GitError);

impl Explain for NoCommit {
    fn exit_code(&self) -> ExitCode {
        self.0.exit_code()
    }

    fn hint(&self) -> Option<String> {
        self.0.hint()
    }
}

/// Plans the selected variants of the matrix.
pub fn plan<'a>(
    context: &'a Context,
    selection: &Selection,
    naming: &NameOptions,
) -> Result<Plan<'a>, Report> {
    let matrix = context.matrix()?;
    Ok(Plan::new(matrix, &matrix.select(selection)?, naming.request(matrix)?)?)
}

/// Plans variants also if their tags contain the version and none is known. It is [`Version::any`] then.
pub(super) fn plan_with_any_version<'a>(
    matrix: &'a Matrix,
    selected: &Selected<'a>,
    request: PlanRequest,
) -> Result<Plan<'a>, NameError> {
    match Plan::new(matrix, selected, request.clone()) {
        Err(NameError::NoVersion(_)) => {
            let version = Some(Version::any());
            Plan::new(matrix, selected, PlanRequest { version, ..request })
        }
        plan => plan,
    }
}
