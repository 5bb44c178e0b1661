//! Assignments in source code, found without being fooled by comments and texts.

use std::ops::Range;

use regex_lite::Regex;

/// What begins and ends comments and texts that go on over several lines.
#[derive(Debug, Clone, Copy)]
enum Language {
    /// Triple quotes.
    Python,
    /// `/* … */`, nested; texts over several lines, raw ones with `#`.
    Rust,
    /// `/* … */`; texts in backticks.
    Script,
    /// Nothing does.
    Other,
}

impl Language {
    fn of(ending: &str) -> Self {
        match ending {
            "py" | "pyi" | "bzl" | "star" => Self::Python,
            "rs" => Self::Rust,
            "js" | "jsx" | "mjs" | "cjs" | "ts" | "tsx" | "mts" | "cts" | "go" | "java" | "kt"
            | "c" | "h" | "cc" | "cpp" | "hpp" | "cs" | "swift" => Self::Script,
            _ => Self::Other,
        }
    }
}

/// An assignment of one text to a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    /// Its line, from 1.
    pub(super) line: usize,
    /// Where the text stands, without its quotes.
    pub(super) range: Range<usize>,
}

/// Finds what is assigned to `name` in `text`, a file whose name ends with `ending`: `NAME = "…"` as
/// Python, Rust and most texts write it, with or without a type, `const` or `export` before it
/// and a comment behind it.
pub(super) fn assignments(text: &str, name: &str, ending: &str) -> Vec<Assignment> {
    let language = Language::of(ending);
    let regex = expression(name, language);
    let inside = inside(text, language);
    let mut found = Vec::new();
    for ((line, start, code), inside) in lines(text).zip(&inside) {
        let Some(groups) = regex.captures(code).filter(|_| inside.is_none()) else { continue };
        if let Some(value) = groups.iter().skip(1).flatten().next() {
            let range = value.start() + start..value.end() + start;
            found.push(Assignment { line, range });
        }
    }
    found
}

/// Where else `name` stands, a sentence for each line: what was meant, perhaps.
pub(super) fn mentions(text: &str, name: &str, ending: &str) -> Vec<String> {
    let language = Language::of(ending);
    let (regex, inside) = (expression(name, language), inside(text, language));
    let word = Regex::new(&format!(r"\b{}\b", regex_lite::escape(name))).expect("it is escaped");
    let said = lines(text).zip(&inside).filter(|((.., code), _)| word.is_match(code));
    let said = said.map(|((line, _, code), inside)| {
        let code = code.trim_start();
        match inside {
            Some(first) => format!("line {line} is inside what begins on line {first}"),
            None if code.starts_with(['#', '/']) => format!("line {line} is a comment"),
            None if regex.is_match(code) => format!("line {line} is an assignment"),
            None => format!("line {line} is not an assignment of one text"),
        }
    });
    said.collect()
}

/// Each line's number from 1, where it begins, and the line without its end.
fn lines(text: &str) -> impl Iterator<Item = (usize, usize, &str)> {
    let mut start = 0;
    text.split_inclusive('\n').enumerate().map(move |(index, line)| {
        let begin = start;
        start += line.len();
        // A byte order mark is no part of the first line.
        let code = line.trim_end_matches(['\r', '\n']);
        let without = code.strip_prefix('\u{feff}').unwrap_or(code);
        (index + 1, begin + code.len() - without.len(), without)
    })
}

