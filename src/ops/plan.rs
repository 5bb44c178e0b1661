//! `basegen plan`: the images that would be built, and the publication status of each.

use super::{Context, NameOptions, Recipe, lookup, selection};
use crate::error::Report;
use crate::matrix::{Selected, Selection};
use crate::plan::{Plan, PublicationStatus};

#[derive(Debug, Clone, Default)]
pub struct PlanRequest {
    pub selection: Selection,
    /// The parts of their names that the matrix does not set.
    pub naming: NameOptions,
    /// Whether to leave out the publication status, which needs the registries.
    pub offline: bool,
}

/// A plan and, unless it was requested offline, its publication status.
#[derive(Debug)]
pub struct PlanOutcome<'a> {
    pub plan: Plan<'a>,
    /// The status of each target; `None` if it is unknown.
    pub status: Option<Vec<PublicationStatus>>,
}

/// Plans the selected variants and looks up their publication status.
pub async fn run(context: &Context, request: PlanRequest) -> Result<PlanOutcome<'_>, Report> {
    let PlanRequest { selection, naming, offline } = request;
    if offline {
        let plan = without_status(context, &selection, &naming)?;
        return Ok(PlanOutcome { plan, status: None });
    }
    let plan = selection::plan(context, &selection, &naming)?;
    let mut recipe = Recipe::new(&plan)?;
    for warning in recipe.own_images()?.into_iter().chain(recipe.unused_contents()) {
        context.messages.message(&format!("warning: {warning}"));
    }
    let status = lookup::status(context, &mut recipe).await?;
    Ok(PlanOutcome { plan, status })
}

/// Plans the selected variants without a network, and renders each template once to find faults.
pub fn without_status<'a>(
    context: &'a Context,
    selection: &Selection,
    naming: &NameOptions,
) -> Result<Plan<'a>, Report> {
    let plan = selection::plan(context, selection, naming)?;
    Recipe::check_templates(&plan)?;
    Ok(plan)
}

/// Plans the selected variants like [`without_status`], with the aliases that a release of the whole matrix would set.
pub fn with_aliases<'a>(
    context: &'a Context,
    selection: &Selection,
    naming: &NameOptions,
) -> Result<Plan<'a>, Report> {
    let matrix = context.matrix()?;
    let selected = Selected { whole: true, ..matrix.select(selection)? };
    let plan = Plan::new(matrix, &selected, naming.request(matrix)?)?;
    Recipe::check_templates(&plan)?;
    Ok(plan)
}
