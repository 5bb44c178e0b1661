//! Edits the lock files of Cargo, uv and npm, which repeat the version of their project. With the old version in them,
//! `cargo build --locked` and similar commands fail.

use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr as _;

use pep440_rs::Version as Pep440;
use toml::de::{DeTable, DeValue};

use super::keyed::{
    Missing, Syntax, in_json, in_toml, row_text, toml_rows, toml_text, without_mark,
};
use super::number::{Grammar, Number};
use super::place::VersionOccurrence;
use super::{VersionError, workspace};
use crate::files::{Checkout, MAX_PROJECT_FILE};
use crate::matrix::{VersionPlace, key_parts};

/// A part of a file and its new text.
pub(super) type Replacement = (Range<usize>, String);

/// Another file that the edit affects, its text, and the replacements in it.
pub(super) type Companion = (PathBuf, String, Vec<Replacement>);

const CARGO: &str = "Cargo.lock";
const UV: &str = "uv.lock";
const NPM: [&str; 2] = ["package-lock.json", "npm-shrinkwrap.json"];

/// Returns the names of the lock files that can repeat the version of a manifest called `name`.
#[must_use]
pub fn lock_files(name: &str) -> &'static [&'static str] {
    match name {
        "Cargo.toml" => &[CARGO],
        "pyproject.toml" => &[UV],
        "package.json" => &NPM,
        _ => &[],
    }
}

/// Returns the changes to lock files that are necessary when `place` changes from `occurrence` to `new`. `text` is the
/// content of its file.
pub(super) fn companions(
    place: &VersionPlace,
    text: &str,
    occurrence: &VersionOccurrence,
    new: &str,
    checkout: &Checkout,
) -> Result<Vec<Companion>, VersionError> {
    let Some(key) = &place.key else { return Ok(Vec::new()) };
    let key = key_parts(key.get_ref());
    let key: Vec<&str> = key.iter().map(String::as_str).collect();
    let name = occurrence.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let change = Change { occurrence, new, checkout };
    match (name, key.as_slice()) {
        ("Cargo.toml", ["package", "version"]) => {
            let own = toml_name(text, &["package", "name"]);
            change.cargo(&own.into_iter().collect::<Vec<_>>())
        }
        ("Cargo.toml", ["workspace", "package", "version"]) => {
            let manifests = workspace::manifests(checkout, change.home());
            change.cargo(&workspace::inheriting_packages(&manifests))
        }
        ("pyproject.toml", ["project", "version"]) => {
            let own = toml_name(text, &["project", "name"]);
            own.map_or(Ok(Vec::new()), |own| change.uv(&own))
        }
        ("package.json", ["version"]) => change.npm(),
        _ => Ok(Vec::new()),
    }
}

struct Change<'a> {
    occurrence: &'a VersionOccurrence,
    new: &'a str,
    checkout: &'a Checkout,
}

