//! What `$name` means in a `FROM`: the arguments before the first one, with their defaults.
//!
//! Reference: <https://docs.docker.com/reference/dockerfile/#understand-how-arg-and-from-interact>

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use super::dockerfile::Instruction;

/// Stands in an expanded text for a part that only the engine knows.
pub(super) const UNKNOWN: char = '\0';

/// The arguments that the engine sets itself, for each platform anew.
const AUTOMATIC: [&str; 8] = [
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
];

/// The arguments that hold for every `FROM`.
#[derive(Debug)]
pub(super) struct Arguments {
    values: BTreeMap<String, String>,
    escape: char,
}

impl Arguments {
    /// The arguments that `instructions` begin with; `escape` is the character that takes
    /// another's meaning away.
    pub(super) fn of(instructions: &[Instruction], escape: char) -> Self {
        let mut arguments = Self { values: BTreeMap::new(), escape };
        for instruction in instructions.iter().take_while(|found| found.keyword == "ARG") {
            for word in words(&instruction.arguments) {
                if let Some((name, default)) = word.split_once('=') {
                    let value = arguments.expand(default);
                    arguments.values.insert(name.to_owned(), value);
                }
            }
        }
        arguments
    }

    /// A word without its quotes, its arguments replaced by their values. What only the engine
    /// knows is [`UNKNOWN`].
    pub(super) fn expand(&self, word: &str) -> String {
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

    /// The value of what follows a `$`.
    fn argument(&self, rest: &mut Peekable<Chars<'_>>) -> String {
        let is_braced = rest.next_if_eq(&'{').is_some();
        let mut name = String::new();
        while let Some(letter) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(letter);
        }
        let value = match AUTOMATIC.contains(&name.as_str()) {
            true => Some(UNKNOWN.to_string()),
            false => self.values.get(&name).cloned(),
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
        // With a colon, what is set to nothing counts as not set.
        let value = value.filter(|value| !(is_colon && value.is_empty()));
        match (modifier.chars().next(), value) {
            (None, value) if !is_colon => value.unwrap_or_default(),
            (Some('-'), Some(value)) => value,
            (Some('-'), None) | (Some('+'), Some(_)) => self.expand(&modifier[1..]),
            (Some('+'), None) => String::new(),
            // Patterns are the engine's business.
            _ => UNKNOWN.to_string(),
        }
    }
}

/// What stands up to the `}` that closes a `${`; `None` where nothing closes it.
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

/// The words of a line, quotes kept; a space in quotes ends none.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for character in line.chars() {
        match (character, quote) {
            ('\'' | '"', None) => quote = Some(character),
            (_, Some(open)) if character == open => quote = None,
            (space, None) if space.is_whitespace() => {
                words.push(String::new());
                continue;
            }
            _ => {}
        }
        words.last_mut().expect("there is one from the start").push(character);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::dockerfile::parse;
    use super::*;

    fn expand(word: &str) -> String {
        let text = "ARG A=1 B=\"x y\" C=${A}.2 EMPTY=\nARG D\nFROM a\nARG LATE=1\n";
        let arguments = Arguments::of(&parse(text).expect(text), '\\');
        arguments.expand(word).replace(UNKNOWN, "?")
    }

    #[test]
    fn arguments_have_their_defaults() {
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
    fn what_the_engine_sets_is_not_known() {
        for word in ["$TARGETARCH", "${BUILDPLATFORM}", "${A#1}", "${A", "${A:?needed}"] {
            assert_eq!(expand(word), "?", "{word}");
        }
    }
}
