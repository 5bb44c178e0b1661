//! Choosing among the variants of a matrix.

use std::collections::HashSet;

use super::condition::Condition;
use super::diagnostic::{nearest, nearest_spelling};
use super::model::{Axis, Match, Matrix, Variant};
use super::validate::quoted_list;
use super::value::Value;
use crate::error::{ExitCode, Explain};

/// Which variants are wanted. What is not said means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Each axis' value must be one that its terms admit; terms on the same axis mean or.
    pub only: Vec<Term>,
    /// A variant that all terms of one of these admit is left out.
    pub without: Vec<Vec<Term>>,
    /// The ids of the only variants that are wanted; empty means any.
    pub ids: Vec<String>,
}

/// An axis and what is wanted of it, as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The axis' name.
    pub axis: String,
    /// A value or a version range; `true` or `false` for a switch.
    pub condition: String,
}

/// What a selection chose.
#[derive(Debug)]
pub struct Selected<'a> {
    /// The variants in the matrix' order.
    pub variants: Vec<&'a Variant>,
    /// Whether these are all variants of the matrix.
    pub whole: bool,
}

/// Why a selection chose nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// The matrix has no such axis.
    #[error("the matrix has no axis `{axis}`; its axes are {known}")]
    Axis {
        /// What was asked for.
        axis: String,
        /// What there is.
        known: String,
        /// What was perhaps meant.
        nearest: Option<String>,
    },
    /// The axis has no such value.
    #[error("axis `{axis}` has no value `{value}`; it has {known}")]
    Value {
        /// The axis.
        axis: String,
        /// What was asked for.
        value: String,
        /// What there is.
        known: String,
        /// What was perhaps meant.
        nearest: Option<String>,
    },
    /// The version range cannot be read.
    #[error("`{axis}` cannot be selected by `{condition}`: {reason}")]
    Condition {
        /// The axis.
        axis: String,
        /// What was asked for.
        condition: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no variant of this id.
    #[error("the matrix has no variant `{id}`")]
    Variant {
        /// What was asked for.
        id: String,
        /// What was perhaps meant.
        nearest: Option<String>,
    },
    /// The variant is there, and what else was said leaves it out.
    #[error("the variant `{id}` is not among what else is selected")]
    LeftOut {
        /// The variant.
        id: String,
    },
    /// What is wanted and what is excluded are the same.
    #[error("`--exclude` leaves nothing of {wanted}")]
    Nothing {
        /// What was asked for.
        wanted: String,
    },
    /// Each value exists, the combination does not.
    #[error("no variant has {wanted}{}", told(.rules))]
    Combination {
        /// What was asked for.
        wanted: String,
        /// The rules that say so: file and line, and the reason.
        rules: Vec<(String, String)>,
        /// The variants that come nearest.
        nearest: Vec<String>,
    },
}

fn told(rules: &[(String, String)]) -> String {
    rules.iter().fold(String::new(), |told, (place, reason)| {
        format!("{told}\n  excluded at {place}: {reason}")
    })
}

impl Explain for SelectionError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Selection
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Axis { nearest, .. }
            | Self::Value { nearest, .. }
            | Self::Variant { nearest, .. } => {
                nearest.as_ref().map(|near| format!("did you mean `{near}`?"))
            }
            Self::Nothing { .. } | Self::LeftOut { .. } => None,
            Self::Condition { .. } => Some("a range is written as in `>=3.10,<3.13`".to_owned()),
            Self::Combination { nearest, .. } if nearest.is_empty() => None,
            Self::Combination { nearest, .. } => {
                Some(format!("nearest to it: {}", quoted_list(nearest)))
            }
        }
    }
}

impl Selection {
    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.only.is_empty() && self.without.is_empty() && self.ids.is_empty()
    }
}

