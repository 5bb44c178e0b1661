//! Generates the text of a release's pull request.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::marker::{BEGIN, marker_with_version};
use crate::image::{Digest, Reference, Size};
use crate::matrix::is_invisible;
use crate::report::format;

/// The maximum number of reasons that are listed for a changed image.
const MAX_REASONS: usize = 3;

/// The head of the table of images.
const TABLE: &str = "| image | digest | size | change |\n| --- | --- | ---: | --- |";

/// The maximum length of a reason, in characters.
const MAX_REASON: usize = 160;

/// The content of a pull request's text.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    pub version: String,
    /// The version of the previous release, if it is known.
    pub previous: Option<String>,
    /// The images in the order of the plan.
    pub images: Vec<ImageRow>,
    /// The names of images that only the previous release has.
    pub removed: Vec<String>,
    /// The reference and digest of the release set.
    pub set: Option<(Reference, Digest)>,
    /// The hosts of the other registries that get the same images.
    pub other_registries: Vec<String>,
}

/// An image of a release.
#[derive(Debug, Clone)]
pub struct ImageRow {
    /// The reference with the tag of the version.
    pub reference: Reference,
    /// The published digest, or `None` if the image is not published yet.
    pub digest: Option<Digest>,
    /// The blobs with their compressed sizes in bytes.
    pub blobs: Vec<(Digest, u64)>,
    /// The compressed size of the image in the previous release, if that is another one, in bytes.
    pub size_before: Option<u64>,
    pub change: RowChange,
}

/// The difference between an image and that of the previous release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowChange {
    New,
    Unchanged,
    /// The image differs, for these reasons, the most specific first.
    Changed(Vec<String>),
    /// There is no previous release to compare with.
    Unknown,
}

/// The text of a pull request, shortened to GitHub's limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    pub text: String,
    /// The complete text, if `text` is shortened.
    pub spilled: Option<String>,
}

impl Notes {
    /// Generates the text in at most `room` bytes. It ends with `marker`, extended by the version. A
    /// table that is too long is shortened, unchanged images first; the sentence `place` then says where
    /// the complete table is.
    #[must_use]
    pub fn body(&self, marker: &str, place: &str, room: usize) -> Body {
        let mut rows = self.rows();
        let whole = self.text(&rows, "", marker);
        if whole.len() <= room {
            return Body { text: whole, spilled: None };
        }
        rows.sort_by_key(|(is_unchanged, _)| *is_unchanged);
        let note =
            |omitted: usize| format!("\n\n… and {}. {place}", format::count(omitted, "more image"));
        let frame = self.text(&[], &note(rows.len()), marker).len();
        let Some(mut left) = room.checked_sub(frame) else {
            let version = escaped(&self.version);
            let end = marker_with_version(marker, &self.version);
            let text =
                format!("{BEGIN}**{version}**: its images do not fit here. {place}\n\n{end}\n");
            return Body { text, spilled: Some(whole) };
        };
        let fits = |(_, row): &&(bool, String)| {
            let rest = left.checked_sub(row.len());
            left = rest.unwrap_or_default();
            rest.is_some()
        };
        let fitting = rows.iter().take_while(fits).count();
        let text = self.text(&rows[..fitting], &note(rows.len() - fitting), marker);
        Body { text, spilled: Some(whole) }
    }

    fn text(&self, rows: &[(bool, String)], note: &str, marker: &str) -> String {
        let mut text = format!("{BEGIN}{}\n\n{TABLE}", self.summary());
        text.extend(rows.iter().map(|(_, row)| row.as_str()));
        text.push_str(note);
        self.write_example(&mut text);
        let _ = write!(text, "\n\n{}\n", marker_with_version(marker, &self.version));
        text
    }

    /// Summarises the release in a few sentences.
    fn summary(&self) -> String {
        let count = |is_meant: fn(&RowChange) -> bool| {
            self.images.iter().filter(|image| is_meant(&image.change)).count()
        };
        let (version, images) = (escaped(&self.version), format::count(self.images.len(), "image"));
        let is_published = self.images.iter().all(|image| image.digest.is_some());
        let status = if is_published { "published" } else { "not published yet" };
        let mut text = format!("**{version}** is {status}: {images}");
        if self.images.iter().any(|image| image.change != RowChange::Unknown) {
            let words = [
                (count(|change| *change == RowChange::New), "new"),
                (count(|change| matches!(change, RowChange::Changed(_))), "changed"),
                (count(|change| *change == RowChange::Unchanged), "unchanged"),
                (self.removed.len(), "removed"),
            ];
            let counts: Vec<String> = words
                .iter()
                .filter(|(number, _)| *number > 0)
                .map(|(number, word)| format!("{number} {word}"))
                .collect();
            let _ = write!(text, ", {}", counts.join(", "));
            if let Some(previous) = &self.previous {
                let _ = write!(text, " since {}", escaped(previous));
            }
        }
        text.push('.');
        if let Some((shared, unique)) = self.bytes() {
            let _ = write!(
                text,
                " In the registry they take {}: {} in shared layers, and {} in layers of single \
                 images. Without sharing, they would take {}.",
                Size(shared + unique),
                Size(shared),
                Size(unique),
                Size(self.images.iter().map(ImageRow::size).sum()),
            );
        }
        text
    }

