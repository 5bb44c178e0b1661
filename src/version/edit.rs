//! Edits of the files that say the version: all of them, or none.

use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use indexmap::IndexMap;
use similar::TextDiff;

use super::locks;
use super::number::{Grammar, Number, Padding, Style};
use super::place::{Said, identity, named, said_in};
use super::{Version, VersionError};
use crate::files::{Checkout, MAX_PROJECT_FILE};
use crate::matrix::VersionTable;

/// A file that is to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEdit {
    /// The file, relative to the matrix' folder.
    pub path: PathBuf,
    /// What it holds.
    pub before: String,
    /// What it is to hold.
    pub after: String,
}

/// A part of a file and what is to stand there.
pub(super) type Replacement = (Range<usize>, String);

/// Reads what each place of `table` says, the one that is read first; their files are relative
/// to the folder of `checkout`. Places that say different versions are an error.
pub fn agreed(table: &VersionTable, checkout: &Checkout) -> Result<Vec<Said>, VersionError> {
    let said = table
        .places()
        .iter()
        .map(|place| super::say(place, checkout))
        .collect::<Result<Vec<_>, _>>()?;
    let first = &said[0];
    if said.iter().all(|other| other.agrees_with(first)) {
        return Ok(said);
    }
    let told = said.iter().map(|said| (said.place(), said.version.to_string()));
    Err(VersionError::Disagree(told.collect()))
}

/// The edits that make every place of `table`, and the lock files of its packages, say `to`; the
/// files are relative to the folder of `checkout`. Each place keeps its prefix and its way of writing versions;
/// all else in the files stays as it is. No edits where all of them say so already.
///
/// # Errors
///
/// Where a version is not at its place exactly once, or the place cannot say `to`; nothing is
/// written in either case.
pub fn edits(
    table: &VersionTable,
    checkout: &Checkout,
    to: &Version,
) -> Result<Vec<FileEdit>, VersionError> {
    let folder = checkout.folder();
    let mut wanted = Wanted::new(to)?;
    let mut files: IndexMap<PathBuf, Edited> = IndexMap::new();
    for place in table.places() {
        let path = plain(place.file.get_ref());
        let id = identity(folder, &path);
        if !files.contains_key(&id) {
            let text = checkout.read_text(&path, MAX_PROJECT_FILE)?;
            files.insert(id.clone(), Edited::new(path, text));
        }
        let file = &files[&id];
        let said = said_in(&place, folder, &file.text)?;
        let Some((before, number)) = wanted.text(&said)? else { continue };
        let companions = locks::companions(&place, &file.text, &said, &number, checkout)?;
        files[&id].add((said.range, before + &number), folder)?;
        for (path, text, replacements) in companions {
            let id = identity(folder, &path);
            let file = files.entry(id).or_insert_with(|| Edited::new(path, text));
            for replacement in replacements {
                file.add(replacement, folder)?;
            }
        }
    }
    let edits = files.into_values().map(|Edited { path, text: before, replacements }| {
        let after = apply(&before, replacements);
        FileEdit { path, before, after }
    });
    Ok(edits.filter(|edit| edit.before != edit.after).collect())
}

/// A file, under the first of its names, and what is to be replaced in it.
struct Edited {
    path: PathBuf,
    text: String,
    replacements: Vec<Replacement>,
}

impl Edited {
    fn new(path: PathBuf, text: String) -> Self {
        Self { path, text, replacements: Vec::new() }
    }

    fn add(&mut self, (range, new): Replacement, folder: &Path) -> Result<(), VersionError> {
        // Two places may be one: a pattern, and the key that it is about.
        if self.replacements.iter().any(|(other, _)| *other == range) {
            return Ok(());
        }
        let overlaps = |other: &Range<usize>| other.start < range.end && range.start < other.end;
        if self.replacements.iter().any(|(other, _)| overlaps(other)) {
            let rule = "two places of the version overlap";
            return Err(VersionError::Place { path: folder.join(&self.path), rule });
        }
        self.replacements.push((range, new));
        Ok(())
    }
}

/// The version that all places are to say.
struct Wanted<'a> {
    to: &'a Version,
    number: Number,
    first: Option<First>,
}

/// The place that is read, which others follow where nothing else is known of them.
struct First {
    /// How it writes versions.
    style: Style,
    /// What it will say in tags.
    version: Version,
    /// With how many digits it writes numbers now.
    now: Padding,
}

impl<'a> Wanted<'a> {
    fn new(to: &'a Version) -> Result<Self, VersionError> {
        let unwritable =
            |source| VersionError::Unwritable { version: to.to_string(), place: None, source };
        Ok(Self { to, number: to.number().map_err(unwritable)?, first: None })
    }

