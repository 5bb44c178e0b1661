//! Computes the names of images: repository, version tag and aliases.
//!
//! [`ImageNames::targets`] fills the patterns of `[image]` for each variant. An invalid or duplicate name is reported at
//! the value or pattern in the matrix file that causes it.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexSet;

use super::{PlanRequest, Target};
use crate::error::{ExitCode, Explain};
use crate::image::{Platform, Reference, ReferenceError, Repository, Tag, refuse_scheme};
use crate::matrix::{Diagnostic, Matrix, Pattern, SourceError, Value, Variant};

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
    #[error("`{text}` is not a valid repository: {reason}")]
    Repository { text: String, reason: String },
    #[error("invalid `--registry`")]
    Registry(#[source] ReferenceError),
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
            Self::Repository { .. } | Self::Registry(_) => ExitCode::Usage,
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

/// Computes the names of variants.
#[derive(Debug)]
pub struct ImageNames<'a> {
    matrix: &'a Matrix,
    request: &'a PlanRequest,
    /// The repository that the request sets instead of the matrix.
    repository: Option<Pattern>,
}

/// The references of a variant, starting with the version tag.
type Names = Vec<Reference>;

impl<'a> ImageNames<'a> {
    /// Uses the patterns of the matrix, with the changes in `request`.
    pub fn new(matrix: &'a Matrix, request: &'a PlanRequest) -> Result<Self, NameError> {
        if let Some(registry) = &request.registry {
            Repository::new(registry, "any").map_err(NameError::Registry)?;
        }
        let repository = request
            .repository
            .as_ref()
            .map(|text| requested_repository(matrix, text))
            .transpose()?;
        Ok(Self { matrix, request, repository })
    }

    /// Returns the targets of `selected`, a subset of `variants` in the same order.
    ///
    /// Names must be unique among all `variants`, because a later run could otherwise overwrite images of this one.
    pub fn targets<'v>(
        &self,
        variants: &'v [Variant],
        selected: &[&'v Variant],
    ) -> Result<Vec<Target<'v>>, NameError> {
        let names: Vec<Names> =
            variants.iter().map(|variant| self.names(variant)).collect::<Result<_, _>>()?;
        self.check_distinct(variants, &names)?;
        let mut wanted = selected.iter().peekable();
        let mut targets = Vec::with_capacity(selected.len());
        for (variant, names) in variants.iter().zip(names) {
            if wanted.next_if(|next| std::ptr::eq(**next, variant)).is_some() {
                targets.push(self.target(variant, names)?);
            }
        }
        Ok(targets)
    }

    /// Returns the repository of the first of `variants`.
    pub fn first_repository(&self, variants: &[Variant]) -> Result<Repository, NameError> {
        let first = variants.first().expect("a matrix has variants");
        self.repository(first)
    }

    /// Returns the references of a variant, starting with the version tag.
    pub(super) fn names(&self, variant: &Variant) -> Result<Names, NameError> {
        let repository = self.repository(variant)?;
        let patterns = std::iter::once(self.tag_pattern(variant)).chain(&self.matrix.image.aliases);
        patterns.map(|pattern| self.reference(variant, &repository, pattern)).collect()
    }

    fn target<'v>(&self, variant: &'v Variant, names: Names) -> Result<Target<'v>, NameError> {
        let settings = self.matrix.settings(variant);
        let labels = settings.merged(|settings| &settings.labels).into_iter();
        let compression = settings.last(|settings| settings.compression.as_ref());
        let mut names = names.into_iter();
        let fill = |pattern: &Pattern| pattern.fill(|name| self.matrix.name_part(variant, name));
        Ok(Target {
            variant,
            reference: names.next().expect("every variant has a version tag"),
            aliases: names.collect(),
            dockerfile: self.matrix.dockerfile(variant),
            platforms: self.platforms(variant)?,
            labels: labels.map(|(name, text)| (name.to_owned(), fill(text))).collect(),
            compression: compression.copied().unwrap_or_default(),
        })
    }

    fn repository(&self, variant: &Variant) -> Result<Repository, NameError> {
        let pattern = self.repository_pattern(variant);
        let text = pattern.fill(|name| self.matrix.name_part(variant, name));
        self.in_registry(&text).map_err(|source| {
            self.invalid(variant, pattern, source, |text| text.parse::<Repository>().is_ok())
        })
    }

    fn repository_pattern<'v>(&'v self, variant: &'v Variant) -> &'v Pattern {
        let settings = self.matrix.settings(variant);
        let own = settings.last(|settings| settings.repository.as_ref());
        self.repository.as_ref().or(own).expect("validation requires a repository in `[image]`")
    }

    fn tag_pattern<'v>(&'v self, variant: &'v Variant) -> &'v Pattern {
        let settings = self.matrix.settings(variant);
        settings.last(|settings| settings.tag.as_ref()).expect("`[image]` has a default tag")
    }

    fn in_registry(&self, text: &str) -> Result<Repository, ReferenceError> {
        let own: Repository = text.parse()?;
        let registry = match (&self.request.registry, &self.matrix.image.registry) {
            (Some(registry), _) => registry,
            // A repository that contains a registry overrides `registry`.
            (None, Some(registry)) if own.canonical() != text => registry,
            (None, _) => return Ok(own),
        };
        Repository::new(registry, own.path())
    }

    fn reference(
        &self,
        variant: &Variant,
        repository: &Repository,
        pattern: &Pattern,
    ) -> Result<Reference, NameError> {
        let tag = self.tag(variant, pattern)?.parse().map_err(|source| {
            self.invalid(variant, pattern, source, |text| text.parse::<Tag>().is_ok())
        })?;
        Ok(Reference { repository: repository.clone(), tag })
    }

    fn tag(&self, variant: &Variant, pattern: &Pattern) -> Result<String, NameError> {
        let version = self.request.version.as_ref().map_or("", |version| version.as_str());
        let fill = |version| {
            pattern.fill_joined(|name| match name {
                "version" => version.into(),
                other => self.matrix.name_part(variant, other),
            })
        };
        if version.is_empty() && pattern.names().any(|(name, _)| name == "version") {
            return Err(NameError::NoVersion(fill("{{version}}")));
        }
        let tag = fill(version);
        // A tag cannot begin with a dash.
        Ok(tag.trim_start_matches('-').to_owned())
    }

    /// Returns the error of an invalid name. It points to the first value that `is_valid` refuses within a name, or to
    /// the pattern.
    fn invalid(
        &self,
        variant: &Variant,
        pattern: &Pattern,
        source: ReferenceError,
        is_valid: impl Fn(&str) -> bool,
    ) -> NameError {
        let title = format!("the name of `{}` is invalid: {source}", variant.id);
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

    fn refuse(&self, diagnostic: Diagnostic) -> NameError {
        SourceError::new(&self.matrix.source, vec![diagnostic]).into()
    }

    fn platforms(&self, variant: &Variant) -> Result<Arc<[Platform]>, NameError> {
        let wanted: IndexSet<&Platform> = self.request.platforms.iter().collect();
        let wanted: Vec<Platform> = wanted.into_iter().cloned().collect();
        if wanted.is_empty() {
            return Ok(variant.platforms.clone());
        }
        let limits = (0..self.matrix.axes.len())
            .filter_map(|axis| self.matrix.value(variant, axis).platforms.as_ref());
        let mut chosen = wanted.clone();
        for limit in limits {
            chosen.retain(|platform| limit.contains(platform));
        }
        if chosen.is_empty() {
            return Err(NameError::Platforms {
                variant: variant.id.clone(),
                wanted: Platform::list(&wanted),
                own: Platform::list(&variant.platforms),
            });
        }
        Ok(chosen.into())
    }
}

