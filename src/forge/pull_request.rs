//! The text of a release's pull request.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use indexmap::IndexMap;

use crate::image::{Digest, Reference};
use crate::matrix::is_invisible;
use crate::report::format;

/// How every marker begins.
pub(super) const MARKER: &str = "<!-- basegen:release ";

/// How a generated text begins. It ends with its marker.
const BEGIN: &str = "<!-- basegen:notes -->\n";

/// How many of an image's reasons to differ are told.
const MAX_REASONS: usize = 3;

/// The size reserved for the line that counts omitted images, in bytes.
const REST: usize = 64;

/// How long a told reason is, in characters.
const MAX_REASON: usize = 160;

/// What a pull request's text has to tell of a release.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// The version.
    pub version: String,
    /// The version before it, where one is known.
    pub previous: Option<String>,
    /// The images, in plan order.
    pub images: Vec<ImageRow>,
    /// The names of images that the release before had, and this one has no more.
    pub removed: Vec<String>,
    /// The release set.
    pub set: Option<(Reference, Digest)>,
}

/// An image of a release.
#[derive(Debug, Clone)]
pub struct ImageRow {
    /// The tag of its version.
    pub reference: Reference,
    /// What it stands for; nothing while it is not published.
    pub digest: Option<Digest>,
    /// Its blobs with their sizes in bytes, compressed as the registry has them.
    pub blobs: Vec<(Digest, u64)>,
    /// How it stands to the release before.
    pub change: RowChange,
}

/// How an image stands to that of the release before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowChange {
    /// There was none.
    New,
    /// It is the same one.
    Unchanged,
    /// It is another one, for these reasons, the most telling first.
    Changed(Vec<String>),
    /// There is no release before to compare with.
    Unknown,
}

/// A text that GitHub takes, and what did not fit into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The text of the pull request.
    pub text: String,
    /// All of the notes, where the text leaves some out.
    pub spilled: Option<String>,
}

/// What an open pull request of the matrix at `path` in its repository is found again by: a
/// comment that nobody sees.
#[must_use]
pub fn marker(path: &str) -> String {
    // A comment ends at the first `--` followed by `>`; a path needs neither.
    let path: String = path.chars().filter(|c| !c.is_control() && !"<>".contains(*c)).collect();
    format!("{MARKER}{} -->", path.replace("--", "-"))
}

/// How a marker ends, where it says no version.
const END: &str = " -->";

/// What stands between a marker's path and its version.
const OF_VERSION: &str = "; version ";

/// A `marker` that says which version is proposed.
#[must_use]
pub fn marked(marker: &str, version: &str) -> String {
    let version: String =
        version.chars().filter(|c| !c.is_control() && !"<>".contains(*c)).collect();
    let open = marker.strip_suffix(END).unwrap_or(marker);
    format!("{open}{OF_VERSION}{}{END}", version.replace("--", "-"))
}

/// What a marker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marked<'a> {
    /// The version that is proposed, where it says one.
    pub(super) version: Option<&'a str>,
}

/// What `text` says at `marker`, if it has it.
pub(super) fn read_marker<'a>(text: &'a str, marker: &str) -> Option<Marked<'a>> {
    find_marker(text, marker).map(|(_, marked)| marked)
}

fn find_marker<'a>(text: &'a str, marker: &str) -> Option<(Range<usize>, Marked<'a>)> {
    let open = marker.strip_suffix(END).unwrap_or(marker);
    text.match_indices(open).find_map(|(start, _)| {
        let at = start + open.len();
        let rest = &text[at..];
        if rest.starts_with(END) {
            return Some((start..at + END.len(), Marked { version: None }));
        }
        let version = rest.strip_prefix(OF_VERSION)?.split_once(END)?.0;
        if version.contains(char::is_whitespace) {
            return None;
        }
        let end = at + OF_VERSION.len() + version.len() + END.len();
        Some((start..end, Marked { version: Some(version) }))
    })
}

/// Puts a generated text into the `body` of a pull request: in place of the one that ends with `marker`,
/// else behind all of it. What people wrote before and after it stays.
pub(super) fn merge_body(body: &str, generated: &str, marker: &str) -> String {
    let generated = generated.trim_end();
    let Some((range, _)) = find_marker(body, marker) else {
        let body = body.trim_end();
        let space = if body.is_empty() { "" } else { "\n\n" };
        return format!("{body}{space}{generated}\n");
    };
    // An earlier basegen wrote no beginning.
    let begin = body[..range.start].rfind(BEGIN.trim_end()).unwrap_or(0);
    format!("{}{generated}{}", &body[..begin], &body[range.end..])
}