/// What an assignment of one text looks like. In a programming language the text has quotes: without
/// them it is a number or a name. A colon assigns only in objects and in files of keys, and a
/// comma behind the text makes another thing of it in Python.
fn expression(name: &str, language: Language) -> Regex {
    let name = regex_lite::escape(name);
    let before = r"^[ \t]*(?:pub(?:\([a-z ]+\))?[ \t]+)?(?:(?:const|static|export|let|var)[ \t]+)*";
    let (sign, bare, end) = match language {
        Language::Python | Language::Rust => ("=", "", ";?"),
        Language::Script => ("[=:]", "", "[;,]?"),
        Language::Other => ("[=:]", r#"|([^\s"'#;,]+)"#, "[;,]?"),
    };
    let between = format!(r"(?:[ \t]*:[ \t]*[^=]+?)?[ \t]*{sign}[ \t]*");
    let value = format!(r#"(?:"([^"]*)"|'([^']*)'{bare})[ \t]*{end}[ \t]*(?:(?:#|//).*)?$"#);
    Regex::new(&format!("{before}{name}{between}{value}")).expect("the name is escaped")
}

/// For each line, the line on which the text or comment begins that it is inside of.
fn inside(text: &str, language: Language) -> Vec<Option<usize>> {
    let mut scanner = Scanner { text, language, at: 0 };
    let mut marked: Vec<(Range<usize>, usize)> = Vec::new();
    while let Some(range) = scanner.next_block() {
        let first = text[..range.start].matches('\n').count() + 1;
        marked.push((range, first));
    }
    let mut marked = marked.into_iter().peekable();
    lines(text)
        .map(|(_, start, _)| {
            while marked.peek().is_some_and(|(range, _)| range.end <= start) {
                marked.next();
            }
            marked.peek().filter(|(range, _)| range.start < start).map(|(_, first)| *first)
        })
        .collect()
}

/// Goes through source code from one text or comment to the next.
struct Scanner<'a> {
    text: &'a str,
    language: Language,
    at: usize,
}

impl Scanner<'_> {
    /// Where the next text or comment stands that may go on over several lines.
    fn next_block(&mut self) -> Option<Range<usize>> {
        while let Some(first) = self.text[self.at..].chars().next() {
            let start = self.at;
            let rest = &self.text[start..];
            if let Some(length) = self.block(rest) {
                self.at = start + length;
                return Some(start..self.at);
            }
            self.at += self.skipped(rest).unwrap_or(first.len_utf8());
        }
        None
    }

    /// The length of the block that `rest` begins with, if it begins with one.
    fn block(&self, rest: &str) -> Option<usize> {
        match self.language {
            Language::Python => ["\"\"\"", "'''"]
                .into_iter()
                .find(|quotes| rest.starts_with(quotes))
                .map(|quotes| closed(rest, quotes)),
            Language::Rust if rest.starts_with("/*") => Some(comment(rest, true)),
            Language::Rust => {
                raw_text(rest).or_else(|| rest.starts_with('"').then(|| closed(rest, "\"")))
            }
            Language::Script if rest.starts_with("/*") => Some(comment(rest, false)),
            Language::Script => rest.starts_with('`').then(|| closed(rest, "`")),
            Language::Other => None,
        }
    }

    /// The length of a comment or text on one line that `rest` begins with.
    fn skipped(&self, rest: &str) -> Option<usize> {
        let is_python = matches!(self.language, Language::Python);
        let comment = if is_python { "#" } else { "//" };
        if rest.starts_with(comment) {
            return Some(rest.find('\n').unwrap_or(rest.len()));
        }
        match self.language {
            Language::Python | Language::Script => {
                let quote = rest.chars().next().filter(|first| ['"', '\''].contains(first))?;
                Some(on_line(rest, quote))
            }
            // A character, unless it is a lifetime.
            Language::Rust => ["'\"'", "'\\\"'", "'\\''"]
                .into_iter()
                .find(|character| rest.starts_with(character))
                .map(str::len),
            Language::Other => None,
        }
    }
}

/// The length of a text that begins and ends with `quotes`, in which a backslash takes the
/// next character for itself; all of `rest` where it does not end.
fn closed(rest: &str, quotes: &str) -> usize {
    let mut at = quotes.len();
    while let Some(next) = rest[at..].chars().next() {
        if rest[at..].starts_with(quotes) {
            return at + quotes.len();
        }
        at += next.len_utf8();
        if next == '\\' {
            at += rest[at..].chars().next().map_or(0, char::len_utf8);
        }
    }
    rest.len()
}

