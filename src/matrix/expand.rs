//! Expands the axes and rules of a matrix file to variants.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::checker::Checker;
use super::complete::check_complete;
use super::diagnostic::{SourceError, SourceFile};
use super::model::{Axis, ExtraRow, Matrix, Set, Variant, id_and_name};
use super::placeholders::Placeholders;
use super::rules::Extra;
use super::schema::MatrixFile;
use super::settings::Settings;
use super::spanned::{Span, Spanned};
use super::variable_files::variable_files;
use crate::files::Checkout;
use crate::image::Platform;

/// The maximum number of variants of a matrix.
pub const MAX_ROWS: usize = 100_000;

impl Matrix {
    /// Validates and expands a matrix file.
    pub(super) fn from_file(
        source: SourceFile,
        checkout: Checkout,
        file: &MatrixFile,
    ) -> Result<Self, SourceError> {
        let files = variable_files(&source, &checkout, file)?;
        let axes = file.axes.keys().map(|name| name.as_str());
        let of_files = files.values().flat_map(|file| file.names());
        let placeholders = Placeholders::new(axes, file.variable_names().chain(of_files));
        let mut checker = Checker::new(&source, &checkout, placeholders, &files);
        let mut axes = checker.axes(file);
        let extras: Vec<Extra> =
            file.extra.iter().filter_map(|table| checker.extra(&mut axes, table)).collect();
        let image = checker.image(&axes, file);
        let base = checker.base(&axes, file);
        let excludes: Vec<_> =
            file.exclude.iter().map(|rule| checker.exclude(&axes, rule)).collect();
        let sets: Vec<_> = file.set.iter().map(|rule| checker.set(&axes, rule)).collect();
        let checks: Vec<_> = file.verify.iter().map(|table| checker.check(&axes, table)).collect();
        let printed_aliases: Vec<_> =
            file.alias.iter().map(|table| checker.printed_alias(&axes, table)).collect();
        let waives: Vec<_> = file.waive.iter().map(|table| checker.waive(&axes, table)).collect();
        let build = checker.build(&file.build);
        let platform_variables = checker.platform_variables(&axes, &file.platform);
        let registries = checker.registries(&file.registries);
        checker.version(file.version.as_ref());
        checker.generated(&file.generated);
        checker.publish(&file.publish);
        checker.pull_request(&file.pull_request);
        checker.check_size(file, &axes);
        checker.finish()?;

        let rows = product(axes.iter().map(|axis| axis.listed));
        let (excluded, rows): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|values| excludes.iter().any(|rule| rule.when.admits(values)));
        let mut builder =
            VariantBuilder { axes: &axes, base: &base, sets: &sets, platforms: HashMap::new() };
        let mut variants = Vec::with_capacity(rows.len() + extras.len());
        let span = file.image.platforms.as_ref().map_or(file.image.span(), Spanned::span);
        for values in rows {
            variants.push(builder.variant(&mut checker, values, None, &span));
        }
        checker.add_extras(&mut variants, &mut builder, extras);
        let of_excluded = excluded.iter().map(Vec::as_slice);
        let of_variants = variants.iter().map(|variant| variant.values.as_slice());
        let matches = excludes.iter().map(|rule| &rule.when);
        checker.check_used("`[[exclude]]`", &file.exclude, matches, &of_excluded);
        let matches = sets.iter().map(|set| &set.when);
        checker.check_used("`[[set]]`", &file.set, matches, &of_variants);
        let matches = checks.iter().map(|rule| &rule.when);
        checker.check_used("`[[verify]]`", &file.verify, matches, &of_variants);
        let matches = waives.iter().map(|waive| &waive.when);
        checker.check_used("`[[waive]]`", &file.waive, matches, &of_variants);
        let matches = printed_aliases.iter().map(|printed| &printed.alias.when);
        checker.check_used("`[[alias]]`", &file.alias, matches, &of_variants);
        let matches = image.aliases.iter().map(|alias| &alias.when);
        checker.check_used("alias", &file.image.aliases, matches, &of_variants);
        checker.check_ids(&variants, &file.axes.span());
        checker.check_platforms(&file.platform, &variants);
        checker.finish()?;
        let matrix = Self {
            source,
            checkout,
            image,
            axes,
            version: file.version.as_deref().cloned(),
            generated: file.generated.clone(),
            publish: file.publish.clone(),
            pull_request: file.pull_request.clone(),
            build,
            registries,
            variants,
            base,
            platform_variables,
            excludes,
            sets,
            checks,
            printed_aliases,
            waives,
        };
        matrix.check_files()?;
        check_complete(&matrix)?;
        Ok(matrix)
    }
}

