//! Parses the instructions of a Dockerfile.
//!
//! [`parse`] splits a text into [`Instruction`]s, with continued lines, here-documents and directives. The arguments
//! are not parsed here: see `copied`, `upstream` and `arguments`.
//!
//! Reference: <https://docs.docker.com/reference/dockerfile/>

use std::ops::Range;

use super::flags::flags;
use super::here_document::HereDocument;
use crate::matrix::{INSTRUCTIONS, nearest};

/// An instruction of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// The keyword in upper case.
    pub(crate) keyword: String,
    /// The arguments, with continued lines joined.
    pub(crate) arguments: String,
    /// The first line, from 1.
    pub(crate) line: usize,
    /// The offset of the keyword in the text.
    pub(super) begin: usize,
    /// The lines in the text that end its here-documents.
    pub(super) ends: Vec<Range<usize>>,
    /// The escape character of the whole Dockerfile.
    pub(crate) escape: char,
    /// The offsets of each line in `arguments` and in the text. An offset before the arguments is negative.
    pieces: Vec<(isize, usize)>,
}

impl Instruction {
    /// Returns the offset in the text of the byte at `offset` in `arguments`.
    pub(crate) fn place(&self, offset: usize) -> usize {
        let offset = offset.cast_signed();
        let mut before = self.pieces.iter().rev().filter(|(from, _)| *from <= offset);
        let (from, at) = before.next().expect("the first piece begins before the arguments");
        at + (offset - from).cast_unsigned()
    }

    /// Returns the ranges in the text of a `range` of `arguments`. There are several if it contains continued lines.
    pub(super) fn places(&self, range: &Range<usize>) -> Vec<Range<usize>> {
        let (begin, end) = (range.start.cast_signed(), range.end.cast_signed());
        let next = self.pieces.iter().skip(1).map(|(from, _)| *from).chain([isize::MAX]);
        let places = self.pieces.iter().zip(next).filter_map(|((from, at), next)| {
            let (first, last) = (begin.max(*from), end.min(next));
            let place = |offset: isize| at + (offset - from).cast_unsigned();
            (first < last).then(|| place(first)..place(last))
        });
        places.collect()
    }
}

/// Returns the name of the stage of a `FROM`, in lower case; empty if it has none.
pub(crate) fn stage(instruction: &Instruction) -> Option<String> {
    (instruction.keyword == "FROM").then(|| {
        let mut words = flags(&instruction.arguments).1.split_whitespace().skip(1);
        let is_named = words.next().is_some_and(|word| word.eq_ignore_ascii_case("as"));
        words.next().filter(|_| is_named).unwrap_or_default().to_ascii_lowercase()
    })
}

/// A fault in a Dockerfile and its line, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misuse {
    pub(crate) line: usize,
    pub(crate) what: String,
}

/// Parses the instructions of a Dockerfile.
pub(crate) fn parse(text: &str) -> Result<Vec<Instruction>, Misuse> {
    let mut lines = numbered(text);
    let escape = escape_character(text);
    let mut instructions: Vec<Instruction> = Vec::new();
    while let Some((line, at, first)) = lines.next() {
        if is_skipped(first) {
            continue;
        }
        let mut joined = String::new();
        let (mut current, mut current_at) = (first, at);
        let mut pieces = Vec::new();
        loop {
            pieces.push((joined.len().cast_signed(), current_at));
            let Some(continued) = continued(current, escape) else {
                joined.push_str(current);
                break;
            };
            joined.push_str(continued);
            // Comments and empty lines do not end an instruction.
            match lines.by_ref().find(|(.., next)| !is_skipped(next)) {
                Some((_, at, next)) => (current, current_at) = (next, at),
                None => break,
            }
        }
        let (keyword, arguments) =
            joined.trim().split_once(char::is_whitespace).unwrap_or((&joined, ""));
        let arguments = arguments.trim_start();
        let before = (joined.trim_end().len() - arguments.len()).cast_signed();
        for (from, _) in &mut pieces {
            *from -= before;
        }
        let keyword = keyword.trim().to_ascii_uppercase();
        if !INSTRUCTIONS.contains(&keyword.as_str()) {
            return Err(Misuse { line, what: not_an_instruction(&keyword) });
        }
        let arguments = arguments.to_owned();
        let begin = at + first.len() - first.trim_start().len();
        let mut instruction =
            Instruction { keyword, arguments, line, begin, ends: Vec::new(), escape, pieces };
        instruction.ends = skip_here_documents(&instruction, &mut lines)?;
        instructions.push(instruction);
    }
    match instructions.iter().find(|instruction| instruction.keyword != "ARG") {
        Some(first) if first.keyword == "FROM" => Ok(instructions),
        Some(first) => {
            let what = "a Dockerfile must begin with `FROM`".to_owned();
            Err(Misuse { line: first.line, what })
        }
        None => Err(Misuse { line: 1, what: "the Dockerfile has no `FROM`".to_owned() }),
    }
}

/// Returns the part of a line before its continuation character, or `None` if the line ends the instruction. A
/// doubled escape character is not a continuation.
///
/// Reference: `lineContinuationRegex` in
/// <https://github.com/moby/buildkit/blob/master/frontend/dockerfile/parser/parser.go>
fn continued(line: &str, escape: char) -> Option<&str> {
    let continued = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!continued.ends_with(escape)).then_some(continued)
}

fn not_an_instruction(keyword: &str) -> String {
    let near = nearest(keyword, INSTRUCTIONS).map(|near| format!("; did you mean `{near}`?"));
    format!("`{keyword}` is not an instruction{}", near.unwrap_or_default())
}

