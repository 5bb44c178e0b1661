//! `basegen bump`: writes a new version to every place that contains it.

use super::follow::{self, FOLLOW};
use super::{
    ArgumentError, Context, NameOptions, NoVersion, Recipe, lookup, registries, release_edits,
    release_set, since,
};
use crate::error::Report;
use crate::image::Reference;
use crate::matrix::{Matrix, Selection, VersionTable};
use crate::plan::{Affected, Plan};
use crate::publish::ReleaseSet;
use crate::version::{self, FileEdit, Level, Prerelease, Version, VersionOccurrence};

#[derive(Debug, Clone)]
pub struct BumpRequest {
    /// A level, `follow` for the version of the product, or the version itself.
    pub to: String,
    pub prerelease: Option<Prerelease>,
    /// Whether a version may be lower than the current one.
    pub allow_downgrade: bool,
    /// Whether the version stays if no image has changed.
    pub if_changed: bool,
    /// The git revision to compare images with, instead of the registries.
    pub since: Option<String>,
    pub dry_run: bool,
}

/// The result of a bump.
#[derive(Debug)]
pub struct BumpOutcome {
    pub before: Version,
    pub now: Version,
    /// The edits, with paths as a user would write them.
    pub edits: Vec<FileEdit>,
    /// Why the version stays as it is, if it does.
    pub unchanged: Option<String>,
}

/// Raises the version of the matrix, or sets it.
pub async fn run(context: &Context, request: BumpRequest) -> Result<BumpOutcome, Report> {
    let matrix = context.matrix()?;
    let table = matrix.version.as_ref().ok_or(NoVersion)?;
    let (before, to) = target(&request, table, matrix)?;
    // Images that have not changed keep their version, even if that of the product is higher.
    let follows = request.to == FOLLOW && to != before.version;
    if (request.if_changed || follows)
        && let Some(reason) = unchanged(context, &request, &before.version).await?
    {
        let (before, now) = (before.version.clone(), before.version);
        return Ok(BumpOutcome { before, now, edits: Vec::new(), unchanged: Some(reason) });
    }
    let plan = plan(matrix, &to)?;
    let mut edits = release_edits::of_working_tree(&plan, &to)?;
    if !request.dry_run {
        version::write(&matrix.checkout, &edits)?;
    }
    release_edits::show_paths_to_caller(matrix, &mut edits);
    Ok(BumpOutcome { before: before.version, now: to, edits, unchanged: None })
}

/// Returns the current version and the next one.
fn target(
    request: &BumpRequest,
    table: &VersionTable,
    matrix: &Matrix,
) -> Result<(VersionOccurrence, Version), Report> {
    let refuse = |reason: &str| ArgumentError::new("bump", &request.to, &reason);
    if let Some(product) = follow::product("bump", &request.to, matrix, table)? {
        if request.prerelease.is_some() || request.allow_downgrade {
            let reason = "`--pre` and `--allow-downgrade` do not go with the version of a product";
            return Err(refuse(reason).into());
        }
        let first = version::locate(&table.first(), &matrix.checkout)?;
        let to = product.version("bump", &first)?;
        return Ok((first, to));
    }
    let Ok(level) = request.to.parse::<Level>() else {
        if request.prerelease.is_some() {
            let reason = "`--pre` goes with `patch`, `minor`, `major` or `prerelease`";
            return Err(refuse(reason).into());
        }
        // A version is given to repair places that disagree.
        let first = version::locate(&table.first(), &matrix.checkout)?;
        let to = version::target(&first, &request.to, request.allow_downgrade)?;
        return Ok((first, to));
    };
    if request.allow_downgrade {
        return Err(refuse("`--allow-downgrade` goes with a version, such as `v0.13.0`").into());
    }
    let first = version::agreed(table, &matrix.checkout)?.swap_remove(0);
    let to = version::bump(&first, level, request.prerelease)?;
    Ok((first, to))
}

/// Returns why the version stays: no image has changed since it was released, or it is not released yet. One that follows a
/// product does not wait for its own release.
async fn unchanged(
    context: &Context,
    request: &BumpRequest,
    version: &Version,
) -> Result<Option<String>, Report> {
    if let Some(revision) = &request.since {
        let (all, naming) = (Selection::default(), NameOptions::default());
        let since = since::compare(context, &all, &naming, revision)?;
        let is_built = since.comparison.affected.iter().any(Affected::is_built);
        return Ok((!is_built).then(|| format!("no image has changed since {revision}")));
    }
    let plan = plan(context.matrix()?, version)?;
    if !is_released(context, &plan).await? {
        if request.to == FOLLOW {
            return Ok(None);
        }
        return Ok(Some(format!("{version} is not released yet, and will include the changes")));
    }
    let is_published = lookup::is_published(context, &mut Recipe::new(&plan)?).await?;
    Ok(is_published.then(|| format!("no image has changed since {version} was released")))
}

/// Plans the whole matrix under `version`.
pub fn plan<'a>(matrix: &'a Matrix, version: &Version) -> Result<Plan<'a>, Report> {
    let request = NameOptions::default().with_version(Some(version.clone()));
    Ok(Plan::new(matrix, &matrix.select(&Selection::default())?, request)?)
}

/// Returns true if the registries have a release of the plan's version, or any of its tags.
pub(super) async fn is_released(context: &Context, plan: &Plan<'_>) -> Result<bool, Report> {
    let registries = context.registries()?;
    let sets = release_set::of_version(plan)?;
    if !ReleaseSet::read_all(&registries, &sets).await?.is_empty() {
        return Ok(true);
    }
    let tags: Vec<Reference> = plan.version_tags().collect();
    for found in registries::digests(&registries, &tags).await {
        if found?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
