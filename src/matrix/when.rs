//! Validates `when`: the combinations of axis values that a table of the matrix file applies to.

use super::checker::Checker;
use super::condition::{Condition, Conditions, Match, is_version};
use super::diagnostic::{did_you_mean, quoted_list};
use super::model::{Axis, AxisValue};
use super::schema::{ConditionEntry, ConditionsTable, When};
use super::spanned::{Span, Spanned};
use super::value::Value;

impl Checker<'_> {
    /// Validates a `when`. A table without one applies to all combinations.
    pub(super) fn when(&mut self, axes: &[Axis], when: Option<&Spanned<When>>) -> Match {
        let Some(when) = when else { return Match::all() };
        match when.get_ref() {
            When::All(table) => Match(vec![self.conditions(axes, table, when.span())]),
            When::Any(tables) => {
                if tables.is_empty() {
                    let label = "add a table of conditions: `[{ axis = value }]`";
                    self.report(when.span(), "this `when` has no alternative", label);
                }
                let tables = tables.iter();
                Match(tables.map(|table| self.conditions(axes, table, table.span())).collect())
            }
        }
    }

    fn conditions(
        &mut self,
        axes: &[Axis],
        table: &ConditionsTable,
        span: Span,
    ) -> Spanned<Conditions> {
        if table.is_empty() {
            let label = "add a condition: `{ axis = value }`";
            self.report(span.clone(), "the rule matches every combination", label);
        }
        let mut conditions = Vec::new();
        for (name, entry) in table {
            let Some(index) = self.find_axis(axes, name) else {
                continue;
            };
            if let Some(condition) = self.condition(&axes[index], entry) {
                conditions.push((index, axes[index].admitted(&condition)));
            }
        }
        Spanned::new(span, Conditions(conditions))
    }

    fn condition(&mut self, axis: &Axis, entry: &Spanned<ConditionEntry>) -> Option<Condition> {
        let (any_of, is_negated) = match entry.get_ref() {
            ConditionEntry::Is(any_of) => (any_of, false),
            ConditionEntry::Not(table) => (&table.not, true),
        };
        if any_of.values().is_empty() {
            let label = format!("add a value of axis `{}`", axis.name);
            self.report(entry.span(), "this condition has no value", label);
            return None;
        }
        let conditions = any_of.values().iter();
        let conditions: Option<Vec<Condition>> =
            conditions.map(|value| self.single_condition(axis, value, &entry.span())).collect();
        let condition = Condition::Any(conditions?);
        if !is_negated {
            return Some(condition);
        }
        let condition = Condition::Not(Box::new(condition));
        if !axis.admitted(&condition).contains(&true) {
            let message = format!("no value of axis `{}` is left", axis.name);
            let label = format!("its values are {}", quoted_list(&axis.value_names()));
            self.report(entry.span(), message, label);
            return None;
        }
        Some(condition)
    }

    /// Parses a value, range or pattern of the condition at `span`. It must match a value of the axis, because a wrong one
    /// among others would go unnoticed.
    fn single_condition(&mut self, axis: &Axis, value: &Value, span: &Span) -> Option<Condition> {
        let condition = match value {
            Value::Bool(_) => Condition::Is(value.clone()),
            Value::Text(text) => match Condition::parse(text) {
                Ok(condition) => condition,
                Err(error) => {
                    self.report(span.clone(), error.to_string(), "invalid range").help =
                        Some("write a range such as `>=3.10,<3.13`".to_owned());
                    return None;
                }
            },
        };
        let is_other =
            |value: &&AxisValue| matches!(&value.value, Value::Text(text) if !is_version(text));
        if matches!(condition, Condition::Range(_))
            && let Some(other) = axis.values.iter().find(is_other)
        {
            let message = format!("axis `{}` has values that are not versions", axis.name);
            let label = format!("`{}` is not a version and cannot be compared", other.value);
            self.report(span.clone(), message, label);
            return None;
        }
        if axis.admitted(&condition).contains(&true) {
            return Some(condition);
        }
        let message = match &condition {
            Condition::Is(value) => format!("axis `{}` has no value `{value}`", axis.name),
            _ => format!("no value of axis `{}` matches `{condition}`", axis.name),
        };
        let label = format!("its values are {}", quoted_list(&axis.value_names()));
        self.report(span.clone(), message, label).help = quotes_help(axis, value);
        None
    }

    /// Returns the index of the axis called `name`, or reports that there is none.
    pub(super) fn find_axis(&mut self, axes: &[Axis], name: &Spanned<String>) -> Option<usize> {
        let found = axes.iter().position(|axis| axis.name == **name);
        if found.is_none() {
            let known: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
            let message = format!("unknown axis `{}`", name.escape_debug());
            let label = format!("the axes are {}", quoted_list(&known));
            self.report(name.span(), message, label).help = did_you_mean(name, known);
        }
        found
    }

    /// Reports the `tables` of a `kind` whose conditions none of the `combinations` meets, and such alternatives.
    pub(super) fn check_used<'c, T>(
        &mut self,
        kind: &str,
        tables: &[Spanned<T>],
        matches: impl Iterator<Item = &'c Match>,
        combinations: &(impl Iterator<Item = &'c [usize]> + Clone),
    ) {
        for (table, Match(alternatives)) in tables.iter().zip(matches) {
            let is_unused = |alternative: &&Spanned<Conditions>| {
                !combinations.clone().any(|values| alternative.admits(values))
            };
            for unused in alternatives.iter().filter(is_unused) {
                let (span, subject) = match &alternatives[..] {
                    [_] => (table.span(), format!("this {kind}")),
                    _ => (unused.span(), "this alternative".to_owned()),
                };
                let message = format!("{subject} matches no variant");
                self.report(span, message, "its conditions never hold together").help =
                    Some("remove it, or correct its conditions".to_owned());
            }
        }
    }
}

/// Suggests to add or remove quotes if `wanted` then is a value of `axis`.
fn quotes_help(axis: &Axis, wanted: &Value) -> Option<String> {
    let text = wanted.to_string();
    let meant = axis.values.iter().find(|known| known.value.to_string() == text)?;
    Some(match meant.value {
        Value::Bool(_) => format!("write it without quotes: `{} = {text}`", axis.name),
        Value::Text(_) => format!("write it in quotes: `{} = \"{text}\"`", axis.name),
    })
}
