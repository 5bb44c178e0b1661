//! Computes the names of images: repository, version tag and aliases.
//!
//! [`ImageNames::targets`] fills the patterns of `[image]` for each variant. `printed` has the names that an image prints,
//! and `error` the errors of invalid and duplicate names.

mod error;
mod printed;

pub use error::NameError;
pub use printed::PrintedTag;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexSet;

use super::{PlanRequest, Target};
use crate::image::{
    Compression, Namespace, Platform, Reference, ReferenceError, Repository, Tag, refuse_scheme,
};
use crate::matrix::{Alias, Diagnostic, Matrix, Pattern, Variant};
use crate::render::Upstream;
use crate::version::Version;

/// The number of digits of `{{git.short_sha}}`.
const SHORT_SHA: usize = 7;

/// Computes the names of variants.
#[derive(Debug)]
pub struct ImageNames<'a> {
    matrix: &'a Matrix,
    request: &'a PlanRequest,
    /// The registries that the request sets instead of the matrix, with paths.
    registries: Vec<Namespace>,
    /// The repository that the request sets instead of the matrix.
    repository: Option<Pattern>,
    /// The tag that the request sets instead of the matrix.
    tag: Option<Pattern>,
    /// The placeholders that depend on the run.
    of_run: Vec<&'static str>,
}

/// A name of an image.
#[derive(Debug)]
pub(super) struct ImageName<'n> {
    pub(super) reference: Reference,
    /// The pattern of its tag.
    pattern: &'n Pattern,
    /// The alias that it is, unless it is the version tag.
    alias: Option<&'n Alias>,
}

/// The names of a variant.
#[derive(Debug)]
pub(super) struct VariantNames<'n> {
    /// Those in its first registry, starting with the version tag.
    pub(super) names: Vec<ImageName<'n>>,
    /// Its repositories in the other registries.
    replicas: Vec<Repository>,
}

impl VariantNames<'_> {
    fn repositories(&self) -> impl Iterator<Item = &Repository> {
        let first = self.names.first().map(|name| &name.reference.repository);
        first.into_iter().chain(&self.replicas)
    }

    /// Returns the names with the repositories in which the image has them.
    pub(super) fn everywhere(&self) -> impl Iterator<Item = (&ImageName<'_>, &Repository)> {
        self.names
            .iter()
            .flat_map(|name| self.repositories().map(move |repository| (name, repository)))
    }
}

impl<'a> ImageNames<'a> {
    /// Uses the patterns of the matrix, with the changes in `request`.
    pub fn new(matrix: &'a Matrix, request: &'a PlanRequest) -> Result<Self, NameError> {
        let of_run = matrix.placeholders_of_run();
        let pattern = |what, text: &Option<String>, names: &[&'static str]| {
            text.as_ref().map(|text| requested_pattern(matrix, what, text, names)).transpose()
        };
        Ok(Self {
            matrix,
            request,
            registries: requested_registries(&request.registries)?,
            repository: pattern("repository", &request.repository, &[])?,
            tag: pattern("tag", &request.tag, &of_run)?,
            of_run,
        })
    }

    /// Returns the targets of `selected`, a subset of `variants` in the same order, and the repository of the first of
    /// `variants` in each registry.
    ///
    /// Names must be unique among all `variants`, because a later run could otherwise overwrite images of this one.
    pub fn targets<'v>(
        &self,
        variants: &'v [Variant],
        selected: &[&'v Variant],
    ) -> Result<(Vec<Target<'v>>, Vec<Repository>), NameError> {
        let names: Vec<VariantNames<'_>> =
            variants.iter().map(|variant| self.names(variant)).collect::<Result<_, _>>()?;
        self.check_distinct(variants, &names)?;
        let first_repositories = Self::first_repositories(&names);
        let mut wanted = selected.iter().peekable();
        let mut targets = Vec::with_capacity(selected.len());
        for (variant, names) in variants.iter().zip(names) {
            if wanted.next_if(|next| std::ptr::eq(**next, variant)).is_some() {
                targets.push(self.target(variant, names)?);
            }
        }
        Ok((targets, first_repositories))
    }

