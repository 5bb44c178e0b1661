//! Here-documents: lines after an instruction that belong to it.
//!
//! Reference: `heredocsFromLine` in
//! <https://github.com/moby/buildkit/blob/master/frontend/dockerfile/parser/parser.go>

use super::flags::flags;
use super::words::{split, unquoted};

/// The escape character in names of here-documents. The directive `# escape=` does not change it.
const ESCAPE: char = '\\';

/// A here-document of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HereDocument {
    /// The line that ends it.
    pub(super) end: String,
    /// Whether tabs before that line are ignored: `<<-`.
    strips_tabs: bool,
    /// Whether a space precedes its name, as in `<< EOF`. Older engines do not support this, and `$((1 << 4))` looks
    /// the same, so its end is optional.
    pub(super) is_loose: bool,
}

impl HereDocument {
    /// Parses a word such as `<<EOF` or `3<<-"my end"`.
    pub(super) fn parse(word: &str) -> Option<Self> {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
        let (rest, strips_tabs) = match rest.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        // `<<<` is a here-string of the shell.
        if rest.contains('<') || split(rest, ESCAPE)?.len() != 1 {
            return None;
        }
        let end = unquoted(rest, ESCAPE).filter(|end| !end.is_empty())?;
        Some(Self { end, strips_tabs, is_loose: false })
    }

    /// Returns true if the next word is the name of a here-document: `<<`, `3<<-`.
    pub(super) fn is_begun(word: &str) -> bool {
        matches!(word.trim_start_matches(|c: char| c.is_ascii_digit()), "<<" | "<<-")
    }

    fn loose(begin: &str, name: &str) -> Option<Self> {
        let end = unquoted(name, ESCAPE).filter(|end| !end.is_empty() && !end.contains('<'))?;
        Some(Self { end, strips_tabs: begin.ends_with('-'), is_loose: true })
    }

    /// Returns the here-documents of an instruction in order.
    pub(super) fn all(keyword: &str, arguments: &str) -> Vec<Self> {
        let (keyword, arguments) = match arguments.split_once(char::is_whitespace) {
            Some((inner, arguments)) if keyword == "ONBUILD" => {
                (inner.to_ascii_uppercase(), arguments)
            }
            _ => (keyword.to_owned(), arguments),
        };
        let may_have = matches!(keyword.as_str(), "RUN" | "COPY" | "ADD");
        if !may_have || !arguments.contains("<<") || list(arguments).is_some() {
            return Vec::new();
        }
        // If a quote is not closed, Docker finds no here-documents either.
        let words = split(arguments, ESCAPE).unwrap_or_default();
        let mut found = Vec::new();
        let mut begun = None;
        for word in words {
            found.extend(match begun.take() {
                Some(begin) => Self::loose(begin, word),
                None => Self::parse(word),
            });
            begun = Self::is_begun(word).then_some(word);
        }
        found
    }

    /// Returns true if `line` ends the here-document.
    pub(super) fn ends_at(&self, line: &str) -> bool {
        let line = line.trim_end_matches('\r');
        let line = if self.strips_tabs { line.trim_start_matches('\t') } else { line };
        line == self.end
    }
}

/// Parses the arguments of an instruction in JSON form: `["a", "b"]`.
pub(super) fn list(arguments: &str) -> Option<Vec<String>> {
    serde_json::from_str(flags(arguments).1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(keyword: &str, arguments: &str) -> Vec<String> {
        HereDocument::all(keyword, arguments).into_iter().map(|found| found.end).collect()
    }

    #[test]
    fn here_documents_are_found_like_docker_does() {
        for (arguments, expected) in [
            ("<<EOF", &["EOF"][..]),
            ("<<-EOF", &["EOF"]),
            ("4<<'EOF'", &["EOF"]),
            ("<<robots.txt /x", &["robots.txt"]),
            ("<<\"my-end\"", &["my-end"]),
            ("<<\"my end\"", &["my end"]),
            ("<<eo'f'", &["eof"]),
            ("<<E\\OF", &["EOF"]),
            ("--mount=type=cache,target=/foo <<ONE sh <<TWO", &["ONE", "TWO"]),
            ("echo \"see <<EOF\"", &[]),
            ("awk \"BEGIN { print 1 <<n }\"", &[]),
            ("'<<EOF'", &[]),
            ("cat <<<EOF", &[]),
            ("<< EOF", &["EOF"]),
            ("cat 3<<-  'E F' > /x", &["E F"]),
            ("<< -EOF", &["-EOF"]),
            ("<<-", &[]),
            ("<<''", &[]),
            ("echo it's <<EOF", &[]),
            ("[\"<<EOF\"]", &[]),
            ("--network=none [\"cat\", \"<<EOF\"]", &[]),
            ("[ 1 ] <<EOF", &["EOF"]),
        ] {
            assert_eq!(ends("RUN", arguments), expected, "{arguments}");
        }
    }

    #[test]
    fn some_instructions_have_no_here_documents() {
        assert_eq!(ends("COPY", "<<A <<B /"), ["A", "B"]);
        assert_eq!(ends("ONBUILD", "run  <<EOF"), ["EOF"]);
        assert_eq!(ends("ONBUILD", "USER <<EOF"), [""; 0]);
        assert_eq!(ends("USER", "<<EOF"), [""; 0]);
        assert_eq!(ends("RUN", "ONBUILD <<EOF"), ["EOF"]);
    }

    #[test]
    fn a_line_that_equals_the_name_ends_the_document() {
        let document = |word: &str| HereDocument::parse(word).expect(word);
        assert!(document("<<EOF").ends_at("EOF\r"));
        assert!(!document("<<EOF").ends_at("\tEOF"));
        assert!(!document("<<EOF").ends_at("EOF "));
        assert!(document("<<-EOF").ends_at("\t\tEOF"));
        assert!(!document("<<-EOF").ends_at(" EOF"));
    }
}
