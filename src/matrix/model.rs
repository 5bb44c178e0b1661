//! A matrix that holds together: every name in it means something.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value as Json};
use serde_spanned::Spanned;

use super::condition::Condition;
use super::diagnostic::{SourceError, SourceFile};
use super::expand::names;
use super::pattern::Pattern;
use super::places::{GeneratedTable, VersionTable};
use super::publish::PublishTable;
use super::pull_request::PullRequestTable;
use super::registries::RegistrySettings;
use super::schema::SecretTable;
use super::validate::refused;
use super::value::Value;
use crate::files::{Access, Checkout};
use crate::image::{Compression, Platform};

/// A matrix file, checked, with all its variants.
#[derive(Debug)]
pub struct Matrix {
    /// The file that it was read from.
    pub source: SourceFile,
    /// The repository that it is in.
    pub checkout: Checkout,
    /// What the images are called and made of.
    pub image: Image,
    /// The axes in file order.
    pub axes: Vec<Axis>,
    /// Where the version lives, if tags follow one.
    pub version: Option<VersionTable>,
    /// Files that are made from the matrix, and committed beside it.
    pub generated: GeneratedTable,
    /// How a release is published.
    pub publish: PublishTable,
    /// The pull request that brings the repository in step with a release.
    pub pull_request: PullRequestTable,
    /// What the build steps are given.
    pub build: BuildInputs,
    /// How registries are reached and who we are to them, by host; Docker Hub is `docker.io`.
    pub registries: BTreeMap<String, RegistrySettings>,
    /// The variants: the product in file order without what is excluded, then the extra ones.
    pub variants: Vec<Variant>,
    pub(super) variables: Map<String, Json>,
    pub(super) excludes: Vec<Exclude>,
    pub(super) sets: Vec<Set>,
    pub(super) checks: Vec<CheckRule>,
}

/// What the images are called and made of.
#[derive(Debug, Clone)]
pub struct Image {
    /// The registry's host; `None` is Docker Hub.
    pub registry: Option<String>,
    /// The repository.
    pub repository: Pattern,
    /// The tag of a version.
    pub tag: Pattern,
    /// Tags that move.
    pub aliases: Vec<Pattern>,
    /// The folder of the templates, relative to the matrix file's.
    pub templates: String,
    /// The Dockerfile's template within it.
    pub dockerfile: Pattern,
    /// The platforms of a variant that is not limited.
    pub platforms: Vec<Platform>,
    /// Labels of the images.
    pub labels: BTreeMap<String, Pattern>,
    /// How layers are compressed.
    pub compression: Compression,
}

/// What the build steps are given.
#[derive(Debug, Clone, Default)]
pub struct BuildInputs {
    /// The PEM file of certificates to trust, or `auto`.
    pub ca_certificates: Option<Spanned<String>>,
    /// Secrets by id.
    pub secrets: BTreeMap<String, SecretTable>,
}

impl BuildInputs {
    /// The ids of the secrets.
    #[must_use]
    pub fn secret_ids(&self) -> Vec<&str> {
        self.secrets.keys().map(String::as_str).collect()
    }
}

/// An axis.
#[derive(Debug, Clone)]
pub struct Axis {
    /// Its name, a variable of templates.
    pub name: String,
    /// Its values: those of the product first, then those that `[[extra]]`s brought.
    pub values: Vec<AxisValue>,
    /// How many of `values` are part of the product.
    pub listed: usize,
}

/// A value of an axis and what is known about it.
#[derive(Debug, Clone)]
pub struct AxisValue {
    /// The value.
    pub value: Value,
    /// Its part of the tag; may be empty.
    pub tag: String,
    /// Where the value is written in the matrix file, in bytes.
    pub span: Range<usize>,
    /// Where its part of the tag is written: a `tag` of its own, or the value.
    pub tag_span: Range<usize>,
    /// Variables that it brings.
    pub variables: Map<String, Json>,
    /// The platforms that it is limited to.
    pub platforms: Option<Vec<Platform>>,
}

