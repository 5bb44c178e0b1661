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
    /// Where the text stands, without its quotes; nothing where more than a text is assigned.
    pub(super) range: Option<Range<usize>>,
}

/// Finds what is assigned to `name` in `text`, a file whose name ends with `ending`: `NAME = "…"` as
/// Python, Rust and most texts write it, with or without a type, `const` or `export` before it
/// and a comment behind it. Arguments and the keys of arguments are none. A key of an object is
/// meant where nothing is assigned with `=`.
pub(super) fn assignments(text: &str, name: &str, ending: &str) -> Vec<Assignment> {
    let language = Language::of(ending);
    let (plain, any) = (expression(name, language), any_expression(name, language));
    let (mut found, mut keys) = (Vec::new(), Vec::new());
    for ((line, start, code), surroundings) in lines(text).zip(surroundings(text, language)) {
        let Surroundings { text: None, brackets } = surroundings else { continue };
        if let Some(groups) = plain.captures(code) {
            let mut values = ["double", "single", "bare"].into_iter();
            let Some(value) = values.find_map(|kind| groups.name(kind)) else { continue };
            let range = Some(value.start() + start..value.end() + start);
            let is_key = groups.name("sign").is_some_and(|sign| sign.as_str() == ":");
            if is_key && !matches!(language, Language::Other) {
                keys.extend((!brackets.call).then_some(Assignment { line, range }));
            } else if brackets.can_assign() || groups.name("declared").is_some() {
                found.push(Assignment { line, range });
            }
        } else if let Some(groups) = any.as_ref().and_then(|any| any.captures(code))
            && (brackets.can_assign() || groups.name("declared").is_some())
        {
            found.push(Assignment { line, range: None });
        }
    }
    if found.is_empty() { keys } else { found }
}

