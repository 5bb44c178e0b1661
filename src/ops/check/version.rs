//! Checks the version in all places, and the release of it.

use std::path::Path;

use super::Checker;
use crate::error::{Explain as _, Report};
use crate::ops::finding::{Finding, Level};
use crate::ops::follow::Product;
use crate::ops::release_drift::{self, Problem, ReleaseDrift};
use crate::ops::{NoVersion, bump};
use crate::plan::Plan;
use crate::version::{self, VersionError, VersionOccurrence};

impl Checker<'_> {
    /// Returns the first place of the version, and a finding for each place that cannot be read or differs from it.
    pub(super) fn version(&self) -> (Option<VersionOccurrence>, Vec<Finding>) {
        let Some(table) = &self.matrix.version else { return (None, Vec::new()) };
        let mut findings = Vec::new();
        let mut places = Vec::new();
        for place in table.places() {
            match version::locate(&place, &self.matrix.checkout) {
                Ok(found) => places.push(Some(found)),
                Err(error) => {
                    let path = Path::new(place.file.get_ref());
                    findings.push(self.version_fault(path, &error));
                    places.push(None);
                }
            }
        }
        let mut places = places.into_iter();
        let Some(first) = places.next().flatten() else { return (None, findings) };
        for other in places.flatten().filter(|other| !other.agrees_with(&first)) {
            let message = format!(
                "the version is {} here, but {} in {}",
                other.version,
                first.version,
                first.place()
            );
            let hint = format!("`basegen bump {}` sets it everywhere", first.version);
            findings.push(self.finding("version", &other.path, other.line, message, hint));
        }
        (Some(first), findings)
    }

    /// Returns the version of the product if that of the images, `first`, is lower, and a finding if it cannot be read or is
    /// lower itself.
    pub(super) fn product(
        &self,
        first: Option<&VersionOccurrence>,
    ) -> (Option<Product>, Option<Finding>) {
        let table = self.matrix.version.as_ref();
        let Some(place) = table.and_then(|table| table.follows.as_ref()) else {
            return (None, None);
        };
        let product = match version::locate(place, &self.matrix.checkout).map(Product::new) {
            Ok(product) => product,
            Err(error) => {
                let path = Path::new(place.file.get_ref());
                return (None, Some(self.version_fault(path, &error)));
            }
        };
        let Some(first) = first else { return (None, None) };
        if product.is_below(first) {
            let message = format!(
                "the version of the images is {}, but that of the product is {product}",
                first.version
            );
            let hint = "raise the version of the product, or set that of the images back: \
                        `basegen bump VERSION --allow-downgrade`";
            return (None, Some(self.finding("version", &first.path, first.line, message, hint)));
        }
        ((!product.agrees_with(first)).then_some(product), None)
    }

    /// Compares `plan` with the release of the version `first`. `product` has a higher version.
    pub(super) async fn release(
        &self,
        plan: &Plan<'_>,
        first: &VersionOccurrence,
        product: Option<&Product>,
    ) -> Result<Vec<Finding>, Report> {
        let ReleaseDrift { problems, changed } =
            release_drift::find(self.context, plan, self.request.released).await?;
        let mut findings = Vec::new();
        let level = if self.request.allow_unbumped { Level::Note } else { Level::Error };
        if let Some(product) = product
            && changed.is_empty()
            && !bump::is_released(self.context, plan).await?
        {
            findings.push(Finding { level, ..self.unreleased(product, first) });
        }
        let finding = |message: String, hint: &str| {
            self.finding("registry", &first.path, first.line, message, hint)
        };
        if !changed.is_empty() {
            let shown: Vec<&str> = changed.iter().take(5).map(String::as_str).collect();
            let more = if changed.len() > shown.len() { ", …" } else { "" };
            let message = format!(
                "{} is already published with different content ({} of {} images: {}{more})",
                first.version,
                changed.len(),
                plan.targets.len(),
                shown.join(", ")
            );
            findings.push(Finding { level, ..finding(message, &self.bump_hint(product)) });
        }
        let problems = problems.into_iter();
        findings.extend(problems.map(|Problem { message, hint }| finding(message, &hint)));
        Ok(findings)
    }

    /// Reports images that are not released yet and do not have the version of their product.
    fn unreleased(&self, product: &Product, first: &VersionOccurrence) -> Finding {
        let message = format!(
            "{} is not released yet, and the version of the product is {product}",
            first.version
        );
        let hint = "`basegen bump follow` sets the version of the product";
        self.finding("version", &first.path, first.line, message, hint)
    }

    /// Returns how to bump the version of changed images. `product` is the one whose version is higher, if they follow one.
    fn bump_hint(&self, product: Option<&Product>) -> String {
        let table = self.matrix.version.as_ref();
        let follows = table.and_then(|table| table.follows.as_ref());
        match (product, follows) {
            (Some(product), _) => {
                format!("`basegen bump follow` sets the version of the product, {product}")
            }
            (None, Some(place)) => {
                let file = place.file.get_ref();
                format!("bump the version in `{file}`, then run `basegen bump follow`")
            }
            (None, None) => "bump the version: `basegen bump patch`".to_owned(),
        }
    }

    /// Reports the checks that were left out because the matrix has no version. Another finding reports a version that
    /// cannot be read.
    pub(super) fn unchecked(&self) -> Option<Finding> {
        let has_readme = self.matrix.generated.readme.is_some();
        let unchecked = match (has_readme, self.request.offline) {
            _ if self.matrix.version.is_some() => return None,
            (true, false) => "the table of images and the registry were",
            (true, true) => "the table of images was",
            (false, false) => "the registry was",
            (false, true) => return None,
        };
        let message = format!("{unchecked} not checked: {NoVersion}");
        let hint = NoVersion.hint().unwrap_or_default();
        let level = if self.request.released { Level::Error } else { Level::Note };
        let finding = self.finding("version", &self.matrix_file(), 1, message, hint);
        Some(Finding { level, ..finding })
    }

    fn version_fault(&self, path: &Path, error: &VersionError) -> Finding {
        self.fault("version", path, error.line(), error)
    }
}
