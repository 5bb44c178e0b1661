//! Cleans, shortens and wraps text of untrusted sources, such as step names and logs.

use std::borrow::Cow;

use super::guard;

/// Converts `text` to one line without control sequences and changes of the reading direction. Tabs
/// remain.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let text = console::strip_ansi_codes(text);
    Cow::Owned(text.replace(is_unsafe, " "))
}

/// Cleans `text` and truncates it to `width` columns with `…`.
pub(super) fn shorten(text: &str, width: usize) -> String {
    let text = clean(text).replace('\t', " ");
    console::truncate_str(&text, width, "…").into_owned()
}

/// Pads `text` with spaces to `width` columns.
pub(super) fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(console::measure_text_width(text));
    format!("{text}{}", " ".repeat(missing))
}

/// Joins `words` with commas and wraps them to lines of at most `width` columns.
pub(super) fn wrap(words: &[&str], width: usize) -> Vec<String> {
    let measure = console::measure_text_width;
    let mut lines: Vec<String> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let comma = if index + 1 < words.len() { "," } else { "" };
        let word = format!("{}{comma}", clean(word));
        match lines.last_mut() {
            Some(line) if measure(line) + 1 + measure(&word) <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// Returns true for unsafe characters and line ends.
fn is_unsafe(character: char) -> bool {
    character == '\n' || guard::is_unsafe(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_are_removed() {
        let hostile = "a\u{1b}[31mred\u{1b}[0m\rb\nc\u{7}\u{202e}d\u{9b}2Je\tf\u{2028}g";
        let cleaned = clean(hostile);
        assert!(!cleaned.contains(is_unsafe), "{cleaned:?}");
        assert!(cleaned.starts_with("ared b c "), "{cleaned:?}");
        assert!(cleaned.contains("e\tf"), "{cleaned:?}");
    }

    #[test]
    fn ordinary_text_is_not_copied() {
        assert!(matches!(clean("RUN apt-get update\t✓ 国"), Cow::Borrowed(_)));
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(shorten("国国国国", 5), "国国…");
        assert_eq!(pad("国", 4), "国  ");
    }

    #[test]
    fn lines_wrap_between_words() {
        let lines = wrap(&["3.9-gpu", "3.10-gpu", "a-name-longer-than-a-line"], 18);
        assert_eq!(lines, ["3.9-gpu, 3.10-gpu,", "a-name-longer-than-a-line"]);
    }
}
