//! Splits the output of steps into lines and removes control sequences.

/// The maximum length of a line, in bytes. Steps may print without line ends.
const MAX_LINE: usize = 16 << 10;

/// Assembles lines from the pieces that the engine sends.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    /// Adds a piece and returns the completed lines.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.0.extend_from_slice(part);
            if part.ends_with(b"\n") || self.0.len() >= MAX_LINE {
                lines.push(clean(&std::mem::take(&mut self.0)));
            }
        }
        lines
    }

    /// Returns the incomplete last line.
    pub(super) fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.0);
        (!rest.is_empty()).then(|| clean(&rest))
    }
}

/// Converts `line` to text without line end, control sequences, and text before a carriage return.
pub(super) fn clean(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\n', '\r']);
    let visible = text.rsplit('\r').next().unwrap_or_default();
    let text = console::strip_ansi_codes(visible);
    text.chars().filter(|character| is_shown(*character)).collect()
}

/// Returns false for control characters and those that change the reading direction.
fn is_shown(character: char) -> bool {
    let is_direction = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character == '\t' || !(character.is_control() || is_direction)
}

/// Joins the lines of `name` with spaces.
pub(super) fn one_line_name(name: &str) -> String {
    let lines: Vec<String> = name.lines().map(|line| clean(line.as_bytes())).collect();
    let words: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    words.join(" ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_assembled_from_pieces_of_characters() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"one\ntw\xc3"), ["one"]);
        assert_eq!(lines.push(b"\xb6\r\nthree"), ["tw\u{f6}"]);
        assert_eq!(lines.finish().as_deref(), Some("three"));
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn a_line_without_end_is_returned_in_parts() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(&vec![b'x'; MAX_LINE + 1]).len(), 1);
    }

    #[test]
    fn control_sequences_are_removed() {
        let cases: [(&[u8], &str); 7] = [
            (b"\x1b[1;31merror\x1b[0m: x", "error: x"),
            (b"\x1b]0;title\x07shown", "shown"),
            (b"\x1b]8;;http://x\x1b\\link", "link"),
            (b" 10%\r 50%\r100%\r\n", "100%"),
            (b"\x1b(Ba\x08b\tc", "ab\tc"),
            (b"bad \xff byte", "bad \u{fffd} byte"),
            ("a\u{202e}b".as_bytes(), "ab"),
        ];
        for (line, expected) in cases {
            assert_eq!(clean(line), expected);
        }
    }

    #[test]
    fn names_become_one_line() {
        assert_eq!(one_line_name("RUN <<EOF\n  a\n  b\nEOF"), "RUN <<EOF a b EOF");
    }
}