impl Checker<'_> {
    fn check_size(&mut self, file: &MatrixFile, axes: &[Axis]) {
        let product = axes.iter().try_fold(1_usize, |rows, axis| rows.checked_mul(axis.listed));
        let rows = product.and_then(|rows| rows.checked_add(file.extra.len()));
        if rows.is_none_or(|rows| rows > MAX_ROWS) {
            let size = rows.map_or("too many".to_owned(), |rows| rows.to_string());
            let label = format!("the axes produce {size} variants, the limit is {MAX_ROWS}");
            self.report(file.axes.span(), "the matrix is too large", label);
        }
    }

    fn add_extras(
        &mut self,
        variants: &mut Vec<Variant>,
        builder: &mut VariantBuilder<'_>,
        extras: Vec<Extra>,
    ) {
        if extras.is_empty() {
            return;
        }
        let mut known: HashSet<Vec<usize>> =
            variants.iter().map(|variant| variant.values.clone()).collect();
        for extra in extras {
            if !known.insert(extra.values.clone()) {
                let message = "this `[[extra]]` is already a variant of the matrix";
                let label = "remove it, or use `[[set]]` to set its variables";
                self.report(extra.span, message, label);
                continue;
            }
            let line = self.source.line(extra.span.start);
            let row = Arc::new(ExtraRow { settings: extra.settings, line });
            variants.push(builder.variant(self, extra.values, Some(row), &extra.span));
        }
    }

    fn check_ids(&mut self, variants: &[Variant], span: &Span) {
        if variants.is_empty() {
            let label = "the rules exclude every combination";
            self.report(span.clone(), "the matrix has no variants", label);
        }
        let mut seen = HashSet::with_capacity(variants.len());
        if let Some(twin) = variants.iter().find(|variant| !seen.insert(variant.id.as_str())) {
            let message = format!("two variants have the id `{}`", twin.id);
            let label = "their values, joined by dashes, are equal";
            self.report(span.clone(), message, label);
        }
    }
}

/// Builds variants that share equal lists of platforms.
struct VariantBuilder<'a> {
    axes: &'a [Axis],
    base: &'a Settings,
    sets: &'a [Set],
    platforms: HashMap<Vec<Platform>, Arc<[Platform]>>,
}

impl VariantBuilder<'_> {
    fn variant(
        &mut self,
        checker: &mut Checker<'_>,
        values: Vec<usize>,
        extra: Option<Arc<ExtraRow>>,
        span: &Span,
    ) -> Variant {
        let (id, name) = id_and_name(self.axes, &values);
        let of_sets = self.sets.iter().filter(|set| set.when.admits(&values));
        let tables = std::iter::once(self.base)
            .chain(of_sets.map(|set| &set.settings))
            .chain(extra.as_deref().map(|extra| &extra.settings));
        let listed = tables.filter_map(|settings| settings.platforms.as_ref()).next_back();
        let mut platforms = listed.cloned().unwrap_or_default();
        let chosen = self.axes.iter().zip(&values).map(|(axis, at)| &axis.values[*at]);
        for limit in chosen.filter_map(|value| value.platforms.as_ref()) {
            platforms.retain(|platform| limit.contains(platform));
        }
        if platforms.is_empty() {
            let message = format!("variant `{id}` has no platform");
            let label = "its values have no platform of these in common";
            checker.report(span.clone(), message, label);
        }
        let platforms = self
            .platforms
            .entry(platforms)
            .or_insert_with_key(|platforms| platforms.as_slice().into())
            .clone();
        Variant { id, name, values, platforms, extra }
    }
}

/// Returns every combination of the values of axes with `counts` values each. The last axis changes first.
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
