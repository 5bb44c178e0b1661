//! What is wrong with a file, shown at the line and column where it is wrong.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::schema::Span;
use super::secrets;
use crate::error::{ExitCode, Explain};

/// A text and the name of the file that it was read from.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// The path as the user would write it.
    pub path: PathBuf,
    /// What the file holds.
    pub text: Arc<str>,
    /// Where each of its lines begins, in bytes.
    lines: Arc<[usize]>,
}

impl SourceFile {
    /// Names a text that was read from `path`.
    #[must_use]
    pub fn new(path: &Path, text: &str) -> Self {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(after).collect();
        Self { path: path.to_owned(), text: text.into(), lines }
    }

    /// The line, from 1, on which the byte at `offset` stands.
    #[must_use]
    pub fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|begin| *begin <= offset)
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    message: String,
    span: Span,
    label: String,
    related: Vec<(Span, String)>,
    help: Option<String>,
    concealed: bool,
}

impl Diagnostic {
    /// `message` says what is wrong as a whole, `label` what the text at `span` has to do with it.
    #[must_use]
    pub fn new(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            span,
            label: label.into(),
            related: Vec::new(),
            help: None,
            concealed: false,
        }
    }

    /// Points at another place that has to do with it.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Shows stars in place of the text at the span: it may be a secret.
    #[must_use]
    pub fn conceal(mut self) -> Self {
        self.concealed = true;
        self
    }

    /// The same with `help`, if there is any.
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

/// All that is wrong with a file.
#[derive(Debug)]
pub struct SourceError {
    source: SourceFile,
    diagnostics: Vec<Diagnostic>,
}

impl SourceError {
    /// `diagnostics` are about `source`, and at least one.
    #[must_use]
    pub fn new(source: &SourceFile, diagnostics: Vec<Diagnostic>) -> Self {
        debug_assert!(!diagnostics.is_empty(), "an error says something");
        let hidden = diagnostics.iter().filter(|diagnostic| diagnostic.concealed);
        let spans: Vec<Span> = hidden.map(|diagnostic| diagnostic.span.clone()).collect();
        let source = match spans.is_empty() {
            true => source.clone(),
            false => SourceFile::new(&source.path, &secrets::conceal(&source.text, &spans)),
        };
        Self { source, diagnostics }
    }
}

/// The number of diagnostics that an error shows: enough for whoever mends them one after the other.
const MAX_SHOWN: usize = 50;

impl fmt::Display for SourceError {
    /// Writes the diagnostics, up to [`MAX_SHOWN`]. The first has no `error: `: the printer adds it.
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

/// The name among `known` that was most likely meant by `name`.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()) / 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The same for names that hold versions: one with other digits is another version, and no misspelling.
#[must_use]
pub fn nearest_spelling<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let digits = |text: &str| text.replace(|c: char| !c.is_ascii_digit(), "");
    let own = digits(name);
    nearest(name, known.into_iter().filter(|candidate| digits(candidate) == own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_that_cuts_a_character_shows_it_whole() {
        let source = SourceFile::new(Path::new("a"), "xäö");
        for (span, marks) in [(2..4, "^^"), (2..2, "^"), (1..2, "^"), (4..9, "^"), (9..9, "^")] {
            let diagnostic = Diagnostic::new(span.clone(), "wrong", "");
            let shown = SourceError::new(&source, vec![diagnostic]).to_string();
            let shown = shown.lines().last().unwrap_or_default().trim_start_matches([' ', '|']);
            assert_eq!(shown, marks, "{span:?}");
        }
    }

    #[test]
    fn thousands_of_mistakes_are_counted_and_not_all_shown() {
        let source = SourceFile::new(Path::new("a"), "x");
        let diagnostics = vec![Diagnostic::new(0..1, "wrong", ""); 2000];
        let shown = SourceError::new(&source, diagnostics).to_string();
        assert_eq!(shown.matches("wrong").count(), MAX_SHOWN);
        assert!(shown.ends_with("\n\nerror: 1950 more errors are not shown"), "{shown}");
    }

    #[test]
    fn a_byte_is_on_the_line_that_it_stands_on() {
        let source = SourceFile::new(Path::new("a"), "ä\n\nb\r\n");
        let lines: Vec<usize> = (0..9).map(|offset| source.line(offset)).collect();
        assert_eq!(lines, [1, 1, 1, 2, 3, 3, 3, 4, 4]);
        assert_eq!(SourceFile::new(Path::new("a"), "").line(0), 1);
    }
}
