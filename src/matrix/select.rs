//! Selects variants of a matrix.
//!
//! [`Matrix::select`] is strict: every term must match a variant. [`Matrix::matching`] ignores terms that match nothing.

use std::collections::HashSet;

use super::condition::{Condition, Conditions};
use super::diagnostic::{did_you_mean, nearest_spelling, quoted_list, suggestion};
use super::model::{Axis, Matrix, Variant};
use super::value::Value;
use crate::error::{ExitCode, Explain};

/// A selection of variants. The default selects all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Conditions on axes. A variant must match one of the terms of each axis.
    pub only: Vec<Term>,
    /// A variant that matches all terms of one of these lists is removed.
    pub without: Vec<Vec<Term>>,
    /// The ids of the variants to select; empty for any.
    pub ids: Vec<String>,
}

/// A condition on an axis, as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    pub axis: String,
    /// A value, a version range or a pattern such as `slim-*`; `true` or `false` for a boolean.
    pub condition: String,
}

#[derive(Debug)]
pub struct Selected<'a> {
    /// The variants in the order of the matrix.
    pub variants: Vec<&'a Variant>,
    /// Whether all variants of the matrix are selected.
    pub whole: bool,
}

/// The reason why nothing is selected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// A term or an id that selects no variant.
    #[error("{message}")]
    NoMatch { message: String, hint: Option<String> },
    /// Each value exists, but no variant has this combination.
    #[error("no variant has {wanted}{}", exclusions(.rules))]
    Combination {
        wanted: String,
        /// The `[[exclude]]` rules that remove the combination: their location and reason.
        rules: Vec<(String, String)>,
        /// The ids of the most similar variants.
        nearest: Vec<String>,
    },
}

fn exclusions(rules: &[(String, String)]) -> String {
    rules.iter().map(|(place, reason)| format!("\n  excluded at {place}: {reason}")).collect()
}

impl Explain for SelectionError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Selection
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoMatch { hint, .. } => hint.clone(),
            Self::Combination { nearest, .. } if nearest.is_empty() => None,
            Self::Combination { nearest, .. } => {
                Some(format!("similar variants are {}", quoted_list(nearest)))
            }
        }
    }
}

impl SelectionError {
    fn no_match(message: String, hint: Option<String>) -> Self {
        Self::NoMatch { message, hint }
    }
}

impl Selection {
    /// Returns true if the selection has no terms and no ids.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.only.is_empty() && self.without.is_empty() && self.ids.is_empty()
    }
}

