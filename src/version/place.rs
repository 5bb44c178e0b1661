//! Where a version stands in a file: exactly once, or nowhere.

use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use toml::de::DeTable;

use super::code::assignments;
use super::keyed::{Missing, Syntax, Text, in_json, in_toml, key_parts, without_mark};
use super::number::{Grammar, Number, is_number, split_prefix};
use super::{BumpError, Version, VersionError};
use crate::files::{Checkout, MAX_PROJECT_FILE, read_text};
use crate::matrix::{VERSION_GROUP, VersionPlace, version_pattern};

/// What one place says.
#[derive(Debug, Clone)]
pub struct Said {
    /// The file, relative to the matrix' folder.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What stands there.
    pub text: String,
    /// The version that this is: as tags write it, where the place has a `prefix`.
    pub version: Version,
    /// The version as a number.
    pub number: Number,
    /// How many bytes of `text` stand before the number.
    pub(super) shift: usize,
    /// What the place says stands before it in tags.
    pub(super) prefix: Option<String>,
    /// How its kind of place writes versions.
    pub(super) grammar: Option<Grammar>,
    pub(super) range: Range<usize>,
}

impl Said {
    /// `path:line`.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.line)
    }

    /// Whether this says what `first`, the place that is read, says.
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

    /// The same place, as if it had `version`.
    pub fn at(&self, version: &Version) -> Result<Self, BumpError> {
        let number = version.number().map_err(BumpError::Invalid)?;
        Ok(Self { number, version: version.clone(), ..self.clone() })
    }

    /// What stands there before the number.
    pub(super) fn before(&self) -> &str {
        &self.text[..self.shift]
    }

    /// The number as it is written there.
    pub(super) fn written(&self) -> &str {
        &self.text[self.shift..]
    }

    /// Whether the place has the version letter for letter as tags have it: its prefix is known, and
    /// no grammar of its file's kind is in the way.
    pub(super) fn is_verbatim(&self) -> bool {
        self.prefix.is_some() && self.grammar.is_none()
    }
}

/// `path`, which is relative to `folder`, as people would write it: `a/../b` is `b`. For messages alone:
/// where `a` is a symbolic link, the two are not one file.
#[must_use]
pub fn named(folder: &Path, path: &Path) -> PathBuf {
    let mut named = PathBuf::new();
    for part in folder.join(path).components() {
        match (part, named.components().next_back()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => drop(named.pop()),
            _ => named.push(part),
        }
    }
    named
}

/// What tells a file from others, whatever name leads to it: where it is on disk, or would be.
#[must_use]
pub fn identity(folder: &Path, path: &Path) -> PathBuf {
    let path = folder.join(path);
    fs_err::canonicalize(&path).unwrap_or_else(|_| named(Path::new(""), &path))
}

/// The grammar that a place's kind asks for: package managers read the key `version` of their
/// manifests, and nothing else in them.
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

/// Reads the version at a place. Its file is relative to the folder of `checkout`.
pub fn say(place: &VersionPlace, checkout: &Checkout) -> Result<Said, VersionError> {
    let text = checkout.read_text(Path::new(place.file.get_ref()), MAX_PROJECT_FILE)?;
    said_in(place, checkout.folder(), &text)
}

/// The same in the text of the file.
pub(super) fn said_in(
    place: &VersionPlace,
    folder: &Path,
    text: &str,
) -> Result<Said, VersionError> {
    let path = &named(folder, Path::new(place.file.get_ref()));
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
    Ok(Said { path, line, text, version, number, shift, prefix, grammar, range: found.range })
}

/// How many bytes of `text` are a prefix: what it has of that `of_tags`, which may not look like
/// one, where the place puts `before` in front of it; otherwise what looks like one.
fn shift(text: &str, before: &str, of_tags: &str) -> usize {
    let of_tags = of_tags.strip_prefix(before).unwrap_or_default();
    match text.strip_prefix(of_tags) {
        Some(number) if !of_tags.is_empty() && is_number(number) => of_tags.len(),
        _ => split_prefix(text).0.len(),
    }
}

