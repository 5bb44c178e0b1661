//! Validates the rules of a matrix file: `[[exclude]]`, `[[set]]`, `[[extra]]`, `[[verify]]` and `[[waive]]`.

use super::checker::Checker;
use super::command::CheckCommand;
use super::diagnostic::quoted_list;
use super::model::{Alias, Axis, CheckRule, Exclude, PrintedAlias, Set, Waive};
use super::pattern::Pattern;
use super::placeholders::{OUTPUT, PatternKind};
use super::safe;
use super::schema::{
    AliasEntry, AliasMover, AxisEntry, ExcludeTable, ExtraTable, PrintedAliasTable, RunEntry,
    SetTable, VerifyTable, WaiveTable, When,
};
use super::settings::Settings;
use super::spanned::{Span, Spanned};

/// An `[[extra]]` table. Its values are indices into the axes.
pub(super) struct Extra {
    pub(super) values: Vec<usize>,
    pub(super) settings: Settings,
    pub(super) span: Span,
}

impl Checker<'_> {
    pub(super) fn exclude(&mut self, axes: &[Axis], table: &Spanned<ExcludeTable>) -> Exclude {
        let label = "describe in one line why these combinations do not exist";
        self.check_line(&table.reason, "an exclusion needs a reason", label);
        Exclude {
            when: self.when(axes, Some(&table.when)),
            reason: table.reason.to_string(),
            line: self.source.line(table.span().start),
        }
    }

    pub(super) fn set(&mut self, axes: &[Axis], table: &Spanned<SetTable>) -> Set {
        let when = self.when(axes, Some(&table.when));
        let variables = self.checked_variables(axes, &table.variables);
        let settings = self.settings(&table.settings(), variables);
        if settings.is_empty() {
            let label = "add `variables = { … }`";
            self.report(table.span(), "this `[[set]]` sets nothing", label);
        }
        Set { when, settings, line: self.source.line(table.span().start) }
    }

    pub(super) fn waive(&mut self, axes: &[Axis], table: &Spanned<WaiveTable>) -> Waive {
        let label = "describe in one line why the images may break the rule";
        self.check_line(&table.reason, "an exception needs a reason", label);
        let when = self.when(axes, table.when.as_ref());
        Waive {
            rule: table.rule.clone(),
            reason: table.reason.to_string(),
            line: self.source.line(table.span().start),
            when,
        }
    }

    pub(super) fn alias(&mut self, axes: &[Axis], entry: &Spanned<AliasEntry>) -> Alias {
        let (tag, when, moved_by) = match entry.get_ref() {
            AliasEntry::Tag(tag) => (&Spanned::new(entry.span(), tag.clone()), None, None),
            AliasEntry::Table(table) => (&table.tag, table.when.as_ref(), table.moved_by.as_ref()),
        };
        let tag = self.pattern(tag, PatternKind::Alias);
        self.moving(axes, tag, when, moved_by)
    }

    /// Validates an `[[alias]]`.
    pub(super) fn printed_alias(
        &mut self,
        axes: &[Axis],
        table: &PrintedAliasTable,
    ) -> PrintedAlias {
        let tag = match &table.tag {
            Some(tag) => self.pattern(tag, PatternKind::PrintedAlias),
            None => Pattern::parse("{{output}}").expect("the default is a pattern"),
        };
        // Another name may be a misspelled one.
        let is_constant = |text: &str| {
            let is_other = |name: &str| {
                name != OUTPUT && self.placeholders.knows(PatternKind::PrintedAlias, name)
            };
            Pattern::parse(text).is_ok_and(|tag| tag.names().all(|(name, _)| is_other(name)))
        };
        if let Some(text) = table.tag.as_ref().filter(|text| is_constant(text)) {
            let label = "add `{{output}}`, or list this alias in `aliases` of `[image]`";
            self.report(text.span(), "this tag does not contain the output of the command", label);
        }
        let command = self.argument(&table.run, &table.run.span());
        let (when, moved_by) = (table.when.as_ref(), table.moved_by.as_ref());
        PrintedAlias { command, alias: self.moving(axes, tag, when, moved_by) }
    }

    fn moving(
        &mut self,
        axes: &[Axis],
        tag: Pattern,
        when: Option<&Spanned<When>>,
        moved_by: Option<&Spanned<Vec<AliasMover>>>,
    ) -> Alias {
        if let Some(none) = moved_by.filter(|movers| movers.is_empty()) {
            let label = "expected \"release\", \"version-tag\" or both";
            self.report(none.span(), "nothing moves this alias", label);
        }
        Alias {
            tag,
            when: self.when(axes, when),
            moved_by: moved_by.map_or(vec![AliasMover::Release], |movers| movers.to_vec()),
        }
    }

    pub(super) fn check(&mut self, axes: &[Axis], table: &VerifyTable) -> CheckRule {
        let label = "name it in one line, to be shown when the check fails";
        self.check_line(&table.name, "a check needs a name", label);
        let mut argument = |text: &String| self.argument(text, &table.run.span());
        let command = match table.run.get_ref() {
            RunEntry::Shell(line) => CheckCommand::Shell(argument(line)),
            RunEntry::Exec(words) => CheckCommand::Exec(words.iter().map(argument).collect()),
        };
        let when = self.when(axes, table.when.as_ref());
        CheckRule { name: table.name.to_string(), when, command }
    }

    /// Validates a command or an argument of a check. It must be one line, because it becomes part
    /// of a line of a Dockerfile.
    pub(super) fn argument(&mut self, line: &str, span: &Span) -> Pattern {
        if line.trim().is_empty() || line.trim_end().ends_with('\\') || line.contains("<<") {
            let label = "expected one complete command line without a here-document";
            self.report(span.clone(), "this is not a valid command", label);
        } else if line.chars().any(safe::is_invisible) {
            let message = "the command contains an invisible character";
            let label = "expected one line; put a longer script into the image";
            self.report(span.clone(), message, label);
        }
        self.pattern(&Spanned::new(span.clone(), line.to_owned()), PatternKind::Image)
    }

    /// Validates an `[[extra]]` table, and adds its new values to the axes.
    pub(super) fn extra(
        &mut self,
        axes: &mut [Axis],
        table: &Spanned<ExtraTable>,
    ) -> Option<Extra> {
        let mut values = vec![None; axes.len()];
        for (name, entry) in table.axes.iter() {
            let Some(index) = self.find_axis(axes, name) else {
                continue;
            };
            values[index] = self.extra_value(&mut axes[index], entry);
        }
        let is_missing = |axis: &&Axis| !table.axes.keys().any(|name| **name == axis.name);
        let missing: Vec<&str> =
            axes.iter().filter(is_missing).map(|axis| axis.name.as_str()).collect();
        if !missing.is_empty() {
            let label = format!("add {}", quoted_list(&missing));
            let message = "this `[[extra]]` does not have a value for every axis";
            self.report(table.axes.span(), message, label);
        }
        let variables = self.checked_variables(axes, &table.variables);
        let settings = self.settings(&table.settings(), variables);
        let values: Option<Vec<usize>> = values.into_iter().collect();
        Some(Extra { values: values?, settings, span: table.span() })
    }

    fn extra_value(&mut self, axis: &mut Axis, entry: &Spanned<AxisEntry>) -> Option<usize> {
        let value = self.axis_value(axis, entry);
        let known = axis.values.iter().position(|other| other.value == value.value);
        match (known, entry.get_ref()) {
            (Some(index), AxisEntry::Plain(_)) => Some(index),
            (Some(_), AxisEntry::Table(_)) => {
                let message = format!("axis `{}` already has `{}`", axis.name, value.value);
                let label = "set its tag, variables and settings where the axis lists it";
                self.report(entry.span(), message, label);
                None
            }
            (None, _) => {
                axis.values.push(value);
                Some(axis.values.len() - 1)
            }
        }
    }
}
