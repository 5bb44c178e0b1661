//! What each image is called.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexSet;

use super::{PlanRequest, Target};
use crate::error::{ExitCode, Explain};
use crate::image::{Platform, Reference, ReferenceError, Repository, Tag, refuse_scheme};
use crate::matrix::{Diagnostic, Matrix, Pattern, SourceError, Value, Variant};

/// Why images cannot be called what the matrix says.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// A name breaks a registry's rules.
    #[error("`{variant}` cannot be named")]
    Invalid {
        /// The variant.
        variant: String,
        /// Which rule.
        #[source]
        source: ReferenceError,
    },
    /// Two variants would have one name.
    #[error("`{first}` and `{second}` would both be called `{reference}`")]
    Twice {
        /// The one.
        first: String,
        /// The other.
        second: String,
        /// The name.
        reference: Reference,
    },
    /// A name is invalid because of a value or pattern in the matrix file.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Tags follow the version, and none is known.
    #[error("the tag `{0}` follows the version, and no version is known")]
    NoVersion(String),
    /// The repository given instead of the matrix' own cannot be read.
    #[error("`{text}` cannot be a repository: {reason}")]
    Repository {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The registry given instead of the matrix' own is none.
    #[error("`--registry` is refused")]
    Registry(#[source] ReferenceError),
    /// A variant is not meant for any of the platforms asked for.
    #[error("`{variant}` is not built for {wanted}, but for {own}")]
    Platforms {
        /// The variant.
        variant: String,
        /// What was asked for.
        wanted: String,
        /// What it is limited to.
        own: String,
    },
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
                Some("give `--version-tag`, or say in `[version]` where it lives".to_owned())
            }
            _ => None,
        }
    }
}

/// The hint for variants with equal names.
const EVERY_AXIS: &str =
    "every axis needs a part in the repository or in the tag, as `{{variant}}` gives it";

/// How variants are named in one run.
#[derive(Debug)]
pub struct Naming<'a> {
    matrix: &'a Matrix,
    request: &'a PlanRequest,
    repository: Pattern,
}

/// The values of the names in a pattern.
type Parts = HashMap<String, String>;

fn part<'a>(parts: &'a Parts, name: &str) -> &'a str {
    parts.get(name).map_or("", String::as_str)
}

/// What one variant is called.
struct Names {
    reference: Reference,
    aliases: Vec<Reference>,
}

impl<'a> Naming<'a> {
    /// Names as the matrix says and `request` changes it.
    pub fn new(matrix: &'a Matrix, request: &'a PlanRequest) -> Result<Self, NameError> {
        if let Some(registry) = &request.registry {
            Repository::new(registry, "any").map_err(NameError::Registry)?;
        }
        let repository = match &request.repository {
            None => matrix.image.repository.clone(),
            Some(text) => repository_pattern(matrix, text)?,
        };
        Ok(Self { matrix, request, repository })
    }

    /// The targets of `selected`, which are among `variants` and in their order.
    ///
    /// No two of `variants` have a name in common, those that are not selected too: one run
    /// would overwrite what another has pushed.
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

    /// The repository of the first of `variants`, which are never none.
    pub fn first_repository(&self, variants: &[Variant]) -> Result<Repository, NameError> {
        let first = variants.first().expect("a matrix has variants");
        self.repository(first)
    }

    /// What a variant is called: the tag of its version, then its aliases.
    pub(super) fn references(&self, variant: &Variant) -> Result<Vec<Reference>, NameError> {
        let names = self.names(variant)?;
        Ok(std::iter::once(names.reference).chain(names.aliases).collect())
    }

    fn names(&self, variant: &Variant) -> Result<Names, NameError> {
        let image = &self.matrix.image;
        let repository = self.repository(variant)?;
        let reference = |pattern: &Pattern| self.reference(variant, &repository, pattern);
        let aliases = image.aliases.iter().map(reference).collect::<Result<_, _>>()?;
        Ok(Names { reference: reference(&image.tag)?, aliases })
    }