impl Notes {
    /// The text of the pull request in at most `room` bytes, with `marker`, which is given the version,
    /// at its end. A table that is too long is grouped by reason and cut; `place` is a sentence that
    /// says where all of it is.
    #[must_use]
    pub fn body(&self, marker: &str, place: &str, room: usize) -> Body {
        let mut table = String::new();
        self.table(&mut table);
        let whole = self.text(&table, marker);
        if whole.len() <= room {
            return Body { text: whole, spilled: None };
        }
        let note = format!("The images are grouped by what changed. {place}");
        let rest = self.text(note.trim_end(), marker).len();
        if rest > room {
            let version = escaped(&self.version);
            let end = marked(marker, &self.version);
            let text =
                format!("{BEGIN}**{version}**: its images do not fit here. {place}\n\n{end}\n");
            return Body { text, spilled: Some(whole) };
        }
        let table = self.grouped(room - rest);
        let text = self.text(&format!("{}{table}", note.trim_end()), marker);
        Body { text, spilled: Some(whole) }
    }

    fn text(&self, table: &str, marker: &str) -> String {
        let mut text = format!("{BEGIN}{}\n\n{table}", self.summary());
        self.trying(&mut text);
        let _ = write!(text, "\n\n{}\n", marked(marker, &self.version));
        text
    }

    /// What came of the release, in a few sentences.
    fn summary(&self) -> String {
        let count = |is_meant: fn(&RowChange) -> bool| {
            self.images.iter().filter(|image| is_meant(&image.change)).count()
        };
        let (version, images) = (escaped(&self.version), format::count(self.images.len(), "image"));
        let is_published = self.images.iter().all(|image| image.digest.is_some());
        let mut text = match is_published {
            true => format!("**{version}** is published: {images}"),
            false => format!("**{version}** is not published yet: {images}"),
        };
        if self.images.iter().any(|image| image.change != RowChange::Unknown) {
            let words = [
                (count(|change| *change == RowChange::New), "new"),
                (count(|change| matches!(change, RowChange::Changed(_))), "changed"),
                (count(|change| *change == RowChange::Unchanged), "unchanged"),
                (self.removed.len(), "removed"),
            ];
            let told = words.iter().filter(|(number, _)| *number > 0);
            let told: Vec<String> = told.map(|(number, word)| format!("{number} {word}")).collect();
            let since = self.previous.as_deref().map(escaped);
            let since = since.map(|version| format!(" since {version}")).unwrap_or_default();
            let _ = write!(text, ", {}{since}", told.join(", "));
        }
        text.push('.');
        if let Some((shared, unique)) = self.bytes() {
            let _ = write!(
                text,
                " Together they are {} in a registry: {} that several of them share, and {} that \
                 one alone has; each on its own would make {}.",
                format::bytes(shared + unique),
                format::bytes(shared),
                format::bytes(unique),
                format::bytes(self.images.iter().map(ImageRow::size).sum()),
            );
        }
        text
    }

    /// The bytes of blobs that several images have, and of those that one has; each blob once.
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

    fn table(&self, text: &mut String) {
        text.push_str("| image | digest | size | change |\n| --- | --- | ---: | --- |");
        for image in &self.images {
            let _ = write!(text, "{} {} |", image.cells(), image.change.told());
        }
        for name in &self.removed {
            let _ = write!(text, "\n| {} | | | removed |", escaped(name));
        }
    }

    /// A table for each reason, in at most `room` bytes: every group is named as far as half of that
    /// suffices, and its rows fill the rest.
    fn grouped(&self, room: usize) -> String {
        let groups: Vec<(String, Vec<String>)> = self.groups();
        let cost = |(heading, _): &(String, Vec<String>)| heading.len() + REST;
        let mut headings = REST;
        let is_named = |group: &&(String, Vec<String>)| {
            headings += cost(group);
            headings <= room / 2
        };
        let named = groups.iter().take_while(is_named).count();
        let mut left = room.saturating_sub(groups[..named].iter().map(cost).sum::<usize>() + REST);
        let mut text = String::new();
        for (heading, rows) in &groups[..named] {
            text.push_str(heading);
            let fitting = rows.iter().take_while(|row| {
                let fits = row.len() <= left;
                left -= if fits { row.len() } else { 0 };
                fits
            });
            let fitting: Vec<&str> = fitting.map(String::as_str).collect();
            text.push_str(&fitting.concat());
            if fitting.len() < rows.len() {
                let _ = write!(text, "\n\n… and {} more", rows.len() - fitting.len());
            }
        }
        let images: usize = groups[named..].iter().map(|(_, rows)| rows.len()).sum();
        if images > 0 && room > REST {
            let images = format::count(images, "more image");
            let _ = write!(text, "\n\n… and {images} in {} more groups", groups.len() - named);
        }
        text
    }

