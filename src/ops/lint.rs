//! `basegen lint`: the static rules of contracts, on the Dockerfiles of all variants.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;

use super::finding::{Finding, Level};
use super::{Context, Recipe};
use crate::contracts::{self, Scope, Severity};
use crate::error::{ExitCode, Explain, Report};
use crate::matrix::{Matrix, Selection, Variant};
use crate::plan::Lock;
use crate::render::{BuildContext, Renderer};
use crate::version;

/// The maximum number of variants that a message lists.
const MAX_VARIANTS: usize = 4;

/// Dockerfiles that break a rule of their contracts.
#[derive(Debug, thiserror::Error)]
#[error("the images break their contracts:{}", .0.iter().map(|line| format!("\n  {line}")).collect::<String>())]
pub struct BrokenContract(Vec<String>);

impl Explain for BrokenContract {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Verify
    }

    fn hint(&self) -> Option<String> {
        Some(
            "`[[waive]]` in matrix.toml makes an exception, with a reason. Nothing was built."
                .to_owned(),
        )
    }
}

/// Applies the rules of [`Scope::Lint`] to all variants. Errors come first.
pub fn run(context: &Context) -> Result<Vec<Finding>, Report> {
    let matrix = context.matrix()?;
    let mut findings = findings(matrix, Scope::Lint)?;
    findings.sort_by_key(|finding| finding.level);
    Ok(findings)
}

/// Returns the findings of all variants, and a note for each unused `[[waive]]`.
pub(super) fn findings(matrix: &Matrix, scope: Scope) -> Result<Vec<Finding>, Report> {
    let has_contract = matrix.variants.iter().any(|variant| !matrix.contracts(variant).is_empty());
    if scope == Scope::Contracts && !has_contract {
        return Ok(Vec::new());
    }
    let selected = matrix.select(&Selection::default())?;
    let mut renderer = Renderer::new(matrix)?.pinned(Lock::read(matrix)?.pins);
    let contexts = renderer.render_all(&selected.variants)?;
    let contexts = with_parents(&selected.variants, &contexts);
    let rows: Vec<(&Variant, &BuildContext)> =
        selected.variants.iter().copied().zip(contexts.iter().map(|context| &**context)).collect();
    let found = contracts::inspect(matrix, &rows, scope).into_iter().map(finding);
    let unused = contracts::unused_waives(matrix, &rows).into_iter().map(|index| {
        let waive = &matrix.waives[index];
        Finding {
            path: version::display_path(
                matrix.folder(),
                matrix.source.path.file_name().unwrap_or_default().as_ref(),
            ),
            line: waive.line,
            column: Some(1),
            level: Level::Note,
            check: "contracts",
            rule: None,
            message: format!(
                "no Dockerfile breaks the rule `{}` that this `[[waive]]` waives",
                *waive.rule
            ),
            hint: Some("remove it".to_owned()),
        }
    });
    Ok(found.chain(unused).collect())
}

/// Returns the contexts of `variants` with all instructions of their images.
pub(super) fn with_parents<'c>(
    variants: &[&Variant],
    contexts: &'c [BuildContext],
) -> Vec<Cow<'c, BuildContext>> {
    let by_id: HashMap<&str, &BuildContext> =
        variants.iter().map(|variant| variant.id.as_str()).zip(contexts).collect();
    let find = |id: &str| by_id.get(id).copied();
    let contexts = contexts.iter().map(|context| match &context.parents[..] {
        [] => Cow::Borrowed(context),
        _ => Cow::Owned(context.with_instructions_of_parents(&find)),
    });
    contexts.collect()
}

fn finding(found: contracts::Finding) -> Finding {
    let contracts::Finding { rule, file, line, column, what, severity, variants } = found;
    Finding {
        path: PathBuf::from(file),
        line,
        column: Some(column),
        level: if severity == Severity::Error { Level::Error } else { Level::Note },
        check: "contracts",
        rule: Some(rule.id),
        message: format!("{what}{}", in_variants(&variants)),
        hint: Some(rule.fix.to_owned()),
    }
}

/// Returns a list of the ids of variants; nothing if there are none.
fn in_variants(variants: &[String]) -> String {
    let shown: Vec<String> =
        variants.iter().take(MAX_VARIANTS).map(|id| format!("`{id}`")).collect();
    match variants.len().saturating_sub(MAX_VARIANTS) {
        _ if variants.is_empty() => String::new(),
        0 => format!("; variants: {}", shown.join(", ")),
        more => format!("; variants: {} and {more} more", shown.join(", ")),
    }
}

/// Returns an error if a Dockerfile of `recipe` breaks a contract, and otherwise the warnings.
pub fn require_contracts(recipe: &Recipe<'_>) -> Result<Vec<String>, BrokenContract> {
    let variants: Vec<_> = recipe.graph.targets.iter().map(|target| target.variant).collect();
    let contexts = with_parents(&variants, &recipe.contexts);
    let planned = &variants[..recipe.plan.targets.len()];
    let rows: Vec<_> =
        planned.iter().copied().zip(contexts.iter().map(|context| &**context)).collect();
    let found =
        contracts::inspect(recipe.plan.matrix, &rows, Scope::Contracts).into_iter().map(finding);
    let (broken, warnings): (Vec<_>, Vec<_>) =
        found.partition(|finding| finding.level == Level::Error);
    if broken.is_empty() {
        return Ok(warnings.iter().map(Finding::to_string).collect());
    }
    Err(BrokenContract(broken.iter().map(Finding::to_string).collect()))
}
