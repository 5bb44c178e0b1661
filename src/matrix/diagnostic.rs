//! Errors in a file, shown with their line and column.
//!
//! A [`SourceError`] contains the [`SourceFile`] and one [`Diagnostic`] for each error.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::secrets;
use super::spanned::Span;
use crate::error::{ExitCode, Explain, one_line};
use crate::files::ReadError;

/// The path and the text of a file.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// The path as the user would write it.
    pub path: PathBuf,
    pub text: Arc<str>,
    /// The offset of the first byte of each line.
    lines: Arc<[usize]>,
    /// The number of the first line, from 1. A text within another file begins on a later one.
    first_line: usize,
}

impl SourceFile {
    #[must_use]
    pub fn new(path: &Path, text: &str) -> Self {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(after).collect();
        Self { path: path.to_owned(), text: text.into(), lines, first_line: 1 }
    }

    /// Sets the number of the first line, from 1, of a text within another file.
    #[must_use]
    pub fn from_line(self, first_line: usize) -> Self {
        Self { first_line, ..self }
    }

    /// Returns the line, from 1, of the byte at `offset`.
    #[must_use]
    pub fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|begin| *begin <= offset) + self.first_line - 1
    }

    /// Returns the column, from 1, of the byte at `offset`, in characters.
    #[must_use]
    pub fn column(&self, offset: usize) -> usize {
        let begin = self.lines[self.lines.partition_point(|begin| *begin <= offset) - 1];
        self.text[begin..offset].chars().count() + 1
    }

    /// Returns the location of a line, from 1, without its end.
    #[must_use]
    pub fn line_span(&self, line: usize) -> Span {
        let begin = self.lines.get(line.saturating_sub(self.first_line)).copied();
        let begin = begin.unwrap_or(self.text.len());
        let length = self.text[begin..].lines().next().unwrap_or_default().len();
        begin..begin + length
    }
}

/// An error at a location of a file.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    message: String,
    span: Span,
    label: String,
    related: Vec<(Span, String)>,
    /// The advice shown below the error.
    pub(super) help: Option<String>,
    /// Whether asterisks replace the text at the span, because it may be a secret.
    pub(super) is_concealed: bool,
}

impl Diagnostic {
    /// Creates an error with a `message` and a `label` for the text at `span`.
    #[must_use]
    pub fn new(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            span,
            label: label.into(),
            related: Vec::new(),
            help: None,
            is_concealed: false,
        }
    }

    /// Creates the error of a path, at `span`, that cannot be read or resolved.
    pub(super) fn unreadable(span: Span, error: &ReadError) -> Self {
        Self::new(span, one_line(error), "").maybe_help(error.hint())
    }

    /// Adds another location with its label.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.add_related(span, label);
        self
    }

    pub(super) fn add_related(&mut self, span: Span, label: impl Into<String>) -> &mut Self {
        self.related.push((span, label.into()));
        self
    }

    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        self.maybe_help(Some(help.into()))
    }

    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    fn render(&self, source: &SourceFile) -> String {
        let path = source.path.to_string_lossy();
        let clamp = |span: &Span| {
            let is_boundary = |at: &usize| source.text.is_char_boundary(*at);
            let end = span.end.min(source.text.len());
            let start = (0..=span.start.min(end)).rev().find(is_boundary).unwrap_or(0);
            start..(end..=source.text.len()).find(is_boundary).unwrap_or(end)
        };
        let mut snippet = Snippet::source(&*source.text)
            .path(path)
            .line_start(source.first_line)
            .annotation(AnnotationKind::Primary.span(clamp(&self.span)).label(self.label.as_str()));
        for (span, label) in &self.related {
            let annotation = AnnotationKind::Context.span(clamp(span)).label(label.as_str());
            snippet = snippet.annotation(annotation);
        }
        let mut group = Level::ERROR.primary_title(self.message.as_str()).element(snippet);
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        Renderer::plain().render(&[group])
    }
}

/// The errors of a file, at least one.
#[derive(Debug)]
pub struct SourceError {
    source: SourceFile,
    diagnostics: Vec<Diagnostic>,
}