    /// Returns the total size of the blobs that several images share, and of all others.
    fn bytes(&self) -> Option<(u64, u64)> {
        let mut blobs: BTreeMap<&Digest, (u64, usize)> = BTreeMap::new();
        for image in &self.images {
            let mut own: Vec<_> = image.blobs.iter().collect();
            own.sort();
            own.dedup();
            for (digest, size) in own {
                blobs.entry(digest).or_insert((*size, 0)).1 += 1;
            }
        }
        let sum = |is_shared: bool| -> u64 {
            let meant = blobs.values().filter(|(_, images)| (*images > 1) == is_shared);
            meant.map(|(size, _)| size).sum()
        };
        (!blobs.is_empty()).then(|| (sum(true), sum(false)))
    }

    /// Returns the rows of the table in the order of the plan, each with whether its image is unchanged.
    fn rows(&self) -> Vec<(bool, String)> {
        let images =
            self.images.iter().map(|image| (image.change == RowChange::Unchanged, image.row()));
        let removed = self.removed.iter();
        let removed = removed.map(|name| format!("\n| {} | | | removed |", escaped(name)));
        images.chain(removed.map(|row| (false, row))).collect()
    }

    /// Adds the command to pull one of the images, if possible one that changed.
    fn write_example(&self, text: &mut String) {
        let published =
            || self.images.iter().filter_map(|image| Some((image, image.digest.as_ref()?)));
        let changed = published().find(|(image, _)| image.change != RowChange::Unchanged);
        if let Some((image, digest)) = changed.or_else(|| published().next()) {
            let pinned = image.reference.pinned(digest);
            let _ = write!(text, "\n\nTo try one:\n\n```sh\ndocker pull {pinned}\n```");
        }
        if let Some((set, digest)) = &self.set {
            let _ = write!(text, "\n\nThe release set is `{}`.", set.pinned(digest));
        }
        if !self.other_registries.is_empty() {
            let hosts = self.other_registries.join("`, `");
            let _ = write!(text, "\n\nOther registries with the same images: `{hosts}`.");
        }
    }
}

impl ImageRow {
    fn row(&self) -> String {
        let digest = self.digest.as_ref().map(|digest| format!("`{digest}`"));
        let size = self.digest.as_ref().map(|_| {
            let size = Size(self.size());
            let before = self.size_before.map(Size).filter(|before| *before != size);
            let change = before.map(|before| size.change_since(before));
            format!("{size}{}", change.map(|change| format!(" ({change})")).unwrap_or_default())
        });
        let (digest, size) = (digest.unwrap_or_default(), size.unwrap_or_default());
        format!("\n| `{}` | {digest} | {size} | {} |", self.reference, self.change.describe())
    }

    /// Returns the compressed size of the image, in bytes.
    fn size(&self) -> u64 {
        self.blobs.iter().map(|(_, size)| size).sum()
    }
}

impl RowChange {
    fn describe(&self) -> String {
        match self {
            Self::New => "new".to_owned(),
            Self::Unchanged => "unchanged".to_owned(),
            Self::Unknown => String::new(),
            Self::Changed(reasons) => {
                let listed = reasons.iter().take(MAX_REASONS);
                let mut listed: Vec<_> = listed.map(|reason| escaped(&shorten(reason))).collect();
                if reasons.len() > MAX_REASONS {
                    listed.push(format!("{} more", reasons.len() - MAX_REASONS));
                }
                if listed.is_empty() {
                    "changed".to_owned()
                } else {
                    format!("changed: {}", listed.join("; "))
                }
            }
        }
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Escapes a text for Markdown: no formatting, no HTML, no mentions and no links.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' | '$' => {
                escaped.push('\\');
                escaped.push(character);
            }
            // A backslash does not prevent mentions and links, but an invisible character does.
            '@' => escaped.push_str("@\u{200b}"),
            '#' if characters.peek().is_some_and(char::is_ascii_digit) => {
                escaped.push_str("#\u{200b}");
            }
            ':' if characters.peek() == Some(&'/') => escaped.push_str(":\u{200b}"),
            character if character.is_whitespace() || character.is_control() => escaped.push(' '),
            // Direction marks and the like.
            character if is_invisible(character) => {}
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::marker;
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn image(name: &str, layers: &[(&str, u64)], change: RowChange) -> ImageRow {
        ImageRow {
            reference: format!("ghcr.io/acme/base:{name}-v1.3.0").parse().expect("a reference"),
            digest: Some(digest(name)),
            blobs: layers.iter().map(|(layer, size)| (digest(layer), *size)).collect(),
            size_before: matches!(change, RowChange::Changed(_)).then_some(52_500_000),
            change,
        }
    }

