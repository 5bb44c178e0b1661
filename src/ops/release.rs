//! `basegen release`: finds the next version, and updates the repository after its release.
//!
//! The release itself is a push of the whole matrix, [`build`](super::build).

use super::follow::{self, Product};
use super::pull_request::{PullRequestOptions, earlier_versions};
use super::{Context, NoVersion, Recipe, bump, lookup};
use crate::error::{ExitCode, Explain, Report};
use crate::matrix::VersionTable;
use crate::plan::{PublicationStatus, PublishedState};
use crate::render::BuildContext;
use crate::version::{self, BumpError, Level, Version, VersionOccurrence};

/// The version of a release is lower than the current one.
#[derive(Debug, thiserror::Error)]
#[error("`{wanted}` is lower than `{now}`")]
struct LowerVersion {
    wanted: String,
    now: String,
}

impl Explain for LowerVersion {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("`basegen bump --allow-downgrade` sets a lower version".to_owned())
    }
}

/// The version of the next release.
#[derive(Debug)]
pub enum NextVersion {
    /// This version is to be released.
    Release(Version),
    /// No image has changed since this version was released.
    Unchanged(Version),
}

/// Returns the version to release: `to` itself, the next one of the level `to`, the one of the product, or the one of the
/// matrix. With a pull request, the next version is also higher than those of the open pull request and of the newest
/// release.
pub async fn next_version(
    context: &Context,
    to: Option<&str>,
    pull_request: Option<&PullRequestOptions>,
) -> Result<NextVersion, Report> {
    let matrix = context.matrix()?;
    let table = matrix.version.as_ref().ok_or(NoVersion)?;
    let Some(to) = to else {
        return Ok(NextVersion::Release(version::read(table, &matrix.checkout)?));
    };
    if let Some(product) = follow::product("release", to, matrix, table)? {
        return product_version(context, &product, table).await;
    }
    let Ok(level) = to.parse::<Level>() else {
        let first = version::locate(&table.first(), &matrix.checkout)?;
        return match version::target(&first, to, false) {
            Err(BumpError::Lower { wanted, now }) => Err(LowerVersion { wanted, now }.into()),
            other => Ok(NextVersion::Release(other?)),
        };
    };
    let first = version::agreed(table, &matrix.checkout)?.swap_remove(0);
    let plan = bump::plan(matrix, &first.version)?;
    if !bump::is_released(context, &plan).await? {
        let version = first.version;
        let message = format!("{version} is not released yet: this release includes all changes");
        context.messages.note(&message);
        return Ok(NextVersion::Release(version));
    }
    let mut recipe = Recipe::new(&plan)?;
    if lookup::is_published(context, &mut recipe).await? {
        return Ok(NextVersion::Unchanged(first.version));
    }
    let earlier = match pull_request {
        Some(options) => Box::pin(earlier_versions(context, &plan, options)).await?,
        None => Vec::new(),
    };
    // Lower versions, and texts that are no versions, do not count.
    let earlier = earlier.iter().filter_map(|text| version::target(&first, text, false).ok());
    let earlier = earlier.filter_map(|version| Some((version.number().ok()?, version)));
    let newest = earlier.max_by(|one, other| one.0.cmp(&other.0));
    let version = match newest.filter(|(number, _)| *number > first.number) {
        Some((_, version)) => version,
        None => version::bump(&first, level, None)?,
    };
    Ok(NextVersion::Release(free_version(context, recipe.contexts, version, &first, level).await?))
}

/// Returns the version of the product, unless no image has changed since the release of the current version.
async fn product_version(
    context: &Context,
    product: &Product,
    table: &VersionTable,
) -> Result<NextVersion, Report> {
    let matrix = context.matrix()?;
    let first = version::locate(&table.first(), &matrix.checkout)?;
    let next = product.version("release", &first)?;
    let plan = bump::plan(matrix, &first.version)?;
    if bump::is_released(context, &plan).await?
        && lookup::is_published(context, &mut Recipe::new(&plan)?).await?
    {
        return Ok(NextVersion::Unchanged(first.version));
    }
    Ok(NextVersion::Release(next))
}

/// Raises `version` until no release has different content under it. A version with the content of the matrix is
/// used: an earlier run may have stopped after its release.
async fn free_version(
    context: &Context,
    mut contexts: Vec<BuildContext>,
    mut version: Version,
    first: &VersionOccurrence,
    level: Level,
) -> Result<Version, Report> {
    loop {
        let plan = bump::plan(context.matrix()?, &version)?;
        if !bump::is_released(context, &plan).await? {
            return Ok(version);
        }
        let is_different = |status: &PublicationStatus| {
            matches!(status.state, PublishedState::Changed | PublishedState::New)
        };
        let mut recipe = Recipe::with_contexts(&plan, contexts)?;
        if !lookup::required_status(context, &mut recipe).await?.iter().any(is_different) {
            return Ok(version);
        }
        contexts = recipe.contexts;
        let next = version::bump(&first.at(&version)?, level, None)?;
        context.messages.message(&format!(
            "{version} is already published with different content: the next version is {next}"
        ));
        version = next;
    }
}