/// Where else `name` stands, a line from 1 and a sentence for each: what was meant, perhaps.
pub(super) fn mentions(text: &str, name: &str, ending: &str) -> Vec<(usize, String)> {
    let language = Language::of(ending);
    let regex = expression(name, language);
    let word = Regex::new(&format!(r"\b{}\b", regex_lite::escape(name))).expect("it is escaped");
    let said = lines(text).zip(surroundings(text, language));
    let said = said.filter(|((.., code), _)| word.is_match(code));
    let said = said.map(|((line, _, code), surroundings)| {
        let code = code.trim_start();
        let sentence = match surroundings.text {
            Some(first) => format!("line {line} is inside what begins on line {first}"),
            None if code.starts_with(['#', '/']) => format!("line {line} is a comment"),
            None if regex.is_match(code) => {
                format!("line {line} is an argument or a key, and no assignment")
            }
            None => format!("line {line} is not an assignment of one text"),
        };
        (line, sentence)
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

/// What stands before the name of an assignment.
const BEFORE: &str = r"^[ \t]*(?:pub(?:\([a-z ]+\))?[ \t]+)?(?P<declared>(?:(?:const|static|export|let|var|mut)[ \t]+)+)?";

/// What an assignment of one text looks like. In a programming language the text has quotes: without
/// them it is a number or a name. A colon assigns only in objects and in files of keys, and a
/// comma behind the text makes another thing of it in Python.
fn expression(name: &str, language: Language) -> Regex {
    let name = regex_lite::escape(name);
    let (sign, bare, end) = match language {
        Language::Python | Language::Rust => ("=", "", ";?"),
        Language::Script => ("[=:]", "", "[;,]?"),
        Language::Other => ("[=:]", r#"|(?P<bare>[^\s"'#;,]+)"#, "[;,]?"),
    };
    let between = format!(r"(?:[ \t]*:[ \t]*[^=]+?)?[ \t]*(?P<sign>{sign})[ \t]*");
    let text = r#""(?P<double>[^"]*)"|'(?P<single>[^']*)'"#;
    let value = format!(r"(?:{text}{bare})[ \t]*{end}[ \t]*(?:(?:#|//).*)?$");
    Regex::new(&format!("{BEFORE}{name}{between}{value}")).expect("the name is escaped")
}

/// What any assignment looks like, of whatever to whatever it is added to. In files of keys there is none:
/// what is no text there is often a table of its own.
fn any_expression(name: &str, language: Language) -> Option<Regex> {
    let name = regex_lite::escape(name);
    let branch = match language {
        Language::Python => r"(?:(?:if|elif|else|for|while|with|try|except|finally)\b.*:[ \t]*)?",
        Language::Rust | Language::Script => "",
        Language::Other => return None,
    };
    let operator = r"(?:\+|-|\*\*?|//?|%|&&?|\|\|?|\^|@|<<|>>>?|\?\?|:)?=(?:[^=>]|$)";
    let kind = r"(?:[ \t]*:[ \t]*[^=]+?)?[ \t]*";
    let before = format!("{BEFORE}{branch}");
    Some(Regex::new(&format!("{before}{name}{kind}{operator}")).expect("the name is escaped"))
}

/// What a line begins inside of.
struct Surroundings {
    /// The line on which the text or comment begins.
    text: Option<usize>,
    brackets: Brackets,
}

/// The brackets that are open somewhere.
#[derive(Debug, Clone, Copy, Default)]
struct Brackets {
    /// Whether there are any of a call, a list or the like.
    call: bool,
    /// The last one.
    last: Option<Bracket>,
}

impl Brackets {
    fn can_assign(self) -> bool {
        self.last.is_none_or(|last| last == Bracket::Block)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bracket {
    /// Statements.
    Block,
    /// Arguments, parameters or elements.
    Call,
    /// The keys of an object.
    Object,
}

impl Bracket {
    /// What `bracket` opens, which has the code `before` it.
    fn opened(bracket: char, before: &str, language: Language) -> Self {
        let word = before.rsplit(|last: char| !last.is_alphanumeric() && last != '_').next();
        let word = word.unwrap_or_default();
        match (bracket, language) {
            (_, Language::Python) | ('[', _) => Self::Call,
            // Go's groups of declarations.
            ('(', _) if ["const", "var"].contains(&word) => Self::Block,
            ('(', _) => Self::Call,
            (_, Language::Rust) if before.ends_with('!') => Self::Object,
            (_, Language::Script) if before.ends_with("=>") => Self::Block,
            (_, Language::Script)
                if before.ends_with(['(', ',', '[', '=', ':', '?', '&', '|'])
                    || ["const", "let", "var", "return"].contains(&word) =>
            {
                Self::Object
            }
            _ => Self::Block,
        }
    }
}

/// What each line begins inside of.
fn surroundings(text: &str, language: Language) -> Vec<Surroundings> {
    let mut scanner =
        Scanner { text, language, at: 0, last: 0, open: Vec::new(), changes: Vec::new() };
    let mut marked: Vec<(Range<usize>, usize)> = Vec::new();
    while let Some(range) = scanner.next_block() {
        let first = text[..range.start].matches('\n').count() + 1;
        marked.push((range, first));
    }
    let mut marked = marked.into_iter().peekable();
    let mut changes = scanner.changes.into_iter().peekable();
    let mut brackets = Brackets::default();
    lines(text)
        .map(|(_, start, _)| {
            while let Some((_, now)) = changes.next_if(|(at, _)| *at <= start) {
                brackets = now;
            }
            while marked.peek().is_some_and(|(range, _)| range.end <= start) {
                marked.next();
            }
            let text = marked.peek().filter(|(range, _)| range.start < start);
            Surroundings { text: text.map(|(_, first)| *first), brackets }
        })
        .collect()
}

/// Goes through source code from one text or comment to the next.
struct Scanner<'a> {
    text: &'a str,
    language: Language,
    at: usize,
    /// The end of the code before, without spaces and comments.
    last: usize,
    /// The brackets that are open.
    open: Vec<Bracket>,
    /// Behind which byte which ones are open.
    changes: Vec<(usize, Brackets)>,
}

impl Scanner<'_> {
    /// Where the next text or comment stands that may go on over several lines.
    fn next_block(&mut self) -> Option<Range<usize>> {
        while let Some(first) = self.text[self.at..].chars().next() {
            let start = self.at;
            let rest = &self.text[start..];
            if let Some(length) = self.block(rest) {
                self.at = start + length;
                if !rest.starts_with("/*") {
                    self.last = self.at;
                }
                return Some(start..self.at);
            }
            let skipped = self.skipped(rest);
            self.at += skipped.unwrap_or(first.len_utf8());
            if skipped.is_none() {
                self.bracket(first);
            }
            let is_comment = skipped.is_some() && rest.starts_with(self.comment());
            if !first.is_whitespace() && !is_comment {
                self.last = self.at;
            }
        }
        None
    }

    /// Takes note of a bracket.
    fn bracket(&mut self, character: char) {
        match character {
            '(' | '[' | '{' => {
                let before = &self.text[..self.last];
                self.open.push(Bracket::opened(character, before, self.language));
            }
            ')' | ']' | '}' => drop(self.open.pop()),
            _ => return,
        }
        let (call, last) = (self.open.contains(&Bracket::Call), self.open.last().copied());
        // In files of keys, brackets are letters.
        if !matches!(self.language, Language::Other) {
            self.changes.push((self.at, Brackets { call, last }));
        }
    }

    /// What begins a comment that ends with its line.
    fn comment(&self) -> &'static str {
        if matches!(self.language, Language::Python) { "#" } else { "//" }
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
        if rest.starts_with(self.comment()) {
            return Some(rest.find('\n').unwrap_or(rest.len()));
        }
        match self.language {
            Language::Script if rest.starts_with('/') => self.expression(rest),
            Language::Python | Language::Script => {
                let quote = rest.chars().next().filter(|first| ['"', '\''].contains(first))?;
                Some(on_line(rest, quote))
            }
            // A character, unless it is a lifetime.
            Language::Rust => character(rest),
            Language::Other => None,
        }
    }

    /// The length of a regular expression, which stands where a value may begin; what stands
    /// behind one is a division.
    fn expression(&self, rest: &str) -> Option<usize> {
        let before = &self.text[..self.last];
        let begins =
            before.is_empty() || before.ends_with(|last| "(,=:[!&|?{};+-*%<>~^".contains(last));
        let (mut escaped, mut class) = (false, false);
        for (at, next) in rest.char_indices().skip(1).take_while(|(_, next)| *next != '\n') {
            match next {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '[' => class = true,
                ']' => class = false,
                '/' if !class => return begins.then_some(at + 1),
                _ => {}
            }
        }
        None
    }
}

/// The length of a character of Rust that `rest` begins with; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let mut characters = rest.strip_prefix('\'')?.char_indices();
    let (_, first) = characters.next()?;
    let mut characters = characters.skip(usize::from(first == '\\'));
    let end = match first {
        '\\' => characters.take_while(|(_, next)| *next != '\n').find(|(_, next)| *next == '\''),
        _ => characters.next().filter(|(_, next)| *next == '\''),
    };
    end.map(|(at, _)| at + 2)
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
        let value = |one: &Assignment| one.range.clone().map_or("…", |range| &text[range]);
        shown.iter().map(|one| format!("{}:{}", one.line, value(one))).collect()
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
        assert_eq!(found(text, "py"), ["1:…", "2:…", "4:…", "5:1.5", "6:1.6"]);
        assert_eq!(found(text, "ts"), ["1:…", "2:…", "4:1.4", "5:1.5", "6:1.6"]);
        let all = ["1:1.2", "2:other", "3:1.3", "4:1.4", "5:1.5", "6:1.6"];
        assert_eq!(found(text, "env"), all);
    }

    #[test]
    fn arguments_and_keys_are_no_assignments() {
        let none = Vec::<String>::new();
        assert_eq!(found("foo(\n    TAG=\"1.0.0\"\n)\n", "py"), none);
        assert_eq!(found("def f(\n    TAG: str = \"1.0.0\"\n):\n    TAG = 'v1'\n", "py"), ["4:v1"]);
        assert_eq!(found("X = {  # (\n    '(': [1],\n}\nTAG = 'v1'\n", "py"), ["4:v1"]);
        assert_eq!(found("foo({\n  TAG: \"1.0.0\",\n});\n", "ts"), none);
        assert_eq!(found("const {\n  TAG = 'v1'\n} = x;\n", "ts"), none);
        assert_eq!(found("export const X = {\n  TAG: 'v1',\n};\n", "ts"), ["2:v1"]);
        assert_eq!(found("const X = {\n  TAG: 'v1',\n};\nconst TAG = 'v2';\n", "ts"), ["4:v2"]);
        assert_eq!(
            found("x.replace(/[/(]\\(/, 'y');\nlet y = a / b;\nTAG = 'v1';\n", "ts"),
            ["3:v1"]
        );
        assert_eq!(found("foo(() => {\n  TAG = 'v1';\n});\n", "ts"), ["2:v1"]);
        assert_eq!(found("const (\n\tTAG = \"v1\"\n)\n", "go"), ["2:v1"]);
        assert_eq!(found("foo!(\n    TAG = \"v1\"\n);\n", "rs"), none);
        let rust = "const P: [char; 2] = ['(', '\\''];\nimpl<'a> X<'a> {\n    const TAG: &str = \"v1\";\n}\n";
        assert_eq!(found(rust, "rs"), ["3:v1"]);
    }

    #[test]
    fn every_assignment_counts() {
        for second in
            ["TAG = f\"{x}\"", "TAG += \"x\"", "TAG: str = get()", "else: TAG = 'v2'", "TAG = ("]
        {
            let text = format!("TAG = 'v1'\nif x:\n    {second}\n");
            assert_eq!(found(&text, "py"), ["1:v1", "3:…"], "{second}");
        }
        assert_eq!(
            found("TAG = 'v1'\nif TAG == 'v2': pass\nTAG: str\nf(TAG='v3')\n", "py"),
            ["1:v1"]
        );
        assert_eq!(
            found("let TAG = 'v1';\nTAG ||= x;\nTAG => 1;\nTAG === 2;\n", "js"),
            ["1:v1", "2:…"]
        );
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
