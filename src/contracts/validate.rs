//! Faults of a matrix file that only the rules reveal: unknown rules in `[[waive]]`, and settings that a contract forbids.

use super::fal_releases;
use super::{all_rules, own_rules, rules};
use crate::matrix::{Contract, Diagnostic, Matrix, SourceError, Waive, did_you_mean};

/// The port of Baseten's reverse proxy.
pub(super) const RESERVED_PORT: u16 = 8080;

/// Checks the settings of contracts and the `[[waive]]` tables of a matrix.
pub fn validate(matrix: &Matrix) -> Result<(), SourceError> {
    let waives = matrix.waives.iter().filter_map(|waive| check_waive(matrix, waive));
    let faults: Vec<Diagnostic> =
        waives.chain(check_port(matrix)).chain(check_fal(matrix)).collect();
    if faults.is_empty() { Ok(()) } else { Err(SourceError::new(&matrix.source, faults)) }
}

fn check_waive(matrix: &Matrix, waive: &Waive) -> Option<Diagnostic> {
    let id = waive.rule.as_str();
    let known: Vec<&str> = all_rules().map(|(_, rule)| rule.id).collect();
    if !known.contains(&id) {
        let contract = id.split('/').next().unwrap_or_default();
        let siblings: Vec<&str> =
            known.iter().copied().filter(|rule| rule.split('/').next() == Some(contract)).collect();
        let near = did_you_mean(id, if siblings.is_empty() { known } else { siblings });
        let message = format!("unknown rule `{}`", id.escape_debug());
        return Some(
            Diagnostic::new(waive.rule.span(), message, "no contract has it").maybe_help(near),
        );
    }
    // `basegen lint` applies these to every matrix.
    let is_general = [Contract::Lint, Contract::Fal]
        .into_iter()
        .flat_map(own_rules)
        .any(|rule| rule.id == id && rule.inspection().is_some());
    let has_rule = |contracts: Vec<Contract>| rules(&contracts).iter().any(|rule| rule.id == id);
    let mut variants = matrix.variants.iter().filter(|variant| waive.applies_to(variant));
    if is_general || variants.any(|variant| has_rule(matrix.contracts(variant))) {
        return None;
    }
    let message = format!("no variant that this `[[waive]]` matches has the rule `{id}`");
    let help = "remove it, or correct its conditions or `contracts`";
    Some(Diagnostic::new(waive.rule.span(), message, "in none of their contracts").help(help))
}

fn has_contract(matrix: &Matrix, contract: Contract) -> bool {
    matrix.variants.iter().any(|variant| matrix.contracts(variant).contains(&contract))
}

fn check_port(matrix: &Matrix) -> Option<Diagnostic> {
    let port = matrix.image.settings.port.as_ref()?;
    if **port != RESERVED_PORT || !has_contract(matrix, Contract::Baseten) {
        return None;
    }
    let message = "port 8080 belongs to the reverse proxy of Baseten";
    Some(Diagnostic::new(port.span(), message, "choose another port"))
}

fn check_fal(matrix: &Matrix) -> Option<Diagnostic> {
    let version = matrix.image.settings.fal_version.as_ref()?;
    if fal_releases::requirements(version).is_some() {
        return None;
    }
    let (first, last) = fal_releases::range();
    let message = format!("the requirements of fal `{}` are unknown", version.escape_debug());
    let label = format!("expected a release from {first} to {last}");
    Some(Diagnostic::new(version.span(), message, label))
}
