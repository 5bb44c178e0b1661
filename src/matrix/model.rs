//! The validated matrix.
//!
//! A [`Matrix`] has axes and variants. A [`Variant`] refers to the values of the axes by index.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::command::CheckCommand;
use super::condition::{Condition, Match};
use super::contracts::{Contract, ContractSettings};
use super::diagnostic::{Diagnostic, SourceError, SourceFile};
use super::pattern::Pattern;
use super::placeholders::{OF_RUN, VERSION, axis_of_tag};
use super::places::{GeneratedTable, VersionTable};
use super::publish::PublishTable;
use super::pull_request::PullRequestTable;
use super::registries::RegistrySettings;
use super::schema::{AliasMover, SecretTable};
use super::settings::Settings;
use super::spanned::{Span, Spanned};
use super::tools::Tool;
use super::value::Value;
use super::variables::TableVariables;
use crate::files::{Access, Checkout};
use crate::image::{Namespace, Platform};

/// A validated matrix file and all of its variants.
#[derive(Debug)]
pub struct Matrix {
    pub source: SourceFile,
    /// The repository that contains the file.
    pub checkout: Checkout,
    pub image: Image,
    /// The axes in file order.
    pub axes: Vec<Axis>,
    pub version: Option<VersionTable>,
    pub generated: GeneratedTable,
    pub publish: PublishTable,
    pub pull_request: PullRequestTable,
    pub build: BuildInputs,
    /// Settings of registries by host. The host of Docker Hub is `docker.io`.
    pub registries: BTreeMap<String, RegistrySettings>,
    /// The variants of the product in file order, then those of `[[extra]]`.
    pub variants: Vec<Variant>,
    /// The settings in `[image]`, and `[variables]`.
    pub(super) base: Settings,
    /// The variables of templates on single platforms.
    pub(super) platform_variables: BTreeMap<Platform, TableVariables>,
    pub(super) excludes: Vec<Exclude>,
    pub(super) sets: Vec<Set>,
    pub(super) checks: Vec<CheckRule>,
    pub(super) printed_aliases: Vec<PrintedAlias>,
    /// The exceptions from rules of contracts, in file order.
    pub waives: Vec<Waive>,
}

/// The keys of `[image]` that are the same for all images.
#[derive(Debug, Clone)]
pub struct Image {
    /// The registries, each once, with the paths of the repositories in them. Docker Hub if there are none.
    pub registries: Vec<Namespace>,
    pub aliases: Vec<Alias>,
    /// The folder of the templates and of the files that images copy, relative to that of the matrix file.
    pub templates: String,
    pub settings: ContractSettings,
}

/// An additional tag of some variants, which moves from release to release.
#[derive(Debug, Clone)]
pub struct Alias {
    pub tag: Pattern,
    pub(super) when: Match,
    pub(super) moved_by: Vec<AliasMover>,
}

impl Alias {
    #[must_use]
    pub fn applies_to(&self, variant: &Variant) -> bool {
        self.when.admits(&variant.values)
    }

    /// Returns whether a release moves the alias: one under the matrix' own version, or one under a `custom` version.
    #[must_use]
    pub fn is_moved(&self, custom: bool) -> bool {
        let mover = if custom { AliasMover::VersionTag } else { AliasMover::Release };
        self.moved_by.contains(&mover)
    }
}

/// `[build]`: certificates and secrets for build steps.
#[derive(Debug, Clone, Default)]
pub struct BuildInputs {
    /// The PEM file of trusted certificates, or `auto`.
    pub ca_certificates: Option<Spanned<String>>,
    /// The sources of secrets, by the id that build steps mount.
    pub secrets: BTreeMap<String, SecretTable>,
    /// The programs that install packages, by name.
    pub tools: BTreeMap<String, Vec<Tool>>,
    /// The sources of named contexts: a folder relative to the matrix file, an image, or another image of the matrix.
    pub(super) contexts: BTreeMap<String, Pattern>,
    /// The build arguments of the command line. A Dockerfile gets those that it declares.
    pub arguments: BTreeMap<String, String>,
}

impl BuildInputs {
    #[must_use]
    pub fn secret_ids(&self) -> Vec<&str> {
        self.secrets.keys().map(String::as_str).collect()
    }
}

/// An axis of the matrix.
#[derive(Debug, Clone)]
pub struct Axis {
    /// The name, which is also a variable of templates.
    pub name: String,
    /// The values of the product, then those that only an `[[extra]]` has.
    pub values: Vec<AxisValue>,
    /// The number of values in the product.
    pub listed: usize,
    /// The pattern of the tag parts of values without one of their own.
    pub(super) tag: Option<Spanned<String>>,
}

impl Axis {
    /// Returns all values as text.
    pub(super) fn value_names(&self) -> Vec<String> {
        self.values.iter().map(|value| value.value.to_string()).collect()
    }

    /// Returns for each value whether `condition` admits it.
    pub(super) fn admitted(&self, condition: &Condition) -> Vec<bool> {
        self.values.iter().map(|value| condition.admits(&value.value)).collect()
    }
}

