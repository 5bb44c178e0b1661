//! Writes instructions of a Dockerfile, each line with its place in the matrix file.

use std::iter::{once, repeat};
use std::ops::Range;

/// The lines of a generated Dockerfile, or of a part of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::render) struct Script {
    pub(in crate::render) text: String,
    /// For each line, the place in the matrix file that it comes from; an empty range if it comes from none.
    pub(in crate::render) places: Vec<Range<usize>>,
}

impl Script {
    pub(super) fn line(&mut self, line: &str, place: &Range<usize>) {
        for line in line.split('\n') {
            self.text.push_str(line);
            self.text.push('\n');
            self.places.push(place.clone());
        }
    }

    /// Adds an empty line and a comment.
    pub(super) fn comment(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.line("", &(0..0));
        }
        self.line(&format!("# {text}"), &(0..0));
    }

    pub(super) fn append(&mut self, other: Self) {
        if !self.text.is_empty() && !other.text.is_empty() {
            self.line("", &(0..0));
        }
        self.text.push_str(&other.text);
        self.places.extend(other.places);
    }

    pub(super) fn run(&mut self, run: &Run) {
        run.write(self);
    }
}

/// A `RUN` of commands that are joined by `&&`.
#[derive(Debug, Default, Clone)]
pub(super) struct Run {
    mounts: Vec<String>,
    commands: Vec<Command>,
}

#[derive(Debug, Clone)]
struct Command {
    /// The lines of the command. Those after the first continue it.
    text: String,
    place: Range<usize>,
    /// Arguments on lines of their own.
    arguments: Vec<Word>,
}

impl Run {
    /// Adds a mount, once.
    pub(super) fn mount(&mut self, options: String) -> &mut Self {
        if !self.mounts.contains(&options) {
            self.mounts.push(options);
        }
        self
    }

    /// Mounts a file of the build context, and returns its path in the step.
    pub(super) fn bind(&mut self, path: &str) -> String {
        let target = format!("/run/context/{path}");
        self.mount(format!("type=bind,source={path},target={target}"));
        target
    }

    /// Begins a step whose temporary files stay out of the image, with a file that is older than those it installs.
    pub(super) fn begin(&mut self) {
        self.mount("type=tmpfs,target=/tmp".to_owned());
        self.then("touch /tmp/before");
    }

    pub(super) fn then(&mut self, text: impl Into<String>) -> &mut Self {
        self.then_with(text, Vec::new())
    }

    /// Adds a command with its place in the matrix file.
    pub(super) fn then_at(&mut self, text: impl Into<String>, place: Range<usize>) {
        self.commands.push(Command { text: text.into(), place, arguments: Vec::new() });
    }

    /// Returns the commands as one, a line for each.
    pub(super) fn joined(&self) -> String {
        let texts: Vec<&str> = self.commands.iter().map(|command| command.text.as_str()).collect();
        texts.join("\n&& ")
    }

    /// Adds a command with arguments on lines of their own, each a word of the shell.
    pub(super) fn then_with(&mut self, text: impl Into<String>, arguments: Vec<Word>) -> &mut Self {
        self.commands.push(Command { text: text.into(), place: 0..0, arguments });
        self
    }

    fn write(&self, script: &mut Script) {
        let mut lines: Vec<Word> = Vec::new();
        lines.extend(self.mounts.iter().map(|mount| (format!("--mount={mount}"), 0..0)));
        for (number, command) in self.commands.iter().enumerate() {
            let and = if number > 0 { "&& " } else { "" };
            for (line, begin) in command.text.lines().zip(once(and).chain(repeat("    "))) {
                lines.push((format!("{begin}{line}"), command.place.clone()));
            }
            let arguments = command.arguments.iter();
            lines.extend(arguments.map(|(word, place)| (format!("    {word}"), place.clone())));
        }
        let last = lines.len().saturating_sub(1);
        for (number, (line, place)) in lines.iter().enumerate() {
            let begin = if number == 0 { "RUN " } else { "    " };
            let end = if number == last { "" } else { " \\" };
            script.line(&format!("{begin}{line}{end}"), place);
        }
    }
}

/// An argument and its place in the matrix file.
pub(super) type Word = (String, Range<usize>);

/// Quotes a word for a POSIX shell, unless it has only harmless characters.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./:=+@%,-".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_special_characters_are_quoted() {
        for (word, expected) in [
            ("numpy==1.26.4", "numpy==1.26.4"),
            ("numpy>=1.26,<2", "'numpy>=1.26,<2'"),
            ("a[b]; python_version<\"3.13\"", "'a[b]; python_version<\"3.13\"'"),
            ("it's", r"'it'\''s'"),
            ("$(id)", "'$(id)'"),
            ("#a", "'#a'"),
            ("~a", "'~a'"),
            ("<<EOF", "'<<EOF'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
