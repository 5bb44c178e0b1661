//! `basegen list`: the names of images, without a network.

use super::{Context, NameOptions, Recipe, selection};
use crate::error::Report;
use crate::matrix::Selection;
use crate::plan::Plan;

/// The images to list.
#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    /// The variants.
    pub selection: Selection,
    /// The parts of their names that the matrix does not set.
    pub naming: NameOptions,
}

/// Plans the selected variants and renders each of their templates once.
pub fn run<'a>(context: &'a Context, request: &ListRequest) -> Result<Plan<'a>, Report> {
    let plan = selection::plan(context, &request.selection, &request.naming)?;
    Recipe::check_templates(&plan)?;
    Ok(plan)
}
