//! Validates axes, variables, `[image]` and `[build]`. Every error is added to the [`Checker`].

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};

use super::checker::Checker;
use super::contracts::{BASETEN_USER_ID, ContractSettings};
use super::diagnostic::{did_you_mean, quoted_list};
use super::limits::LimitKeys;
use super::model::{Axis, AxisValue, BuildInputs, Image};
use super::pattern::Pattern;
use super::safe;
use super::schema::{
    AxisEntry, BuildTable, CompressionEntry, CompressionTable, ImageTable, MatrixFile, Variables,
};
use super::spanned::{Span, Spanned};
use super::value::Value;
use crate::image::{Compression, CompressionAlgorithm, Platform, refuse_scheme};

/// Names with a fixed meaning in patterns or templates, including the template helpers.
pub(super) const RESERVED: [&str; 24] = [
    "variant", "version", "this", "as", "else", "true", "false", "null", "and", "each", "eq", "gt",
    "gte", "if", "len", "lookup", "lt", "lte", "ne", "not", "or", "raw", "unless", "with",
];

const DEFAULT_TAG: &str = "{{variant}}-{{version}}";

/// The prefix of the labels that basegen sets itself.
const OWN_LABELS: &str = "dev.basegen.";

impl Checker<'_> {
    pub(super) fn axes(&mut self, file: &MatrixFile) -> Vec<Axis> {
        if file.axes.is_empty() {
            let label = "add one, such as `python = [\"3.11\"]`";
            self.report(file.axes.span(), "the matrix has no axis", label);
        }
        let mut axes = Vec::new();
        for (name, entries) in file.axes.iter() {
            self.check_name(name, "axis");
            let mut axis = Axis { name: name.to_string(), values: Vec::new(), listed: 0 };
            if entries.is_empty() {
                let message = format!("axis `{}` has no values", axis.name);
                self.report(entries.span(), message, "add at least one value");
            }
            let mut spans: HashMap<Value, Span> = HashMap::new();
            for entry in entries.iter() {
                let value = self.axis_value(&axis.name, entry);
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
    fn check_name(&mut self, name: &Spanned<String>, what: &str) {
        let message = format!("`{}` is not a valid {what} name", name.escape_debug());
        if let Some(reason) = safe::refuse_name(name) {
            self.report(name.span(), message, reason);
        } else if RESERVED.contains(&name.as_str()) {
            self.report(name.span(), message, "this name is reserved").help =
                Some(format!("choose another name; reserved are {}", quoted_list(&RESERVED)));
        }
    }

    pub(super) fn axis_value(&mut self, axis: &str, entry: &Spanned<AxisEntry>) -> AxisValue {
        let (value, table) = match entry.get_ref() {
            AxisEntry::Plain(value) => (value, None),
            AxisEntry::Table(table) => (table.value.get_ref(), Some(table)),
        };
        let span = table.map_or(entry.span(), |table| table.value.span());
        if let Value::Text(text) = value
            && let Some(reason) = safe::refuse_value(text)
        {
            let message =
                format!("`{}` is not a valid value of axis `{axis}`", text.escape_debug());
            let help = "to add variables, write a table: { value = \"…\", variables = { … } }";
            self.report(span.clone(), message, reason).help = Some(help.to_owned());
        }
        let tag = table.and_then(|table| table.tag.as_ref());
        if let Some(tag) = tag
            && !tag.is_empty()
            && let Some(reason) = safe::refuse_value(tag)
        {
            let message = format!("`{}` is not a valid part of a tag", tag.escape_debug());
            self.report(tag.span(), message, reason);
        }
        AxisValue {
            value: value.clone(),
            tag: tag.map_or_else(|| value.default_tag(axis), |tag| tag.to_string()),
            tag_span: tag.map_or(span.clone(), Spanned::span),
            span,
            variables: table.map(|table| self.variables(&table.variables)).unwrap_or_default(),
            platforms: table
                .and_then(|table| table.platforms.as_ref())
                .map(|platforms| self.platforms(platforms)),
        }
    }

    /// Reports variables with the name of an axis, and variables that two axes set: their value
    /// would depend on the order of the axes.
    fn check_variables_of_axes(&mut self, file: &MatrixFile, axes: &[Axis]) {
        let mut owners: IndexMap<&str, (&str, Span)> = IndexMap::new();
        for (axis, entries) in file.axes.iter() {
            for entry in entries.iter() {
                let AxisEntry::Table(table) = entry.get_ref() else {
                    continue;
                };
                self.check_not_axes(axes, &table.variables);
                for name in table.variables.keys() {
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
        for name in variables.keys() {
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
    ) -> Map<String, Json> {
        self.check_not_axes(axes, variables);
        self.variables(variables)
    }

    fn variables(&mut self, variables: &Variables) -> Map<String, Json> {
        let mut checked = Map::new();
        for (name, value) in variables {
            self.check_name(name, "variable");
            if let Some(reason) = safe::refuse_variable(&value.0) {
                let message = format!("the value of `{}` is not allowed", **name);
                self.report(value.span(), message, reason);
            }
            checked.insert(name.to_string(), value.0.clone());
        }
        checked
    }

    fn platforms(&mut self, platforms: &Spanned<Vec<Spanned<String>>>) -> Vec<Platform> {
        if platforms.is_empty() {
            let label = "add one, such as \"linux/amd64\"";
            self.report(platforms.span(), "`platforms` is empty", label);
        }
        let mut parsed: Vec<Platform> = Vec::new();
        for text in platforms.iter() {
            match Platform::from_str(text) {
                Ok(platform) if parsed.contains(&platform) => {
                    let message = format!("platform `{platform}` is listed twice");
                    self.report(text.span(), message, "duplicate");
                }
                Ok(platform) => parsed.push(platform),
                Err(error) => {
                    self.report(text.span(), error.to_string(), "invalid platform");
                }
            }
        }
        parsed
    }

    pub(super) fn image(&mut self, table: &ImageTable, axes: &[Axis]) -> Image {
        let default = || Spanned::new(table.repository.span(), "dockerfiles".to_owned());
        let templates = table.templates.clone().unwrap_or_else(default);
        for name in table.registry.iter().chain([&table.repository]) {
            if let Err(error) = refuse_scheme(name) {
                let label = "such as `ghcr.io` as `registry`, and `acme/base` as `repository`";
                self.report(name.span(), error.to_string(), label);
            }
        }
        for path in [&templates, &table.dockerfile] {
            if let Some(reason) = safe::refuse_path(path) {
                self.report_path(path, reason);
            }
        }
        self.confine(&templates);
        Image {
            registry: table.registry.as_deref().cloned(),
            repository: self.pattern(&table.repository, axes, false),
            tag: match &table.tag {
                Some(tag) => self.pattern(tag, axes, true),
                None => Pattern::parse(DEFAULT_TAG).expect("the default is a pattern"),
            },
            aliases: table.aliases.iter().map(|alias| self.pattern(alias, axes, true)).collect(),
            templates: templates.into_inner(),
            dockerfile: self.pattern(&table.dockerfile, axes, false),
            platforms: self.platforms(&table.platforms),
            labels: self.labels(table, axes),
            compression: self.compression(table.compression.as_ref()),
            limits: self.limits(&LimitKeys::from(table)),
            contracts: table.contracts.clone(),
            settings: self.contract_settings(table),
        }
    }

    /// Parses a pattern and reports unknown names in it. A `versioned` pattern can contain `{{version}}`.
    pub(super) fn pattern(
        &mut self,
        text: &Spanned<String>,
        axes: &[Axis],
        versioned: bool,
    ) -> Pattern {
        // The span of a string includes its quotes. Escapes shift all offsets after them, and an argument has the span of
        // its array. Errors then point to the only occurrence of the faulty part, or to the whole span.
        let shift = text.span().start + 1;
        let rest = self.source.text.get(shift..).unwrap_or_default();
        let is_verbatim = !text.is_empty() && rest.starts_with(text.as_str());
        let within = |span: Span| {
            if is_verbatim {
                return span.start + shift..span.end + shift;
            }
            let whole = self.source.text.get(text.span()).unwrap_or_default();
            let mut places = whole.match_indices(&text[span]);
            match (places.next(), places.next()) {
                (Some((at, part)), None) => {
                    let start = text.span().start + at;
                    start..start + part.len()
                }
                _ => text.span(),
            }
        };
        let pattern = match Pattern::parse(text) {
            Ok(pattern) => pattern,
            Err(error) => {
                self.report(within(error.span.clone()), error.to_string(), "in this pattern");
                return Pattern::parse("").expect("an empty text is a pattern");
            }
        };
        let mut known: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
        known.push("variant");
        if versioned {
            known.push("version");
        }
        for (name, span) in pattern.names().filter(|(name, _)| !known.contains(name)) {
            let help = if name == "version" {
                Some("use `{{version}}` in tags only: it must not change an image".to_owned())
            } else {
                did_you_mean(name, known.iter().copied())
            };
            let label = format!("expected one of {}", quoted_list(&known));
            self.report(within(span), format!("unknown name `{name}`"), label).help = help;
        }
        pattern.at(text.span())
    }

    fn labels(&mut self, table: &ImageTable, axes: &[Axis]) -> BTreeMap<String, Pattern> {
        let mut labels = BTreeMap::new();
        for (name, text) in &table.labels {
            let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
            if name.is_empty() || !name.bytes().all(is_word) {
                let message = format!("`{}` is not a valid label name", name.escape_debug());
                let label = "expected letters, digits, `.`, `_`, `-` and `/`";
                self.report(name.span(), message, label);
            }
            if name.starts_with(OWN_LABELS) {
                let message = format!("the label `{}` is reserved", **name);
                let label = format!("basegen sets the labels `{OWN_LABELS}…`");
                self.report(name.span(), message, label);
            }
            if text.chars().any(safe::is_invisible) {
                let message = format!("the label `{}` contains an invisible character", **name);
                self.report(text.span(), message, "expected one line of text");
            }
            labels.insert(name.to_string(), self.pattern(text, axes, false));
        }
        labels
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

    fn compression(&mut self, entry: Option<&Spanned<CompressionEntry>>) -> Compression {
        let Some(entry) = entry else {
            return Compression::default();
        };
        let (algorithm, level) = match entry.get_ref() {
            CompressionEntry::Algorithm(algorithm) => (*algorithm, None),
            CompressionEntry::Table(CompressionTable { algorithm, level }) => (*algorithm, *level),
        };
        let highest: u8 = match algorithm {
            CompressionAlgorithm::Zstd => 22,
            CompressionAlgorithm::Gzip | CompressionAlgorithm::Estargz => 9,
            CompressionAlgorithm::Uncompressed => 0,
        };
        if level.is_some_and(|level| !(0..=i64::from(highest)).contains(&level)) {
            let label = format!("expected a level from 0 to {highest}");
            self.report(entry.span(), "the compression level is out of range", label);
        }
        let level = level.and_then(|level| u8::try_from(level).ok());
        Compression { algorithm, level }
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
        BuildInputs { ca_certificates: table.ca_certificates.clone(), secrets }
    }
}
