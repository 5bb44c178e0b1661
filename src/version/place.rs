//! Finds the only occurrence of a version in a file.

use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use super::code::assignments;
use super::keyed::{Missing, Syntax, Text, in_json, in_toml, without_mark};
use super::number::{Grammar, Number, is_number, split_prefix};
use super::{BumpError, Version, VersionError};
use crate::files::{Checkout, MAX_PROJECT_FILE};
use crate::matrix::{VERSION_GROUP, VersionPlace, key_parts, version_pattern};

/// The version at one place. Lines are counted from 1.
#[derive(Debug, Clone)]
pub struct VersionOccurrence {
    /// The file, relative to the matrix' folder.
    pub path: PathBuf,
    pub line: usize,
    /// The text of the file at this place.
    pub text: String,
    /// The version, with the `prefix` of the place.
    pub version: Version,
    pub number: Number,
    /// The length of the part of `text` before the number, in bytes.
    pub(super) shift: usize,
    /// The `prefix` of the place: text that only tags have.
    pub(super) prefix: Option<String>,
    /// The grammar that this kind of file requires.
    pub(super) grammar: Option<Grammar>,
    pub(super) range: Range<usize>,
}

impl VersionOccurrence {
    /// Returns the place as messages name it: `path:line`.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.line)
    }

    /// Returns true if this is the same version as at `first`, the place that determines the version.
    #[must_use]
    pub fn agrees_with(&self, first: &Self) -> bool {
        match &self.prefix {
            Some(_) if self.is_verbatim() => self.version == first.version,
            Some(_) => {
                self.number == first.number && self.version.prefix() == first.version.prefix()
            }
            None => self.number == first.number,
        }
    }

    /// Returns the occurrence as if it had `version`.
    pub fn at(&self, version: &Version) -> Result<Self, BumpError> {
        let number = version.number().map_err(BumpError::Invalid)?;
        Ok(Self { number, version: version.clone(), ..self.clone() })
    }

    /// The text before the number.
    pub(super) fn before(&self) -> &str {
        &self.text[..self.shift]
    }

    /// The text of the number.
    pub(super) fn written(&self) -> &str {
        &self.text[self.shift..]
    }

    /// Returns true if the place has the same text as tags: its prefix is known, and its file requires no grammar.
    pub(super) fn is_verbatim(&self) -> bool {
        self.prefix.is_some() && self.grammar.is_none()
    }
}

/// Joins and shortens paths for messages: `a/../b` becomes `b`. If `a` is a symbolic link, they can be different files.
#[must_use]
pub fn display_path(folder: &Path, path: &Path) -> PathBuf {
    let mut shortened = PathBuf::new();
    for part in folder.join(path).components() {
        match (part, shortened.components().next_back()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => drop(shortened.pop()),
            _ => shortened.push(part),
        }
    }
    shortened
}

/// Returns the canonical path of a file, to compare files with several names.
#[must_use]
pub fn file_identity(folder: &Path, path: &Path) -> PathBuf {
    let path = folder.join(path);
    fs_err::canonicalize(&path).unwrap_or_else(|_| display_path(Path::new(""), &path))
}

/// Returns the grammar that package managers require for the key `version` of their manifests.
fn grammar_of(place: &VersionPlace, path: &Path) -> Option<Grammar> {
    let key = key_parts(place.key.as_ref()?.get_ref());
    if key.last()? != "version" {
        return None;
    }
    match path.file_name()?.to_str()? {
        "Cargo.toml" | "package.json" => Some(Grammar::SemVer),
        "pyproject.toml" => Some(Grammar::Pep440),
        _ => None,
    }
}

/// Finds the version at a place. Its file is relative to the folder of `checkout`.
pub fn locate(
    place: &VersionPlace,
    checkout: &Checkout,
) -> Result<VersionOccurrence, VersionError> {
    let text = checkout.read_text(Path::new(place.file.get_ref()), MAX_PROJECT_FILE)?;
    locate_in(place, checkout.folder(), &text)
}

/// Finds the version at a place in the `text` of its file.
pub(super) fn locate_in(
    place: &VersionPlace,
    folder: &Path,
    text: &str,
) -> Result<VersionOccurrence, VersionError> {
    let path = &display_path(folder, Path::new(place.file.get_ref()));
    let found = find(place, path, text)?;
    let line = line(text, found.range.start);
    let invalid =
        |source| VersionError::Invalid { place: format!("{}:{line}", path.display()), source };
    let prefix = place.prefix.as_ref().map(|prefix| prefix.get_ref().clone());
    let before = prefix.as_deref().unwrap_or_default();
    let text = found.value;
    let shift = shift(&text, before, place.prefix_of_tags.as_deref().unwrap_or_default());
    let (own, number) = text.split_at(shift);
    let version = Version::with_prefix(&format!("{before}{own}"), number).map_err(invalid)?;
    let grammar = grammar_of(place, path);
    let number = Number::parse(number, grammar).map_err(invalid)?;
    let path = PathBuf::from(place.file.get_ref());
    Ok(VersionOccurrence {
        path,
        line,
        text,
        version,
        number,
        shift,
        prefix,
        grammar,
        range: found.range,
    })
}

/// Returns the length of the prefix of `text` in bytes. The prefix of tags, without the part `before` that the place adds,
/// counts even if it ends with a digit.
fn shift(text: &str, before: &str, of_tags: &str) -> usize {
    let of_tags = of_tags.strip_prefix(before).unwrap_or_default();
    match text.strip_prefix(of_tags) {
        Some(number) if !of_tags.is_empty() && is_number(number) => of_tags.len(),
        _ => split_prefix(text).0.len(),
    }
}