impl AxisValue {
    /// Its part of a variant's id.
    pub(super) fn id_part(&self, axis: &str) -> String {
        match &self.value {
            Value::Text(text) => text.clone(),
            Value::Bool(true) if self.tag.is_empty() => self.value.default_tag(axis),
            Value::Bool(_) => self.tag.clone(),
        }
    }
}

/// One combination: an image to be.
#[derive(Debug, Clone)]
pub struct Variant {
    /// What it is called in this matrix, `3.11-gpu-server`; no other variant is called so.
    pub id: String,
    /// The parts of its tag that its values contribute, joined: `{{variant}}` in names.
    pub name: String,
    /// For each axis, which of its values.
    pub values: Vec<usize>,
    /// The platforms that it is built for.
    pub platforms: Arc<[Platform]>,
    /// What its `[[extra]]` says, if it is there because of one.
    pub(super) extra: Option<Arc<ExtraRow>>,
}

/// An `[[extra]]`, as its variant knows it.
#[derive(Debug)]
pub(super) struct ExtraRow {
    pub(super) variables: Map<String, Json>,
    /// Its line in the matrix file.
    pub(super) line: usize,
}

/// A rule that says which combinations do not exist.
#[derive(Debug, Clone)]
pub struct Exclude {
    pub(super) when: Match,
    /// Why not.
    pub reason: String,
    /// The rule's line in the matrix file.
    pub line: usize,
}

/// A rule that sets variables.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub(super) when: Match,
    pub(super) variables: Map<String, Json>,
    /// The rule's line in the matrix file.
    pub(super) line: usize,
}

/// A rule that says what must hold of an image before it is published.
#[derive(Debug, Clone)]
pub(super) struct CheckRule {
    pub(super) name: String,
    pub(super) when: Match,
    pub(super) command: CheckCommand<Pattern>,
}

/// A command that must succeed in a container of an image before it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What it is called when it fails.
    pub name: String,
    /// What is run.
    pub command: CheckCommand,
}

/// How a check is run: of a rule its texts are patterns, of a variant they are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckCommand<T = String> {
    /// A line for the image's shell.
    Shell(T),
    /// A program and its arguments.
    Exec(Vec<T>),
}

/// Conditions, answered beforehand for every value of the axes that they are about.
#[derive(Debug, Clone)]
pub(super) struct Match {
    /// The axis' index, the condition, and for each of the axis' values whether it is admitted.
    pub(super) conditions: Vec<(usize, Condition, Vec<bool>)>,
}

impl Match {
    /// Whether all conditions hold for a combination.
    pub(super) fn admits(&self, values: &[usize]) -> bool {
        self.conditions.iter().all(|(axis, _, admitted)| admitted[values[*axis]])
    }
}

impl Matrix {
    /// The axis called `name` and its index.
    #[must_use]
    pub fn axis(&self, name: &str) -> Option<(usize, &Axis)> {
        self.axes.iter().enumerate().find(|(_, axis)| axis.name == name)
    }

    /// The value that a variant has on the axis at `axis`.
    #[must_use]
    pub fn value(&self, variant: &Variant, axis: usize) -> &AxisValue {
        &self.axes[axis].values[variant.values[axis]]
    }

    /// The line of the `[[extra]]` that a variant is there because of, if there is one.
    #[must_use]
    pub fn extra_line(&self, variant: &Variant) -> Option<usize> {
        variant.extra.as_ref().map(|extra| extra.line)
    }

    /// What names may say of a variant: `{{variant}}`, and each axis by its name. A switch
    /// stands there as its part of the tag.
    #[must_use]
    pub fn name_part<'a>(&'a self, variant: &'a Variant, name: &str) -> &'a str {
        if name == "variant" {
            return &variant.name;
        }
        let value = self.axis(name).map(|(index, _)| self.value(variant, index));
        match value {
            Some(AxisValue { value: Value::Text(text), .. }) => text,
            Some(AxisValue { tag, .. }) => tag,
            None => "",
        }
    }

