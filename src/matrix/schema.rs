//! The keys of `matrix.toml`, as serde reads them before validation.
//!
//! [`MatrixFile`] is the whole file. [`json_schema`] generates the schema for editors from these
//! types: their doc comments are its descriptions.

mod aliases;
mod conditions;
mod contents;
mod settings;
mod variables;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::by_type::by_type;
use super::document::tables;
use super::places::{GeneratedTable, VersionTable};
use super::publish::PublishTable;
use super::pull_request::PullRequestTable;
use super::registries::Registries;
use super::spanned::Spanned;
use super::value::Value;

pub use aliases::{AliasEntry, AliasMover, PrintedAliasTable};
pub use conditions::{ConditionEntry, ConditionsTable, When};
pub(super) use contents::{
    ExposeEntry, FileValue, FilesEntry, HealthcheckEntry, HealthcheckTable, PackageValue,
    PackagesEntry, PortEntry,
};
pub(super) use settings::SettingKeys;
pub use settings::{
    AxisValueTable, CompressionEntry, CompressionTable, DockerignoreEntry, ExtraTable, ImageTable,
    SetTable,
};
pub use variables::{FromTable, Variable, Variables};

/// A matrix of base images.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
#[schemars(title = "matrix.toml", description = "A matrix of base images, built by basegen.")]
pub struct MatrixFile {
    /// The settings of all images.
    pub image: Spanned<ImageTable>,
    /// The axes of the matrix and their values. The variants are the product of all axes. Ids and `{{variant}}` follow the order of this table.
    pub axes: Spanned<Axes>,
    /// Variables for all templates. An axis value, a `[[set]]` or an `[[extra]]` can override them.
    #[serde(default)]
    pub variables: Variables,
    /// Variables of templates on single platforms, by platform such as `linux/arm64`. They override all others.
    #[serde(default)]
    pub platform: IndexMap<Spanned<String>, Spanned<PlatformTable>>,
    /// The location of the version that tags contain.
    pub version: Option<Spanned<VersionTable>>,
    /// Files that basegen generates from the matrix and that are committed beside it.
    #[serde(default)]
    pub generated: GeneratedTable,
    /// How releases are published.
    #[serde(default)]
    pub publish: PublishTable,
    /// The pull request that updates the repository for a release.
    #[serde(default)]
    pub pull_request: PullRequestTable,
    /// Certificates and secrets for build steps.
    #[serde(default)]
    pub build: BuildTable,
    /// Connection settings and credentials of registries, by host.
    #[serde(default)]
    pub registries: Registries,
    /// Combinations to remove from the product.
    #[serde(default)]
    pub exclude: Vec<Spanned<ExcludeTable>>,
    /// Variables and settings of some combinations.
    #[serde(default)]
    pub set: Vec<Spanned<SetTable>>,
    /// Combinations to add to the product.
    #[serde(default)]
    pub extra: Vec<Spanned<ExtraTable>>,
    /// Checks that an image must pass before it is published.
    #[serde(default)]
    pub verify: Vec<Spanned<VerifyTable>>,
    /// Aliases that commands in the images print.
    #[serde(default)]
    pub alias: Vec<Spanned<PrintedAliasTable>>,
    /// Exceptions from rules of contracts.
    #[serde(default)]
    pub waive: Vec<Spanned<WaiveTable>>,
}

impl MatrixFile {
    /// Returns the names of all variables. A name can occur several times.
    pub(super) fn variable_names(&self) -> impl Iterator<Item = &str> {
        self.variables().flat_map(|table| table.own.keys()).map(|name| name.as_str())
    }
}

/// The values of each axis.
pub type Axes = IndexMap<Spanned<String>, Spanned<AxisTable>>;

/// The values of an axis: an array, or `{ tag = "torch{{value}}", values = […] }`.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum AxisTable {
    /// The values.
    Values(Vec<Spanned<AxisEntry>>),
    /// The values and their common pattern.
    Table(AxisValuesTable),
}

impl AxisTable {
    pub(super) fn values(&self) -> &[Spanned<AxisEntry>] {
        match self {
            Self::Values(values) => values,
            Self::Table(table) => &table.values,
        }
    }

    pub(super) fn tag(&self) -> Option<&Spanned<String>> {
        match self {
            Self::Values(_) => None,
            Self::Table(table) => table.tag.as_ref(),
        }
    }
}

/// The values of an axis and their common pattern.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct AxisValuesTable {
    /// The values.
    pub values: Vec<Spanned<AxisEntry>>,
    /// The part of the tag for each value but `false`, such as `torch{{value}}`. It can also contain the variables of the
    /// value. A `tag` of a value replaces it.
    pub tag: Option<Spanned<String>>,
}

