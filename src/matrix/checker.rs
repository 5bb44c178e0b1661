use std::path::Path;

use super::diagnostic::{Diagnostic, SourceError, SourceFile};
use super::placeholders::Placeholders;
use super::safe;
use super::spanned::{Span, Spanned};
use super::variables::VariableFiles;
use crate::files::{Access, Checkout, ReadError};

/// Collects the errors of a matrix file, so that all of them can be shown at once.
pub(super) struct Checker<'a> {
    pub(super) source: &'a SourceFile,
    pub(super) checkout: &'a Checkout,
    /// The names that patterns can contain.
    pub(super) placeholders: Placeholders<'a>,
    /// The variables of files.
    pub(super) files: &'a VariableFiles,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(
        source: &'a SourceFile,
        checkout: &'a Checkout,
        placeholders: Placeholders<'a>,
        files: &'a VariableFiles,
    ) -> Self {
        Self { source, checkout, placeholders, files, diagnostics: Vec::new() }
    }

    /// Adds an error, to which the caller can add a help text or a related location.
    pub(super) fn report(
        &mut self,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> &mut Diagnostic {
        self.diagnostics.push(Diagnostic::new(span, message, label));
        self.diagnostics.last_mut().expect("an error was added")
    }

    /// Reports a file that cannot be read.
    pub(super) fn report_unreadable(&mut self, path: &Spanned<String>, error: &ReadError) {
        self.diagnostics.push(Diagnostic::unreadable(path.span(), error));
    }

    /// Reports a path that leaves the repository. Write access is checked before writing.
    pub(super) fn confine(&mut self, path: &Spanned<String>) {
        if let Err(error) = self.checkout.resolve(Path::new(path.as_str()), Access::Read) {
            self.report_unreadable(path, &error);
        }
    }

    pub(super) fn report_path(&mut self, path: &Spanned<String>, reason: String) {
        let message = format!("invalid path `{}`", path.escape_debug());
        self.report(path.span(), message, reason);
    }

    /// Reports a name or description that is empty or not one line of visible text.
    pub(super) fn check_line(&mut self, text: &Spanned<String>, message: &str, label: &str) {
        if text.trim().is_empty() || text.chars().any(safe::is_invisible) {
            self.report(text.span(), message, label);
        }
    }

    /// Returns all errors that were reported so far, if any.
    pub(super) fn finish(&mut self) -> Result<(), SourceError> {
        if self.diagnostics.is_empty() {
            return Ok(());
        }
        Err(SourceError::new(self.source, std::mem::take(&mut self.diagnostics)))
    }
}
