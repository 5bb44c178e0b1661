//! Applies static rules to the rendered Dockerfiles of variants.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::dockerfile::Dockerfile;
use super::{Rule, Severity, Subject, is_waived, own_rules, rules};
use crate::matrix::{Contract, Matrix, Variant, is_version};
use crate::render::{BuildContext, TemplateLine};

/// A place that breaks a rule, for all variants that have it.
#[derive(Debug, Clone)]
pub struct Finding {
    pub rule: &'static Rule,
    /// The path of the template; the name of the Dockerfile if no template has the line.
    pub file: String,
    /// The line and column, from 1.
    pub line: usize,
    pub column: usize,
    /// The fault.
    pub what: String,
    /// The severity: a warning also for a rule of a contract that the matrix does not name.
    pub severity: Severity,
    /// The ids of the variants, unless all have it.
    pub variants: Vec<String>,
}

/// Which rules [`inspect`] applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those of the contracts of each variant.
    Contracts,
    /// The own rules of one contract, whether the matrix names it or not.
    Only(Contract),
    /// Also those of [`Contract::Lint`], and as warnings those of fal, whose list of things to verify before a deployment
    /// suits all images.
    Lint,
}

/// Identifies equal findings of several variants: file, line, column, rule and fault.
type Key = (String, usize, usize, &'static str, String);

/// Returns the findings of the static rules in the Dockerfiles of `variants`, sorted by place.
#[must_use]
pub fn inspect(
    matrix: &Matrix,
    variants: &[(&Variant, &BuildContext)],
    scope: Scope,
) -> Vec<Finding> {
    let found: Vec<Vec<Finding>> = variants
        .par_iter()
        .map(|(variant, context)| inspect_one(matrix, variant, context, scope))
        .collect();
    let mut merged: BTreeMap<Key, Finding> = BTreeMap::new();
    for finding in found.into_iter().flatten() {
        let Finding { file, line, column, rule, what, .. } = &finding;
        let key = (file.clone(), *line, *column, rule.id, what.clone());
        let first =
            merged.entry(key).or_insert(Finding { variants: Vec::new(), ..finding.clone() });
        first.variants.extend(finding.variants);
        if finding.severity == Severity::Error {
            first.severity = Severity::Error;
        }
    }
    let findings = merged.into_values().map(|mut finding| {
        finding.variants.dedup();
        if finding.variants.len() == variants.len() {
            finding.variants.clear();
        }
        finding
    });
    findings.collect()
}

fn inspect_one(
    matrix: &Matrix,
    variant: &Variant,
    context: &BuildContext,
    scope: Scope,
) -> Vec<Finding> {
    let subjects = context.all().filter_map(|context| Subject::new(matrix, variant, context));
    let subjects: Vec<Subject<'_>> = subjects.collect();
    let named = match scope {
        Scope::Only(contract) => own_rules(contract).iter().collect(),
        Scope::Contracts | Scope::Lint => rules(&matrix.contracts(variant)),
    };
    let mut applied: Vec<(&'static Rule, Severity)> =
        named.into_iter().map(|rule| (rule, rule.severity)).collect();
    if scope == Scope::Lint {
        let is_new = |rule: &Rule| !applied.iter().any(|(other, _)| other.id == rule.id);
        let lint = own_rules(Contract::Lint).iter().map(|rule| (rule, rule.severity));
        let fal = own_rules(Contract::Fal).iter().map(|rule| (rule, Severity::Warning));
        let more: Vec<_> = lint.chain(fal).filter(|(rule, _)| is_new(rule)).collect();
        applied.extend(more);
    }
    let mut findings = Vec::new();
    for (rule, severity) in applied {
        let Some(inspection) = rule.inspection() else { continue };
        if is_waived(matrix, variant, rule) {
            continue;
        }
        let violations = subjects.iter().flat_map(|subject| {
            inspection(subject).into_iter().map(move |violation| (subject, violation))
        });
        for (subject, violation) in violations {
            let (file, line, column) = place(subject, violation.at);
            let variants = vec![variant.id.clone()];
            findings.push(Finding {
                rule,
                file,
                line,
                column,
                what: violation.what,
                severity,
                variants,
            });
        }
    }
    findings
}

impl<'a> Subject<'a> {
    /// Returns `None` for a text that is not a Dockerfile, which rendering reports.
    fn new(matrix: &'a Matrix, variant: &Variant, context: &'a BuildContext) -> Option<Self> {
        Some(Self {
            dockerfile: Dockerfile::new(&context.dockerfile, &context.options)?,
            context,
            settings: &matrix.image.settings,
            python: python(matrix, variant),
        })
    }
}

/// Returns the place of an offset of the Dockerfile in a template, if a template has its line.
fn place(subject: &Subject<'_>, at: usize) -> (String, usize, usize) {
    let line = subject.dockerfile.line(at);
    match subject.context.template_line(line) {
        Some(TemplateLine { file, line, column }) => (file.to_string(), *line, *column),
        None => (subject.context.dockerfile_name.clone(), line, 1),
    }
}

/// Returns the Python version of a variant: its value of `python` or `python_version`.
fn python(matrix: &Matrix, variant: &Variant) -> Option<String> {
    let variables = matrix.variables(variant);
    let values =
        ["python", "python_version"].into_iter().filter_map(|name| variables.get(name)?.as_str());
    let version = values.into_iter().find(|value| is_version(value));
    version.map(str::to_owned)
}

/// Returns the `[[waive]]` tables, by index, whose static rule no variant breaks. `variants` are all of the matrix.
#[must_use]
pub fn unused_waives(matrix: &Matrix, variants: &[(&Variant, &BuildContext)]) -> BTreeSet<usize> {
    let mut unused = BTreeSet::new();
    for (index, waive) in matrix.waives.iter().enumerate() {
        let rule =
            super::all_rules().map(|(_, rule)| rule).find(|rule| rule.id == waive.rule.as_str());
        // Only a build can decide about images.
        let Some(inspection) =
            rule.filter(|rule| rule.script().is_none()).and_then(Rule::inspection)
        else {
            continue;
        };
        let mut concerned = variants.iter().filter(|(variant, _)| waive.applies_to(variant));
        let is_broken = concerned.any(|(variant, context)| {
            let subject = Subject::new(matrix, variant, context);
            subject.is_some_and(|subject| !inspection(&subject).is_empty())
        });
        if !is_broken {
            unused.insert(index);
        }
    }
    unused
}