/// A value of an axis: the plain value, or a table with its variables and settings.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum AxisEntry {
    /// A plain value.
    Plain(Value),
    /// A value with its variables and settings.
    Table(Box<AxisValueTable>),
}

/// `[[exclude]]`: combinations to remove from the product.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct ExcludeTable {
    /// The conditions of the combinations to remove, by axis, or an array of alternatives.
    pub when: Spanned<When>,
    /// The reason, one line. It is shown when a removed combination is selected.
    pub reason: Spanned<String>,
}

/// `[[verify]]`: a command that must succeed in a container of an image before the image is published.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct VerifyTable {
    /// The name of the check, shown when it fails.
    pub name: Spanned<String>,
    /// The conditions of the combinations to check, by axis, or an array of alternatives. Default: all combinations.
    pub when: Option<Spanned<When>>,
    /// The command: a string for the shell of the image, or an array of a program and its arguments.
    /// It runs as the user of the image, without a network. `{{NAME}}` is the value of the axis `NAME`.
    pub run: Spanned<RunEntry>,
}

/// `[[waive]]`: an exception from a rule of a contract.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct WaiveTable {
    /// The id of the rule, such as `baseten/reserved-env`.
    pub rule: Spanned<String>,
    /// The reason, one line.
    pub reason: Spanned<String>,
    /// The conditions of the combinations, by axis, or an array of alternatives. Default: all combinations.
    pub when: Option<Spanned<When>>,
}

/// A command line for the shell, or a program and its arguments.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
pub enum RunEntry {
    /// A command line for the shell of the image.
    Shell(String),
    /// A program and its arguments, without a shell.
    Exec(Vec<String>),
}

/// `[platform."linux/arm64"]`: the images for one platform.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct PlatformTable {
    /// Template variables of this platform.
    #[serde(default)]
    pub variables: Variables,
}

/// `[build]`: certificates and secrets for build steps.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct BuildTable {
    /// The CA certificates that build steps trust while they use the network: the path of a PEM file, relative to this
    /// file, or `auto` for the file in the environment variable `SSL_CERT_FILE`, if set. No layer contains them. A file
    /// outside of the repository needs `--allow fs.read=PATH`.
    pub ca_certificates: Option<Spanned<String>>,
    /// Secrets that build steps can mount, by id.
    #[serde(default)]
    pub secrets: IndexMap<Spanned<String>, Spanned<SecretTable>>,
    /// Named contexts, which `FROM`, `COPY --from` and mounts can use like a stage: a folder relative to this file, an
    /// image, `docker-image://NAME`, or another image of the matrix, `{{image "value"}}`.
    #[serde(default)]
    pub contexts: IndexMap<Spanned<String>, Spanned<String>>,
    /// The programs that install packages, `micromamba` and `uv`, by name and platform. Conda packages need `micromamba`.
    #[serde(default)]
    pub tools: IndexMap<Spanned<String>, IndexMap<Spanned<String>, Spanned<ToolTable>>>,
}

/// A program for one platform.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct ToolTable {
    /// The URL of the executable file.
    pub url: Spanned<String>,
    /// The SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: Spanned<String>,
}

/// The source of a secret: either `env` or `file`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct SecretTable {
    /// The name of the environment variable that contains the secret.
    pub env: Option<Spanned<String>>,
    /// The path of the file that contains the secret, relative to this file. A file outside of the repository needs
    /// `--allow fs.read=PATH`.
    pub file: Option<Spanned<String>>,
    /// Whether a build continues without the secret. Default: `false`.
    #[serde(default)]
    pub optional: bool,
}

tables!(
    MatrixFile,
    AxisValuesTable,
    ExcludeTable,
    VerifyTable,
    WaiveTable,
    PlatformTable,
    BuildTable,
    SecretTable,
    ToolTable
);

by_type!(Value, "a string or a boolean", { text: Value::Text, flag: Value::Bool });
by_type!(AxisEntry, "a string, a boolean or a table with the key `value`", {
    text: AxisEntry::Plain,
    flag: AxisEntry::Plain,
    table: AxisEntry::Table,
});
by_type!(AxisTable, "an array, or a table with the key `values`", {
    list: AxisTable::Values,
    table: AxisTable::Table,
});
by_type!(RunEntry, "a string or an array of strings", {
    text: RunEntry::Shell,
    list: RunEntry::Exec,
});

/// Returns the JSON schema of `matrix.toml`, for editors, with a final newline.
#[must_use]
pub fn json_schema() -> String {
    let schema = schemars::schema_for!(MatrixFile);
    let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    format!("{text}\n")
}
