//! `basegen plan`: the images that would be built, and the publication status of each.

use super::{Context, NameOptions, Recipe, StatusLookup, lookup, selection};
use crate::error::Report;
use crate::matrix::Selection;
use crate::plan::Plan;

/// The images to plan.
#[derive(Debug, Clone, Default)]
pub struct PlanRequest {
    /// The variants.
    pub selection: Selection,
    /// The parts of their names that the matrix does not set.
    pub naming: NameOptions,
    /// Whether to leave out the publication status, which needs the registries.
    pub offline: bool,
}

/// A plan and, unless it was made offline, its publication status.
#[derive(Debug)]
pub struct PlanOutcome<'a> {
    /// The plan.
    pub plan: Plan<'a>,
    /// The status of its targets; `None` offline.
    pub status: Option<StatusLookup>,
}

/// Plans the selected variants and looks up their publication status.
pub async fn run(context: &Context, request: PlanRequest) -> Result<PlanOutcome<'_>, Report> {
    let plan = selection::plan(context, &request.selection, &request.naming)?;
    if request.offline {
        Recipe::check_templates(&plan)?;
        return Ok(PlanOutcome { plan, status: None });
    }
    let status = lookup::status(context, Recipe::of(&plan)?).await?;
    Ok(PlanOutcome { plan, status: Some(status) })
}