    /// The name of a variant with `part` in place of what its value on the axis at `axis` contributes.
    #[must_use]
    pub fn name_with(&self, variant: &Variant, axis: usize, part: &str) -> String {
        let mut axes = self.axes.clone();
        part.clone_into(&mut axes[axis].values[variant.values[axis]].tag);
        names(&axes, &variant.values).1
    }

    /// What checks may say of a variant: `{{variant}}`, and each axis' value by its name.
    fn value_of<'a>(&'a self, variant: &'a Variant, name: &str) -> &'a str {
        let value = self.axis(name).map(|(index, _)| &self.value(variant, index).value);
        match value {
            Some(Value::Bool(true)) => "true",
            Some(Value::Bool(false)) => "false",
            Some(Value::Text(_)) | None => self.name_part(variant, name),
        }
    }

    /// What templates see of a variant: its axes by name, and every variable that holds for
    /// it. Later sources win: `[variables]`, axis values, `[[set]]`s, `[[extra]]`.
    #[must_use]
    pub fn variables(&self, variant: &Variant) -> Map<String, Json> {
        let mut all = self.variables.clone();
        for (axis, value) in self.axes.iter().zip(&variant.values) {
            let value = &axis.values[*value];
            all.insert(axis.name.clone(), value.value.to_json());
            extend(&mut all, &value.variables);
        }
        for set in self.sets.iter().filter(|set| set.when.admits(&variant.values)) {
            extend(&mut all, &set.variables);
        }
        if let Some(extra) = &variant.extra {
            extend(&mut all, &extra.variables);
        }
        all
    }

    /// The template of a variant's Dockerfile, relative to the templates' folder.
    #[must_use]
    pub fn dockerfile(&self, variant: &Variant) -> String {
        self.image.dockerfile.fill(|name| self.name_part(variant, name))
    }

    /// The checks of a variant, in file order.
    #[must_use]
    pub fn checks(&self, variant: &Variant) -> Vec<Check> {
        let fill = |text: &Pattern| text.fill(|name| self.value_of(variant, name));
        let rules = self.checks.iter().filter(|rule| rule.when.admits(&variant.values));
        let checks = rules.map(|rule| Check {
            name: rule.name.clone(),
            command: match &rule.command {
                CheckCommand::Shell(line) => CheckCommand::Shell(fill(line)),
                CheckCommand::Exec(words) => CheckCommand::Exec(words.iter().map(fill).collect()),
            },
        });
        checks.collect()
    }

    /// Every name that a template may use: axes, and variables of any variant.
    #[must_use]
    pub fn known_names(&self) -> Vec<&str> {
        let axes = self.axes.iter().map(|axis| axis.name.as_str());
        let of_values = self.axes.iter().flat_map(|axis| &axis.values);
        let of_values = of_values.flat_map(|value| value.variables.keys());
        let of_sets = self.sets.iter().flat_map(|set| set.variables.keys());
        let extras = self.variants.iter().filter_map(|variant| variant.extra.as_deref());
        let of_extras = extras.flat_map(|extra| extra.variables.keys());
        let others = self.variables.keys().chain(of_values).chain(of_sets).chain(of_extras);
        let mut names: Vec<&str> = axes.chain(others.map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The folder that paths in the matrix file are relative to.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.source.path.parent().unwrap_or(Path::new(""))
    }

    /// Follows the links of a path that the matrix file names, and refuses one that leaves the repository.
    pub fn resolve_path(
        &self,
        path: &Spanned<String>,
        access: Access,
    ) -> Result<PathBuf, SourceError> {
        let real = self.checkout.resolve(Path::new(path.get_ref()), access);
        real.map_err(|error| SourceError::new(&self.source, vec![refused(path.span(), &error)]))
    }

    /// The folder of the templates and of what they copy.
    #[must_use]
    pub fn templates(&self) -> PathBuf {
        self.folder().join(&self.image.templates)
    }
}

fn extend(all: &mut Map<String, Json>, more: &Map<String, Json>) {
    all.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
}