/// The same for a text that ends with its line, unless a backslash ends that.
fn on_line(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, next) in rest.char_indices().skip(1) {
        match next {
            _ if escaped => escaped = next == '\r',
            '\\' => escaped = true,
            '\n' => return at,
            _ if next == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn comment(rest: &str, nested: bool) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(next) = rest[at..].chars().next() {
        if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else if rest[at..].starts_with("/*") && (nested || depth == 0) {
            depth += 1;
            at += 2;
        } else {
            at += next.len_utf8();
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#`, and so on.
fn raw_text(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let begin = rest.len() - body.len();
    Some(body.find(&end).map_or(rest.len(), |at| begin + at + end.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, ending: &str) -> Vec<String> {
        let shown = assignments(text, "TAG", ending);
        shown.iter().map(|one| format!("{}:{}", one.line, &text[one.range.clone()])).collect()
    }

    #[test]
    fn texts_over_several_lines_hold_no_assignment() {
        let python = "\"\"\"Docs.\nTAG = 'v1'\n\"\"\"\nX = r'''\nTAG = 'v2'\n'''\nTAG = 'v3'  # \"\"\"\nY = '\"\"\"'\nZ = '\\'\"\"\"'\n";
        assert_eq!(found(python, "py"), ["7:v3"]);
        let open = "X = \"\"\"\nTAG = 'v1'\n";
        assert_eq!(found(open, "py"), Vec::<String>::new());
        assert_eq!(found(open, "txt"), ["2:v1"]);
        let rust = "/* a /* b */\nconst TAG: &str = \"v1\";\n*/\nconst X: &str = r#\"\nTAG = \"v2\"\n\"#;\nconst Q: char = '\"';\nfn f<'a>() {}\npub const TAG: &str = \"v3\"; // /*\nlet y = \"\\\"\nTAG = 1\";\n";
        assert_eq!(found(rust, "rs"), ["9:v3"]);
        let script = "/* /*\nTAG = 'v1'\n*/\nconst x = `\nTAG = 'v2'\n`;\nconst s = '/*';\nexport const TAG = 'v3';\n";
        assert_eq!(found(script, "ts"), ["8:v3"]);
    }

    #[test]
    fn a_text_that_a_backslash_continues_is_one_text() {
        assert_eq!(found("X = 'a\\\r\n\"\"\"'\r\nTAG = 'v1'\r\n", "py"), ["3:v1"]);
        assert_eq!(found("X = 'open\nTAG = 'v1'\n", "py"), ["2:v1"]);
    }

    #[test]
    fn line_ends_and_byte_order_marks_are_no_part_of_it() {
        assert_eq!(found("\u{feff}TAG = \"v1\"\r\n", "py"), ["1:v1"]);
        assert_eq!(found("é = 1\nTAG=v1", "sh"), ["2:v1"]);
    }

    #[test]
    fn a_text_has_quotes_where_the_language_asks_for_them() {
        let text =
            "TAG = 1.2\nTAG = other\nTAG: '1.3'\nTAG = '1.4',\nTAG = '1.5'\nTAG: str = '1.6';\n";
        assert_eq!(found(text, "py"), ["5:1.5", "6:1.6"]);
        assert_eq!(found(text, "ts"), ["3:1.3", "4:1.4", "5:1.5", "6:1.6"]);
        let all = ["1:1.2", "2:other", "3:1.3", "4:1.4", "5:1.5", "6:1.6"];
        assert_eq!(found(text, "env"), all);
    }

    #[test]
    fn names_are_whole() {
        assert_eq!(
            found("OLD_TAG = 'v1'\nTAG_OLD = 'v2'\nx.TAG = 'v3'\n", "py"),
            Vec::<String>::new()
        );
        assert_eq!(mentions("OLD_TAG = 'v1'\nprint(TAG)\n", "TAG", "py").len(), 1);
    }
}
