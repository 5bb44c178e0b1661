//! Computes the edits that change the version at all of its places.

use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use indexmap::IndexMap;
use similar::TextDiff;

use super::locks::{Replacement, companions};
use super::number::{Grammar, Number, Padding, Style};
use super::place::{VersionOccurrence, display_path, file_identity, locate_in};
use super::{Version, VersionError};
use crate::files::{Checkout, MAX_PROJECT_FILE};
use crate::matrix::VersionTable;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEdit {
    /// The file, relative to the matrix' folder.
    pub path: PathBuf,
    pub before: String,
    pub after: String,
}

/// Returns the occurrences at all places of `table`, the one that determines the version first. Fails if they differ.
pub fn agreed(
    table: &VersionTable,
    checkout: &Checkout,
) -> Result<Vec<VersionOccurrence>, VersionError> {
    let places = table.places();
    let occurrences = places.iter().map(|place| super::locate(place, checkout));
    let occurrences = occurrences.collect::<Result<Vec<_>, _>>()?;
    if occurrences.iter().all(|other| other.agrees_with(&occurrences[0])) {
        return Ok(occurrences);
    }
    let versions = occurrences.iter().map(|one| (one.place(), one.version.to_string()));
    Err(VersionError::Disagree(versions.collect()))
}

/// Returns the edits that change every place of `table`, and the lock files of its packages, to the version `to`. Paths are
/// relative to the folder of `checkout`. Each place keeps its prefix and its style.
///
/// # Errors
///
/// A place does not have exactly one version, or cannot express `to`.
pub fn edits(
    table: &VersionTable,
    checkout: &Checkout,
    to: &Version,
) -> Result<Vec<FileEdit>, VersionError> {
    let folder = checkout.folder();
    let mut wanted = Target::new(to)?;
    let mut files: IndexMap<PathBuf, Edited> = IndexMap::new();
    for place in table.places() {
        let path = plain(place.file.get_ref());
        let id = file_identity(folder, &path);
        if !files.contains_key(&id) {
            let text = checkout.read_text(&path, MAX_PROJECT_FILE)?;
            files.insert(id.clone(), Edited::new(path, text));
        }
        let file = &files[&id];
        let occurrence = locate_in(&place, folder, &file.text)?;
        let Some((before, number)) = wanted.text(&occurrence)? else { continue };
        let companions = companions(&place, &file.text, &occurrence, &number, checkout)?;
        files[&id].add((occurrence.range, before + &number), folder)?;
        for (path, text, replacements) in companions {
            let id = file_identity(folder, &path);
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

/// A file, under the first of its names, and the replacements in it.
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
        // A pattern and a key can be the same place.
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

/// The new version of all places.
struct Target<'a> {
    to: &'a Version,
    number: Number,
    first: Option<First>,
}

/// The place that determines the version. Other places use its style if they show none.
struct First {
    style: Style,
    /// Its new version, as in tags.
    version: Version,
    /// The digits of its present numbers.
    now: Padding,
}

impl<'a> Target<'a> {
    fn new(to: &'a Version) -> Result<Self, VersionError> {
        let unwritable =
            |source| VersionError::Unwritable { version: to.to_string(), place: None, source };
        Ok(Self { to, number: to.number().map_err(unwritable)?, first: None })
    }

    /// Returns the new prefix and number of an occurrence, or `None` if it has the version already. Call it for the first place
    /// first.
    fn text(
        &mut self,
        occurrence: &VersionOccurrence,
    ) -> Result<Option<(String, String)>, VersionError> {
        let written = self.to.written();
        let style = style(occurrence, self.first.as_ref(), written);
        let is_accepted = accepts(occurrence, self.first.as_ref(), written);
        if self.first.is_none() {
            let version = new_version(occurrence, &self.number, written)?;
            let padding = Padding::of(version.written()).or(style.padding);
            let (style, now) = (Style { padding, ..style }, Padding::of(occurrence.written()));
            self.first = Some(First { style, version, now });
        }
        let tags = self.first.iter().map(|first| &first.version).find(|_| occurrence.is_verbatim());
        if let Some(tags) = tags {
            if occurrence.version == *tags {
                return Ok(None);
            }
            let prefix = occurrence.prefix.as_deref().unwrap_or_default();
            let text = tags.as_str().strip_prefix(prefix);
            let text = text.ok_or_else(|| VersionError::Prefix {
                version: tags.to_string(),
                place: occurrence.place(),
                prefix: prefix.to_owned(),
            })?;
            let (before, number) = text.split_at(tags.prefix().len().saturating_sub(prefix.len()));
            return Ok(Some((before.to_owned(), number.to_owned())));
        }
        if occurrence.number == self.number {
            return Ok(None);
        }
        let new = if is_accepted {
            written.to_owned()
        } else {
            self.number.write(style).map_err(|source| VersionError::Unwritable {
                version: self.to.to_string(),
                place: Some(occurrence.place()),
                source,
            })?
        };
        Ok(Some((occurrence.before().to_owned(), new)))
    }
}

/// Returns the style of a place: of its kind of file, of its present text, of the first place (`main`), or of the new version
/// (`written`).
fn style(occurrence: &VersionOccurrence, main: Option<&First>, written: &str) -> Style {
    let shown = Style::of(occurrence.written());
    let of_main = main.map(|first| first.style);
    let style = match occurrence.grammar {
        Some(grammar) => {
            shown.filter(|shown| shown.grammar == grammar).unwrap_or(Style::usual(grammar))
        }
        None => shown.or(of_main).or_else(|| Style::of(written)).unwrap_or_else(|| {
            let is_python = occurrence.path.extension().is_some_and(|ending| ending == "py");
            Style::usual(if is_python { Grammar::Pep440 } else { Grammar::SemVer })
        }),
    };
    Style { padding: padding(occurrence, main), ..style }
}

/// Returns the padding of a place: its own, or the new one of the first place (`main`) if the two agree now.
fn padding(occurrence: &VersionOccurrence, main: Option<&First>) -> Padding {
    let own = Padding::of(occurrence.written());
    main.filter(|first| own.agrees_with(first.now)).map_or(own, |first| first.style.padding)
}

/// Returns true if a place accepts the new version as it is `written`: its grammar can read it, and its present text, except at
/// the first place, has the same style.
fn accepts(occurrence: &VersionOccurrence, main: Option<&First>, written: &str) -> bool {
    let shown = Style::of(occurrence.written());
    let is_otherwise = (shown.is_some() && shown != Style::of(written))
        || !padding(occurrence, main).admits(written);
    if main.is_some() && is_otherwise {
        return false;
    }
    let of_main = main.map(|first| first.style);
    let grammar = occurrence.grammar.or(shown.or(of_main).map(|style| style.grammar));
    match grammar {
        Some(grammar) => grammar.is_written(written),
        None => !written.is_empty(),
    }
}

/// Removes `.` from a path.
fn plain(path: &str) -> PathBuf {
    Path::new(path).components().filter(|part| *part != Component::CurDir).collect()
}

/// Returns the version of `number`, given as `written`, in the style of the `first` place.
pub(super) fn new_version(
    first: &VersionOccurrence,
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
    let text = if accepts(first, None, written) {
        written.to_owned()
    } else {
        number.write(style(first, None, written)).map_err(failed)?
    };
    Version::with_prefix(first.version.prefix(), &text).map_err(failed)
}

/// Replaces parts of `text` that do not overlap.
fn apply(text: &str, mut replacements: Vec<Replacement>) -> String {
    replacements.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut text = text.to_owned();
    for (range, new) in replacements {
        text.replace_range(range, &new);
    }
    text
}

/// Formats the edits as a unified diff, as `git diff` prints it. A file with empty `before` is new.
#[must_use]
pub fn diff(edits: &[FileEdit]) -> String {
    let one = |edit: &FileEdit| {
        let path = display_path(Path::new(""), &edit.path);
        let path = path.display();
        let old = if edit.before.is_empty() { "/dev/null".to_owned() } else { format!("a/{path}") };
        let diff = TextDiff::from_lines(&edit.before, &edit.after);
        let mut unified = diff.unified_diff();
        unified.context_radius(3).header(&old, &format!("b/{path}")).to_string()
    };
    edits.iter().map(one).collect()
}
