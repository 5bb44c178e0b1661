//! Validates axes, variables, `[image]` and `[build]`. Every error is added to the [`Checker`].

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};

use super::checker::Checker;
use super::contracts::{BASETEN_USER_ID, ContractSettings};
use super::diagnostic::{did_you_mean, quoted_list};
use super::model::{Axis, AxisValue, BuildInputs, Image};
use super::pattern::{Pattern, locate};
use super::placeholders::{OF_RUN, OUTPUT, PatternKind, VERSION};
use super::safe;
use super::schema::{
    AxisEntry, AxisValueTable, BuildTable, ImageTable, MatrixFile, SettingKeys, Variables,
};
use super::settings::Settings;
use super::spanned::{Span, Spanned};
use super::value::Value;
use super::variables::TableVariables;
use crate::image::{Platform, refuse_scheme};

/// Names with a fixed meaning in patterns or templates, including the template helpers.
pub(super) const RESERVED: [&str; 25] = [
    "variant", "version", "this", "as", "else", "true", "false", "null", "and", "each", "eq", "gt",
    "gte", "if", "len", "lookup", "lt", "lte", "matches", "ne", "not", "or", "raw", "unless",
    "with",
];

const DEFAULT_TAG: &str = "{{variant}}-{{version}}";

const DEFAULT_PLATFORM: &str = "linux/amd64";