    /// Groups the rows of images that changed alike, each group below a heading. Unchanged images
    /// come last.
    fn groups(&self) -> Vec<(String, Vec<String>)> {
        let mut groups: IndexMap<String, (usize, Vec<String>)> = IndexMap::new();
        for image in &self.images {
            let order = match image.change {
                RowChange::Changed(_) => 0,
                RowChange::New | RowChange::Unknown => 1,
                RowChange::Unchanged => 3,
            };
            let group = groups.entry(image.change.told()).or_insert((order, Vec::new()));
            group.1.push(image.cells());
        }
        if !self.removed.is_empty() {
            let rows = self.removed.iter().map(|name| format!("\n| {} | | |", escaped(name)));
            groups.insert("removed".to_owned(), (2, rows.collect()));
        }
        groups.sort_by(|_, one, _, other| one.0.cmp(&other.0));
        let heading = |reason: &str, count: usize| {
            let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            let images = format::count(count, "image");
            format!("\n\n**{images}**{reason}\n\n| image | digest | size |\n| --- | --- | ---: |")
        };
        groups.into_iter().map(|(reason, (_, rows))| (heading(&reason, rows.len()), rows)).collect()
    }

    /// How one of the images is tried: what changed tells the most.
    fn trying(&self, text: &mut String) {
        let is_told = |image: &&ImageRow| image.digest.is_some();
        let of_change = |image: &&ImageRow| image.change != RowChange::Unchanged;
        let mut images = self.images.iter().filter(is_told);
        let image = images.clone().find(of_change).or_else(|| images.next());
        if let Some((image, digest)) = image.and_then(|image| Some((image, image.digest.as_ref()?)))
        {
            let pinned = image.reference.pinned(digest);
            let _ = write!(text, "\n\nTo try one:\n\n```sh\ndocker pull {pinned}\n```");
        }
        if let Some((set, digest)) = &self.set {
            let _ = write!(text, "\n\nThe release set is `{}`.", set.pinned(digest));
        }
    }
}

impl ImageRow {
    /// The cells of its row without the change.
    fn cells(&self) -> String {
        let digest = self.digest.as_ref().map(|digest| format!("`{digest}`"));
        let size = self.digest.as_ref().map(|_| format::bytes(self.size()));
        let (digest, size) = (digest.unwrap_or_default(), size.unwrap_or_default());
        format!("\n| `{}` | {digest} | {size} |", self.reference)
    }

    /// What it takes on its own, in bytes.
    fn size(&self) -> u64 {
        self.blobs.iter().map(|(_, size)| size).sum()
    }
}

