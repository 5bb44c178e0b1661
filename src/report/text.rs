//! Text from elsewhere made safe to show: step names, log lines and errors are
//! written by whoever wrote the Dockerfile, or by what it ran.

use std::borrow::Cow;

use super::guard;

/// `text` as one line that neither moves the cursor nor reads in another order than
/// it is written. Tabs stay.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let text = console::strip_ansi_codes(text);
    Cow::Owned(text.replace(is_unsafe, " "))
}

/// `text` cleaned, and cut to `width` columns with `…` where it is longer.
pub(super) fn shorten(text: &str, width: usize) -> String {
    let text = clean(text).replace('\t', " ");
    console::truncate_str(&text, width, "…").into_owned()
}

/// `text` with spaces after it up to `width` columns.
pub(super) fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(console::measure_text_width(text));
    format!("{text}{}", " ".repeat(missing))
}

/// `words`, joined by commas, on lines of at most `width` columns.
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

/// Characters that a line does not contain: unsafe ones, and line ends.
fn is_unsafe(character: char) -> bool {
    character == '\n' || guard::is_unsafe(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hostile_is_left() {
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
    fn words_wrap_between_themselves_only() {
        let lines = wrap(&["3.9-gpu", "3.10-gpu", "a-name-longer-than-a-line"], 18);
        assert_eq!(lines, ["3.9-gpu, 3.10-gpu,", "a-name-longer-than-a-line"]);
    }
}