impl Change<'_> {
    /// The folder of the edited file, relative to the matrix file.
    fn home(&self) -> &Path {
        self.occurrence.path.parent().unwrap_or(Path::new(""))
    }

    /// Reads the nearest file of this name beside or above the edited file, up to the folder of the matrix file.
    fn nearest(&self, name: &str) -> Result<Option<(PathBuf, String)>, VersionError> {
        let mut folder = self.home().to_owned();
        loop {
            let path = folder.join(name);
            match self.checkout.read_text(&path, MAX_PROJECT_FILE) {
                Ok(text) => return Ok(Some((path, text))),
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error.into()),
            }
            if !matches!(folder.components().next_back(), Some(Component::Normal(_))) {
                return Ok(None);
            }
            folder.pop();
        }
    }

    /// Edits the packages called `names` in `Cargo.lock`. Packages without a source belong to the workspace.
    fn cargo(&self, names: &[String]) -> Result<Vec<Companion>, VersionError> {
        let Some((path, text)) = self.nearest(CARGO)? else { return Ok(Vec::new()) };
        let is_own = |name: &str| names.iter().any(|own| own == name);
        let replacements = self.rows(&path, &text, |row, text| {
            let mut found = Vec::new();
            if row.get("source").is_none() && row_text(row, "name").is_some_and(is_own) {
                found.extend(self.version_of(row, text, |locked| locked == self.occurrence.text));
            }
            // Dependencies have a version if several packages have the same name.
            let needs = row.get("dependencies").and_then(|needs| needs.get_ref().as_array());
            for need in needs.into_iter().flat_map(|needs| needs.iter()) {
                let occurrence = need.get_ref().as_str().unwrap_or_default();
                if let Some((name, version)) = occurrence.split_once(' ')
                    && is_own(name)
                    && version == self.occurrence.text
                {
                    let range = toml_text(text, need.span(), occurrence).range;
                    found.push((range, format!("{name} {}", self.new)));
                }
            }
            found
        })?;
        Ok(vec![(path, text, replacements)])
    }

    /// Edits the project called `name` in `uv.lock`. Its source is its folder.
    fn uv(&self, name: &str) -> Result<Vec<Companion>, VersionError> {
        let Some((path, text)) = self.nearest(UV)? else { return Ok(Vec::new()) };
        let name = normalized(name);
        // uv normalizes versions.
        let new = Pep440::from_str(self.new).map_or(self.new.to_owned(), |new| new.to_string());
        let change = Change { new: &new, ..*self };
        let home = self.below(&path);
        let home = if home.is_empty() { ".".to_owned() } else { home };
        let replacements = self.rows(&path, &text, |row, text| {
            let source = row.get("source").and_then(|source| source.get_ref().as_table());
            let kinds = ["editable", "virtual", "directory"];
            let is_here = source.is_some_and(|source| {
                kinds.iter().any(|kind| row_text(source, kind) == Some(&home))
            });
            let is_own = is_here && row_text(row, "name") == Some(&name);
            let is_old = |locked: &str| {
                Number::parse(locked, Some(Grammar::Pep440))
                    .is_ok_and(|locked| locked == self.occurrence.number)
            };
            is_own.then(|| change.version_of(row, text, is_old)).flatten().into_iter().collect()
        })?;
        Ok(vec![(path, text, replacements)])
    }

    /// Edits the two entries of a package in npm's lock files, or the one entry of a workspace package.
    fn npm(&self) -> Result<Vec<Companion>, VersionError> {
        let mut companions = Vec::new();
        for name in NPM {
            let Some((path, text)) = self.nearest(name)? else { continue };
            let home = self.below(&path);
            let mut keys = vec![vec!["packages", home.as_str(), "version"]];
            if home.is_empty() {
                keys.push(vec!["version"]);
            }
            let mut replacements = Vec::new();
            for key in keys {
                match in_json(&text, &key) {
                    Ok(found) if found.value == self.occurrence.text => {
                        replacements.push((found.range, self.new.to_owned()));
                    }
                    Ok(_) | Err(Missing::Key | Missing::Text | Missing::Twice(_)) => {}
                    Err(Missing::Syntax(Syntax { line, source })) => {
                        let path = self.checkout.folder().join(path);
                        return Err(VersionError::Syntax { path, line, source });
                    }
                }
            }
            companions.push((path, text, replacements));
        }
        Ok(companions)
    }

    /// The folder of the edited file, relative to that of a lock file above it.
    fn below(&self, lock: &Path) -> String {
        let above = lock.parent().unwrap_or(Path::new(""));
        let below = self.home().strip_prefix(above).unwrap_or(Path::new(""));
        below.to_string_lossy().into_owned()
    }

    /// Returns the replacements that `find` returns for each `[[package]]` of a lock file.
    fn rows(
        &self,
        path: &Path,
        text: &str,
        find: impl Fn(&DeTable<'_>, &str) -> Vec<Replacement>,
    ) -> Result<Vec<Replacement>, VersionError> {
        let (shift, text) = without_mark(text);
        let parsed = DeTable::parse(text).map_err(|error| {
            let Syntax { line, source } = Syntax::from_toml(error, text);
            VersionError::Syntax { path: self.checkout.folder().join(path), line, source }
        })?;
        let found = toml_rows(parsed.get_ref(), "package").flat_map(|row| find(row, text));
        Ok(found.map(|(range, new)| (range.start + shift..range.end + shift, new)).collect())
    }

    /// Returns the replacement of the version of a row, if it `is_old`.
    fn version_of(
        &self,
        row: &DeTable<'_>,
        text: &str,
        is_old: impl Fn(&str) -> bool,
    ) -> Option<Replacement> {
        let version = row.get("version")?;
        let DeValue::String(locked) = version.get_ref() else { return None };
        let range = toml_text(text, version.span(), locked).range;
        is_old(locked).then(|| (range, self.new.to_owned()))
    }
}

/// Normalizes the name of a project as [PEP 503](https://peps.python.org/pep-0503/#normalized-names) does.
fn normalized(name: &str) -> String {
    let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

fn toml_name(text: &str, key: &[&str]) -> Option<String> {
    in_toml(text, key).ok().map(|name| name.value)
}
