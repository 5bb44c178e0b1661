//! `mirror`: images that are copied from another repository instead of being built.

use super::checker::Checker;
use super::model::{Matrix, Variant};
use super::pattern::Pattern;
use super::schema::SettingKeys;

/// The settings that a mirrored image can have. All others are inputs of a build.
const ALLOWED: [&str; 7] =
    ["mirror", "repository", "tag", "contracts", "max_size", "require_sm", "drop_sm"];

/// The settings that determine whether an image is mirrored or built.
const DETERMINING: [&str; 3] = ["mirror", "dockerfile", "base"];

impl Checker<'_> {
    /// Reports settings of a build in the table of a mirrored image.
    pub(super) fn mirror(&mut self, keys: &SettingKeys<'_>) {
        if keys.mirror.is_none() {
            return;
        }
        for (key, span) in keys.written() {
            if !ALLOWED.contains(&key) {
                let message = format!("`{key}` does not go with `mirror`");
                let label = "a mirrored image is copied and not built";
                self.report(span, message, label).help =
                    Some("remove one of the two keys".to_owned());
            }
        }
    }
}

impl Matrix {
    /// Returns the image that a variant is a copy of, as the matrix file names it. The last table with `mirror`, `dockerfile`
    /// or `base` determines whether an image is built.
    #[must_use]
    pub fn mirror<'a>(&'a self, variant: &'a Variant) -> Option<&'a Pattern> {
        let determines = |(key, _): &(&str, _)| DETERMINING.contains(key);
        let last = self
            .settings(variant)
            .last(|settings| settings.written.iter().any(determines).then_some(settings))?;
        last.mirror.as_ref()
    }
}
