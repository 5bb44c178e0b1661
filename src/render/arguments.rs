//! Expands `$name` as the engine does: in a `FROM` with the arguments before the first `FROM`, and in a stage with its own
//! arguments and variables.
//!
//! Reference: <https://docs.docker.com/reference/dockerfile/#understand-how-arg-and-from-interact>

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use super::dockerfile::{Instruction, stage};
use super::flags::flags;
use super::words::split;

/// Replaces a part of an expanded text that only the engine knows.
pub(crate) const UNKNOWN: char = '\0';

/// The values that replace names.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    values: BTreeMap<String, String>,
    /// Whether a name without a value is empty. In a stage, the base image may set it.
    is_complete: bool,
    escape: char,
}

impl Arguments {
    /// Collects the arguments before the first `FROM`, which every `FROM` can use. `given` are the build arguments.
    pub(crate) fn new(
        instructions: &[Instruction],
        escape: char,
        given: &BTreeMap<String, String>,
    ) -> Self {
        let mut arguments = Self { values: BTreeMap::new(), is_complete: true, escape };
        for instruction in instructions.iter().take_while(|found| found.keyword == "ARG") {
            for word in split(&instruction.arguments, escape).unwrap_or_default() {
                let (name, default) = declared(word);
                let default = default.map(|text| arguments.expand(text));
                if let Some(value) = given.get(name).cloned().or(default) {
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
        let known = self.values.get(&name).filter(|_| !is_automatic(&name));
        let value = match known {
            None if is_automatic(&name) || !self.is_complete => Some(UNKNOWN.to_string()),
            known => known.cloned(),
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
        if !modifier.is_empty() && value.as_deref().is_some_and(|value| value.contains(UNKNOWN)) {
            return UNKNOWN.to_string();
        }
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

/// The arguments and variables of a stage, at one of its instructions.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    given: &'a BTreeMap<String, String>,
    globals: Arguments,
    /// The variables of the finished stages, by name.
    stages: BTreeMap<String, BTreeMap<String, String>>,
    name: String,
    /// The variables of `ENV`, which hide arguments.
    variables: BTreeMap<String, String>,
    current: Arguments,
}

impl<'a> Scope<'a> {
    /// Begins before the first instruction.
    pub(super) fn new(instructions: &[Instruction], given: &'a BTreeMap<String, String>) -> Self {
        let escape = instructions.first().map_or('\\', |first| first.escape);
        let globals = Arguments::new(instructions, escape, given);
        let (stages, name, variables) = (BTreeMap::new(), String::new(), BTreeMap::new());
        let current = globals.clone();
        Self { given, globals, stages, name, variables, current }
    }

    /// Removes quotes from a word and replaces names by their values, or by [`UNKNOWN`].
    pub(super) fn expand(&self, word: &str) -> String {
        self.current.expand(word)
    }

    /// Returns the base of a `FROM`.
    pub(super) fn base(&self, from: &Instruction) -> String {
        let word = flags(&from.arguments).1.split_whitespace().next();
        self.globals.expand(word.unwrap_or_default())
    }

    /// Continues after `instruction`.
    pub(super) fn pass(&mut self, instruction: &Instruction) {
        match instruction.keyword.as_str() {
            "FROM" => self.begin(instruction),
            // Those before the first stage are the globals.
            "ARG" if !self.current.is_complete => self.declare(instruction),
            "ENV" => self.set(instruction),
            _ => {}
        }
    }

    fn begin(&mut self, from: &Instruction) {
        let finished = std::mem::take(&mut self.variables);
        self.stages.insert(std::mem::take(&mut self.name), finished);
        let base = self.base(from).to_ascii_lowercase();
        self.name = stage(from).unwrap_or_default();
        self.variables = self.stages.get(&base).cloned().unwrap_or_default();
        let (values, escape) = (self.variables.clone(), self.globals.escape);
        self.current = Arguments { values, is_complete: false, escape };
    }

    fn declare(&mut self, arg: &Instruction) {
        for word in split(&arg.arguments, arg.escape).unwrap_or_default() {
            let (name, default) = declared(word);
            let default = default.map(|text| self.expand(text));
            let value = self.given.get(name).cloned().or(default);
            let value = value.or_else(|| self.globals.values.get(name).cloned());
            if !self.variables.contains_key(name) {
                self.current.values.insert(name.to_owned(), value.unwrap_or_default());
            }
        }
    }

    fn set(&mut self, env: &Instruction) {
        let words = split(&env.arguments, env.escape).unwrap_or_default();
        // All values of an instruction are expanded before it sets one.
        let pairs: Vec<(String, String)> = match words.first() {
            Some(first) if first.contains('=') => words
                .iter()
                .filter_map(|word| word.split_once('='))
                .map(|(name, value)| (name.to_owned(), self.expand(value)))
                .collect(),
            Some(first) => {
                let value = env.arguments[first.len()..].trim();
                vec![((*first).to_owned(), self.expand(value))]
            }
            None => Vec::new(),
        };
        self.variables.extend(pairs.clone());
        self.current.values.extend(pairs);
    }
}

/// Splits a word of an `ARG` into the name and the default.
fn declared(word: &str) -> (&str, Option<&str>) {
    word.split_once('=').map_or((word, None), |(name, default)| (name, Some(default)))
}

/// Returns the names that any `ARG` declares, in their order.
pub(crate) fn names(instructions: &[Instruction]) -> Vec<&str> {
    let all = instructions.iter().filter(|found| found.keyword == "ARG");
    let words = all.flat_map(|arg| split(&arg.arguments, arg.escape).unwrap_or_default());
    words.map(|word| declared(word).0).collect()
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
        let text = "ARG A=1 B=\"x y\" C=${A}.2 EMPTY=\nARG D G=default\nFROM a\nARG LATE=1\n";
        let given = BTreeMap::from([("G".to_owned(), "given".to_owned())]);
        let arguments = Arguments::new(&parse(text).expect(text), '\\', &given);
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
            ("$G", "given"),
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

    #[test]
    fn a_stage_has_its_arguments_and_variables() {
        let text = "ARG G=1 H=2\nFROM a AS one\nARG G H=3 L=$G\nENV E=${L}4 L=env\nARG L=5\nENV OLD a  $E\n\
            FROM one\nARG GIVEN=no\nRUN x\n";
        let instructions = parse(text).expect(text);
        let given = BTreeMap::from([("GIVEN".to_owned(), "yes".to_owned())]);
        let mut scope = Scope::new(&instructions, &given);
        let mut expanded = Vec::new();
        for instruction in &instructions {
            scope.pass(instruction);
            let text = scope.expand("$G|$H|$L|$E|$OLD|$GIVEN|${NONE:-x}|$TARGETARCH");
            expanded.push(text.replace(UNKNOWN, "?"));
        }
        assert_eq!(
            expanded,
            [
                "1|2|||||x|?".to_owned(),
                "?|?|?|?|?|?|?|?".to_owned(),
                "1|3|1|?|?|?|?|?".to_owned(),
                "1|3|env|14|?|?|?|?".to_owned(),
                "1|3|env|14|?|?|?|?".to_owned(),
                "1|3|env|14|a  14|?|?|?".to_owned(),
                "?|?|env|14|a  14|?|?|?".to_owned(),
                "?|?|env|14|a  14|yes|?|?".to_owned(),
                "?|?|env|14|a  14|yes|?|?".to_owned(),
            ]
        );
    }
}
