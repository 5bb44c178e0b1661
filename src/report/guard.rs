//! Neutralizes control characters and workflow commands in printed text.
//!
//! [`Printer`](super::Printer) passes all text through a [`Guard`]: values of a matrix, file names, build
//! logs, and messages of registries, engines and artifacts. Control characters become visible signs,
//! and under GitHub Actions no line is read as a workflow command.

use std::borrow::Cow;

/// The replacement for characters without a visible sign.
const REPLACEMENT: char = '\u{fffd}';

/// Separates the parts of a workflow command, so that GitHub's runner ignores it.
const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// The properties of the reader of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// Whether the reader shows colours. All other escape sequences are always neutralized.
    pub color: bool,
    /// Whether GitHub's runner reads the lines and executes those with `::` or `##[`.
    pub actions: bool,
    /// Whether the stream is a terminal.
    pub terminal: bool,
}

impl Default for Guard {
    fn default() -> Self {
        Self { color: true, actions: false, terminal: false }
    }
}

impl Guard {
    /// Neutralizes everything in `text` that a terminal or GitHub's runner would execute.
    pub(super) fn apply(self, text: &str) -> Cow<'_, str> {
        let text = self.visible(text);
        if self.actions && (text.contains("::") || text.contains("##[")) {
            Cow::Owned(text.split('\n').map(inert).collect::<Vec<_>>().join("\n"))
        } else {
            text
        }
    }

    fn visible(self, text: &str) -> Cow<'_, str> {
        if !text.contains(is_unsafe) {
            return Cow::Borrowed(text);
        }
        let mut shown = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            let color = if self.color { color_length(rest) } else { None };
            let length = color.unwrap_or(character.len_utf8());
            if color.is_some() || !is_unsafe(character) || rest.starts_with("\r\n") {
                shown.push_str(&rest[..length]);
            } else {
                shown.push(sign(character));
            }
            rest = &rest[length..];
        }
        Cow::Owned(shown)
    }
}

/// Escapes the characters of a JSON document that a [`Guard`] would replace. The values do not change.
#[must_use]
pub fn escape_json(json: &str) -> String {
    let is_safe = |character: char| character == '\n' || !is_unsafe(character);
    if json.chars().all(is_safe) && !json.contains("##[") {
        return json.to_owned();
    }
    let escape = |character: char| {
        if is_safe(character) {
            character.to_string()
        } else {
            // Only strings contain these characters, and all are in the basic plane.
            format!("\\u{:04x}", u32::from(character))
        }
    };
    json.chars().map(escape).collect::<String>().replace("##[", "##\\u005b")
}

/// Returns true for control characters, line separators, and marks of the reading direction.
pub(super) fn is_unsafe(character: char) -> bool {
    let is_direction = matches!(
        character,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    let is_separator = matches!(character, '\u{2028}' | '\u{2029}');
    let is_control = character.is_control() && !matches!(character, '\t' | '\n');
    is_control || is_direction || is_separator
}

/// Returns the visible sign for a character: `␛` for ESC.
fn sign(character: char) -> char {
    let code = u32::from(character);
    let picture = match code {
        0..0x20 => char::from_u32(0x2400 + code),
        0x7f => Some('\u{2421}'),
        _ => None,
    };
    picture.unwrap_or(REPLACEMENT)
}

/// Returns the length in bytes of a colour sequence at the start of `text`. Sequences that can hide text do
/// not count: black, concealed, inverse, and backgrounds.
fn color_length(text: &str) -> Option<usize> {
    let (codes, _) = text.strip_prefix("\u{1b}[")?.split_once('m')?;
    let is_color = |code: &str| {
        matches!(code, "" | "0" | "1" | "2" | "3" | "4" | "22" | "23" | "24" | "39")
            || code
                .strip_prefix(['3', '9'])
                .is_some_and(|hue| matches!(hue, "1" | "2" | "3" | "4" | "5" | "6" | "7"))
    };
    codes.split(';').all(is_color).then_some("\u{1b}[m".len() + codes.len())
}

/// Changes `line` so that GitHub's runner does not execute it.
fn inert(line: &str) -> String {
    let line = line.replace("##[", &format!("##{ZERO_WIDTH_SPACE}["));
    if line.trim_start().starts_with("::") { format!("{ZERO_WIDTH_SPACE}{line}") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Guard = Guard { color: false, actions: false, terminal: false };

    #[test]
    fn shows_control_characters_as_symbols() {
        let hostile = "a\u{1b}]0;x\u{7}b\u{9b}2Jc\u{202e}d\u{2028}e\rf\u{7f}\t国\r\ng";
        let escaped = PLAIN.apply(hostile);
        assert_eq!(escaped, "a␛]0;x␇b\u{fffd}2Jc\u{fffd}d\u{fffd}e␍f␡\t国\r\ng");
        assert!(matches!(PLAIN.apply("a\n\tb ✓"), Cow::Borrowed(_)));
    }

    #[test]
    fn only_colors_of_text_are_kept() {
        let colored = "\u{1b}[1;31mred\u{1b}[0m";
        assert_eq!(Guard::default().apply(colored), colored);
        assert_eq!(PLAIN.apply(colored), "␛[1;31mred␛[0m");
        for hidden in
            ["\u{1b}[8m", "\u{1b}[30m", "\u{1b}[47m", "\u{1b}[2J", "\u{1b}[1;8m", "\u{1b}["]
        {
            let escaped = Guard::default().apply(hidden).into_owned();
            assert!(!escaped.contains('\u{1b}'), "{hidden:?}");
        }
    }

    #[test]
    fn workflow_commands_are_neutralized() {
        let guard = Guard { actions: true, ..PLAIN };
        let hostile = "::add-mask::x\n  ::error::y\na ##[group]b\n\r::stop::\nkept::as it is";
        let escaped = guard.apply(hostile);
        let is_command = |line: &str| line.trim_start().starts_with("::") || line.contains("##[");
        assert!(!escaped.lines().any(is_command), "{escaped:?}");
        assert!(escaped.contains("add-mask::x") && escaped.contains("kept::as it is"));
        assert_eq!(PLAIN.apply("::x::"), "::x::");
    }

    #[test]
    fn escaped_json_keeps_its_values() {
        let value = serde_json::json!({ "a": "\u{1b}\u{9b}\u{202e}##[x]\u{2028}\r\n" });
        let json = serde_json::to_string_pretty(&value).expect("JSON");
        let escaped = escape_json(&json);
        let guard = Guard { actions: true, ..PLAIN };
        assert_eq!(guard.apply(&escaped), escaped);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).expect("JSON"), value);
    }
}