/// Returns the line of the byte at `offset`, from 1.
pub(super) fn line(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// Finds the text of the version.
fn find(place: &VersionPlace, path: &Path, text: &str) -> Result<Text, VersionError> {
    let value = |way: &Option<crate::matrix::Spanned<String>>| {
        way.as_ref().map(|way| way.get_ref().clone())
    };
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match (ending, value(&place.key), value(&place.constant), value(&place.pattern)) {
        (_, None, None, Some(pattern)) => pattern_match(path, &pattern, text),
        (_, _, _, Some(_)) => Err(rule(path, "set only one of `key`, `constant` and `pattern`")),
        ("toml", Some(key), None, _) => at_key(path, &key, text, in_toml),
        ("json", Some(key), None, _) => at_key(path, &key, text, in_json),
        ("toml" | "json", ..) => Err(rule(path, "a TOML or JSON file requires `key` or `pattern`")),
        (_, Some(_), ..) => {
            Err(rule(path, "only TOML and JSON files have keys; set `constant` or `pattern`"))
        }
        (_, None, Some(name), _) => constant(path, &name, ending, text),
        (_, None, None, _) => only_line(path, text),
    }
}

fn rule(path: &Path, rule: &'static str) -> VersionError {
    VersionError::Place { path: path.to_owned(), rule }
}

fn missing(path: &Path, what: String) -> VersionError {
    VersionError::Missing { path: path.to_owned(), what, hint: None }
}

fn ambiguous(path: &Path, what: String, lines: Vec<usize>) -> VersionError {
    VersionError::Ambiguous { path: path.to_owned(), what, lines }
}

fn at_key(
    path: &Path,
    key: &str,
    text: &str,
    read: fn(&str, &[&str]) -> Result<Text, Missing>,
) -> Result<Text, VersionError> {
    let parts = key_parts(key);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let found = read(text, &parts).map_err(|why| match why {
        Missing::Key => VersionError::Missing {
            path: path.to_owned(),
            what: format!("key `{key}`"),
            hint: version_elsewhere(&parts),
        },
        Missing::Text => VersionError::Missing {
            path: path.to_owned(),
            what: format!("text at the key `{key}`"),
            hint: version_elsewhere(&parts),
        },
        Missing::Twice(offsets) => {
            let lines = offsets.into_iter().map(|offset| line(text, offset)).collect();
            ambiguous(path, format!("has the key `{key}`"), lines)
        }
        Missing::Syntax(Syntax { line, source }) => {
            VersionError::Syntax { path: path.to_owned(), line, source }
        }
    })?;
    if text[found.range.clone()] == found.value {
        Ok(found)
    } else {
        Err(rule(path, "its text has escape sequences"))
    }
}

/// Returns a hint for a key whose version is usually in another file.
fn version_elsewhere(key: &[&str]) -> Option<String> {
    let hint = match key {
        ["project", "version"] => {
            "if `project.dynamic` lists `version`, set `file` to the file that the build backend reads, and `constant` \
             or `pattern`"
        }
        ["package", "version"] => {
            "if the package inherits its version, set `file` to the `Cargo.toml` of the workspace, and `key` to \
             `workspace.package.version`"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn constant(path: &Path, name: &str, ending: &str, text: &str) -> Result<Text, VersionError> {
    let found = assignments(text, name, ending);
    if let [only] = found.as_slice()
        && let Some(range) = only.value.clone().filter(|_| !only.is_comment)
    {
        return Ok(Text { value: text[range.clone()].to_owned(), range });
    }
    let places = found.iter().map(|one| {
        let begin = text[..one.start].rfind('\n').map_or(0, |end| end + 1);
        let column = without_mark(&text[begin..one.start]).1.chars().count() + 1;
        (line(text, one.start), column, one.is_comment)
    });
    let (path, name, places) = (path.to_owned(), name.to_owned(), places.collect());
    Err(VersionError::Constant { path, name, places })
}

/// Finds the group `version` of the only match of a pattern.
fn pattern_match(path: &Path, pattern: &str, text: &str) -> Result<Text, VersionError> {
    let Ok(regex) = version_pattern(pattern) else {
        return Err(rule(path, "its `pattern` is not a regular expression"));
    };
    let (shift, text) = without_mark(text);
    let found: Vec<_> =
        regex.captures_iter(text).filter_map(|groups| groups.name(VERSION_GROUP)).collect();
    match found.as_slice() {
        [one] => {
            let range = one.start() + shift..one.end() + shift;
            Ok(Text { value: one.as_str().to_owned(), range })
        }
        [] => Err(missing(path, format!("match of `{pattern}`"))),
        many => {
            let lines = many.iter().map(|one| line(text, one.start())).collect();
            Err(ambiguous(path, format!("matches `{pattern}`"), lines))
        }
    }
}

/// Finds the only line of a file.
fn only_line(path: &Path, text: &str) -> Result<Text, VersionError> {
    let (shift, text) = without_mark(text);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(line), None) => {
            let start = text.find(line).expect("it is a part of the text") + shift;
            Ok(Text { value: line.to_owned(), range: start..start + line.len() })
        }
        (None, _) => Err(missing(path, "version: it is empty".to_owned())),
        (Some(_), Some(_)) => Err(rule(path, "it has several lines; set `constant` or `pattern`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displayed_paths_are_short() {
        let shown = |folder: &str, path: &str| {
            display_path(Path::new(folder), Path::new(path)).display().to_string()
        };
        assert_eq!(shown("", "README.md"), "README.md");
        assert_eq!(shown("images", "../pyproject.toml"), "pyproject.toml");
        assert_eq!(shown("./images", "./../../x/./y"), "../x/y");
        assert_eq!(shown("/a/b", "../c"), "/a/c");
    }
}
