//! `[version]` and `[generated]`: files of the repository that follow the matrix.

use std::str::FromStr as _;

use regex_lite::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

use super::checker::Checker;
use super::diagnostic::quoted_list;
use super::document::tables;
use super::safe;
use super::spanned::Spanned;
use crate::image::Tag;

/// `[version]`: the location of the version that tags contain.
// The keys of a `VersionPlace`, not flattened: serde cannot combine `flatten` and `deny_unknown_fields`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct VersionTable {
    /// The path of the file, relative to this file.
    pub file: Spanned<String>,
    /// In a TOML or JSON file: the key, such as `project.version`. A part that contains a dot is
    /// written in quotes.
    pub key: Option<Spanned<String>>,
    /// In a Python, Rust or text file: the name of the constant.
    pub constant: Option<Spanned<String>>,
    /// In any file: a regular expression that matches once. Its group `version` is the
    /// version, as in `base_image: .*:(?P<version>\S+)`.
    pub pattern: Option<Spanned<String>>,
    /// The prefix of the version in tags, such as `v`. Default: none.
    pub prefix: Option<Spanned<String>>,
    /// The location of the version of the product that the images belong to. Whenever images change, their version must be
    /// that of the product, even if that skips versions.
    pub follows: Option<Spanned<VersionPlace>>,
    /// Other locations of the same version.
    #[serde(default)]
    pub also: Vec<Spanned<VersionPlace>>,
}

/// `[[version.also]]` and `[version.follows]`: another location of a version.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct VersionPlace {
    /// The path of the file, relative to this file.
    pub file: Spanned<String>,
    /// In a TOML or JSON file: the key, such as `project.version`. A part that contains a dot is
    /// written in quotes.
    pub key: Option<Spanned<String>>,
    /// In a Python, Rust or text file: the name of the constant.
    pub constant: Option<Spanned<String>>,
    /// In any file: a regular expression that matches once. Its group `version` is the
    /// version.
    pub pattern: Option<Spanned<String>>,
    /// The prefix that tags add to this version; empty for the complete version of a tag. If set, prefix and version
    /// together must equal the version of the tags exactly, except at the key `version` of `Cargo.toml`,
    /// `package.json` and `pyproject.toml`. If not set, only the numbers must be equal.
    pub prefix: Option<Spanned<String>>,
    /// The `prefix` of `[version]`.
    #[serde(skip)]
    #[schemars(skip)]
    pub prefix_of_tags: Option<String>,
}

tables!(VersionTable, VersionPlace, GeneratedTable);

impl VersionTable {
    /// Returns the first location, from which the version is read.
    #[must_use]
    pub fn first(&self) -> VersionPlace {
        VersionPlace {
            file: self.file.clone(),
            key: self.key.clone(),
            constant: self.constant.clone(),
            pattern: self.pattern.clone(),
            prefix: self.prefix.clone(),
            prefix_of_tags: self.prefix_of_tags(),
        }
    }

    fn prefix_of_tags(&self) -> Option<String> {
        self.prefix.as_deref().cloned()
    }

    /// Returns all locations, starting with [`VersionTable::first`].
    #[must_use]
    pub fn places(&self) -> Vec<VersionPlace> {
        let others = self.also.iter().map(|place| VersionPlace {
            prefix_of_tags: self.prefix_of_tags(),
            ..place.get_ref().clone()
        });
        std::iter::once(self.first()).chain(others).collect()
    }
}

/// `[generated]`: files that basegen generates from the matrix and that are committed beside it.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct GeneratedTable {
    /// The path of a Markdown file, relative to this file. basegen writes the table of the images between its lines
    /// `<!-- images: … -->` and `<!-- end of images -->`.
    pub readme: Option<Spanned<String>>,
    /// The folder with the output of `basegen render -o` for all variants, relative to this file.
    pub rendered: Option<Spanned<String>>,
}

impl GeneratedTable {
    /// Returns why a file at `path` cannot be generated, if so. It must be in the folder of the matrix file.
    #[must_use]
    pub fn refuses(path: &str) -> Option<String> {
        safe::refuse_path(path)
    }
}

/// The group of a `pattern` that contains the version.
pub const VERSION_GROUP: &str = "version";

/// Compiles a `pattern`. `^` and `$` match at the beginning and end of each line, with any line ending.
pub fn version_pattern(pattern: &str) -> Result<Regex, regex_lite::Error> {
    RegexBuilder::new(pattern).multi_line(true).crlf(true).build()
}

impl Checker<'_> {
    pub(super) fn version(&mut self, table: Option<&Spanned<VersionTable>>) {
        for place in table.map(|table| table.places()).unwrap_or_default() {
            self.place(&place);
        }
        if let Some(place) = table.and_then(|table| table.follows.as_ref()) {
            self.place(place);
        }
    }

    fn place(&mut self, place: &VersionPlace) {
        if let Some(reason) = safe::refuse_project_path(&place.file) {
            self.report_path(&place.file, reason);
        } else {
            self.confine(&place.file);
        }
        let keys =
            [("key", &place.key), ("constant", &place.constant), ("pattern", &place.pattern)];
        let given: Vec<_> =
            keys.into_iter().filter_map(|(name, key)| Some((name, key.as_ref()?))).collect();
        if let [_, (_, second), ..] = given.as_slice() {
            let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
            let message = format!("only one of {} can be set", quoted_list(&names));
            self.report(second.span(), message, "remove all but one of them");
        }
        let is_prefix = |text: &str| text.is_empty() || Tag::from_str(text).is_ok();
        if let Some(prefix) = place.prefix.as_ref().filter(|prefix| !is_prefix(prefix)) {
            let message = format!("`{}` is not a valid prefix of a tag", prefix.escape_debug());
            let label = "expected letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`";
            self.report(prefix.span(), message, label);
        }
        let Some(pattern) = &place.pattern else { return };
        match version_pattern(pattern) {
            Err(error) => {
                self.report(pattern.span(), error.to_string(), "invalid regular expression");
            }
            Ok(regex) if !regex.capture_names().flatten().any(|name| name == VERSION_GROUP) => {
                let message = "the pattern has no group `version`";
                let help = "put the version into a group: `image: acme/base:(?P<version>\\S+)`";
                self.report(pattern.span(), message, "").help = Some(help.to_owned());
            }
            Ok(_) => {}
        }
    }

    pub(super) fn generated(&mut self, table: &GeneratedTable) {
        for path in [&table.readme, &table.rendered].into_iter().flatten() {
            if let Some(reason) = GeneratedTable::refuses(path) {
                self.report_path(path, reason);
            } else {
                self.confine(path);
            }
        }
    }
}