impl Checker<'_> {
    pub(super) fn axes(&mut self, file: &MatrixFile) -> Vec<Axis> {
        if file.axes.is_empty() {
            let label = "add one, such as `python = [\"3.11\"]`";
            self.report(file.axes.span(), "the matrix has no axis", label);
        }
        let mut axes = Vec::new();
        for (name, entries) in file.axes.iter() {
            self.check_name(name, "axis");
            let mut axis = Axis {
                name: name.to_string(),
                values: Vec::new(),
                listed: 0,
                tag: entries.tag().cloned(),
            };
            if entries.values().is_empty() {
                let message = format!("axis `{}` has no values", axis.name);
                self.report(entries.span(), message, "add at least one value");
            }
            let mut spans: HashMap<Value, Span> = HashMap::new();
            for entry in entries.values() {
                let value = self.axis_value(&axis, entry);
                if let Some(twin) = spans.insert(value.value.clone(), entry.span()) {
                    let message = format!("axis `{}` has `{}` twice", axis.name, value.value);
                    self.report(entry.span(), message, "duplicate").add_related(twin, "first here");
                }
                axis.values.push(value);
            }
            axis.listed = axis.values.len();
            axes.push(axis);
        }
        self.check_variables_of_axes(file, &axes);
        axes
    }

    /// Reports a name that templates cannot use, or that has a fixed meaning.
    pub(super) fn check_name(&mut self, name: &Spanned<String>, what: &str) {
        let message = format!("`{}` is not a valid {what} name", name.escape_debug());
        if let Some(reason) = safe::refuse_name(name) {
            self.report(name.span(), message, reason);
        } else if RESERVED.contains(&name.as_str()) {
            self.report(name.span(), message, "this name is reserved").help =
                Some(format!("choose another name; reserved are {}", quoted_list(&RESERVED)));
        }
    }

    pub(super) fn axis_value(&mut self, axis: &Axis, entry: &Spanned<AxisEntry>) -> AxisValue {
        let (value, table) = match entry.get_ref() {
            AxisEntry::Plain(value) => (value, None),
            AxisEntry::Table(table) => (table.value.get_ref(), Some(table)),
        };
        let span = table.map_or(entry.span(), |table| table.value.span());
        if let Value::Text(text) = value
            && let Some(reason) = safe::refuse_value(text)
        {
            let message =
                format!("`{}` is not a valid value of axis `{}`", text.escape_debug(), axis.name);
            let help = "to add variables, write a table: { value = \"…\", variables = { … } }";
            self.report(span.clone(), message, reason).help = Some(help.to_owned());
        }
        let own = table.and_then(|table| table.tag.as_ref());
        let of_axis = axis.tag.as_ref().filter(|_| *value != Value::Bool(false));
        let settings = table.map(|table| self.axis_settings(table)).unwrap_or_default();
        let default = value.default_tag(&axis.name);
        AxisValue {
            value: value.clone(),
            tag: match own.or(of_axis) {
                Some(tag) => self.tag_part(tag, default, &settings.variables.own),
                None => default,
            },
            tag_span: own.or(of_axis).map_or(span.clone(), Spanned::span),
            span,
            settings,
            platforms: table
                .and_then(|table| table.platforms.as_ref())
                .map(|platforms| self.platforms(platforms)),
        }
    }

    /// Fills the pattern of the tag part of a value: `{{value}}` is its `default`, and other names are its `variables`.
    fn tag_part(
        &mut self,
        text: &Spanned<String>,
        default: String,
        variables: &Map<String, Json>,
    ) -> String {
        let place = |part: Span| locate(&self.source.text, text.span(), text, part);
        let pattern = match Pattern::parse(text) {
            Ok(pattern) => pattern,
            Err(error) => {
                self.report(place(error.span.clone()), error.to_string(), "in this pattern");
                return default;
            }
        };
        let value_of = |name: &str| match variables.get(name)? {
            Json::Array(_) | Json::Object(_) => None,
            Json::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let unknown =
            pattern.names().find(|(name, _)| *name != "value" && value_of(name).is_none());
        if let Some((name, part)) = unknown {
            let message = format!("`{default}` has no variable `{name}`");
            let label = "expected `value`, or a variable of the value";
            self.report(place(part), message, label);
            return default;
        }
        let part = pattern.fill(|name| match name {
            "value" => default.as_str().into(),
            name => value_of(name).unwrap_or_default().into(),
        });
        if !part.is_empty()
            && let Some(reason) = safe::refuse_value(&part)
        {
            let message = format!("`{}` is not a valid part of a tag", part.escape_debug());
            self.report(text.span(), message, reason);
        }
        part
    }

    /// Validates the settings of a value that mean the same in every table.
    fn axis_settings(&mut self, table: &AxisValueTable) -> Settings {
        let variables = self.variables(&table.variables);
        let keys = SettingKeys { tag: None, platforms: None, ..table.settings() };
        self.settings(&keys, variables)
    }

    /// Reports variables with the name of an axis, and variables that two axes set: their value
    /// would depend on the order of the axes.
    fn check_variables_of_axes(&mut self, file: &MatrixFile, axes: &[Axis]) {
        let mut owners: IndexMap<&str, (&str, Span)> = IndexMap::new();
        for (axis, entries) in file.axes.iter() {
            for entry in entries.values() {
                let AxisEntry::Table(table) = entry.get_ref() else {
                    continue;
                };
                self.check_not_axes(axes, &table.variables);
                for name in table.variables.own.keys() {
                    let own = (axis.as_str(), name.span());
                    let (owner, first) = owners.entry(name).or_insert(own);
                    if *owner != axis.as_str() {
                        let message = format!("two axes set the variable `{}`", **name);
                        let label = format!("set by axis `{}`", **axis);
                        self.report(name.span(), message, label)
                            .add_related(first.clone(), format!("also set by axis `{owner}`"))
                            .help = Some("use `[[set]]` to set it for combinations".to_owned());
                    }
                }
            }
        }
    }

    fn check_not_axes(&mut self, axes: &[Axis], variables: &Variables) {
        let of_files = variables.from.iter().filter_map(|from| from.name.as_ref());
        for name in variables.own.keys().chain(of_files) {
            if axes.iter().any(|axis| axis.name == **name) {
                let message = format!("the variable `{}` has the name of an axis", **name);
                self.report(name.span(), message, "rename the variable");
            }
        }
    }

    pub(super) fn checked_variables(
        &mut self,
        axes: &[Axis],
        variables: &Variables,
    ) -> TableVariables {
        self.check_not_axes(axes, variables);
        self.variables(variables)
    }

    fn variables(&mut self, variables: &Variables) -> TableVariables {
        let mut checked = Map::new();
        for (name, value) in &variables.own {
            self.check_name(name, "variable");
            if let Some(reason) = safe::refuse_variable(&value.0) {
                let message = format!("the value of `{}` is not allowed", **name);
                self.report(value.span(), message, reason);
            }
            checked.insert(name.to_string(), value.0.clone());
        }
        let files =
            variables.from.iter().filter_map(|from| self.files.get(&from.file.span().start));
        TableVariables { own: checked, files: files.cloned().collect() }
    }

    pub(super) fn image(&mut self, axes: &[Axis], file: &MatrixFile) -> Image {
        let table = &file.image;
        // A matrix without templates needs no folder of its own for files.
        let folder = if has_dockerfile(file) { "dockerfiles" } else { "." };
        let default = || Spanned::new(table.span(), folder.to_owned());
        let templates = table.templates.clone().unwrap_or_else(default);
        if let Some(reason) = safe::refuse_path(&templates) {
            self.report_path(&templates, reason);
        }
        self.confine(&templates);
        if table.repository.is_none() {
            self.report(table.span(), "`image` has no `repository`", "").help =
                Some("add `repository = …` to `image`".to_owned());
        }
        Image {
            registries: table
                .registry
                .as_ref()
                .map(|entry| self.namespaces(entry))
                .unwrap_or_default(),
            aliases: table.aliases.iter().map(|alias| self.alias(axes, alias)).collect(),
            templates: templates.into_inner(),
            settings: self.contract_settings(table),
        }
    }

    /// Validates the settings of `[image]`, with defaults, and `[variables]`.
    pub(super) fn base(&mut self, axes: &[Axis], file: &MatrixFile) -> Settings {
        let variables = self.checked_variables(axes, &file.variables);
        let mut base = self.settings(&file.image.settings(), variables);
        let tag = || Pattern::parse(DEFAULT_TAG).expect("the default is a pattern");
        base.tag.get_or_insert_with(tag);
        base.platforms.get_or_insert_with(|| {
            vec![Platform::from_str(DEFAULT_PLATFORM).expect("the default is a platform")]
        });
        base
    }

    /// Reports a scheme before a name. Returns true if there is none.
    pub(super) fn check_scheme(&mut self, name: &Spanned<String>) -> bool {
        if let Err(error) = refuse_scheme(name) {
            let label = "such as `ghcr.io` as `registry`, and `acme/base` as `repository`";
            self.report(name.span(), error.to_string(), label);
            return false;
        }
        true
    }

    /// Parses a pattern and reports unknown names in it.
    pub(super) fn pattern(&mut self, text: &Spanned<String>, kind: PatternKind) -> Pattern {
        let within = |part: Span| locate(&self.source.text, text.span(), text, part);
        let pattern = match Pattern::parse(text) {
            Ok(pattern) => pattern,
            Err(error) => {
                self.report(within(error.span.clone()), error.to_string(), "in this pattern");
                return Pattern::parse("").expect("an empty text is a pattern");
            }
        };
        let known = self.placeholders.known(kind);
        let unknown: Vec<(&str, Span)> =
            pattern.names().filter(|(name, _)| !self.placeholders.knows(kind, name)).collect();
        for (name, span) in unknown {
            let help = if name == VERSION {
                Some("use `{{version}}` in tags only: it must not change an image".to_owned())
            } else if name == OUTPUT {
                Some("use `{{output}}` in the `tag` of `[[alias]]` only".to_owned())
            } else if OF_RUN.contains(&name) {
                Some(format!("use `{{{{{name}}}}}` in `aliases` only"))
            } else {
                did_you_mean(name, known.iter().copied())
            };
            let label = format!("expected one of {}", quoted_list(&known));
            self.report(within(span), format!("unknown name `{name}`"), label).help = help;
        }
        pattern.at(text.span())
    }

    fn contract_settings(&mut self, table: &ImageTable) -> ContractSettings {
        let user = table.baseten.as_ref().and_then(|table| table.run_as_user_id.as_ref());
        let run_as_user_id = user.and_then(|user| u32::try_from(**user).ok());
        if let Some(user) = user
            && run_as_user_id.is_none_or(|user| matches!(user, 0 | BASETEN_USER_ID))
        {
            let message = format!("`{}` is not a valid `run_as_user_id`", **user);
            let label = "expected the uid of a user of the image, neither 0 nor 60000";
            self.report(user.span(), message, label);
        }
        let port = table.port.as_ref().and_then(|port| {
            let number = u16::try_from(**port).ok().filter(|number| *number > 0);
            if number.is_none() {
                let message = format!("`{}` is not a port", **port);
                self.report(port.span(), message, "expected a number from 1 to 65535");
            }
            Some(Spanned::new(port.span(), number?))
        });
        let fal_version = table.fal.as_ref().and_then(|table| table.version.clone());
        ContractSettings { port, run_as_user_id, fal_version }
    }

    pub(super) fn build(&mut self, table: &BuildTable) -> BuildInputs {
        let mut secrets = BTreeMap::new();
        for (id, secret) in &table.secrets {
            if id.as_str() == "ca_certificates" {
                let message = "`ca_certificates` is not a valid id of a secret";
                let help = "set `ca_certificates = \"…\"` in `[build]` instead";
                self.report(id.span(), message, "this id is reserved").help = Some(help.to_owned());
            }
            if secret.env.is_some() == secret.file.is_some() {
                let message = format!("the secret `{}` must have one source", **id);
                self.report(secret.span(), message, "set either `env` or `file`");
            }
            secrets.insert(id.to_string(), secret.get_ref().clone());
        }
        let tools = self.tools(&table.tools);
        let contexts = self.contexts(&table.contexts);
        let ca_certificates = table.ca_certificates.clone();
        BuildInputs { ca_certificates, secrets, tools, contexts, arguments: BTreeMap::new() }
    }
}

/// Returns true if a table of the file has `dockerfile`.
fn has_dockerfile(file: &MatrixFile) -> bool {
    let listed = file.axes.values().flat_map(|entries| entries.values());
    let of_extras = file.extra.iter().flat_map(|extra| extra.axes.values());
    let mut values = listed.chain(of_extras);
    file.image.dockerfile.is_some()
        || values.any(|entry| match entry.get_ref() {
            AxisEntry::Table(table) => table.dockerfile.is_some(),
            AxisEntry::Plain(_) => false,
        })
        || file.set.iter().any(|set| set.dockerfile.is_some())
        || file.extra.iter().any(|extra| extra.dockerfile.is_some())
}