impl RowChange {
    fn told(&self) -> String {
        match self {
            Self::New => "new".to_owned(),
            Self::Unchanged => "unchanged".to_owned(),
            Self::Unknown => String::new(),
            Self::Changed(reasons) => {
                let told = reasons.iter().take(MAX_REASONS).map(|reason| escaped(&cut(reason)));
                let mut told: Vec<String> = told.collect();
                if reasons.len() > MAX_REASONS {
                    told.push(format!("{} more", reasons.len() - MAX_REASONS));
                }
                match told.is_empty() {
                    true => "changed".to_owned(),
                    false => format!("changed: {}", told.join("; ")),
                }
            }
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text that GitHub shows as it is: no Markdown, no HTML, nobody is called and nothing linked.
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
            // GitHub looks for these in what is shown, so that only something between them helps.
            '@' => escaped.push_str("@\u{200b}"),
            '#' if characters.peek().is_some_and(char::is_ascii_digit) => {
                escaped.push_str("#\u{200b}");
            }
            ':' if characters.peek() == Some(&'/') => escaped.push_str(":\u{200b}"),
            character if character.is_whitespace() || character.is_control() => escaped.push(' '),
            // What turns the direction of writing, and the like, is of use to nobody here.
            character if is_invisible(character) => {}
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn image(name: &str, layers: &[(&str, u64)], change: RowChange) -> ImageRow {
        ImageRow {
            reference: format!("ghcr.io/acme/base:{name}-v1.3.0").parse().expect("a reference"),
            digest: Some(digest(name)),
            blobs: layers.iter().map(|(layer, size)| (digest(layer), *size)).collect(),
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
        }
    }

    #[test]
    fn a_release_is_told() {
        let body = notes().body(&marker("matrix.toml"), "", 65_536);
        assert_eq!(body.spilled, None);
        assert_snapshot!(body.text);
    }

    #[test]
    fn without_a_release_before_nothing_is_compared() {
        let images = vec![image("3.9", &[], RowChange::Unknown)];
        let notes = Notes { images, previous: None, removed: Vec::new(), set: None, ..notes() };
        assert_snapshot!(notes.body(&marker("matrix.toml"), "", 65_536).text);
        let image = ImageRow { digest: None, ..image("3.9", &[], RowChange::New) };
        let notes = Notes { images: vec![image], ..notes };
        assert_snapshot!(notes.body(&marker("matrix.toml"), "", 65_536).text);
    }

    #[test]
    fn nothing_in_a_cell_is_markdown_or_calls_anybody() {
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
    fn a_marker_is_read_again_and_no_other_one_is() {
        let own = marker("matrix.toml");
        let read = |text: &str| Some(read_marker(text, &own)?.version.map(str::to_owned));
        assert_eq!(
            read(&format!("x\n\n{}\n", marked(&own, "v1.3.0"))),
            Some(Some("v1.3.0".to_owned()))
        );
        assert_eq!(read(&own), Some(None));
        assert_eq!(read("x"), None);
        for other in ["gpu/matrix.toml", "matrix.toml.old", "matrix.toml b"] {
            assert_eq!(read(&marked(&marker(other), "v1.3.0")), None, "{other}");
        }
    }

    #[test]
    fn a_table_past_the_limit_is_grouped_by_reason_and_fills_it() {
        const LIMIT: usize = 65_536;
        let change = |index: usize, reasons: usize| match index % 4 {
            0 => RowChange::Unchanged,
            1 => RowChange::New,
            _ => RowChange::Changed(vec![format!("requirements-{}.txt changed", index % reasons)]),
        };
        let marker = marker("matrix.toml");
        let body = |count: usize, reasons: usize, room: usize| {
            let row =
                |index: usize| image(&index.to_string(), &[("base", 1)], change(index, reasons));
            let notes = Notes { images: (0..count).map(row).collect(), ..notes() };
            let body = notes.body(&marker, "The summary lists all of them.", room);
            assert!(body.text.len() <= room, "{} of {room}", body.text.len());
            assert!(body.text.trim_end().ends_with(&marked(&marker, "v1.3.0")));
            let whole = body.spilled.clone().expect("it does not fit");
            assert_eq!(whole.matches("\n| `").count(), count);
            body.text
        };
        for (count, reasons) in [(700, 3), (4000, 3)] {
            let text = body(count, reasons, LIMIT);
            assert!(text.len() > LIMIT - 600, "{} bytes are used", text.len());
            assert!(text.contains("The summary lists all of them."), "{text}");
            let headings: Vec<&str> =
                text.lines().filter(|line| line.starts_with("**") && line.contains(": ")).collect();
            let headings: Vec<_> =
                headings.iter().skip(1).map(|line| line.rsplit(": ").next()).collect();
            assert_eq!(headings.len(), 6, "{headings:?}");
            assert_eq!(headings.last(), Some(&Some("unchanged")));
        }
        // As many reasons as images: the groups that fit are named, and the others are counted.
        let text = body(4000, 4000, LIMIT);
        assert!(text.contains(" more images in ") && text.contains("requirements-2.txt"), "{text}");
        // There may be next to no room beside what people wrote.
        body(700, 3, 900);
    }

    #[test]
    fn what_people_wrote_around_the_text_stays() {
        let own = marker("matrix.toml");
        let generated = |version: &str| format!("{BEGIN}{version}\n\n{}\n", marked(&own, version));
        let first = generated("v1.3.0");
        assert_eq!(merge_body("", &first, &own), first);
        let edited = format!("Mine.\n\n{}\n\nMine too.", first.trim_end());
        let merged = merge_body(&edited, &generated("v1.4.0"), &own);
        assert_eq!(merged, edited.replace("v1.3.0", "v1.4.0"));
        // Without our marks it is all theirs; with the last one alone it is of an earlier basegen.
        assert_eq!(merge_body("Mine.", &first, &own), format!("Mine.\n\n{first}"));
        let earlier = format!("old\n\n{own}\nMine.");
        assert_eq!(merge_body(&earlier, &first, &own), format!("{}\nMine.", first.trim_end()));
    }
}