impl SourceError {
    #[must_use]
    pub fn new(source: &SourceFile, diagnostics: Vec<Diagnostic>) -> Self {
        debug_assert!(!diagnostics.is_empty(), "an error has a message");
        let concealed = diagnostics.iter().filter(|diagnostic| diagnostic.is_concealed);
        let spans: Vec<Span> = concealed.map(|diagnostic| diagnostic.span.clone()).collect();
        let source = if spans.is_empty() {
            source.clone()
        } else {
            let text = secrets::conceal(&source.text, &spans);
            SourceFile::new(&source.path, &text).from_line(source.first_line)
        };
        Self { source, diagnostics }
    }
}

impl SourceError {
    /// Returns the first message with its label, without its place.
    #[must_use]
    pub(crate) fn summary(&self) -> String {
        let Some(first) = self.diagnostics.first() else { return String::new() };
        match first.label.as_str() {
            "" => first.message.clone(),
            label => format!("{}: {label}", first.message),
        }
    }
}

/// The maximum number of diagnostics shown.
const MAX_SHOWN: usize = 50;

impl fmt::Display for SourceError {
    /// Writes the diagnostics, up to `MAX_SHOWN`. The first has no `error: `: the printer adds it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.diagnostics.iter().take(MAX_SHOWN);
        let mut shown: Vec<String> =
            shown.map(|diagnostic| diagnostic.render(&self.source)).collect();
        if let more @ 1.. = self.diagnostics.len().saturating_sub(MAX_SHOWN) {
            shown.push(format!("error: {more} more errors are not shown"));
        }
        let text = shown.join("\n\n");
        formatter.write_str(text.strip_prefix("error: ").unwrap_or(&text))
    }
}

impl std::error::Error for SourceError {}

impl Explain for SourceError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Matrix
    }
}

/// Returns the name in `known` that `name` most likely misspells.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()) / 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns [`nearest`] among names with the same digits: other digits are another version, not a misspelling.
#[must_use]
pub fn nearest_spelling<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let digits = |text: &str| text.replace(|c: char| !c.is_ascii_digit(), "");
    let own = digits(name);
    nearest(name, known.into_iter().filter(|candidate| digits(candidate) == own))
}

/// Suggests the name in `known` that is most similar to `name`.
pub(crate) fn did_you_mean<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(name, known).map(suggestion)
}

pub(super) fn suggestion(near: &str) -> String {
    format!("did you mean `{near}`?")
}

/// Joins names to a text: `` `a`, `b` and `c` ``.
pub(crate) fn quoted_list(items: &[impl AsRef<str>]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| format!("`{}`", item.as_ref())).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_within_a_character_shows_the_whole_character() {
        let source = SourceFile::new(Path::new("a"), "xäö");
        for (span, marks) in [(2..4, "^^"), (2..2, "^"), (1..2, "^"), (4..9, "^"), (9..9, "^")] {
            let diagnostic = Diagnostic::new(span.clone(), "wrong", "");
            let shown = SourceError::new(&source, vec![diagnostic]).to_string();
            let shown = shown.lines().last().unwrap_or_default().trim_start_matches([' ', '|']);
            assert_eq!(shown, marks, "{span:?}");
        }
    }

    #[test]
    fn errors_over_the_limit_are_counted() {
        let source = SourceFile::new(Path::new("a"), "x");
        let diagnostics = vec![Diagnostic::new(0..1, "wrong", ""); 2000];
        let shown = SourceError::new(&source, diagnostics).to_string();
        assert_eq!(shown.matches("wrong").count(), MAX_SHOWN);
        assert!(shown.ends_with("\n\nerror: 1950 more errors are not shown"), "{shown}");
    }

    #[test]
    fn lines_of_byte_offsets_are_found() {
        let source = SourceFile::new(Path::new("a"), "ä\n\nb\r\n");
        let lines: Vec<usize> = (0..9).map(|offset| source.line(offset)).collect();
        assert_eq!(lines, [1, 1, 1, 2, 3, 3, 3, 4, 4]);
        assert_eq!(SourceFile::new(Path::new("a"), "").line(0), 1);
    }
}