/// A value of an axis, with its tag part, platforms and settings.
#[derive(Debug, Clone)]
pub struct AxisValue {
    pub value: Value,
    /// The part of the tag for this value; may be empty.
    pub tag: String,
    /// The location of the value in the matrix file.
    pub span: Span,
    /// The location of the tag part: that of `tag` or of the value.
    pub tag_span: Span,
    /// The platforms of variants with this value, if they are limited.
    pub platforms: Option<Vec<Platform>>,
    /// Without a tag and platforms, which mean something else here.
    pub(super) settings: Settings,
}

impl AxisValue {
    /// Returns the part of a variant's id for this value of `axis`.
    fn id_part(&self, axis: &str) -> String {
        match &self.value {
            Value::Text(text) => text.clone(),
            Value::Bool(true) if self.tag.is_empty() => self.value.default_tag(axis),
            Value::Bool(_) => self.tag.clone(),
        }
    }
}

/// A combination of axis values, from which one image is built.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The unique id, such as `3.11-gpu-server`.
    pub id: String,
    /// The tag parts of the values, joined: `{{variant}}` in names.
    pub name: String,
    /// For each axis, the index of the value.
    pub values: Vec<usize>,
    pub platforms: Arc<[Platform]>,
    /// The `[[extra]]` table that adds the variant, if any.
    pub(super) extra: Option<Arc<ExtraRow>>,
}

/// The settings of an `[[extra]]` table.
#[derive(Debug)]
pub(super) struct ExtraRow {
    pub(super) settings: Settings,
    /// The line of the table in the matrix file.
    pub(super) line: usize,
}

/// A validated `[[exclude]]` table, which removes combinations.
#[derive(Debug, Clone)]
pub struct Exclude {
    pub(super) when: Match,
    pub reason: String,
    /// The line of the rule in the matrix file.
    pub line: usize,
}

/// A validated `[[set]]` table, with the settings of combinations.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub(super) when: Match,
    pub(super) settings: Settings,
    /// The line of the rule in the matrix file.
    pub(super) line: usize,
}

/// A validated `[[verify]]` table, which adds a check to combinations.
#[derive(Debug, Clone)]
pub(super) struct CheckRule {
    pub(super) name: String,
    pub(super) when: Match,
    pub(super) command: CheckCommand<Pattern>,
}

/// A validated `[[alias]]` table: an alias with the output of a command.
#[derive(Debug, Clone)]
pub(super) struct PrintedAlias {
    pub(super) alias: Alias,
    pub(super) command: Pattern,
}

/// A validated `[[waive]]` table.
#[derive(Debug, Clone)]
pub struct Waive {
    pub rule: Spanned<String>,
    pub reason: String,
    /// The line of the table in the matrix file.
    pub line: usize,
    pub(super) when: Match,
}

impl Waive {
    #[must_use]
    pub fn applies_to(&self, variant: &Variant) -> bool {
        self.when.admits(&variant.values)
    }
}

/// A command that must succeed in a container of an image before the image is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The name shown when the check fails.
    pub name: String,
    pub command: CheckCommand,
}

impl Matrix {
    /// Returns the axis called `name` and its index.
    #[must_use]
    pub fn axis(&self, name: &str) -> Option<(usize, &Axis)> {
        self.axes.iter().enumerate().find(|(_, axis)| axis.name == name)
    }

    /// Returns the value of a variant on the axis with the index `axis`.
    #[must_use]
    pub fn value(&self, variant: &Variant, axis: usize) -> &AxisValue {
        &self.axes[axis].values[variant.values[axis]]
    }

    /// Returns the line of the `[[extra]]` table that adds a variant, if any.
    #[must_use]
    pub fn extra_line(&self, variant: &Variant) -> Option<usize> {
        variant.extra.as_ref().map(|extra| extra.line)
    }

    /// Returns the value of `{{name}}` in names and paths: `variant`, an axis or a variable. A boolean of an axis is
    /// replaced by its tag part, which `{{axis.tag}}` is for every value.
    #[must_use]
    pub fn name_part<'a>(&'a self, variant: &'a Variant, name: &str) -> Cow<'a, str> {
        if name == "variant" {
            return variant.name.as_str().into();
        }
        if let Some((index, _)) = axis_of_tag(name).and_then(|axis| self.axis(axis)) {
            return self.value(variant, index).tag.as_str().into();
        }
        let value = self.axis(name).map(|(index, _)| self.value(variant, index));
        match value {
            Some(AxisValue { value: Value::Text(text), .. }) => text.into(),
            Some(AxisValue { tag, .. }) => tag.into(),
            None => match self.variable(variant, name) {
                Some(Json::String(text)) => text.into(),
                Some(other) => other.to_string().into(),
                None => "".into(),
            },
        }
    }