impl ImageNames<'_> {
    fn check_distinct(&self, variants: &[Variant], names: &[Names]) -> Result<(), NameError> {
        let mut owners: HashMap<&Reference, &str> = HashMap::with_capacity(variants.len());
        for (variant, names) in variants.iter().zip(names) {
            for (index, reference) in names.iter().enumerate() {
                if let Some(first) = owners.insert(reference, &variant.id) {
                    return Err(self.twice(first, variant, reference, index));
                }
            }
        }
        Ok(())
    }

    /// Returns the error of a duplicate name. Its pattern is the tag, with `index` 0, or an alias.
    fn twice(
        &self,
        first: &str,
        second: &Variant,
        reference: &Reference,
        index: usize,
    ) -> NameError {
        let pattern = match index.checked_sub(1) {
            None => self.tag_pattern(second),
            Some(alias) => &self.matrix.image.aliases[alias],
        };
        let span = pattern.span().or(self.repository_pattern(second).span());
        let second = second.id.as_str();
        match span {
            Some(span) if first == second => {
                let title = format!("`{first}` has the name `{reference}` twice");
                self.refuse(
                    Diagnostic::new(span, title, "duplicate name")
                        .help("aliases must differ from the version tag and from each other"),
                )
            }
            Some(span) if self.request.repository.is_none() => {
                let title = format!("`{first}` and `{second}` have the same name `{reference}`");
                self.refuse(
                    Diagnostic::new(span, title, "the name is built from this").help(EVERY_AXIS),
                )
            }
            _ => {
                let (first, second) = (first.to_owned(), second.to_owned());
                NameError::Twice { first, second, reference: reference.clone() }
            }
        }
    }
}

fn requested_repository(matrix: &Matrix, text: &str) -> Result<Pattern, NameError> {
    let refuse = |reason: String| NameError::Repository { text: text.to_owned(), reason };
    refuse_scheme(text).map_err(|error| refuse(error.to_string()))?;
    let pattern = Pattern::parse(text).map_err(|error| refuse(error.to_string()))?;
    let unknown = pattern
        .names()
        .map(|(name, _)| name)
        .find(|name| *name != "variant" && !matrix.known_names().contains(name))
        .map(str::to_owned);
    match unknown {
        Some(name) => Err(refuse(format!("the matrix has no axis or variable `{name}`"))),
        None => Ok(pattern),
    }
}

#[cfg(test)]
mod tests;
