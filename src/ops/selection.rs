//! From a selection to a plan.

use super::{ArgumentError, Context};
use crate::error::Report;
use crate::image::Platform;
use crate::matrix::{Matrix, Selection};
use crate::plan::{Plan, PlanRequest};
use crate::version::{self, Version};

/// The parts of image names that a request sets instead of the matrix.
#[derive(Debug, Clone, Default)]
pub struct NameOptions {
    /// A version that is not the matrix' own.
    pub version: Option<Version>,
    pub registry: Option<String>,
    /// The repository, with names as in the matrix.
    pub repository: Option<String>,
    /// The platforms to build for.
    pub platforms: Vec<Platform>,
}

impl NameOptions {
    /// Sets a version that is not the matrix' own: any text that a tag can contain.
    pub fn with_custom_version(mut self, version: &str) -> Result<Self, ArgumentError> {
        let invalid = |_| ArgumentError::new("--version-tag", version, &"it cannot be in a tag");
        self.version = Some(Version::custom(version).map_err(invalid)?);
        Ok(self)
    }

    /// Returns the request of a plan. Reads the version from its file unless the request sets one.
    pub fn request(&self, matrix: &Matrix) -> Result<PlanRequest, Report> {
        let version = match (&self.version, &matrix.version) {
            (Some(version), _) => Some(version.clone()),
            (None, Some(table)) => Some(version::read(table, &matrix.checkout)?),
            (None, None) => None,
        };
        Ok(self.with_version(version))
    }

    /// Returns the request of a plan for `version`.
    #[must_use]
    pub fn with_version(&self, version: Option<Version>) -> PlanRequest {
        PlanRequest {
            version,
            is_custom: self.version.is_some(),
            registry: self.registry.clone(),
            repository: self.repository.clone(),
            platforms: self.platforms.clone(),
        }
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