    /// What is to stand where `said` stands, a prefix and a number; nothing where that says it
    /// already, however it is written. The first place comes first.
    fn text(&mut self, said: &Said) -> Result<Option<(String, String)>, VersionError> {
        let written = self.to.written();
        let style = style(said, self.first.as_ref(), written);
        let keeps = keeps(said, self.first.as_ref(), written);
        if self.first.is_none() {
            let version = spelled(said, &self.number, written)?;
            let padding = Padding::of(version.written()).or(style.padding);
            let (style, now) = (Style { padding, ..style }, Padding::of(said.written()));
            self.first = Some(First { style, version, now });
        }
        let tags = self.first.iter().map(|first| &first.version).find(|_| said.is_verbatim());
        if let Some(tags) = tags {
            if said.version == *tags {
                return Ok(None);
            }
            let prefix = said.prefix.as_deref().unwrap_or_default();
            let text = tags.as_str().strip_prefix(prefix);
            let text = text.ok_or_else(|| VersionError::Prefix {
                version: tags.to_string(),
                place: said.place(),
                prefix: prefix.to_owned(),
            })?;
            let (before, number) = text.split_at(tags.prefix().len().saturating_sub(prefix.len()));
            return Ok(Some((before.to_owned(), number.to_owned())));
        }
        if said.number == self.number {
            return Ok(None);
        }
        let new = match keeps {
            true => written.to_owned(),
            false => self.number.write(style).map_err(|source| VersionError::Unwritable {
                version: self.to.to_string(),
                place: Some(said.place()),
                source,
            })?,
        };
        Ok(Some((said.before().to_owned(), new)))
    }
}

/// How a place writes a version: as its kind of file does, as it is written now, as the first
/// place (`main`) does, or as the new version is `written`.
fn style(said: &Said, main: Option<&First>, written: &str) -> Style {
    let shown = Style::of(said.written());
    let of_main = main.map(|first| first.style);
    let style = match said.grammar {
        Some(grammar) => {
            shown.filter(|shown| shown.grammar == grammar).unwrap_or(Style::usual(grammar))
        }
        None => shown.or(of_main).or_else(|| Style::of(written)).unwrap_or_else(|| {
            let is_python = said.path.extension().is_some_and(|ending| ending == "py");
            Style::usual(if is_python { Grammar::Pep440 } else { Grammar::SemVer })
        }),
    };
    Style { padding: padding(said, main), ..style }
}

/// With how many digits a place writes numbers: as it does now, or as the first place (`main`)
/// will, where the two do so alike now.
fn padding(said: &Said, main: Option<&First>) -> Padding {
    let own = Padding::of(said.written());
    main.filter(|first| own.agrees_with(first.now)).map_or(own, |first| first.style.padding)
}

/// Whether a place takes a version as it is `written`: the place's own grammar reads it, and what
/// stands there now, but at the first place, is not written otherwise.
fn keeps(said: &Said, main: Option<&First>, written: &str) -> bool {
    let shown = Style::of(said.written());
    let is_otherwise =
        (shown.is_some() && shown != Style::of(written)) || !padding(said, main).admits(written);
    if main.is_some() && is_otherwise {
        return false;
    }
    let of_main = main.map(|first| first.style);
    let grammar = said.grammar.or(shown.or(of_main).map(|style| style.grammar));
    match grammar {
        Some(grammar) => grammar.is_written(written),
        None => !written.is_empty(),
    }
}

/// A path without the parts that lead nowhere, as it is shown.
fn plain(path: &str) -> PathBuf {
    Path::new(path).components().filter(|part| *part != Component::CurDir).collect()
}

/// `number`, of which `written` is how it was given, as the `first` place will say it in tags.
pub(super) fn spelled(
    first: &Said,
    number: &Number,
    written: &str,
) -> Result<Version, VersionError> {
    if first.number == *number {
        return Ok(first.version.clone());
    }
    let failed = |source| VersionError::Unwritable {
        version: number.to_string(),
        place: Some(first.place()),
        source,
    };
    let text = match keeps(first, None, written) {
        true => written.to_owned(),
        false => number.write(style(first, None, written)).map_err(failed)?,
    };
    Version::with_prefix(first.version.prefix(), &text).map_err(failed)
}

/// `text` with its parts replaced; they do not overlap.
fn apply(text: &str, mut replacements: Vec<Replacement>) -> String {
    replacements.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut text = text.to_owned();
    for (range, new) in replacements {
        text.replace_range(range, &new);
    }
    text
}

/// The edits as one unified diff, as `git diff` and `patch` know it; empty where there are none. A
/// file that held nothing is a new one.
#[must_use]
pub fn diff(edits: &[FileEdit]) -> String {
    let one = |edit: &FileEdit| {
        let path = named(Path::new(""), &edit.path);
        let path = path.display();
        let old = if edit.before.is_empty() { "/dev/null".to_owned() } else { format!("a/{path}") };
        let diff = TextDiff::from_lines(&edit.before, &edit.after);
        let mut unified = diff.unified_diff();
        unified.context_radius(3).header(&old, &format!("b/{path}")).to_string()
    };
    edits.iter().map(one).collect()
}
