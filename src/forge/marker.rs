//! The marker by which the pull request of a matrix is recognised: an invisible comment in its text.
//!
//! A generated text begins with a mark of its own and ends with the marker, so that [`merge_body`] can
//! replace it and keep what people wrote before and after it.

use std::ops::Range;

/// The start of every marker.
pub(super) const MARKER: &str = "<!-- basegen:release ";

/// The start of a generated text, which ends with its marker.
pub(super) const BEGIN: &str = "<!-- basegen:notes -->\n";

/// The end of a marker.
const END: &str = " -->";

/// The separator of the path and the version in a marker.
const VERSION: &str = "; version ";

/// Returns the marker for the matrix at `path` in its repository.
#[must_use]
pub fn marker(path: &str) -> String {
    format!("{MARKER}{}{END}", comment_text(path))
}

/// Extends a marker by the version that is proposed.
#[must_use]
pub fn marker_with_version(marker: &str, version: &str) -> String {
    let open = marker.strip_suffix(END).unwrap_or(marker);
    format!("{open}{VERSION}{}{END}", comment_text(version))
}

/// Removes the characters that would end the comment.
fn comment_text(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control() && !"<>".contains(*c)).collect();
    text.replace("--", "-")
}

/// The content of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker<'a> {
    /// The proposed version, if the marker has one.
    pub(super) version: Option<&'a str>,
}

/// Finds `marker` in a text, with or without a version.
pub(super) fn read_marker<'a>(text: &'a str, marker: &str) -> Option<Marker<'a>> {
    find_marker(text, marker).map(|(_, marker)| marker)
}

fn find_marker<'a>(text: &'a str, marker: &str) -> Option<(Range<usize>, Marker<'a>)> {
    let open = marker.strip_suffix(END).unwrap_or(marker);
    text.match_indices(open).find_map(|(start, _)| {
        let at = start + open.len();
        let rest = &text[at..];
        if rest.starts_with(END) {
            return Some((start..at + END.len(), Marker { version: None }));
        }
        let version = rest.strip_prefix(VERSION)?.split_once(END)?.0;
        if version.contains(char::is_whitespace) {
            return None;
        }
        let end = at + VERSION.len() + version.len() + END.len();
        Some((start..end, Marker { version: Some(version) }))
    })
}

/// Replaces the generated text that ends with `marker` in the body of a pull request, or appends it.
/// The text of people before and after it stays.
pub(super) fn merge_body(body: &str, generated: &str, marker: &str) -> String {
    let generated = generated.trim_end();
    let Some((range, _)) = find_marker(body, marker) else {
        let body = body.trim_end();
        let space = if body.is_empty() { "" } else { "\n\n" };
        return format!("{body}{space}{generated}\n");
    };
    // Earlier versions of basegen wrote no mark at the start.
    let begin = body[..range.start].rfind(BEGIN.trim_end()).unwrap_or(0);
    format!("{}{generated}{}", &body[..begin], &body[range.end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_only_the_marker_of_the_same_matrix() {
        let own = marker("matrix.toml");
        let read = |text: &str| Some(read_marker(text, &own)?.version.map(str::to_owned));
        assert_eq!(
            read(&format!("x\n\n{}\n", marker_with_version(&own, "v1.3.0"))),
            Some(Some("v1.3.0".to_owned()))
        );
        assert_eq!(read(&own), Some(None));
        assert_eq!(read("x"), None);
        for other in ["gpu/matrix.toml", "matrix.toml.old", "matrix.toml b"] {
            assert_eq!(read(&marker_with_version(&marker(other), "v1.3.0")), None, "{other}");
        }
    }

    #[test]
    fn keeps_the_text_of_users_around_the_generated_text() {
        let own = marker("matrix.toml");
        let generated =
            |version: &str| format!("{BEGIN}{version}\n\n{}\n", marker_with_version(&own, version));
        let first = generated("v1.3.0");
        assert_eq!(merge_body("", &first, &own), first);
        let edited = format!("Mine.\n\n{}\n\nMine too.", first.trim_end());
        let merged = merge_body(&edited, &generated("v1.4.0"), &own);
        assert_eq!(merged, edited.replace("v1.3.0", "v1.4.0"));
        // Text without markers belongs to users. Earlier versions of basegen wrote only the last marker.
        assert_eq!(merge_body("Mine.", &first, &own), format!("Mine.\n\n{first}"));
        let earlier = format!("old\n\n{own}\nMine.");
        assert_eq!(merge_body(&earlier, &first, &own), format!("{}\nMine.", first.trim_end()));
    }
}
