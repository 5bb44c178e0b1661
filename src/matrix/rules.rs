//! The rules of a matrix file: which combinations do not exist, which are there beside the
//! product, what holds for some of them.

use serde_json::{Map, Value as Json};
use serde_spanned::Spanned;

use super::condition::{Condition, is_version};
use super::diagnostic::{Diagnostic, nearest};
use super::model::{Axis, CheckCommand, CheckRule, Exclude, Match, Set};
use super::pattern::Pattern;
use super::safe;
use super::schema::{
    AxisEntry, ConditionEntry, ExcludeTable, ExtraTable, RunEntry, SetTable, Span, VerifyTable,
    When,
};
use super::validate::{Checker, quoted_list};
use super::value::Value;

/// An `[[extra]]`, its values found or added to their axes.
pub(super) struct Extra {
    pub(super) values: Vec<usize>,
    pub(super) variables: Map<String, Json>,
    pub(super) span: Span,
}

impl Checker<'_> {
    /// `[[exclude]]`.
    pub(super) fn exclude(&mut self, axes: &[Axis], table: &Spanned<ExcludeTable>) -> Exclude {
        let reason = &table.get_ref().reason;
        if reason.get_ref().trim().is_empty() || reason.get_ref().chars().any(safe::is_invisible) {
            let label = "say in a line why these do not exist";
            self.refuse(Diagnostic::new(reason.span(), "an exclusion needs a reason", label));
        }
        Exclude {
            when: self.conditions(axes, &table.get_ref().when),
            reason: reason.get_ref().clone(),
            line: self.source.line(table.span().start),
        }
    }

    /// `[[set]]`.
    pub(super) fn set(&mut self, axes: &[Axis], table: &Spanned<SetTable>) -> Set {
        if table.get_ref().variables.is_empty() {
            let label = "add `variables = { … }`";
            self.refuse(Diagnostic::new(table.span(), "this `[[set]]` sets nothing", label));
        }
        Set {
            when: self.conditions(axes, &table.get_ref().when),
            variables: self.checked_variables(axes, &table.get_ref().variables),
            line: self.source.line(table.span().start),
        }
    }

    /// `[[verify]]`.
    pub(super) fn check(&mut self, axes: &[Axis], table: &VerifyTable) -> CheckRule {
        let name = &table.name;
        if name.get_ref().trim().is_empty() || name.get_ref().chars().any(safe::is_invisible) {
            let label = "what it is called when it fails";
            self.refuse(Diagnostic::new(name.span(), "a check needs a name", label));
        }
        let conditions = Match { conditions: Vec::new() };
        CheckRule {
            name: name.get_ref().clone(),
            when: table.when.as_ref().map_or(conditions, |when| self.conditions(axes, when)),
            command: self.command(axes, &table.run),
        }
    }

    fn command(&mut self, axes: &[Axis], run: &Spanned<RunEntry>) -> CheckCommand<Pattern> {
        let mut argument = |text: &String| self.argument(axes, text, &run.span());
        match run.get_ref() {
            RunEntry::Shell(line) => CheckCommand::Shell(argument(line)),
            RunEntry::Exec(words) => CheckCommand::Exec(words.iter().map(argument).collect()),
        }
    }

    /// A text of one line, since it becomes a part of a Dockerfile's line.
    fn argument(&mut self, axes: &[Axis], line: &str, span: &Span) -> Pattern {
        if line.trim().is_empty() || line.trim_end().ends_with('\\') || line.contains("<<") {
            let message = "this cannot be a command of a check";
            let label = "one whole command line, without a here-document";
            self.refuse(Diagnostic::new(span.clone(), message, label));
        } else if line.chars().any(safe::is_invisible) {
            let message = "the command holds a character that is not seen";
            let label = "one line of text; a longer script belongs into the image";
            self.refuse(Diagnostic::new(span.clone(), message, label));
        }
        self.pattern(&Spanned::new(span.clone(), line.to_owned()), axes, false)
    }

    fn conditions(&mut self, axes: &[Axis], when: &Spanned<When>) -> Match {
        let mut conditions = Vec::new();
        if when.get_ref().is_empty() {
            let label = "say which: `when = { axis = value }`";
            self.refuse(Diagnostic::new(when.span(), "the rule is about every combination", label));
        }
        for (name, entry) in when.get_ref() {
            let Some(index) = self.find_axis(axes, name) else {
                continue;
            };
            let Some(condition) = self.condition(&axes[index], entry) else {
                continue;
            };
            let admitted: Vec<bool> =
                axes[index].values.iter().map(|value| condition.admits(&value.value)).collect();
            if !admitted.contains(&true) {
                let message = format!("no value of axis `{}` is {condition}", name.get_ref());
                let values: Vec<String> =
                    axes[index].values.iter().map(|value| value.value.to_string()).collect();
                let label = format!("its values are {}", quoted_list(&values));
                let help = match &condition {
                    Condition::Any(asked) => {
                        asked.iter().find_map(|asked| quotes(&axes[index], asked))
                    }
                    Condition::Range(_) => None,
                };
                self.refuse(Diagnostic::new(entry.span(), message, label).maybe_help(help));
                continue;
            }
            conditions.push((index, condition, admitted));
        }
        Match { conditions }
    }

    fn find_axis(&mut self, axes: &[Axis], name: &Spanned<String>) -> Option<usize> {
        let found = axes.iter().position(|axis| axis.name == *name.get_ref());
        if found.is_none() {
            let known: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
            let help = nearest(name.get_ref(), known.iter().copied())
                .map(|near| format!("did you mean `{near}`?"));
            let message = format!("there is no axis `{}`", name.get_ref().escape_debug());
            let label = format!("the axes are {}", quoted_list(&known));
            self.refuse(Diagnostic::new(name.span(), message, label).maybe_help(help));
        }
        found
    }

    fn condition(&mut self, axis: &Axis, entry: &Spanned<ConditionEntry>) -> Option<Condition> {
        let condition = match entry.get_ref() {
            ConditionEntry::One(Value::Text(text)) => match Condition::parse(text) {
                Ok(condition) => condition,
                Err(error) => {
                    let help = "a range is written as in `>=3.10,<3.13`";
                    let diagnostic =
                        Diagnostic::new(entry.span(), error.to_string(), "not a range").help(help);
                    self.refuse(diagnostic);
                    return None;
                }
            },
            ConditionEntry::One(value) => Condition::Any(vec![value.clone()]),
            ConditionEntry::Any(values) => self.known_values(axis, values, &entry.span())?,
        };
        if matches!(condition, Condition::Range(_))
            && let Some(value) = axis.values.iter().find(|value| !is_version_value(&value.value))
        {
            let message = format!("axis `{}` has values that are not versions", axis.name);
            let label = format!("`{}` is neither above nor below anything", value.value);
            self.refuse(Diagnostic::new(entry.span(), message, label));
            return None;
        }
        Some(condition)
    }

    /// A list in which every value is one of the axis: a single wrong one among right ones
    /// would otherwise go unnoticed.
    fn known_values(&mut self, axis: &Axis, values: &[Value], span: &Span) -> Option<Condition> {
        let unknown = values.iter().find(|value| !axis.values.iter().any(|v| v.value == **value));
        if let Some(unknown) = unknown {
            let known: Vec<String> =
                axis.values.iter().map(|value| value.value.to_string()).collect();
            let message = format!("axis `{}` has no value `{unknown}`", axis.name);
            let label = format!("its values are {}", quoted_list(&known));
            let help = quotes(axis, unknown);
            self.refuse(Diagnostic::new(span.clone(), message, label).maybe_help(help));
            return None;
        }
        Some(Condition::Any(values.to_vec()))
    }

    /// `[[extra]]`: finds its values, adding to the axes those that they do not list.
    pub(super) fn extra(
        &mut self,
        axes: &mut [Axis],
        table: &Spanned<ExtraTable>,
    ) -> Option<Extra> {
        let given = &table.get_ref().axes;
        let mut values = vec![None; axes.len()];
        for (name, entry) in given.get_ref() {
            let Some(index) = self.find_axis(axes, name) else {
                continue;
            };
            values[index] = self.extra_value(&mut axes[index], entry);
        }
        let missing: Vec<&str> = axes
            .iter()
            .filter(|axis| !given.get_ref().keys().any(|name| *name.get_ref() == axis.name))
            .map(|axis| axis.name.as_str())
            .collect();
        if !missing.is_empty() {
            let label = format!("without {}", quoted_list(&missing));
            let message = "an `[[extra]]` has a value for every axis";
            self.refuse(Diagnostic::new(given.span(), message, label));
        }
        let variables = self.checked_variables(axes, &table.get_ref().variables);
        let values: Option<Vec<usize>> = values.into_iter().collect();
        Some(Extra { values: values?, variables, span: table.span() })
    }

    fn extra_value(&mut self, axis: &mut Axis, entry: &Spanned<AxisEntry>) -> Option<usize> {
        let value = self.axis_value(&axis.name, entry);
        let known = axis.values.iter().position(|other| other.value == value.value);
        match (known, entry.get_ref()) {
            (Some(index), AxisEntry::Plain(_)) => Some(index),
            (Some(_), AxisEntry::Table(_)) => {
                let message = format!("axis `{}` has `{}` already", axis.name, value.value);
                let label = "its facts stand where it is listed";
                self.refuse(Diagnostic::new(entry.span(), message, label));
                None
            }
            (None, _) => {
                axis.values.push(value);
                Some(axis.values.len() - 1)
            }
        }
    }
}

/// How `asked` is written where it is a value of `axis` but for its quotes.
fn quotes(axis: &Axis, asked: &Value) -> Option<String> {
    let text = asked.to_string();
    let meant = axis.values.iter().find(|known| known.value.to_string() == text)?;
    Some(match meant.value {
        Value::Bool(_) => format!("write it without quotes: `{} = {text}`", axis.name),
        Value::Text(_) => format!("write it in quotes: `{} = \"{text}\"`", axis.name),
    })
}

fn is_version_value(value: &Value) -> bool {
    matches!(value, Value::Text(text) if is_version(text))
}
