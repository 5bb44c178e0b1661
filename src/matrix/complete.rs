//! Checks that the settings of every variant are valid, and that their placeholders have values.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::diagnostic::{Diagnostic, SourceError};
use super::model::{Alias, Matrix, Variant};
use super::pattern::Pattern;
use super::placeholders::{OUTPUT, axis_of_tag};
use super::safe;
use super::settings::TEXTS;

/// Refuses invalid paths of Dockerfiles, and placeholders without a value.
pub(super) fn check_complete(matrix: &Matrix) -> Result<(), SourceError> {
    let mut faults = dockerfile_faults(matrix);
    faults.extend(placeholder_faults(matrix));
    if faults.is_empty() {
        return Ok(());
    }
    Err(SourceError::new(&matrix.source, faults))
}

fn dockerfile_faults(matrix: &Matrix) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    let mut reported = HashSet::new();
    for variant in &matrix.variants {
        if matrix.mirror(variant).is_some() {
            continue;
        }
        let settings = matrix.settings(variant);
        let Some(dockerfile) = settings.last(|settings| settings.dockerfile.as_ref()) else {
            continue;
        };
        // A variable can contain `..`.
        let path = dockerfile.fill(|name| matrix.name_part(variant, name));
        if let Some(reason) = safe::refuse_path(&path)
            && let Some(span) = dockerfile.span().filter(|span| reported.insert(span.start))
        {
            let message = format!("invalid path `{}` of `{}`", path.escape_debug(), variant.id);
            faults.push(Diagnostic::new(span, message, reason));
        }
    }
    faults
}

/// Returns one error for each placeholder without a value, even if its text applies to many variants.
fn placeholder_faults(matrix: &Matrix) -> Vec<Diagnostic> {
    let of_run = matrix.placeholders_of_run();
    let is_variable = |name: &str| {
        !["variant", OUTPUT].contains(&name)
            && matrix.axis(axis_of_tag(name).unwrap_or(name)).is_none()
            && !of_run.contains(&name)
    };
    let has_variable = |pattern: &Pattern| pattern.names().any(|(name, _)| is_variable(name));
    if !all_patterns(matrix).any(has_variable) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    let mut reported = HashSet::new();
    for variant in &matrix.variants {
        for pattern in patterns(matrix, variant) {
            for (name, part) in pattern.names().filter(|(name, _)| is_variable(name)) {
                let (message, help) = match matrix.variable(variant, name) {
                    None => (
                        format!("`{}` has no variable `{name}`", variant.id),
                        "set it in `[variables]`, or limit the text to variants with it: by `when`, or in a `[[set]]`",
                    ),
                    Some(Json::Array(_) | Json::Object(_)) => (
                        format!("the variable `{name}` of `{}` is not a text", variant.id),
                        "use a variable that is a string, an integer or a boolean",
                    ),
                    Some(_) => continue,
                };
                let span = pattern.locate(&matrix.source.text, part);
                if let Some(span) = span.filter(|span| reported.insert(span.clone())) {
                    faults.push(Diagnostic::new(span, message, "").help(help));
                }
            }
        }
    }
    faults
}

/// Returns the patterns of all settings, checks and aliases.
fn all_patterns(matrix: &Matrix) -> impl Iterator<Item = &Pattern> {
    let of_settings = matrix.all_settings().flat_map(|settings| {
        TEXTS
            .into_iter()
            .filter_map(move |text| text(settings))
            .chain(settings.labels.values())
            .chain(settings.contents.patterns())
            .chain(settings.args.values())
    });
    let of_checks = matrix.checks.iter().flat_map(|rule| rule.command.words());
    of_settings
        .chain(of_checks)
        .chain(all_aliases(matrix).map(|alias| &alias.tag))
        .chain(matrix.build.contexts.values())
}

/// Returns the patterns that apply to a variant.
fn patterns<'a>(matrix: &'a Matrix, variant: &'a Variant) -> Vec<&'a Pattern> {
    let settings = matrix.settings(variant);
    let checks = matrix.checks.iter().filter(|rule| rule.when.admits(&variant.values));
    let mut patterns: Vec<&Pattern> =
        TEXTS.into_iter().filter_map(|text| settings.last(text)).collect();
    patterns.extend(settings.merged(|settings| &settings.labels).into_values());
    patterns.extend(matrix.content_tables(variant).iter().flat_map(|(_, table)| table.patterns()));
    patterns.extend(settings.merged(|settings| &settings.args).into_values());
    patterns.extend(matrix.build.contexts.values());
    patterns.extend(checks.flat_map(|rule| rule.command.words()));
    let aliases = all_aliases(matrix).filter(|alias| alias.applies_to(variant));
    patterns.extend(aliases.map(|alias| &alias.tag));
    patterns
}

fn all_aliases(matrix: &Matrix) -> impl Iterator<Item = &Alias> {
    let printed = matrix.printed_aliases.iter().map(|printed| &printed.alias);
    matrix.image.aliases.iter().chain(printed)
}