/// The line, from 1, on which the byte at `offset` stands.
pub(super) fn line(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// The version's text and where it stands.
fn find(place: &VersionPlace, path: &Path, text: &str) -> Result<Text, VersionError> {
    let value = |way: &Option<crate::matrix::Spanned<String>>| {
        way.as_ref().map(|way| way.get_ref().clone())
    };
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match (ending, value(&place.key), value(&place.constant), value(&place.pattern)) {
        (_, None, None, Some(pattern)) => matched(path, &pattern, text),
        (_, _, _, Some(_)) => Err(rule(path, "a place has one of `key`, `constant` and `pattern`")),
        ("toml", Some(key), None, _) => at_key(path, &key, text, in_toml),
        ("json", Some(key), None, _) => at_key(path, &key, text, in_json),
        ("toml" | "json", ..) => Err(rule(path, "a TOML or JSON file needs `key` or `pattern`")),
        (_, Some(_), ..) => {
            Err(rule(path, "only a TOML or JSON file has a `key`; give `constant` or `pattern`"))
        }
        (_, None, Some(name), _) => assigned(path, &name, ending, text),
        (_, None, None, _) => alone(path, text),
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
            hint: dynamic(&parts, text),
        },
        Missing::Text => VersionError::Missing {
            path: path.to_owned(),
            what: format!("text at the key `{key}`"),
            hint: inherited(&parts, path, text),
        },
        Missing::Twice(offsets) => {
            let lines = offsets.into_iter().map(|offset| line(text, offset)).collect();
            ambiguous(path, format!("has the key `{key}`"), lines)
        }
        Missing::Syntax(Syntax { line, source }) => {
            VersionError::Syntax { path: path.to_owned(), line, source }
        }
    })?;
    match text[found.range.clone()] == found.value {
        true => Ok(found),
        false => Err(rule(path, "it is written with escapes; write it as it is")),
    }
}

/// Where the version lives if `pyproject.toml` calls it dynamic.
fn dynamic(key: &[&str], text: &str) -> Option<String> {
    let table = DeTable::parse(without_mark(text).1).ok()?;
    let dynamic = table.get_ref().get("project")?.get_ref().get("dynamic")?.get_ref().as_array()?;
    if key != ["project", "version"]
        || !dynamic.iter().any(|key| key.as_ref().as_str() == Some("version"))
    {
        return None;
    }
    let named = |key: &[&str]| in_toml(text, key).ok().map(|found| found.value);
    let file = named(&["tool", "hatch", "version", "path"])
        .or_else(|| named(&["tool", "setuptools", "dynamic", "version", "file"]))
        .map(|file| format!("`{file}`"));
    let module = named(&["tool", "setuptools", "dynamic", "version", "attr"])
        .map(|name| format!("the module of `{name}`"));
    let place =
        file.or(module).unwrap_or_else(|| "the file that the build backend reads".to_owned());
    Some(format!(
        "`project.dynamic` lists `version`: set `file` to {place}, and `constant` or `pattern`"
    ))
}

/// Where the version lives if the package of a Cargo workspace inherits it.
fn inherited(key: &[&str], path: &Path, text: &str) -> Option<String> {
    let table = DeTable::parse(without_mark(text).1).ok()?;
    let version = table.get_ref().get("package")?.get_ref().get("version")?;
    if key != ["package", "version"] || version.get_ref().get("workspace").is_none() {
        return None;
    }
    let mut manifests = path.parent()?.ancestors().map(|folder| folder.join("Cargo.toml"));
    let is_root = |path: &PathBuf| {
        let text = read_text(path, MAX_PROJECT_FILE).unwrap_or_default();
        in_toml(&text, &["workspace", "package", "version"]).is_ok()
    };
    let root = manifests.find(is_root);
    let root = root
        .map_or("the workspace's `Cargo.toml`".to_owned(), |path| format!("`{}`", path.display()));
    Some(format!(
        "the package inherits its version: set `file` to {root} and `key` to `workspace.package.version`"
    ))
}

fn assigned(path: &Path, name: &str, ending: &str, text: &str) -> Result<Text, VersionError> {
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

/// The group `version` of the only match of a pattern.
fn matched(path: &Path, pattern: &str, text: &str) -> Result<Text, VersionError> {
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

/// The only line of a file that holds nothing else.
fn alone(path: &Path, text: &str) -> Result<Text, VersionError> {
    let (shift, text) = without_mark(text);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(line), None) => {
            let start = text.find(line).expect("it is a part of the text") + shift;
            Ok(Text { value: line.to_owned(), range: start..start + line.len() })
        }
        (None, _) => Err(missing(path, "version: it is empty".to_owned())),
        (Some(_), Some(_)) => {
            Err(rule(path, "it holds more than one line; give `constant` or `pattern`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_as_short_as_can_be() {
        let named = |folder: &str, path: &str| {
            named(Path::new(folder), Path::new(path)).display().to_string()
        };
        assert_eq!(named("", "README.md"), "README.md");
        assert_eq!(named("images", "../pyproject.toml"), "pyproject.toml");
        assert_eq!(named("./images", "./../../x/./y"), "../x/y");
        assert_eq!(named("/a/b", "../c"), "/a/c");
    }
}
