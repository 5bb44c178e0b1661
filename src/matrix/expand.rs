//! From axes and rules to variants.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_spanned::Spanned;

use super::diagnostic::{Diagnostic, SourceError, SourceFile};
use super::model::{Axis, ExtraRow, Image, Match, Matrix, Variant};
use super::rules::Extra;
use super::schema::{MatrixFile, Span};
use super::validate::Checker;
use crate::files::Checkout;
use crate::image::Platform;

/// The most variants that a matrix may have.
pub const MAX_ROWS: usize = 100_000;

impl Matrix {
    /// Checks a matrix file and expands it.
    pub(super) fn from_file(
        source: SourceFile,
        checkout: Checkout,
        file: &MatrixFile,
    ) -> Result<Self, SourceError> {
        let mut checker = Checker { source: &source, checkout: &checkout, diagnostics: Vec::new() };
        let mut axes = checker.axes(file);
        let extras: Vec<Extra> =
            file.extra.iter().filter_map(|table| checker.extra(&mut axes, table)).collect();
        let image = checker.image(&file.image, &axes);
        let variables = checker.checked_variables(&axes, &file.variables);
        let excludes: Vec<_> =
            file.exclude.iter().map(|rule| checker.exclude(&axes, rule)).collect();
        let sets: Vec<_> = file.set.iter().map(|rule| checker.set(&axes, rule)).collect();
        let checks: Vec<_> =
            file.verify.iter().map(|table| checker.check(&axes, table.get_ref())).collect();
        let build = checker.build(&file.build);
        let registries = checker.registries(&file.registries);
        checker.version(file.version.as_ref());
        checker.generated(&file.generated);
        checker.pull_request(&file.pull_request);
        checker.check_size(file, &axes);
        checker.finish()?;

        let mut checker = Checker { source: &source, checkout: &checkout, diagnostics: Vec::new() };
        let mut used = vec![false; excludes.len()];
        let mut rows = product(axes.iter().map(|axis| axis.listed));
        rows.retain(|values| {
            let mut exists = true;
            for (rule, used) in excludes.iter().zip(&mut used) {
                if rule.when.admits(values) {
                    *used = true;
                    exists = false;
                }
            }
            exists
        });
        checker.check_used("exclude", &used, file.exclude.iter().map(Spanned::span));
        let mut builder = VariantBuilder { axes: &axes, image: &image, platforms: HashMap::new() };
        let mut variants = Vec::with_capacity(rows.len() + extras.len());
        for values in rows {
            variants.push(builder.variant(&mut checker, values, &file.image.platforms.span()));
        }
        checker.add_extras(&mut variants, &mut builder, extras);
        let is_used = |when: &Match| variants.iter().any(|variant| when.admits(&variant.values));
        let used: Vec<bool> = sets.iter().map(|rule| is_used(&rule.when)).collect();
        checker.check_used("set", &used, file.set.iter().map(Spanned::span));
        let used: Vec<bool> = checks.iter().map(|check| is_used(&check.when)).collect();
        checker.check_used("verify", &used, file.verify.iter().map(Spanned::span));
        checker.check_ids(&variants, &file.axes.span());
        checker.finish()?;
        let version = file.version.as_ref().map(|table| table.get_ref().clone());
        Ok(Self {
            source,
            checkout,
            image,
            axes,
            version,
            generated: file.generated.clone(),
            publish: file.publish,
            pull_request: file.pull_request.clone(),
            build,
            registries,
            variants,
            variables,
            excludes,
            sets,
            checks,
        })
    }
}