impl Matrix {
    /// Returns the variants that `selection` selects. A term that no selected variant matches is an error.
    pub fn select(&self, selection: &Selection) -> Result<Selected<'_>, SelectionError> {
        let only: Vec<(usize, Condition)> =
            selection.only.iter().map(|term| self.resolve(term)).collect::<Result<_, _>>()?;
        let without: Vec<Conditions> = selection
            .without
            .iter()
            .map(|terms| self.resolve_all(terms))
            .collect::<Result<_, _>>()?;
        let mut variants = self.filter(&only, &without);
        for (axis, condition) in &only {
            let is_match = |variant: &&Variant| condition.admits(&self.value(variant, *axis).value);
            if !variants.iter().any(is_match) {
                return Err(self.explain(&only, *axis, condition));
            }
        }
        if variants.is_empty() {
            let message = "`--exclude` removes every variant".to_owned();
            return Err(SelectionError::no_match(message, None));
        }
        if !selection.ids.is_empty() {
            variants = self.filter_ids(&selection.ids, &variants)?;
        }
        let whole = variants.len() == self.variants.len();
        Ok(Selected { variants, whole })
    }

    fn filter_ids<'a>(
        &'a self,
        ids: &[String],
        variants: &[&'a Variant],
    ) -> Result<Vec<&'a Variant>, SelectionError> {
        let known: HashSet<&str> = self.variants.iter().map(|variant| &*variant.id).collect();
        if let Some(id) = ids.iter().find(|id| !known.contains(id.as_str())) {
            let nearest = nearest_spelling(id, self.variants.iter().map(|variant| &*variant.id));
            let message = format!("the matrix has no variant `{id}`");
            return Err(SelectionError::no_match(message, nearest.map(suggestion)));
        }
        let selected: HashSet<&str> = variants.iter().map(|variant| &*variant.id).collect();
        if let Some(id) = ids.iter().find(|id| !selected.contains(id.as_str())) {
            let message = format!("the variant `{id}` does not match the other selection flags");
            return Err(SelectionError::no_match(message, None));
        }
        let ids: HashSet<&str> = ids.iter().map(String::as_str).collect();
        Ok(variants.iter().copied().filter(|variant| ids.contains(variant.id.as_str())).collect())
    }

    /// Returns the variants that `selection` selects, for a selection that was made for another matrix. Terms and ids
    /// without a match are ignored.
    #[must_use]
    pub fn matching(&self, selection: &Selection) -> Vec<&Variant> {
        let mut only = Vec::new();
        for term in &selection.only {
            let none = || Condition::Any(Vec::new());
            match (self.resolve(term), self.axis(&term.axis)) {
                (Ok(resolved), _) => only.push(resolved),
                (Err(_), Some((axis, _))) => only.push((axis, none())),
                (Err(_), None) => return Vec::new(),
            }
        }
        let without: Vec<Conditions> =
            selection.without.iter().filter_map(|terms| self.resolve_all(terms).ok()).collect();
        let mut variants = self.filter(&only, &without);
        variants.retain(|variant| selection.ids.is_empty() || selection.ids.contains(&variant.id));
        variants
    }

    fn filter(&self, only: &[(usize, Condition)], without: &[Conditions]) -> Vec<&Variant> {
        let admitted = self.admitted(only);
        self.variants
            .iter()
            .filter(|variant| mismatches(variant, &admitted) == 0)
            .filter(|variant| !without.iter().any(|rule| rule.admits(&variant.values)))
            .collect()
    }

    /// Returns for each value of each axis whether the terms on the axis admit it. An axis without
    /// terms admits all of its values.
    fn admitted(&self, only: &[(usize, Condition)]) -> Vec<Vec<bool>> {
        let axes = self.axes.iter().enumerate().map(|(index, axis)| {
            let terms: Vec<&Condition> =
                only.iter().filter(|(at, _)| *at == index).map(|(_, term)| term).collect();
            let values = axis.values.iter().map(|value| {
                terms.is_empty() || terms.iter().any(|term| term.admits(&value.value))
            });
            values.collect()
        });
        axes.collect()
    }

    fn resolve(&self, term: &Term) -> Result<(usize, Condition), SelectionError> {
        let Some((index, axis)) = self.axis(&term.axis) else {
            let known: Vec<&str> = self.axes.iter().map(|axis| axis.name.as_str()).collect();
            let (name, list) = (&term.axis, quoted_list(&known));
            let message = format!("the matrix has no axis `{name}`; its axes are {list}");
            return Err(SelectionError::no_match(message, did_you_mean(name, known)));
        };
        let (name, text) = (&axis.name, &term.condition);
        let condition = match parse_switch(axis, text) {
            Some(value) => Condition::Is(Value::Bool(value)),
            None => Condition::parse(text).map_err(|error| {
                let message = format!("failed to select `{name}` by `{text}`: {error}");
                let hint = "write a range such as `>=3.10,<3.13`".to_owned();
                SelectionError::no_match(message, Some(hint))
            })?,
        };
        if !axis.admitted(&condition).contains(&true) {
            let known = axis.value_names();
            let message =
                format!("axis `{name}` has no value `{text}`; it has {}", quoted_list(&known));
            let nearest = nearest_spelling(text, known.iter().map(String::as_str))
                .filter(|_| matches!(condition, Condition::Is(_)));
            return Err(SelectionError::no_match(message, nearest.map(suggestion)));
        }
        Ok((index, condition))
    }

    fn resolve_all(&self, terms: &[Term]) -> Result<Conditions, SelectionError> {
        let mut conditions = Vec::new();
        for term in terms {
            let (index, condition) = self.resolve(term)?;
            conditions.push((index, self.axes[index].admitted(&condition)));
        }
        Ok(Conditions(conditions))
    }

    /// Returns the error for a `condition` on `axis` that no variant meets together with the other terms of `only`.
    fn explain(
        &self,
        only: &[(usize, Condition)],
        axis: usize,
        condition: &Condition,
    ) -> SelectionError {
        // Other terms on the same axis are alternatives, so they are not part of the reason.
        let others = only.iter().filter(|(other, _)| *other != axis).cloned();
        let wanted: Vec<_> = others.chain([(axis, condition.clone())]).collect();
        let admitted = self.admitted(&wanted);
        let description = self.describe(&wanted);
        if self.variants.iter().any(|variant| mismatches(variant, &admitted) == 0) {
            let message = format!("`--exclude` removes every variant with {description}");
            return SelectionError::no_match(message, None);
        }
        let rules = self.excludes.iter().filter(|rule| rule.when.overlaps(&admitted));
        let place = self.source.path.display();
        let rules = rules.map(|rule| (format!("{place}:{}", rule.line), rule.reason.clone()));
        SelectionError::Combination {
            wanted: description,
            rules: rules.collect(),
            nearest: self.nearest(&admitted),
        }
    }

    fn describe(&self, wanted: &[(usize, Condition)]) -> String {
        let mut parts: Vec<(usize, String)> = Vec::new();
        for (axis, condition) in wanted {
            match parts.iter_mut().find(|(index, _)| index == axis) {
                Some((_, text)) => *text = format!("{text} or {condition}"),
                None => parts.push((*axis, format!("{} {condition}", self.axes[*axis].name))),
            }
        }
        parts.sort_by_key(|(axis, _)| *axis);
        parts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(", ")
    }

    /// Returns the ids of up to three variants with the fewest values that are not admitted.
    pub(super) fn nearest(&self, admitted: &[Vec<bool>]) -> Vec<String> {
        let least = self.variants.iter().map(|variant| mismatches(variant, admitted)).min();
        let is_near = |variant: &&Variant| Some(mismatches(variant, admitted)) == least;
        self.variants.iter().filter(is_near).take(3).map(|variant| variant.id.clone()).collect()
    }
}

/// Returns the number of a variant's values that are not admitted.
fn mismatches(variant: &Variant, admitted: &[Vec<bool>]) -> usize {
    variant.values.iter().zip(admitted).filter(|(value, admitted)| !admitted[**value]).count()
}

/// Parses a boolean that is a value of an axis. An axis of booleans only also accepts the spellings of Truss' older script.
fn parse_switch(axis: &Axis, text: &str) -> Option<bool> {
    let is_switch = axis.values.iter().all(|value| matches!(value.value, Value::Bool(_)));
    let wanted = match text {
        "true" => true,
        "false" => false,
        "y" | "yes" if is_switch => true,
        "n" | "no" if is_switch => false,
        _ => return None,
    };
    let is_value = axis.values.iter().any(|value| value.value == Value::Bool(wanted));
    (is_switch || is_value).then_some(wanted)
}