    /// Returns the value of `{{name}}` in checks: `variant`, the value of an axis, or a variable.
    pub(super) fn check_part<'a>(&'a self, variant: &'a Variant, name: &str) -> Cow<'a, str> {
        let value = self.axis(name).map(|(index, _)| &self.value(variant, index).value);
        match value {
            Some(Value::Bool(value)) => value.to_string().into(),
            Some(Value::Text(_)) | None => self.name_part(variant, name),
        }
    }

    /// Returns the variables that templates see: the axes, and the [`facts`](Self::facts) of the variant.
    #[must_use]
    pub fn variables(&self, variant: &Variant) -> Map<String, Json> {
        let axes = self.axes.iter().zip(&variant.values);
        let axes = axes.map(|(axis, at)| (axis.name.clone(), axis.values[*at].value.to_json()));
        let facts = self.facts(variant).into_iter();
        axes.chain(facts.map(|(name, fact)| (name.to_owned(), fact.value.clone()))).collect()
    }

    /// Returns the path of a variant's Dockerfile template, relative to the folder of the templates. Without one, the
    /// Dockerfile is generated from the [`contents`](Self::contents) of the variant. A mirrored image has none.
    #[must_use]
    pub fn dockerfile(&self, variant: &Variant) -> Option<String> {
        if self.mirror(variant).is_some() {
            return None;
        }
        let path = self.settings(variant).last(|settings| settings.dockerfile.as_ref())?;
        Some(path.fill(|name| self.name_part(variant, name)))
    }

    /// Returns the contracts of a variant, each once, in the order of [`Contract::ALL`].
    #[must_use]
    pub fn contracts(&self, variant: &Variant) -> Vec<Contract> {
        let listed = self.settings(variant).last(|settings| settings.contracts.as_ref());
        let is_listed = |contract: &Contract| listed.is_some_and(|list| list.contains(contract));
        Contract::ALL.into_iter().filter(is_listed).collect()
    }

    /// Returns the checks of `[[verify]]` for a variant, in file order.
    #[must_use]
    pub fn checks(&self, variant: &Variant) -> Vec<Check> {
        let fill = |text: &Pattern| text.fill(|name| self.check_part(variant, name));
        let rules = self.checks.iter().filter(|rule| rule.when.admits(&variant.values));
        let checks =
            rules.map(|rule| Check { name: rule.name.clone(), command: rule.command.map(fill) });
        checks.collect()
    }

    /// Returns the settings of every table of the file.
    pub(super) fn all_settings(&self) -> impl Iterator<Item = &Settings> {
        let values = self.axes.iter().flat_map(|axis| &axis.values);
        let extras = self.variants.iter().filter_map(|variant| variant.extra.as_deref());
        std::iter::once(&self.base)
            .chain(values.map(|value| &value.settings))
            .chain(self.sets.iter().map(|set| &set.settings))
            .chain(extras.map(|extra| &extra.settings))
    }

    /// Returns every name that a template can use: axes, and the variables of all variants. Sorted.
    #[must_use]
    pub fn known_names(&self) -> Vec<&str> {
        let variables = self.all_settings().flat_map(|settings| settings.variables.names());
        let of_platforms = self.platform_variables.values().flat_map(TableVariables::names);
        let mut names: Vec<&str> = variables.chain(of_platforms).collect();
        names.extend(self.axes.iter().map(|axis| axis.name.as_str()));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Returns the placeholders of tags that depend on the run, such as `version` and `git.sha`. An axis or a variable with
    /// the name of one replaces it, except `version`: a file of variables cannot change the version of a release.
    #[must_use]
    pub fn placeholders_of_run(&self) -> Vec<&'static str> {
        let known = self.known_names();
        OF_RUN.into_iter().filter(|name| *name == VERSION || !known.contains(name)).collect()
    }

    /// Returns the folder that paths in the matrix file are relative to.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.source.path.parent().unwrap_or(Path::new(""))
    }

    /// Resolves a path in the matrix file, and returns an error if it leaves the repository.
    pub fn resolve_path(
        &self,
        path: &Spanned<String>,
        access: Access,
    ) -> Result<PathBuf, SourceError> {
        self.checkout.resolve(Path::new(path.as_str()), access).map_err(|error| {
            SourceError::new(&self.source, vec![Diagnostic::unreadable(path.span(), &error)])
        })
    }

    /// Returns the path of the folder that contains the templates.
    #[must_use]
    pub fn templates(&self) -> PathBuf {
        match self.image.templates.as_str() {
            "." if self.folder() == Path::new("") => PathBuf::from("."),
            "." => self.folder().to_owned(),
            templates => self.folder().join(templates),
        }
    }
}

/// Returns the id and the name of a combination of values.
pub(super) fn id_and_name(axes: &[Axis], values: &[usize]) -> (String, String) {
    let join = |part: fn(&Axis, &AxisValue) -> String| {
        let parts = axes.iter().zip(values).map(|(axis, at)| part(axis, &axis.values[*at]));
        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
    };
    let id = join(|axis, value| value.id_part(&axis.name));
    (if id.is_empty() { "default".to_owned() } else { id }, join(|_, value| value.tag.clone()))
}
