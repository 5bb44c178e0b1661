//! Variables of single platforms: `[platform."linux/arm64".variables]`.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};

use super::checker::Checker;
use super::model::{Axis, Matrix, Variant};
use super::schema::PlatformTable;
use super::spanned::Spanned;
use super::variables::TableVariables;
use crate::image::Platform;

/// The tables of platforms, by platform as written.
pub(super) type PlatformTables = IndexMap<Spanned<String>, Spanned<PlatformTable>>;

impl Checker<'_> {
    pub(super) fn platform_variables(
        &mut self,
        axes: &[Axis],
        tables: &PlatformTables,
    ) -> BTreeMap<Platform, TableVariables> {
        let mut all = BTreeMap::new();
        for (name, table) in tables {
            let variables = self.checked_variables(axes, &table.variables);
            match name.parse::<Platform>() {
                Ok(platform) => drop(all.insert(platform, variables)),
                Err(error) => drop(self.report(name.span(), error.to_string(), "invalid platform")),
            }
        }
        all
    }

    /// Reports platforms that no variant is built for.
    pub(super) fn check_platforms(&mut self, tables: &PlatformTables, variants: &[Variant]) {
        for name in tables.keys() {
            let platform = name.parse::<Platform>().ok();
            let is_built = |variant: &Variant| {
                platform.as_ref().is_none_or(|one| variant.platforms.contains(one))
            };
            if !variants.iter().any(is_built) {
                let message = format!("no variant is built for `{}`", name.as_str());
                self.report(name.span(), message, "add it to the `platforms` of a variant");
            }
        }
    }
}

impl Matrix {
    /// Returns true if templates see other variables on some platforms.
    #[must_use]
    pub fn has_platform_variables(&self) -> bool {
        !self.platform_variables.is_empty()
    }

    /// Returns the variables that templates see on `platform`: those of the platform override all others.
    #[must_use]
    pub fn variables_on(
        &self,
        variant: &Variant,
        platform: Option<&Platform>,
    ) -> Map<String, Json> {
        let mut all = self.variables(variant);
        if let Some(table) = platform.and_then(|platform| self.platform_variables.get(platform)) {
            let own = table.own.iter().map(|(name, value)| (name.as_str(), value));
            let files = table.of_files(|name| self.check_part(variant, name));
            let files = files.map(|(_, name, found)| (name, &found.value));
            all.extend(own.chain(files).map(|(name, value)| (name.to_owned(), value.clone())));
        }
        all
    }
}