impl Checker<'_> {
    fn finish(self) -> Result<(), SourceError> {
        match self.diagnostics.is_empty() {
            true => Ok(()),
            false => Err(SourceError::new(self.source, self.diagnostics)),
        }
    }

    fn check_size(&mut self, file: &MatrixFile, axes: &[Axis]) {
        let product = axes.iter().try_fold(1_usize, |rows, axis| rows.checked_mul(axis.listed));
        let rows = product.and_then(|rows| rows.checked_add(file.extra.len()));
        if rows.is_none_or(|rows| rows > MAX_ROWS) {
            let size = rows.map_or("more than can be counted".to_owned(), |rows| rows.to_string());
            let label = format!("they make {size} variants, the bound is {MAX_ROWS}");
            self.refuse(Diagnostic::new(file.axes.span(), "the matrix is too large", label));
        }
    }

    fn check_used(&mut self, kind: &str, used: &[bool], spans: impl Iterator<Item = Span>) {
        for (_, span) in used.iter().zip(spans).filter(|(used, _)| !**used) {
            let message = format!("this `[[{kind}]]` matches no variant");
            let diagnostic = Diagnostic::new(span, message, "its conditions never hold together")
                .help("remove it, or mend its conditions");
            self.refuse(diagnostic);
        }
    }

    fn add_extras(
        &mut self,
        variants: &mut Vec<Variant>,
        builder: &mut VariantBuilder<'_>,
        extras: Vec<Extra>,
    ) {
        let mut known: HashSet<Vec<usize>> = match extras.is_empty() {
            true => HashSet::new(),
            false => variants.iter().map(|variant| variant.values.clone()).collect(),
        };
        for extra in extras {
            if !known.insert(extra.values.clone()) {
                let message = "this `[[extra]]` is a variant already";
                let label = "remove it, or use `[[set]]` to give the variant variables";
                self.refuse(Diagnostic::new(extra.span, message, label));
                continue;
            }
            let mut variant = builder.variant(self, extra.values, &extra.span);
            let line = self.source.line(extra.span.start);
            variant.extra = Some(Arc::new(ExtraRow { variables: extra.variables, line }));
            variants.push(variant);
        }
    }

    fn check_ids(&mut self, variants: &[Variant], span: &Span) {
        if variants.is_empty() {
            let label = "the rules exclude every combination";
            self.refuse(Diagnostic::new(span.clone(), "the matrix has no variants", label));
        }
        let mut seen = HashSet::with_capacity(variants.len());
        for variant in variants {
            if !seen.insert(variant.id.as_str()) {
                let message = format!("two variants are called `{}`", variant.id);
                let label = "their values, joined by dashes, are alike";
                self.refuse(Diagnostic::new(span.clone(), message, label));
                return;
            }
        }
    }
}

/// Makes variants, sharing what many of them have.
struct VariantBuilder<'a> {
    axes: &'a [Axis],
    image: &'a Image,
    platforms: HashMap<Vec<Platform>, Arc<[Platform]>>,
}

impl VariantBuilder<'_> {
    fn variant(&mut self, checker: &mut Checker<'_>, values: Vec<usize>, span: &Span) -> Variant {
        let (id, name) = names(self.axes, &values);
        let chosen = self.axes.iter().zip(&values).map(|(axis, at)| &axis.values[*at]);
        let limits = chosen.filter_map(|value| value.platforms.as_ref());
        let mut platforms = self.image.platforms.clone();
        for limit in limits {
            platforms.retain(|platform| limit.contains(platform));
        }
        if platforms.is_empty() {
            let message = format!("`{id}` is built for no platform");
            let label = "its values are limited to platforms that have none of these in common";
            checker.refuse(Diagnostic::new(span.clone(), message, label));
        }
        let platforms = self
            .platforms
            .entry(platforms)
            .or_insert_with_key(|platforms| platforms.as_slice().into())
            .clone();
        Variant { id, name, values, platforms, extra: None }
    }
}

/// The id and the name of a combination.
pub(super) fn names(axes: &[Axis], values: &[usize]) -> (String, String) {
    let chosen = || axes.iter().zip(values).map(|(axis, at)| (axis, &axis.values[*at]));
    let name = join(chosen().map(|(_, value)| value.tag.as_str().into()));
    let id = join(chosen().map(|(axis, value)| value.id_part(&axis.name).into()));
    (if id.is_empty() { "default".to_owned() } else { id }, name)
}

/// The parts that are not empty, joined by dashes.
fn join<'a>(parts: impl Iterator<Item = std::borrow::Cow<'a, str>>) -> String {
    let mut joined = String::new();
    for part in parts.filter(|part| !part.is_empty()) {
        if !joined.is_empty() {
            joined.push('-');
        }
        joined.push_str(&part);
    }
    joined
}

/// Every combination of the values of axes, of which there are `counts`; the last axis changes
/// first.
pub(super) fn product(counts: impl Iterator<Item = usize>) -> Vec<Vec<usize>> {
    let counts: Vec<usize> = counts.collect();
    let rows = counts.iter().product();
    let mut all = Vec::with_capacity(rows);
    let mut current = vec![0; counts.len()];
    for _ in 0..rows {
        all.push(current.clone());
        for (at, count) in current.iter_mut().zip(&counts).rev() {
            *at += 1;
            if *at < *count {
                break;
            }
            *at = 0;
        }
    }
    all
}
