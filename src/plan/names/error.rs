//! Errors of image names. Each points to the value or the pattern in the matrix file that causes it.

use super::{ImageName, ImageNames};
use crate::error::{ExitCode, Explain};
use crate::image::{Reference, ReferenceError};
use crate::matrix::{Diagnostic, Pattern, SourceError, Value, Variant};
use crate::version::Version;

#[derive(Debug, thiserror::Error)]
pub enum NameError {
    #[error("the name of `{variant}` is invalid")]
    Invalid {
        variant: String,
        #[source]
        source: ReferenceError,
    },
    #[error("`{first}` and `{second}` have the same name `{reference}`")]
    Twice { first: String, second: String, reference: Reference },
    /// A value or pattern in the matrix file makes a name invalid.
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("the tag `{0}` contains the version, but no version is known")]
    NoVersion(String),
    #[error("`{text}` is not a valid {what}: {reason}")]
    Requested { what: &'static str, text: String, reason: String },
    #[error("invalid `--registry`")]
    Registry(#[source] ReferenceError),
    #[error("`--registry` names `{0}` twice, with different paths")]
    RegistryTwice(String),
    /// A variant has none of the requested platforms.
    #[error("`{variant}` cannot be built for {wanted}; its platforms are {own}")]
    Platforms { variant: String, wanted: String, own: String },
}

impl Explain for NameError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Invalid { .. } | Self::Twice { .. } | Self::Source(_) | Self::NoVersion(_) => {
                ExitCode::Matrix
            }
            Self::Requested { .. } | Self::Registry(_) | Self::RegistryTwice(_) => ExitCode::Usage,
            Self::Platforms { .. } => ExitCode::Selection,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Twice { .. } => Some(EVERY_AXIS.to_owned()),
            Self::NoVersion(_) => {
                Some("pass `--version-tag`, or add `[version]` to the matrix file".to_owned())
            }
            _ => None,
        }
    }
}

/// The hint for equal names.
const EVERY_AXIS: &str = "add every axis to the repository or to the tag, or use `{{variant}}`";

/// The hint for equal aliases.
const ONE_IMAGE: &str =
    "limit the alias to one image by `when`, or add every axis to it: `{{variant}}-latest`";

impl ImageNames<'_> {
    /// Returns the error of an invalid name. It points to the first value that `is_valid` refuses within a name, or to
    /// the pattern.
    pub(super) fn invalid(
        &self,
        variant: &Variant,
        pattern: &Pattern,
        source: ReferenceError,
        is_valid: impl Fn(&str) -> bool,
    ) -> NameError {
        let problem = Version::show_any(&source.to_string());
        let title = format!("the name of `{}` is invalid: {problem}", variant.id);
        let has = |wanted: &str| pattern.names().any(|(name, _)| name == wanted);
        let (is_id_used, is_valid) = (has("variant"), |part: &str| is_valid(&format!("x{part}x")));
        for (index, axis) in self.matrix.axes.iter().enumerate() {
            let value = self.matrix.value(variant, index);
            // The name of an axis inserts a string unchanged, and the tag part of a boolean.
            let is_text = has(&axis.name) && matches!(value.value, Value::Text(_));
            let is_tag = is_id_used || (has(&axis.name) && !is_text);
            let (span, help) = if is_text && !is_valid(&self.matrix.name_part(variant, &axis.name))
            {
                let name = &axis.name;
                let help = format!("change the value, or remove `{{{{{name}}}}}` from the name");
                (&value.span, help)
            } else if is_tag && !is_valid(&value.tag) {
                let help = "set another `tag` for the value: `{ value = …, tag = \"…\" }`";
                (&value.tag_span, help.to_owned())
            } else {
                continue;
            };
            let label = "the name is invalid because of this value";
            return self.refuse(Diagnostic::new(span.clone(), title, label).help(help));
        }
        match pattern.span() {
            Some(span) => self.refuse(Diagnostic::new(span, title, "the name is built from this")),
            None => NameError::Invalid { variant: variant.id.clone(), source },
        }
    }

    pub(super) fn refuse(&self, diagnostic: Diagnostic) -> NameError {
        SourceError::new(&self.matrix.source, vec![diagnostic]).into()
    }

    /// Returns the error for `reference`, a `name` of the variant `second` that `first` also has.
    pub(super) fn twice(
        &self,
        first: &str,
        second: &Variant,
        name: &ImageName<'_>,
        reference: Reference,
    ) -> NameError {
        let span = name.pattern.span().or(self.repository_pattern(second).span());
        let (second, shown) = (second.id.as_str(), Version::show_any(&reference.to_string()));
        match span {
            Some(span) if first == second => {
                let title = format!("`{first}` has the name `{shown}` twice");
                self.refuse(
                    Diagnostic::new(span, title, "duplicate name")
                        .help("aliases must differ from the version tag and from each other"),
                )
            }
            Some(span) if self.request.repository.is_none() && self.request.tag.is_none() => {
                let title = format!("`{first}` and `{second}` have the same name `{shown}`");
                let help = if name.alias.is_some() { ONE_IMAGE } else { EVERY_AXIS };
                self.refuse(Diagnostic::new(span, title, "the name is built from this").help(help))
            }
            _ => {
                let (first, second) = (first.to_owned(), second.to_owned());
                NameError::Twice { first, second, reference }
            }
        }
    }
}
