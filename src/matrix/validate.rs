//! From a matrix file to a matrix: each part is checked against the others, and all that is
//! wrong is told at once.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::str::FromStr;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};
use serde_spanned::Spanned;

use super::diagnostic::{Diagnostic, SourceFile, nearest};
use super::model::{Axis, AxisValue, BuildInputs, Image};
use super::pattern::Pattern;
use super::safe;
use super::schema::{
    AxisEntry, BuildTable, CompressionEntry, CompressionTable, ImageTable, MatrixFile, Span,
    Variables,
};
use super::value::Value;
use crate::error::{Explain as _, one_line};
use crate::files::{Access, Checkout, ReadError};
use crate::image::{Compression, CompressionAlgorithm, Platform, refuse_scheme};

/// Names that mean something else in names and templates: the helpers of templates among them.
pub(super) const RESERVED: [&str; 24] = [
    "variant", "version", "this", "as", "else", "true", "false", "null", "and", "each", "eq", "gt",
    "gte", "if", "len", "lookup", "lt", "lte", "ne", "not", "or", "raw", "unless", "with",
];

/// The tag of a version where the file has none.
const DEFAULT_TAG: &str = "{{variant}}-{{version}}";

/// What the names of the labels begin with that basegen itself gives to images.
const OWN_LABELS: &str = "dev.basegen.";