    fn target<'v>(&self, variant: &'v Variant, names: Names) -> Result<Target<'v>, NameError> {
        let image = &self.matrix.image;
        let fill = |pattern: &Pattern| pattern.fill(|name| self.matrix.name_part(variant, name));
        Ok(Target {
            variant,
            reference: names.reference,
            aliases: names.aliases,
            dockerfile: self.matrix.dockerfile(variant),
            platforms: self.platforms(variant)?,
            labels: image.labels.iter().map(|(name, text)| (name.clone(), fill(text))).collect(),
            compression: image.compression,
        })
    }

    fn repository(&self, variant: &Variant) -> Result<Repository, NameError> {
        let text = self.repository.fill(|name| self.matrix.name_part(variant, name));
        self.in_registry(&text).map_err(|source| {
            self.invalid(variant, &self.repository, source, |parts| {
                self.in_registry(&self.repository.fill(|name| part(parts, name))).is_ok()
            })
        })
    }

    fn in_registry(&self, text: &str) -> Result<Repository, ReferenceError> {
        let own: Repository = text.parse()?;
        let registry = match (&self.request.registry, &self.matrix.image.registry) {
            (Some(registry), _) => registry,
            // A repository that says its registry itself has the last word.
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
        let version = self.request.version.as_ref().map_or("", |version| version.as_str());
        let tag = self.tag(variant, pattern)?.parse().map_err(|source| {
            self.invalid(variant, pattern, source, |parts| {
                let tag = pattern.fill_joined(|name| match name {
                    "version" => version,
                    name => part(parts, name),
                });
                tag.trim_start_matches('-').parse::<Tag>().is_ok()
            })
        })?;
        Ok(Reference { repository: repository.clone(), tag })
    }

    fn tag(&self, variant: &Variant, pattern: &Pattern) -> Result<String, NameError> {
        let version = self.request.version.as_ref().map_or("", |version| version.as_str());
        if version.is_empty() && pattern.names().any(|(name, _)| name == "version") {
            let without = pattern.fill_joined(|name| match name {
                "version" => "{{version}}",
                other => self.matrix.name_part(variant, other),
            });
            return Err(NameError::NoVersion(without));
        }
        let tag = pattern.fill_joined(|name| match name {
            "version" => version,
            other => self.matrix.name_part(variant, other),
        });
        // No tag begins with a dash.
        Ok(tag.trim_start_matches('-').to_owned())
    }

    /// The error of a name, at the value that makes it invalid: the one without which `is_valid` holds of
    /// the name. Where there is none, it is the pattern itself.
    fn invalid(
        &self,
        variant: &Variant,
        pattern: &Pattern,
        source: ReferenceError,
        is_valid: impl Fn(&Parts) -> bool,
    ) -> NameError {
        let title = format!("`{}` cannot be named: {source}", variant.id);
        let is_length =
            matches!(source, ReferenceError::TagLength(..) | ReferenceError::RepositoryLength(..));
        let mut axes = (0..self.matrix.axes.len()).filter(|_| !is_length);
        let wrong = axes.find(|axis| {
            let own = &self.matrix.axes[*axis].name;
            let others = pattern.names().map(|(name, _)| match name {
                "variant" => self.matrix.name_with(variant, *axis, "x"),
                name if name == own => "x".to_owned(),
                name => self.matrix.name_part(variant, name).to_owned(),
            });
            is_valid(&pattern.names().map(|(name, _)| name.to_owned()).zip(others).collect())
        });
        let diagnostic = match (wrong, pattern.span()) {
            (Some(axis), _) => {
                let value = self.matrix.value(variant, axis);
                let axis = &self.matrix.axes[axis].name;
                // The axis' name inserts a text unchanged, and its part of the tag for a switch.
                let is_whole = matches!(value.value, Value::Text(_))
                    && pattern.names().any(|(name, _)| name == axis);
                let (span, help) = if is_whole {
                    let help =
                        format!("write another value, or leave `{{{{{axis}}}}}` out of the name");
                    (value.span.clone(), help)
                } else {
                    let help =
                        "give the value another `tag`: `{ value = …, tag = \"…\" }`".to_owned();
                    (value.tag_span.clone(), help)
                };
                Diagnostic::new(span, title, "the name is invalid because of this value").help(help)
            }
            (None, Some(span)) => Diagnostic::new(span, title, "the name is made of this"),
            (None, None) => return NameError::Invalid { variant: variant.id.clone(), source },
        };
        self.refuse(diagnostic)
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

impl Naming<'_> {
    fn check_distinct(&self, variants: &[Variant], names: &[Names]) -> Result<(), NameError> {
        let mut owners: HashMap<&Reference, &str> = HashMap::with_capacity(variants.len());
        for (variant, names) in variants.iter().zip(names) {
            let references = std::iter::once(&names.reference).chain(&names.aliases);
            for (index, reference) in references.enumerate() {
                if let Some(first) = owners.insert(reference, &variant.id) {
                    return Err(self.twice(first, &variant.id, reference, index));
                }
            }
        }
        Ok(())
    }

    /// The error of a name that two variants would have, or one of them twice. It is made of the tag, whose `index` is 0,
    /// or of an alias.
    fn twice(&self, first: &str, second: &str, reference: &Reference, index: usize) -> NameError {
        let image = &self.matrix.image;
        let pattern = index.checked_sub(1).map_or(&image.tag, |alias| &image.aliases[alias]);
        match pattern.span().or(image.repository.span()) {
            Some(span) if first == second => {
                let title = format!("`{first}` would be called `{reference}` twice");
                self.refuse(Diagnostic::new(span, title, "the same name again").help(
                    "an alias is another name than the tag of the version, and than the other aliases",
                ))
            }
            Some(span) if self.request.repository.is_none() => {
                let title = format!("`{first}` and `{second}` would both be called `{reference}`");
                self.refuse(
                    Diagnostic::new(span, title, "the name is made of this").help(EVERY_AXIS),
                )
            }
            _ => {
                let (first, second) = (first.to_owned(), second.to_owned());
                NameError::Twice { first, second, reference: reference.clone() }
            }
        }
    }
}

fn repository_pattern(matrix: &Matrix, text: &str) -> Result<Pattern, NameError> {
    let refuse = |reason: String| NameError::Repository { text: text.to_owned(), reason };
    refuse_scheme(text).map_err(|error| refuse(error.to_string()))?;
    let pattern = Pattern::parse(text).map_err(|error| refuse(error.to_string()))?;
    let unknown = pattern
        .names()
        .map(|(name, _)| name)
        .find(|name| *name != "variant" && matrix.axis(name).is_none())
        .map(str::to_owned);
    match unknown {
        Some(name) => Err(refuse(format!("the matrix has no axis `{name}`"))),
        None => Ok(pattern),
    }
}