    /// Returns the repository of a variant in its first registry.
    pub(super) fn repository(&self, variant: &Variant) -> Result<Repository, NameError> {
        Ok(self.repositories(variant)?.swap_remove(0))
    }

    /// Returns the repository of the first of the named variants in each registry.
    fn first_repositories(names: &[VariantNames<'_>]) -> Vec<Repository> {
        let mut first: Vec<Repository> = Vec::new();
        for repository in names.iter().flat_map(VariantNames::repositories) {
            if !first.iter().any(|known| known.registry() == repository.registry()) {
                first.push(repository.clone());
            }
        }
        first
    }

    /// Returns the names of a variant, starting with the version tag. Leaves out aliases whose placeholders have no value
    /// in this run.
    pub(super) fn names<'n>(&'n self, variant: &'n Variant) -> Result<VariantNames<'n>, NameError> {
        let mut repositories = self.repositories(variant)?;
        let replicas = repositories.split_off(1);
        let repository = repositories.swap_remove(0);
        let mut names = vec![self.name(variant, &repository, self.tag_pattern(variant), None)?];
        for alias in &self.matrix.image.aliases {
            if alias.applies_to(variant) && self.is_complete(alias) {
                names.push(self.name(variant, &repository, &alias.tag, Some(alias))?);
            }
        }
        Ok(VariantNames { names, replicas })
    }

    /// Returns the name of a variant's image without the version and other values of a run, such as `acme/base:3.11-gpu`.
    pub(super) fn without_version(&self, variant: &Variant) -> Result<String, NameError> {
        let repository = self.repository(variant)?;
        let tag = self.tag_pattern(variant).fill_joined(|name| {
            if self.of_run.contains(&name) {
                "".into()
            } else {
                self.matrix.name_part(variant, name)
            }
        });
        let tag = tag.trim_start_matches('-');
        Ok(if tag.is_empty() { repository.to_string() } else { format!("{repository}:{tag}") })
    }

    fn target<'v>(
        &self,
        variant: &'v Variant,
        names: VariantNames<'_>,
    ) -> Result<Target<'v>, NameError> {
        let settings = self.matrix.settings(variant);
        let is_mirror = self.is_mirror(variant)?;
        let labels = settings.merged(|settings| &settings.labels).into_iter();
        let compression = settings.last(|settings| settings.compression.as_ref());
        let force = settings.last(|settings| settings.force_compression.as_ref());
        let is_custom = self.request.is_custom;
        let is_set =
            |name: &ImageName<'_>| name.alias.is_none_or(|alias| alias.is_moved(is_custom));
        let VariantNames { names, replicas } = names;
        let names = names.into_iter().filter(is_set);
        let mut names = names.map(|name| name.reference);
        let fill = |pattern: &Pattern| pattern.fill(|name| self.matrix.name_part(variant, name));
        let printed = self.matrix.printed_aliases(variant);
        Ok(Target {
            variant,
            reference: names.next().expect("every variant has a version tag"),
            aliases: names.collect(),
            replicas,
            dockerfile: self.matrix.dockerfile(variant),
            platforms: if is_mirror { Arc::default() } else { self.platforms(variant)? },
            labels: labels
                .filter(|_| !is_mirror)
                .map(|(name, text)| (name.to_owned(), fill(text)))
                .collect(),
            compression: Compression {
                force: force.copied().unwrap_or_default(),
                ..compression.copied().unwrap_or_default()
            },
            printed_tags: self.printed_tags(variant, &printed.aliases)?,
            alias_commands: printed.commands.into_iter().collect(),
            is_mirror,
        })
    }

    /// Returns true if a variant is the copy of an image. Fails if the matrix names none.
    fn is_mirror(&self, variant: &Variant) -> Result<bool, NameError> {
        let Some(pattern) = self.matrix.mirror(variant) else { return Ok(false) };
        let text = pattern.fill(|name| self.matrix.name_part(variant, name));
        if Upstream::exact_image(&text).is_some() {
            return Ok(true);
        }
        let title =
            format!("`{}` mirrors `{}`, which is not an image", variant.id, text.escape_debug());
        let label = "expected `repository@sha256:…` or `repository:tag`";
        let span = pattern.span().unwrap_or_default();
        Err(self.refuse(Diagnostic::new(span, title, label)))
    }

    /// Returns the repository of a variant in each of its registries.
    fn repositories(&self, variant: &Variant) -> Result<Vec<Repository>, NameError> {
        let pattern = self.repository_pattern(variant);
        let text = pattern.fill(|name| self.matrix.name_part(variant, name));
        self.in_registries(&text).map_err(|source| {
            self.invalid(variant, pattern, source, |text| text.parse::<Repository>().is_ok())
        })
    }

    fn repository_pattern<'v>(&'v self, variant: &'v Variant) -> &'v Pattern {
        let own = self.matrix.settings(variant).last(|settings| settings.repository.as_ref());
        self.repository.as_ref().or(own).expect("validation requires a repository in `[image]`")
    }

    fn tag_pattern<'v>(&'v self, variant: &'v Variant) -> &'v Pattern {
        let own = self.matrix.settings(variant).last(|settings| settings.tag.as_ref());
        self.tag.as_ref().or(own).expect("`[image]` has a default tag")
    }

    fn in_registries(&self, text: &str) -> Result<Vec<Repository>, ReferenceError> {
        let own: Repository = text.parse()?;
        // A repository that contains a registry overrides `registry`, but not `--registry`.
        let registries = match &self.registries[..] {
            [] if own.canonical() == text => &[],
            [] => &self.matrix.image.registries[..],
            requested => requested,
        };
        if registries.is_empty() {
            return Ok(vec![own]);
        }
        registries.iter().map(|namespace| namespace.repository(own.path())).collect()
    }

    fn name<'n>(
        &self,
        variant: &Variant,
        repository: &Repository,
        pattern: &'n Pattern,
        alias: Option<&'n Alias>,
    ) -> Result<ImageName<'n>, NameError> {
        let tag = self.tag(variant, pattern)?.parse().map_err(|source| {
            self.invalid(variant, pattern, source, |text| text.parse::<Tag>().is_ok())
        })?;
        let reference = Reference { repository: repository.clone(), tag };
        Ok(ImageName { reference, pattern, alias })
    }

    fn tag(&self, variant: &Variant, pattern: &Pattern) -> Result<String, NameError> {
        self.check_version(variant, pattern)?;
        let tag = pattern.fill_joined(|name| self.value(variant, name));
        // A tag cannot begin with a dash.
        Ok(tag.trim_start_matches('-').to_owned())
    }

    /// Fails if a tag contains the version and no version is known.
    fn check_version(&self, variant: &Variant, pattern: &Pattern) -> Result<(), NameError> {
        if self.request.version.is_some() || pattern.names().all(|(name, _)| name != "version") {
            return Ok(());
        }
        Err(NameError::NoVersion(pattern.fill_joined(|name| match name {
            "version" => "{{version}}".into(),
            _ => self.value(variant, name),
        })))
    }

    /// Returns the value of a placeholder in a tag. It is empty if it depends on the run and the run has none.
    fn value<'n>(&'n self, variant: &'n Variant, name: &str) -> Cow<'n, str> {
        if self.of_run.contains(&name) {
            return self.value_of_run(name).unwrap_or_default().into();
        }
        self.matrix.name_part(variant, name)
    }

    /// Returns true if an alias can be computed: the run has all values of its placeholders. Without a version, the error
    /// for a tag applies.
    fn is_complete(&self, alias: &Alias) -> bool {
        let has_value = |name: &str| {
            name == "version" || !self.of_run.contains(&name) || self.value_of_run(name).is_some()
        };
        alias.tag.names().all(|(name, _)| has_value(name))
    }

    /// Returns the value of a placeholder that depends on the run, if it has one.
    fn value_of_run(&self, name: &str) -> Option<&str> {
        let PlanRequest { version, commit, date, .. } = self.request;
        match name {
            "version" => version.as_ref().map(Version::as_str),
            "major" => version.as_ref()?.major(),
            "minor" => version.as_ref()?.minor(),
            "git.sha" => commit.as_deref(),
            "git.short_sha" => commit.as_deref().and_then(|commit| commit.get(..SHORT_SHA)),
            "date" => date.as_deref(),
            _ => None,
        }
    }

    fn platforms(&self, variant: &Variant) -> Result<Arc<[Platform]>, NameError> {
        let wanted: IndexSet<&Platform> = self.request.platforms.iter().collect();
        let wanted: Vec<Platform> = wanted.into_iter().cloned().collect();
        if wanted.is_empty() {
            let native = self.request.native.as_ref();
            let native = native.filter(|native| variant.platforms.contains(native));
            return Ok(native.map_or_else(|| variant.platforms.clone(), |one| [one.clone()].into()));
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
    /// Fails if two images have the same name. Aliases may be equal if the request has a tag, because it moves none.
    fn check_distinct(
        &self,
        variants: &[Variant],
        names: &[VariantNames<'_>],
    ) -> Result<(), NameError> {
        let mut owners: HashMap<(&Repository, &Tag), (&str, bool)> =
            HashMap::with_capacity(variants.len());
        for (variant, names) in variants.iter().zip(names) {
            for (name, repository) in names.everywhere() {
                let tag = &name.reference.tag;
                let is_unset = name.alias.is_some() && self.request.tag.is_some();
                let owner = owners.insert((repository, tag), (&variant.id, is_unset));
                if let Some((first, is_first_unset)) = owner
                    && !(is_unset && is_first_unset)
                {
                    let reference = Reference { repository: repository.clone(), tag: tag.clone() };
                    return Err(self.twice(first, variant, name, reference));
                }
            }
        }
        Ok(())
    }
}

/// Parses the registries of the request, each once.
fn requested_registries(registries: &[String]) -> Result<Vec<Namespace>, NameError> {
    let mut namespaces: IndexSet<Namespace> = IndexSet::new();
    for registry in registries {
        let namespace: Namespace = registry.parse().map_err(NameError::Registry)?;
        let host = namespace.registry();
        if namespaces.iter().any(|other| *other != namespace && other.registry() == host) {
            return Err(NameError::RegistryTwice(host.to_owned()));
        }
        namespaces.insert(namespace);
    }
    Ok(namespaces.into_iter().collect())
}

/// Parses a pattern of the request. It can contain `names` besides axes and variables.
fn requested_pattern(
    matrix: &Matrix,
    what: &'static str,
    text: &str,
    names: &[&'static str],
) -> Result<Pattern, NameError> {
    let refuse = |reason: String| NameError::Requested { what, text: text.to_owned(), reason };
    refuse_scheme(text).map_err(|error| refuse(error.to_string()))?;
    let pattern = Pattern::parse(text).map_err(|error| refuse(error.to_string()))?;
    let known = matrix.known_names();
    let is_known = |name: &str| {
        let (table, entry) = name.split_once('.').unwrap_or((name, ""));
        let is_entry = matrix.axis(table).is_none() || matches!(entry, "" | "tag");
        name == "variant" || names.contains(&name) || (known.contains(&table) && is_entry)
    };
    let unknown =
        pattern.names().map(|(name, _)| name).find(|name| !is_known(name)).map(str::to_owned);
    match unknown {
        Some(name) => Err(refuse(format!("the matrix has no axis or variable `{name}`"))),
        None => Ok(pattern),
    }
}

#[cfg(test)]
mod tests;