    fn notes() -> Notes {
        let reasons = ["dockerfiles/a|b.txt changed", "python:3.9 moved", "label x added", "more"];
        Notes {
            version: "v1.3.0".to_owned(),
            previous: Some("v1.2.3".to_owned()),
            images: vec![
                image("3.9", &[("base", 50_000_000), ("a", 1_000_000)], RowChange::Unchanged),
                image(
                    "3.11",
                    &[("base", 50_000_000), ("b", 2_000_000), ("b", 2_000_000)],
                    RowChange::Changed(reasons.map(str::to_owned).to_vec()),
                ),
                image("3.12", &[("c", 3_000_000)], RowChange::New),
            ],
            removed: vec!["3.8".to_owned()],
            set: Some((
                "ghcr.io/acme/base:basegen-release-v1.3.0".parse().expect("a reference"),
                digest("set"),
            )),
            other_registries: vec!["quay.io".to_owned()],
        }
    }

    #[test]
    fn lists_the_images_of_a_release() {
        let body = notes().body(&marker("matrix.toml"), "", 65_536);
        assert_eq!(body.spilled, None);
        assert_snapshot!(body.text);
    }

    #[test]
    fn lists_the_images_of_a_first_release() {
        let images = vec![image("3.9", &[], RowChange::Unknown)];
        let notes = Notes { images, previous: None, removed: Vec::new(), set: None, ..notes() };
        assert_snapshot!(notes.body(&marker("matrix.toml"), "", 65_536).text);
        let image = ImageRow { digest: None, ..image("3.9", &[], RowChange::New) };
        let notes = Notes { images: vec![image], ..notes };
        assert_snapshot!(notes.body(&marker("matrix.toml"), "", 65_536).text);
    }

    #[test]
    fn cells_contain_no_markup_and_no_mentions() {
        let hostile = "a|b `c` <!-- d --> <img src=x onerror=alert(1)> @acme/team #12 **e** [f](https://g)\n| h | \u{202e}i\\| $x$ &amp; _j_";
        assert_snapshot!(escaped(hostile));
        let change = RowChange::Changed(vec![hostile.to_owned(), "x".repeat(1000)]);
        let mut notes = notes();
        notes.images[1].change = change;
        notes.removed = vec![hostile.to_owned()];
        let text = notes.body(&marker("a--> b\n"), "", 65_536).text;
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
        assert_eq!(rows.len(), 2 + 3 + 1, "{text}");
        for row in rows {
            let unescaped = row.replace("\\\\", "").replace("\\|", "");
            assert_eq!(unescaped.matches('|').count(), 5, "{row}");
        }
        assert_eq!(text.matches("<!--").count(), 2, "{text}");
        assert_eq!(text.matches("-->").count(), 2, "{text}");
    }

    #[test]
    fn a_table_beyond_the_limit_lists_changed_images_first() {
        const LIMIT: usize = 65_536;
        let change = |index: usize, reasons: usize| match index % 4 {
            0 => RowChange::Unchanged,
            1 => RowChange::New,
            _ => RowChange::Changed(vec![format!("requirements-{}.txt changed", index % reasons)]),
        };
        let marker = marker("matrix.toml");
        let body = |count: usize, reasons: usize, limit: usize| {
            let row =
                |index: usize| image(&index.to_string(), &[("base", 1)], change(index, reasons));
            let notes = Notes { images: (0..count).map(row).collect(), ..notes() };
            let body = notes.body(&marker, "The summary lists all of them.", limit);
            assert!(body.text.len() <= limit, "{} of {limit}", body.text.len());
            assert!(body.text.trim_end().ends_with(&marker_with_version(&marker, "v1.3.0")));
            let complete = body.spilled.clone().expect("the complete table");
            assert_eq!(complete.matches("\n| `").count(), count);
            body.text
        };
        for count in [700, 4000] {
            let text = body(count, 3, LIMIT);
            assert!(text.len() > LIMIT - 600, "{} bytes are used", text.len());
            assert!(text.contains(" more images. The summary lists all of them."), "{text}");
            let changes: Vec<&str> = text
                .lines()
                .filter_map(|line| line.strip_suffix(" |")?.rsplit(" | ").next())
                .collect();
            let changed = changes.iter().filter(|change| **change != "unchanged").count();
            assert!(changes[..changed].iter().all(|change| *change != "unchanged"), "{text}");
        }
        // The text of users can leave little space.
        body(700, 3, 900);
    }
}
