//! `[version]` and `[generated]`: files of the repository that go with the matrix.

use std::str::FromStr as _;

use regex_lite::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_spanned::Spanned;

use super::diagnostic::Diagnostic;
use super::document::tables;
use super::safe;
use super::validate::{Checker, quoted_list};
use crate::image::Tag;

/// `[version]`: where the version lives that tags follow. It has the keys of a [`VersionPlace`], and
/// not one within it: serde flattens no table whose unknown keys are refused.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct VersionTable {
    /// The file, relative to this one.
    #[schemars(with = "String")]
    pub file: Spanned<String>,
    /// In a TOML or JSON file: the key, such as `project.version`; a part that holds a dot is
    /// written in quotes.
    #[schemars(with = "Option<String>")]
    pub key: Option<Spanned<String>>,
    /// In a Python, Rust or text file: the name that the version is assigned to.
    #[schemars(with = "Option<String>")]
    pub constant: Option<Spanned<String>>,
    /// In any file: a regular expression that matches once, and whose group `version` is the
    /// version, such as `base_image: .*:(?P<version>\S+)`.
    #[schemars(with = "Option<String>")]
    pub pattern: Option<Spanned<String>>,
    /// What the tag puts before the version, such as `v`.
    #[schemars(with = "Option<String>")]
    pub prefix: Option<Spanned<String>>,
    /// Other places that say the same version.
    #[serde(default)]
    #[schemars(with = "Vec<VersionPlace>")]
    pub also: Vec<Spanned<VersionPlace>>,
}

/// `[[version.also]]`: another place that says the version.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct VersionPlace {
    /// The file, relative to this one.
    #[schemars(with = "String")]
    pub file: Spanned<String>,
    /// In a TOML or JSON file: the key, such as `project.version`; a part that holds a dot is
    /// written in quotes.
    #[schemars(with = "Option<String>")]
    pub key: Option<Spanned<String>>,
    /// In a Python, Rust or text file: the name that the version is assigned to.
    #[schemars(with = "Option<String>")]
    pub constant: Option<Spanned<String>>,
    /// In any file: a regular expression that matches once, and whose group `version` is the
    /// version.
    #[schemars(with = "Option<String>")]
    pub pattern: Option<Spanned<String>>,
    /// What stands before this version in tags; nothing for a constant that is the whole version of a
    /// tag. Where it is given, the two together are the version of the tags, letter for letter but at the
    /// keys `version` of `Cargo.toml`, `package.json` and `pyproject.toml`; without it, only the numbers must be the same.
    #[schemars(with = "Option<String>")]
    pub prefix: Option<Spanned<String>>,
    /// What the tags put before the version: the `prefix` of `[version]`, whichever place this is.
    #[serde(skip)]
    #[schemars(skip)]
    pub prefix_of_tags: Option<String>,
}

tables!(VersionTable, VersionPlace, GeneratedTable);

impl VersionTable {
    /// The first place, the one that is read.
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
        self.prefix.as_ref().map(|prefix| prefix.get_ref().clone())
    }

    /// All places, the one that is read first.
    #[must_use]
    pub fn places(&self) -> Vec<VersionPlace> {
        let others = self.also.iter().map(|place| VersionPlace {
            prefix_of_tags: self.prefix_of_tags(),
            ..place.get_ref().clone()
        });
        std::iter::once(self.first()).chain(others).collect()
    }
}

/// `[generated]`: files that are made from the matrix, and committed beside it.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct GeneratedTable {
    /// A Markdown file that has the table of the images between the lines `<!-- images: … -->`
    /// and `<!-- end of images -->`.
    #[schemars(with = "Option<String>")]
    pub readme: Option<Spanned<String>>,
    /// The folder that `basegen render -o` wrote all variants to.
    #[schemars(with = "Option<String>")]
    pub rendered: Option<Spanned<String>>,
}

impl GeneratedTable {
    /// Why a file at `path` may not be generated, if it may not: it is in the matrix' folder.
    #[must_use]
    pub fn refuses(path: &str) -> Option<String> {
        safe::refuse_path(path)
    }
}

/// The group of a `pattern` that is the version.
pub const VERSION_GROUP: &str = "version";

/// The expression of a `pattern`: `^` and `$` are the beginning and the end of a line, whatever
/// lines end with.
pub fn version_pattern(pattern: &str) -> Result<Regex, regex_lite::Error> {
    RegexBuilder::new(pattern).multi_line(true).crlf(true).build()
}

impl Checker<'_> {
    /// `[version]`.
    pub(super) fn version(&mut self, table: Option<&Spanned<VersionTable>>) {
        let Some(table) = table else { return };
        for place in table.get_ref().places() {
            self.place(&place);
        }
    }

    fn place(&mut self, place: &VersionPlace) {
        // The version of a project is often above its images.
        let parts = place.file.get_ref().split('/');
        let below = parts.map(|part| if part == ".." { "." } else { part });
        if let Some(reason) = safe::refuse_path(&below.collect::<Vec<_>>().join("/")) {
            self.refuse_file(&place.file, reason);
        } else {
            self.confine(&place.file);
        }
        let ways =
            [("key", &place.key), ("constant", &place.constant), ("pattern", &place.pattern)];
        let given: Vec<_> =
            ways.into_iter().filter_map(|(name, way)| Some((name, way.as_ref()?))).collect();
        if let [_, second, ..] = given.as_slice() {
            let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
            let message = format!("a version is at one place, not at {}", quoted_list(&names));
            self.refuse(Diagnostic::new(second.1.span(), message, "leave one of them"));
        }
        let is_prefix = |text: &str| text.is_empty() || Tag::from_str(text).is_ok();
        if let Some(prefix) = place.prefix.as_ref().filter(|prefix| !is_prefix(prefix.get_ref())) {
            let shown = prefix.get_ref().escape_debug();
            let message = format!("`{shown}` cannot stand before a version in a tag");
            let label = "letters, digits, `_`, `.` and `-`, and a letter, a digit or `_` first";
            self.refuse(Diagnostic::new(prefix.span(), message, label));
        }
        let Some(pattern) = &place.pattern else { return };
        match version_pattern(pattern.get_ref()) {
            Err(error) => {
                let label = "not a regular expression";
                self.refuse(Diagnostic::new(pattern.span(), error.to_string(), label));
            }
            Ok(regex) if !regex.capture_names().flatten().any(|name| name == VERSION_GROUP) => {
                let message = "the pattern does not say which part is the version";
                let label = "it has no group called `version`";
                let diagnostic = Diagnostic::new(pattern.span(), message, label)
                    .help("put the version into one: `image: acme/base:(?P<version>\\S+)`");
                self.refuse(diagnostic);
            }
            Ok(_) => {}
        }
    }

    /// `[generated]`.
    pub(super) fn generated(&mut self, table: &GeneratedTable) {
        for path in [&table.readme, &table.rendered].into_iter().flatten() {
            if let Some(reason) = GeneratedTable::refuses(path.get_ref()) {
                self.refuse_file(path, reason);
            } else {
                self.confine(path);
            }
        }
    }

    fn refuse_file(&mut self, path: &Spanned<String>, reason: String) {
        let message = format!("`{}` is refused as a path", path.get_ref().escape_debug());
        self.refuse(Diagnostic::new(path.span(), message, reason));
    }
}