/// Iterates over the lines of a text: their number from 1, their offset and their text.
fn numbered(text: &str) -> impl Iterator<Item = (usize, usize, &str)> + Clone {
    let mut at = 0;
    text.split_inclusive('\n').enumerate().map(move |(index, line)| {
        let begin = at;
        at += line.len();
        let line = line.strip_suffix('\n').unwrap_or(line);
        (index + 1, begin, line.strip_suffix('\r').unwrap_or(line))
    })
}

fn is_skipped(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// Returns the escape character, which the directive `# escape=` can change.
///
/// Reference: <https://docs.docker.com/reference/dockerfile/#parser-directives>
pub(super) fn escape_character(text: &str) -> char {
    let escape = directives(text).find(|(name, _)| name == "escape");
    match escape {
        Some((_, "`")) => '`',
        _ => '\\',
    }
}

/// Returns the image of the frontend, if the directive `# syntax=` sets it.
pub(super) fn frontend(text: &str) -> Option<&str> {
    directives(text).find_map(|(name, value)| (name == "syntax").then_some(value))
}

/// Returns the directives of a Dockerfile, with names in lower case. They end at the first other line, even a comment.
fn directives(text: &str) -> impl Iterator<Item = (String, &str)> {
    let all = text.lines().map_while(|line| {
        let (name, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), value.trim()))
    });
    all.take_while(|(name, _)| matches!(name.as_str(), "escape" | "syntax" | "check"))
}

/// Skips the here-documents of an instruction, and returns the lines that end them.
fn skip_here_documents<'a>(
    instruction: &Instruction,
    lines: &mut (impl Iterator<Item = (usize, usize, &'a str)> + Clone),
) -> Result<Vec<Range<usize>>, Misuse> {
    let mut ends = Vec::new();
    for document in HereDocument::all(&instruction.keyword, &instruction.arguments) {
        let mut behind = lines.clone();
        match behind.find(|(.., text)| document.ends_at(text)) {
            Some((_, at, text)) => {
                ends.push(at..at + text.len());
                *lines = behind;
            }
            None if document.is_loose => {}
            None => {
                let what = format!("the here-document `{}` is not closed", document.end);
                return Err(Misuse { line: instruction.line, what });
            }
        }
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keywords(text: &str) -> Vec<(String, usize)> {
        let instructions = parse(text).expect(text);
        instructions.into_iter().map(|found| (found.keyword, found.line)).collect()
    }

    #[test]
    fn continued_lines_and_heredocs_belong_to_their_instruction() {
        let text = "# c\nFROM a\nRUN x \\\n # c\n\n  && y\nRUN <<EOF\nCOPY not me\nEOF\ncopy <<-\"A\" <<B /\n\tA\nB\nCMD z\n";
        let expected = [("FROM", 2), ("RUN", 3), ("RUN", 7), ("COPY", 10), ("CMD", 13)];
        assert_eq!(keywords(text), expected.map(|(word, line)| (word.to_owned(), line)));
        assert_eq!(parse(text).expect(text)[1].arguments, "x   && y");
    }

    #[test]
    fn a_doubled_escape_does_not_continue_a_line() {
        let text = "FROM a:1\nRUN one\\\\\nFROM b:2\nRUN two\n";
        let expected = [("FROM", 1), ("RUN", 2), ("FROM", 3), ("RUN", 4)];
        assert_eq!(keywords(text), expected.map(|(word, line)| (word.to_owned(), line)));
        for (line, expected) in [
            ("RUN a\\", Some("RUN a")),
            ("RUN a \\ \t", Some("RUN a ")),
            ("\\", Some("")),
            ("RUN a\\\\", None),
            ("RUN a\\\\\\ ", None),
            ("RUN a\\\u{a0}", None),
            ("RUN a`", None),
        ] {
            assert_eq!(continued(line, '\\'), expected, "{line:?}");
        }
        assert_eq!(continued("RUN a`", '`'), Some("RUN a"));
        assert_eq!(continued("RUN a``", '`'), None);
    }

    #[test]
    fn offsets_of_arguments_are_mapped_to_the_text() {
        let text = "FROM a\r\n  RUN   one \\\n  # c\n   two   \\\r\n three\r\nCMD x";
        for instruction in parse(text).expect(text) {
            for word in instruction.arguments.split_whitespace() {
                let offset = instruction.arguments.find(word).expect(word);
                assert_eq!(text.find(word), Some(instruction.place(offset)), "{word}");
            }
        }
    }

    #[test]
    fn errors_have_a_line() {
        let line = |text: &str| parse(text).expect_err(text).line;
        assert_eq!(line("FROM a\n\n1.2 x\n"), 3);
        assert_eq!(line("ARG x\nRUN y\n"), 2);
        assert_eq!(line("FROM a\nRUN <<EOF\nx\n"), 2);
        assert_eq!(line(""), 1);
        let what = parse("FROM a\nrunn x\n").expect_err("an error").what;
        assert_eq!(what, "`RUNN` is not an instruction; did you mean `RUN`?");
    }

    #[test]
    fn directives_end_at_the_first_other_line() {
        let escape = escape_character;
        assert_eq!(escape("# syntax=a/b\n#Escape = `\nFROM a\n"), '`');
        assert_eq!(escape("# escape=\\\nFROM a\n"), '\\');
        for text in ["# a comment\n# escape=`\n", "# other=1\n# escape=`\n", "\n# escape=`\n"] {
            assert_eq!(escape(text), '\\', "{text:?}");
        }
    }
}
