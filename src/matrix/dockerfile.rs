//! Validates the settings of Dockerfiles: their text, build arguments and contexts.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;

use super::checker::Checker;
use super::diagnostic::SourceFile;
use super::pattern::Pattern;
use super::placeholders::PatternKind;
use super::safe;
use super::schema::DockerignoreEntry;
use super::secrets::holds_secret;
use super::spanned::Spanned;
use crate::files::IgnoreRules;

/// The patterns of a context.
#[derive(Debug, Clone)]
pub enum Dockerignore {
    /// The path of a file, relative to the matrix file.
    File(Spanned<String>),
    Patterns(Arc<IgnoreRules>),
}

/// A named context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextSource {
    /// A folder, relative to the matrix file.
    Folder(String),
    /// The name of an image.
    Image(String),
    /// A call of the helper `image`, which names an image of the matrix.
    Variant(String),
}

/// Returns why a build argument is not accepted, if so. Never contains the value.
pub(crate) fn refuse_argument(name: &str, value: &str) -> Option<&'static str> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(is_word) {
        return Some("a name consists of letters, digits and `_`");
    }
    let has_password = value
        .split_once("://")
        .and_then(|(_, rest)| rest.split(['/', '?', '#']).next()?.split_once('@'))
        .is_some_and(|(user, _)| user.contains(':'));
    (has_password || holds_secret(value)).then_some(
        "it looks like a secret, which everyone who pulls the image could read; \
         use `[build.secrets]` and `RUN --mount=type=secret`",
    )
}

impl Checker<'_> {
    /// Returns the name of the Dockerfile, which is its path, and its text if the matrix file contains it.
    pub(super) fn dockerfile(
        &mut self,
        text: &Spanned<String>,
    ) -> (Pattern, Option<Arc<SourceFile>>) {
        if !text.contains('\n') {
            if let Some(reason) = safe::refuse_path(text) {
                self.report_path(text, reason);
            }
            return (self.pattern(text, PatternKind::Image), None);
        }
        let line = self.source.line(text.span().start);
        // TOML removes a line break after the opening quotes.
        let is_below =
            self.source.text[text.span()].trim_start_matches(['\'', '"']).starts_with(['\n', '\r']);
        let source =
            SourceFile::new(&self.source.path, text).from_line(line + usize::from(is_below));
        let name = format!("{}:{line}", self.source.path.file_name().unwrap_or_default().display());
        let name = Pattern::parse(&name).unwrap_or_else(|_| Pattern::parse("").expect("a pattern"));
        (name.at(text.span()), Some(Arc::new(source)))
    }

    /// Checks the path of a folder, which can be above the matrix file.
    pub(super) fn context(&mut self, path: &Spanned<String>) -> Pattern {
        self.check_folder(path);
        self.pattern(path, PatternKind::Image)
    }

    fn check_folder(&mut self, path: &Spanned<String>) {
        if path.is_empty() || path.starts_with('/') || path.chars().any(safe::is_invisible) {
            let reason = "expected a folder, relative to the matrix file".to_owned();
            self.report_path(path, reason);
        } else if !path.contains("{{") {
            self.confine(path);
        }
    }

    pub(super) fn arguments(
        &mut self,
        table: &IndexMap<Spanned<String>, Spanned<String>>,
    ) -> BTreeMap<String, Pattern> {
        let mut arguments = BTreeMap::new();
        for (name, value) in table {
            match refuse_argument(name, value) {
                Some(reason) => {
                    let message =
                        format!("the build argument `{}` is refused", name.escape_debug());
                    self.report(value.span(), message, reason).is_concealed = true;
                }
                None => {
                    arguments.insert(name.to_string(), self.pattern(value, PatternKind::Image));
                }
            }
        }
        arguments
    }

    pub(super) fn dockerignore(&mut self, entry: &Spanned<DockerignoreEntry>) -> Dockerignore {
        let patterns = match entry.get_ref() {
            DockerignoreEntry::File(path) => {
                let path = Spanned::new(entry.span(), path.clone());
                if let Some(reason) = safe::refuse_path(&path) {
                    self.report_path(&path, reason);
                }
                self.confine(&path);
                return Dockerignore::File(path);
            }
            DockerignoreEntry::Patterns(patterns) => patterns,
        };
        let mut rules = IgnoreRules::default();
        for pattern in patterns {
            let line = self.source.line(pattern.span().start);
            let place = format!("{}:{line}", self.source.path.display());
            if let Err(error) = rules.add(pattern, place) {
                self.report(pattern.span(), error.to_string(), "");
            }
        }
        Dockerignore::Patterns(Arc::new(rules))
    }

    /// Checks `[build.contexts]`.
    pub(super) fn contexts(
        &mut self,
        table: &IndexMap<Spanned<String>, Spanned<String>>,
    ) -> BTreeMap<String, Pattern> {
        let mut contexts = BTreeMap::new();
        for (name, source) in table {
            let is_word = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte)
            };
            if !name.bytes().all(is_word) || !name.starts_with(|c: char| c.is_ascii_alphanumeric())
            {
                let message = format!("`{}` is not a valid name of a context", name.escape_debug());
                let label = "expected lower-case letters, digits, `.`, `_` and `-`";
                self.report(name.span(), message, label);
            }
            if let Some(call) = Pattern::of_image_call(source) {
                contexts.insert(name.to_string(), call);
                continue;
            }
            if let Some((scheme, _)) = source.split_once("://") {
                if scheme != "docker-image" {
                    let message = format!("`{}` is not a valid context", source.escape_debug());
                    let label = "expected a folder, `docker-image://NAME` or `{{image \"value\"}}`";
                    self.report(source.span(), message, label);
                }
            } else {
                self.check_folder(source);
            }
            contexts.insert(name.to_string(), self.pattern(source, PatternKind::Image));
        }
        contexts
    }
}