impl Matrix {
    /// The variants that `selection` chooses. Each term must have a share in the result: what
    /// was asked for and does not exist is refused, not left out.
    pub fn select(&self, selection: &Selection) -> Result<Selected<'_>, SelectionError> {
        let only: Vec<(usize, Condition)> =
            selection.only.iter().map(|term| self.resolve(term)).collect::<Result<_, _>>()?;
        let without: Vec<Match> = selection
            .without
            .iter()
            .map(|terms| self.resolve_all(terms))
            .collect::<Result<_, _>>()?;
        let mut variants = self.chosen(&only, &without);
        for (axis, condition) in &only {
            let has_share =
                |variant: &&Variant| condition.admits(&self.value(variant, *axis).value);
            if !variants.iter().any(has_share) {
                return Err(self.explain(&only, *axis, condition));
            }
        }
        if variants.is_empty() {
            return Err(SelectionError::Nothing { wanted: "the matrix".to_owned() });
        }
        if !selection.ids.is_empty() {
            variants = self.called(&selection.ids, &variants)?;
        }
        let whole = variants.len() == self.variants.len();
        Ok(Selected { variants, whole })
    }

    /// Those of `chosen` whose ids are asked for, in their order.
    fn called<'a>(
        &'a self,
        ids: &[String],
        chosen: &[&'a Variant],
    ) -> Result<Vec<&'a Variant>, SelectionError> {
        let wanted: HashSet<&str> = ids.iter().map(String::as_str).collect();
        let found: Vec<&Variant> =
            chosen.iter().copied().filter(|variant| wanted.contains(variant.id.as_str())).collect();
        if found.len() == wanted.len() {
            return Ok(found);
        }
        let known: HashSet<&str> = self.variants.iter().map(|variant| &*variant.id).collect();
        let there: HashSet<&str> = found.iter().map(|variant| &*variant.id).collect();
        let unknown = ids.iter().find(|id| !known.contains(id.as_str()));
        let left_out = ids.iter().find(|id| !there.contains(id.as_str()));
        Err(match (unknown, left_out) {
            (Some(id), _) => SelectionError::Variant {
                id: id.clone(),
                nearest: nearest_spelling(id, self.variants.iter().map(|variant| &*variant.id))
                    .map(str::to_owned),
            },
            (None, id) => SelectionError::LeftOut { id: id.cloned().unwrap_or_default() },
        })
    }

    /// The variants that `selection` chooses, for a matrix that it may not have been made for:
    /// what does not exist is left out.
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
        let without: Vec<Match> =
            selection.without.iter().filter_map(|terms| self.resolve_all(terms).ok()).collect();
        let mut chosen = self.chosen(&only, &without);
        chosen.retain(|variant| selection.ids.is_empty() || selection.ids.contains(&variant.id));
        chosen
    }

    fn chosen(&self, only: &[(usize, Condition)], without: &[Match]) -> Vec<&Variant> {
        let axes = self.axes.iter().enumerate();
        let admitted: Vec<Vec<bool>> =
            axes.map(|(index, axis)| admitted(index, axis, only)).collect();
        let matches = |values: &[usize]| {
            values.iter().zip(&admitted).all(|(value, admitted)| admitted[*value])
        };
        self.variants
            .iter()
            .filter(|variant| matches(&variant.values))
            .filter(|variant| !without.iter().any(|rule| rule.admits(&variant.values)))
            .collect()
    }

    fn resolve(&self, term: &Term) -> Result<(usize, Condition), SelectionError> {
        let Some((index, axis)) = self.axis(&term.axis) else {
            let known: Vec<&str> = self.axes.iter().map(|axis| axis.name.as_str()).collect();
            return Err(SelectionError::Axis {
                axis: term.axis.clone(),
                known: quoted_list(&known),
                nearest: nearest(&term.axis, known).map(str::to_owned),
            });
        };
        let condition = match switch(axis, &term.condition) {
            Some(value) => Condition::Any(vec![Value::Bool(value)]),
            None => {
                Condition::parse(&term.condition).map_err(|error| SelectionError::Condition {
                    axis: axis.name.clone(),
                    condition: term.condition.clone(),
                    reason: error.to_string(),
                })?
            }
        };
        if !axis.values.iter().any(|value| condition.admits(&value.value)) {
            let known: Vec<String> =
                axis.values.iter().map(|value| value.value.to_string()).collect();
            return Err(SelectionError::Value {
                axis: axis.name.clone(),
                value: term.condition.clone(),
                nearest: nearest_spelling(&term.condition, known.iter().map(String::as_str))
                    .filter(|_| !matches!(condition, Condition::Range(_)))
                    .map(str::to_owned),
                known: quoted_list(&known),
            });
        }
        Ok((index, condition))
    }

    fn resolve_all(&self, terms: &[Term]) -> Result<Match, SelectionError> {
        let mut conditions = Vec::new();
        for term in terms {
            let (index, condition) = self.resolve(term)?;
            let values = &self.axes[index].values;
            let admitted = values.iter().map(|value| condition.admits(&value.value)).collect();
            conditions.push((index, condition, admitted));
        }
        Ok(Match { conditions })
    }

    /// Why nothing has what `condition` asks of `axis` together with the rest of `only`.
    fn explain(
        &self,
        only: &[(usize, Condition)],
        axis: usize,
        condition: &Condition,
    ) -> SelectionError {
        // The other terms on the same axis are alternatives, and not what failed.
        let wanted: Vec<(usize, Condition)> = only
            .iter()
            .filter(|(other, _)| *other != axis)
            .cloned()
            .chain([(axis, condition.clone())])
            .collect();
        let admitted: Vec<Vec<bool>> = self
            .axes
            .iter()
            .enumerate()
            .map(|(index, axis)| admitted(index, axis, &wanted))
            .collect();
        let exists = |variant: &Variant| {
            variant.values.iter().zip(&admitted).all(|(value, admitted)| admitted[*value])
        };
        if self.variants.iter().any(exists) {
            return SelectionError::Nothing { wanted: self.describe(&wanted) };
        }
        let rules = self.excludes.iter().filter(|rule| could_admit(&rule.when, &admitted));
        let place = self.source.path.display();
        let rules =
            rules.map(|rule| (format!("{place}:{}", rule.line), rule.reason.clone())).collect();
        SelectionError::Combination {
            wanted: self.describe(&wanted),
            rules,
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

    pub(super) fn nearest(&self, admitted: &[Vec<bool>]) -> Vec<String> {
        let distance = |variant: &Variant| {
            let pairs = variant.values.iter().zip(admitted);
            pairs.filter(|(value, admitted)| !admitted[**value]).count()
        };
        let least = self.variants.iter().map(distance).min();
        let near = self.variants.iter().filter(|variant| Some(distance(variant)) == least);
        near.take(3).map(|variant| variant.id.clone()).collect()
    }
}

/// For each value of an axis, whether the terms on it admit it; all of them where there are none.
fn admitted(index: usize, axis: &Axis, only: &[(usize, Condition)]) -> Vec<bool> {
    let terms: Vec<&Condition> =
        only.iter().filter(|(axis, _)| *axis == index).map(|(_, condition)| condition).collect();
    axis.values
        .iter()
        .map(|value| terms.is_empty() || terms.iter().any(|term| term.admits(&value.value)))
        .collect()
}

/// Whether a rule admits any combination of admitted values.
fn could_admit(rule: &Match, admitted: &[Vec<bool>]) -> bool {
    rule.conditions.iter().all(|(axis, _, by_rule)| {
        by_rule.iter().zip(&admitted[*axis]).any(|(rule, wanted)| *rule && *wanted)
    })
}

/// A condition on an axis of switches: the older script's spellings are understood too.
fn switch(axis: &Axis, text: &str) -> Option<bool> {
    let is_switch = axis.values.iter().all(|value| matches!(value.value, Value::Bool(_)));
    match (is_switch, text) {
        (true, "true" | "y" | "yes") => Some(true),
        (true, "false" | "n" | "no") => Some(false),
        _ => None,
    }
}