/// Collects what is wrong while the parts of a file are checked.
pub(super) struct Checker<'a> {
    pub(super) source: &'a SourceFile,
    pub(super) checkout: &'a Checkout,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Checker<'_> {
    pub(super) fn refuse(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Refuses a path that leads out of the repository. Whether it may be written is checked before it is.
    pub(super) fn confine(&mut self, path: &Spanned<String>) {
        if let Err(error) = self.checkout.resolve(Path::new(path.get_ref()), Access::Read) {
            self.refuse(refused(path.span(), &error));
        }
    }

    /// The axes of the product.
    pub(super) fn axes(&mut self, file: &MatrixFile) -> Vec<Axis> {
        if file.axes.get_ref().is_empty() {
            let label = "add one, such as `python = [\"3.11\"]`";
            self.refuse(Diagnostic::new(file.axes.span(), "the matrix has no axis", label));
        }
        let mut axes = Vec::new();
        for (name, entries) in file.axes.get_ref() {
            self.check_name(name, "an axis");
            let mut axis = Axis { name: name.get_ref().clone(), values: Vec::new(), listed: 0 };
            if entries.get_ref().is_empty() {
                let message = format!("axis `{}` has no values", axis.name);
                self.refuse(Diagnostic::new(entries.span(), message, "at least one is needed"));
            }
            let mut spans: HashMap<Value, Span> = HashMap::new();
            for entry in entries.get_ref() {
                let value = self.axis_value(&axis.name, entry);
                if let Some(twin) = spans.insert(value.value.clone(), entry.span()) {
                    let message = format!("axis `{}` has `{}` twice", axis.name, value.value);
                    self.refuse(
                        Diagnostic::new(entry.span(), message, "here again")
                            .related(twin, "first here"),
                    );
                }
                axis.values.push(value);
            }
            axis.listed = axis.values.len();
            axes.push(axis);
        }
        self.check_variables_of_axes(file, &axes);
        axes
    }

    /// Refuses a name that templates cannot write, or give another meaning.
    fn check_name(&mut self, name: &Spanned<String>, what: &str) {
        let message = format!("`{}` cannot name {what}", name.get_ref().escape_debug());
        if let Some(reason) = safe::refuse_name(name.get_ref()) {
            self.refuse(Diagnostic::new(name.span(), message, reason));
        } else if RESERVED.contains(&name.get_ref().as_str()) {
            let help = format!("choose another name; reserved are {}", quoted_list(&RESERVED));
            self.refuse(Diagnostic::new(name.span(), message, "a reserved name").help(help));
        }
    }

    pub(super) fn axis_value(&mut self, axis: &str, entry: &Spanned<AxisEntry>) -> AxisValue {
        let (value, table) = match entry.get_ref() {
            AxisEntry::Plain(value) => (value, None),
            AxisEntry::Table(table) => (table.value.get_ref(), Some(table)),
        };
        let value_span = table.map_or(entry.span(), |table| table.value.span());
        if let Value::Text(text) = value
            && let Some(reason) = safe::refuse_value(text)
        {
            let message = format!("`{}` cannot be a value of axis `{axis}`", text.escape_debug());
            self.refuse(
                Diagnostic::new(value_span.clone(), message, reason).help(
                    "facts about a value go into a table: { value = \"…\", variables = { … } }",
                ),
            );
        }
        let tag = table.and_then(|table| table.tag.as_ref());
        if let Some(tag) = tag
            && !tag.get_ref().is_empty()
            && let Some(reason) = safe::refuse_value(tag.get_ref())
        {
            let message = format!("`{}` cannot be part of a tag", tag.get_ref().escape_debug());
            self.refuse(Diagnostic::new(tag.span(), message, reason));
        }
        AxisValue {
            value: value.clone(),
            tag: tag.map_or_else(|| value.default_tag(axis), |tag| tag.get_ref().clone()),
            tag_span: tag.map_or(value_span.clone(), Spanned::span),
            span: value_span,
            variables: table.map(|table| self.variables(&table.variables)).unwrap_or_default(),
            platforms: table
                .and_then(|table| table.platforms.as_ref())
                .map(|platforms| self.platforms(platforms)),
        }
    }

    /// No variable has an axis' name, and no two axes set one variable: which one won would
    /// depend on the order of the axes.
    fn check_variables_of_axes(&mut self, file: &MatrixFile, axes: &[Axis]) {
        let mut owners: IndexMap<&str, (&str, Span)> = IndexMap::new();
        for (axis, entries) in file.axes.get_ref() {
            for entry in entries.get_ref() {
                let AxisEntry::Table(table) = entry.get_ref() else {
                    continue;
                };
                self.check_not_axes(axes, &table.variables);
                for name in table.variables.keys() {
                    let mine = (axis.get_ref().as_str(), name.span());
                    let (owner, first) = owners.entry(name.get_ref()).or_insert(mine);
                    if *owner != axis.get_ref() {
                        let message = format!("two axes set the variable `{}`", name.get_ref());
                        let label = format!("axis `{}` sets it", axis.get_ref());
                        let diagnostic = Diagnostic::new(name.span(), message, label)
                            .related(first.clone(), format!("axis `{owner}` sets it too"))
                            .help("say with `[[set]]` which combination has which value");
                        self.refuse(diagnostic);
                    }
                }
            }
        }
    }

    fn check_not_axes(&mut self, axes: &[Axis], variables: &Variables) {
        for name in variables.keys() {
            if axes.iter().any(|axis| axis.name == *name.get_ref()) {
                let message = format!("`{}` is an axis", name.get_ref());
                self.refuse(Diagnostic::new(name.span(), message, "a variable needs another name"));
            }
        }
    }

    /// Variables that may be set where they stand.
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
            self.check_name(name, "a variable");
            if let Some(reason) = safe::refuse_variable(&value.get_ref().0) {
                let message = format!("the value of `{}` is refused", name.get_ref());
                self.refuse(Diagnostic::new(value.span(), message, reason));
            }
            checked.insert(name.get_ref().clone(), value.get_ref().0.clone());
        }
        checked
    }

    fn platforms(&mut self, platforms: &Spanned<Vec<Spanned<String>>>) -> Vec<Platform> {
        if platforms.get_ref().is_empty() {
            let label = "such as \"linux/amd64\"";
            self.refuse(Diagnostic::new(
                platforms.span(),
                "at least one platform is needed",
                label,
            ));
        }
        let mut parsed: Vec<Platform> = Vec::new();
        for text in platforms.get_ref() {
            match Platform::from_str(text.get_ref()) {
                Ok(platform) if parsed.contains(&platform) => {
                    let message = format!("platform `{platform}` stands here twice");
                    self.refuse(Diagnostic::new(text.span(), message, "here again"));
                }
                Ok(platform) => parsed.push(platform),
                Err(error) => {
                    let label = "not a platform";
                    self.refuse(Diagnostic::new(text.span(), error.to_string(), label));
                }
            }
        }
        parsed
    }

    /// `[image]`.
    pub(super) fn image(&mut self, table: &ImageTable, axes: &[Axis]) -> Image {
        let default = |text: &str| Spanned::new(table.repository.span(), text.to_owned());
        let templates = table.templates.clone().unwrap_or_else(|| default("dockerfiles"));
        for name in table.registry.iter().chain([&table.repository]) {
            if let Err(error) = refuse_scheme(name.get_ref()) {
                let label = "such as `ghcr.io` as `registry`, and `acme/base` as `repository`";
                self.refuse(Diagnostic::new(name.span(), error.to_string(), label));
            }
        }
        for path in [&templates, &table.dockerfile] {
            if let Some(reason) = safe::refuse_path(path.get_ref()) {
                let message = format!("`{}` is refused as a path", path.get_ref().escape_debug());
                self.refuse(Diagnostic::new(path.span(), message, reason));
            }
        }
        self.confine(&templates);
        Image {
            registry: table.registry.as_ref().map(|registry| registry.get_ref().clone()),
            repository: self.pattern(&table.repository, axes, false),
            tag: match &table.tag {
                Some(tag) => self.pattern(tag, axes, true),
                None => Pattern::parse(DEFAULT_TAG).expect("it is a pattern"),
            },
            aliases: table.aliases.iter().map(|alias| self.pattern(alias, axes, true)).collect(),
            templates: templates.into_inner(),
            dockerfile: self.pattern(&table.dockerfile, axes, false),
            platforms: self.platforms(&table.platforms),
            labels: self.labels(table, axes),
            compression: self.compression(table.compression.as_ref()),
        }
    }

    pub(super) fn pattern(
        &mut self,
        text: &Spanned<String>,
        axes: &[Axis],
        versioned: bool,
    ) -> Pattern {
        // The span of a text in quotes takes the quotes in; escapes would shift what follows
        // them, so there the whole text is pointed at.
        let shift = text.span().start + 1;
        let is_verbatim = self.source.text.get(shift..).is_some_and(|rest| {
            rest.starts_with(text.get_ref().as_str()) && !text.get_ref().is_empty()
        });
        let within = |span: Span| match is_verbatim {
            true => span.start + shift..span.end + shift,
            false => text.span(),
        };
        let pattern = match Pattern::parse(text.get_ref()) {
            Ok(pattern) => pattern,
            Err(error) => {
                let label = "in this text";
                self.refuse(Diagnostic::new(within(error.span()), error.to_string(), label));
                return Pattern::parse("").expect("an empty text is a pattern");
            }
        };
        let mut known: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
        known.push("variant");
        if versioned {
            known.push("version");
        }
        for (name, span) in pattern.names() {
            if known.contains(&name) {
                continue;
            }
            let message = format!("nothing is called `{name}` here");
            let help = match (name, nearest(name, known.iter().copied())) {
                ("version", _) => Some(
                    "only tags follow the version: it must not change what an image holds"
                        .to_owned(),
                ),
                (_, Some(near)) => Some(format!("did you mean `{near}`?")),
                _ => None,
            };
            let label = format!("known are {}", quoted_list(&known));
            self.refuse(Diagnostic::new(within(span), message, label).maybe_help(help));
        }
        pattern.at(text.span())
    }

    fn labels(&mut self, table: &ImageTable, axes: &[Axis]) -> BTreeMap<String, Pattern> {
        let mut labels = BTreeMap::new();
        for (name, text) in &table.labels {
            let is_key = !name.get_ref().is_empty()
                && name
                    .get_ref()
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
            if !is_key {
                let message = format!("`{}` cannot name a label", name.get_ref().escape_debug());
                let label = "letters, digits, `.`, `_`, `-` and `/`";
                self.refuse(Diagnostic::new(name.span(), message, label));
            }
            if name.get_ref().starts_with(OWN_LABELS) {
                let message = format!("the label `{}` is basegen's own", name.get_ref());
                let label = format!("images have labels `{OWN_LABELS}…` that say what made them");
                self.refuse(Diagnostic::new(name.span(), message, label));
            }
            if text.get_ref().chars().any(safe::is_invisible) {
                let message =
                    format!("the label `{}` holds a character that is not seen", name.get_ref());
                self.refuse(Diagnostic::new(text.span(), message, "one line of text"));
            }
            labels.insert(name.get_ref().clone(), self.pattern(text, axes, false));
        }
        labels
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
        let is_level = |level: &i64| (0..=i64::from(highest)).contains(level);
        if level.is_some_and(|level| !is_level(&level)) {
            let label = format!("its levels are 0 to {highest}");
            let message = "the algorithm has no such level";
            self.refuse(Diagnostic::new(entry.span(), message, label));
        }
        let level = level.and_then(|level| u8::try_from(level).ok());
        Compression { algorithm, level }
    }

    /// `[build]`.
    pub(super) fn build(&mut self, table: &BuildTable) -> BuildInputs {
        let mut inputs = BuildInputs {
            ca_certificates: table.ca_certificates.clone(),
            secrets: BTreeMap::new(),
        };
        for (id, secret) in &table.secrets {
            if id.get_ref() == "ca_certificates" {
                let message = "`ca_certificates` is not a secret of its own";
                let help = "say `ca_certificates = \"…\"` in `[build]` instead";
                self.refuse(Diagnostic::new(id.span(), message, "taken").help(help));
            }
            if secret.get_ref().env.is_some() == secret.get_ref().file.is_some() {
                let message = format!("the secret `{}` has no one source", id.get_ref());
                let label = "give `env` or `file`, one of the two";
                self.refuse(Diagnostic::new(secret.span(), message, label));
            }
            inputs.secrets.insert(id.get_ref().clone(), secret.get_ref().clone());
        }
        inputs
    }
}

/// A path of the file at `span` cannot be resolved.
pub(super) fn refused(span: Span, error: &ReadError) -> Diagnostic {
    Diagnostic::new(span, one_line(error), "").maybe_help(error.hint())
}

/// `` `a`, `b` and `c` ``
pub(super) fn quoted_list(items: &[impl AsRef<str>]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| format!("`{}`", item.as_ref())).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => "none".to_owned(),
    }
}
