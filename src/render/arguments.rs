//! Expands `$name` in a `FROM`: the arguments before the first `FROM`, with their defaults.
//!
//! Reference: <https://docs.docker.com/reference/dockerfile/#understand-how-arg-and-from-interact>

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use super::dockerfile::Instruction;
use super::words::split;

/// Replaces a part of an expanded text that only the engine knows.
pub(crate) const UNKNOWN: char = '\0';

/// The arguments that every `FROM` can use.
#[derive(Debug)]
pub(crate) struct Arguments {
    values: BTreeMap<String, String>,
    escape: char,
}

impl Arguments {
    /// Collects the arguments before the first `FROM`.
    pub(crate) fn new(instructions: &[Instruction], escape: char) -> Self {
        let mut arguments = Self { values: BTreeMap::new(), escape };
        for instruction in instructions.iter().take_while(|found| found.keyword == "ARG") {
            for word in split(&instruction.arguments, escape).unwrap_or_default() {
                if let Some((name, default)) = word.split_once('=') {
                    let value = arguments.expand(default);
                    arguments.values.insert(name.to_owned(), value);
                }
            }
        }
        arguments
    }

    /// Removes quotes from a word and replaces arguments by their values, or by [`UNKNOWN`].
    pub(crate) fn expand(&self, word: &str) -> String {
        let mut expanded = String::new();
        let mut quote = None;
        let mut rest = word.chars().peekable();
        while let Some(character) = rest.next() {
            match (character, quote) {
                ('\'' | '"', None) => quote = Some(character),
                (_, Some(open)) if character == open => quote = None,
                (_, Some('\'')) => expanded.push(character),
                ('$', _) => expanded.push_str(&self.argument(&mut rest)),
                _ if character == self.escape => expanded.extend(rest.next()),
                _ => expanded.push(character),
            }
        }
        expanded
    }

    /// Expands the argument after a `$`.
    fn argument(&self, rest: &mut Peekable<Chars<'_>>) -> String {
        let is_braced = rest.next_if_eq(&'{').is_some();
        let mut name = String::new();
        while let Some(letter) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(letter);
        }
        let value = if is_automatic(&name) {
            Some(UNKNOWN.to_string())
        } else {
            self.values.get(&name).cloned()
        };
        if !is_braced {
            return value.unwrap_or_default();
        }
        let Some(modifier) = braced(rest) else {
            return UNKNOWN.to_string();
        };
        let (is_colon, modifier) = match modifier.strip_prefix(':') {
            Some(rest) => (true, rest),
            None => (false, modifier.as_str()),
        };
        // With a colon, an empty value counts as not set.
        let value = value.filter(|value| !(is_colon && value.is_empty()));
        match (modifier.chars().next(), value) {
            (None, value) if !is_colon => value.unwrap_or_default(),
            (Some('-'), Some(value)) => value,
            (Some('-'), None) | (Some('+'), Some(_)) => self.expand(&modifier[1..]),
            (Some('+'), None) => String::new(),
            // Only the engine expands patterns.
            _ => UNKNOWN.to_string(),
        }
    }
}

/// Returns true if the engine sets an argument for each platform, such as `TARGETARCH`.
fn is_automatic(name: &str) -> bool {
    let rest = name.strip_prefix("TARGET").or(name.strip_prefix("BUILD"));
    rest.is_some_and(|rest| ["PLATFORM", "OS", "ARCH", "VARIANT"].contains(&rest))
}

/// Returns the text up to the `}` that closes a `${`, or `None` if nothing closes it.
fn braced(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut inside = String::new();
    let mut depth = 0_usize;
    for character in rest {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(inside),
            '}' => depth -= 1,
            _ => {}
        }
        inside.push(character);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::dockerfile::parse;
    use super::*;

    fn expand(word: &str) -> String {
        let text = "ARG A=1 B=\"x y\" C=${A}.2 EMPTY=\nARG D\nFROM a\nARG LATE=1\n";
        let arguments = Arguments::new(&parse(text).expect(text), '\\');
        arguments.expand(word).replace(UNKNOWN, "?")
    }

    #[test]
    fn arguments_expand_to_their_defaults() {
        for (word, expected) in [
            ("python:$A", "python:1"),
            ("python:${C}-slim", "python:1.2-slim"),
            ("\"a/$A\"", "a/1"),
            ("'$A'", "$A"),
            ("\\$A", "$A"),
            ("$B", "x y"),
            ("x$D", "x"),
            ("x$LATE", "x"),
            ("${D:-e}", "e"),
            ("${EMPTY:-e}${EMPTY-e}", "e"),
            ("${A:+set}${D:+set}", "set"),
            ("${D:-${A}}", "1"),
        ] {
            assert_eq!(expand(word), expected, "{word}");
        }
    }

    #[test]
    fn arguments_of_the_engine_are_unknown() {
        for word in ["$TARGETARCH", "${BUILDPLATFORM}", "${A#1}", "${A", "${A:?needed}"] {
            assert_eq!(expand(word), "?", "{word}");
        }
    }
}
