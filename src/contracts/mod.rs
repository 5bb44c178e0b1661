//! Contracts of platforms: named sets of rules that images keep.
//!
//! Each file has the rules of one [`Contract`] as a table. A [`Rule`] looks at the Dockerfile of a variant ([`inspect`]),
//! or at its image, as a generated check that runs before any tag is set ([`checks`]), or at both. [`validate`] finds
//! faults of the matrix file itself. `[[waive]]` excepts variants from a rule.

mod baseten;
mod cerebrium;
mod dockerfile;
mod fal;
mod fal_releases;
mod image;
mod inspect;
mod lint;
mod table;
mod validate;

pub use inspect::{Finding, Scope, inspect, unused_waives};
pub use table::table;
pub use validate::validate;

use crate::matrix::{Check, CheckCommand, Contract, ContractSettings, Matrix, Variant};
use crate::render::BuildContext;
use dockerfile::Dockerfile;

/// A rule of a contract.
#[derive(Debug)]
pub struct Rule {
    /// The id, which begins with the name of its contract: `baseten/reserved-env`.
    pub id: &'static str,
    /// The requirement, a sentence without a period.
    pub requirement: &'static str,
    /// What to do about an image that breaks the rule, an imperative.
    pub fix: &'static str,
    /// The document that states the rule, and its section.
    pub source: &'static str,
    pub severity: Severity,
    kind: Kind,
}

/// Whether an image that breaks a rule can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// Where a rule is checked.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// In the rendered Dockerfile.
    Static(fn(&Subject<'_>) -> Vec<Violation>),
    /// In a container of the image. The script is one line for a POSIX shell. It reports the fault and fails, or returns
    /// `None` if the settings make the rule void.
    InImage(fn(&ContractSettings) -> Option<String>),
    Both(fn(&Subject<'_>) -> Vec<Violation>, fn(&ContractSettings) -> Option<String>),
}

impl Rule {
    fn inspection(&self) -> Option<fn(&Subject<'_>) -> Vec<Violation>> {
        match self.kind {
            Kind::Static(inspect) | Kind::Both(inspect, _) => Some(inspect),
            Kind::InImage(_) => None,
        }
    }

    /// Returns true if a check in the image belongs to the rule.
    #[must_use]
    pub fn is_in_image(&self) -> bool {
        self.script().is_some()
    }

    fn script(&self) -> Option<fn(&ContractSettings) -> Option<String>> {
        match self.kind {
            Kind::InImage(script) | Kind::Both(_, script) => Some(script),
            Kind::Static(_) => None,
        }
    }
}

/// The Dockerfile of a variant, and what rules compare it with.
struct Subject<'a> {
    dockerfile: Dockerfile<'a>,
    context: &'a BuildContext,
    settings: &'a ContractSettings,
    /// The Python version that the variables of the variant name.
    python: Option<String>,
}

/// A place in a Dockerfile that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    /// The offset in the Dockerfile.
    at: usize,
    what: String,
}

impl Violation {
    fn new(at: usize, what: impl Into<String>) -> Self {
        Self { at, what: what.into() }
    }
}

/// Returns the own rules of a contract.
fn own_rules(contract: Contract) -> &'static [Rule] {
    match contract {
        Contract::Baseten => baseten::RULES,
        Contract::BasetenNoBuild => baseten::NO_BUILD,
        Contract::Fal => fal::RULES,
        Contract::Cerebrium => cerebrium::RULES,
        Contract::Lint => lint::RULES,
    }
}

/// Returns all rules with the contracts whose own rules they are.
pub fn all_rules() -> impl Iterator<Item = (Contract, &'static Rule)> {
    Contract::ALL
        .into_iter()
        .flat_map(|contract| own_rules(contract).iter().map(move |rule| (contract, rule)))
}

/// Returns the rules of `contracts`, each once. Those of [`Contract::Lint`] belong to all but `baseten-no-build`, which
/// allows every image that runs.
fn rules(contracts: &[Contract]) -> Vec<&'static Rule> {
    let is_built = |contract: &Contract| *contract != Contract::BasetenNoBuild;
    let has_lint = contracts.iter().any(is_built);
    let named = contracts.iter().copied().filter(|contract| *contract != Contract::Lint);
    named.chain(has_lint.then_some(Contract::Lint)).flat_map(own_rules).collect()
}

/// Returns true if a `[[waive]]` excepts the variant from the rule.
fn is_waived(matrix: &Matrix, variant: &Variant, rule: &Rule) -> bool {
    matrix.waives.iter().any(|waive| waive.rule.as_str() == rule.id && waive.applies_to(variant))
}

/// Returns the checks of a variant: those of its contracts, then its `[[verify]]` rules.
#[must_use]
pub fn checks(matrix: &Matrix, variant: &Variant) -> Vec<Check> {
    let rules = rules(&matrix.contracts(variant)).into_iter();
    let kept = rules.filter(|rule| !is_waived(matrix, variant, rule));
    let generated = kept.filter_map(|rule| {
        let command = CheckCommand::Shell(rule.script()?(&matrix.image.settings)?);
        Some(Check { name: rule.id.to_owned(), command })
    });
    generated.chain(matrix.checks(variant)).collect()
}

#[cfg(test)]
mod tests;
