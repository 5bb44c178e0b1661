//! The keys of `matrix.toml`: what is read, before any of it is checked against the rest.
//!
//! The JSON schema that editors complete from is generated from these types.

use std::fmt;
use std::ops::Range;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use serde_spanned::Spanned;

use super::document::tables;
use super::places::{GeneratedTable, VersionTable};
use super::publish::PublishTable;
use super::pull_request::PullRequestTable;
use super::registries::{Registries, RegistryTable};
use super::value::Value;
use crate::image::CompressionAlgorithm;

/// A matrix of base images.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
#[schemars(title = "matrix.toml", description = "A matrix of base images, as basegen builds it.")]
pub struct MatrixFile {
    /// What an image is called and what it is made of.
    pub image: ImageTable,
    /// The axes in the order in which their values stand in a name; the variants are their product.
    #[schemars(with = "IndexMap<String, Vec<AxisEntry>>")]
    pub axes: Spanned<Axes>,
    /// Variables that every template sees, unless an axis value, a `[[set]]` or an `[[extra]]` says otherwise.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, Variable>")]
    pub variables: Variables,
    /// Where the version lives that tags follow.
    #[schemars(with = "Option<VersionTable>")]
    pub version: Option<Spanned<VersionTable>>,
    /// Files that are made from the matrix, and committed beside it.
    #[serde(default)]
    pub generated: GeneratedTable,
    /// How a release is published.
    #[serde(default)]
    pub publish: PublishTable,
    /// The pull request that brings the repository in step with a release.
    #[serde(default)]
    pub pull_request: PullRequestTable,
    /// What the build steps are given.
    #[serde(default)]
    pub build: BuildTable,
    /// How registries are reached and who we are to them, by host.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, RegistryTable>")]
    pub registries: Registries,
    /// Combinations that do not exist.
    #[serde(default)]
    #[schemars(with = "Vec<ExcludeTable>")]
    pub exclude: Vec<Spanned<ExcludeTable>>,
    /// Variables for some combinations.
    #[serde(default)]
    #[schemars(with = "Vec<SetTable>")]
    pub set: Vec<Spanned<SetTable>>,
    /// Combinations beside the product.
    #[serde(default)]
    #[schemars(with = "Vec<ExtraTable>")]
    pub extra: Vec<Spanned<ExtraTable>>,
    /// What must hold of an image before anyone may pull it.
    #[serde(default)]
    #[schemars(with = "Vec<VerifyTable>")]
    pub verify: Vec<Spanned<VerifyTable>>,
}

/// The values of each axis.
pub type Axes = IndexMap<Spanned<String>, Spanned<Vec<Spanned<AxisEntry>>>>;

/// A table of template variables.
pub type Variables = IndexMap<Spanned<String>, Spanned<Variable>>;

/// `[image]`: what an image is called and what it is made of.
///
/// In the texts, `{{name}}` stands for an axis' value; `{{variant}}` for the parts of the
/// tag that the axis values contribute, joined by dashes; and `{{version}}` for the version.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct ImageTable {
    /// The registry's host, Docker Hub where there is none.
    #[schemars(with = "Option<String>")]
    pub registry: Option<Spanned<String>>,
    /// The repository within the registry, such as `baseten/truss-{{job_type}}-base`.
    #[schemars(with = "String")]
    pub repository: Spanned<String>,
    /// The tag of a version, `{{variant}}-{{version}}` where there is none.
    #[schemars(with = "Option<String>")]
    pub tag: Option<Spanned<String>>,
    /// Further tags, that move on with each release of the whole matrix.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub aliases: Vec<Spanned<String>>,
    /// The folder of the templates and of the files that they copy, relative to this file;
    /// `dockerfiles` where there is none.
    #[schemars(with = "Option<String>")]
    pub templates: Option<Spanned<String>>,
    /// The Dockerfile's template within that folder, such as `{{job_type}}.Dockerfile.hbs`.
    #[schemars(with = "String")]
    pub dockerfile: Spanned<String>,
    /// The platforms to build for, such as `linux/amd64`.
    #[schemars(with = "Vec<String>")]
    pub platforms: Spanned<Vec<Spanned<String>>>,
    /// Labels of the image. `{{version}}` is not among their variables: a new version of an
    /// unchanged image is a new tag on the same bytes.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, String>")]
    pub labels: IndexMap<Spanned<String>, Spanned<String>>,
    /// How layers are compressed: an algorithm, or `{ algorithm = "zstd", level = 3 }`.
    #[schemars(with = "Option<CompressionEntry>")]
    pub compression: Option<Spanned<CompressionEntry>>,
}

/// An algorithm, or an algorithm and its level.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum CompressionEntry {
    /// The algorithm at the engine's default level.
    Algorithm(CompressionAlgorithm),
    /// The algorithm at a level.
    Table(CompressionTable),
}

/// An algorithm and its level.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct CompressionTable {
    /// The algorithm.
    pub algorithm: CompressionAlgorithm,
    /// 0 to 22 for zstd, 0 to 9 for gzip and estargz.
    #[schemars(with = "Option<u8>")]
    pub level: Option<i64>,
}

/// One value of an axis: the value alone, or a table of it and facts about it.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum AxisEntry {
    /// A value that has no facts.
    Plain(Value),
    /// A value and its facts.
    Table(AxisValueTable),
}

/// A value of an axis and what is known about it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct AxisValueTable {
    /// The value.
    #[schemars(with = "Value")]
    pub value: Spanned<Value>,
    /// Its part of the tag. Where there is none: the text itself, the axis' name for `true`,
    /// and nothing for `false`. Empty leaves it out.
    #[schemars(with = "Option<String>")]
    pub tag: Option<Spanned<String>>,
    /// Variables for the templates of variants that have this value.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, Variable>")]
    pub variables: Variables,
    /// The platforms that this value is limited to.
    #[schemars(with = "Option<Vec<String>>")]
    pub platforms: Option<Spanned<Vec<Spanned<String>>>>,
}

/// A variable: a text, `true`, `false`, a whole number, or a list or table of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable(pub Json);

/// What an axis' value must be: a value, a list of values, or a version range such as `>=3.10,<3.13`.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
pub enum ConditionEntry {
    /// This value, or a version range.
    One(Value),
    /// Any of these.
    Any(Vec<Value>),
}

/// Conditions on axes, all of which must hold.
pub type When = IndexMap<Spanned<String>, Spanned<ConditionEntry>>;

/// `[[exclude]]`: combinations that do not exist.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct ExcludeTable {
    /// Which combinations.
    #[schemars(with = "IndexMap<String, ConditionEntry>")]
    pub when: Spanned<When>,
    /// Why, as told to whoever asks for one of them.
    #[schemars(with = "String")]
    pub reason: Spanned<String>,
}

/// `[[set]]`: variables for some combinations.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct SetTable {
    /// Which combinations.
    #[schemars(with = "IndexMap<String, ConditionEntry>")]
    pub when: Spanned<When>,
    /// The variables; they win over those of axis values, and over earlier `[[set]]`s.
    #[schemars(with = "IndexMap<String, Variable>")]
    pub variables: Variables,
}

/// `[[extra]]`: a combination beside the product, perhaps of values that no axis lists.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct ExtraTable {
    /// A value for each axis.
    #[schemars(with = "IndexMap<String, AxisEntry>")]
    pub axes: Spanned<IndexMap<Spanned<String>, Spanned<AxisEntry>>>,
    /// Variables of this combination alone; they win over all others.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, Variable>")]
    pub variables: Variables,
}

/// `[[verify]]`: a command that must succeed in a container of an image before it is published.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct VerifyTable {
    /// What the check is called when it fails.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// The combinations that it is for; all of them where this is missing.
    #[schemars(with = "Option<IndexMap<String, ConditionEntry>>")]
    pub when: Option<Spanned<When>>,
    /// The command: a line for the image's shell, or a list of a program and its arguments.
    /// It runs as the image's user, without a network. `{{name}}` stands for an axis' value.
    #[schemars(with = "RunEntry")]
    pub run: Spanned<RunEntry>,
}

/// A line for the shell, or a program and its arguments.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum RunEntry {
    /// A line for the image's shell.
    Shell(String),
    /// A program and its arguments, without a shell.
    Exec(Vec<String>),
}

/// `[build]`: what the build steps are given.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct BuildTable {
    /// Certificates that steps trust while they use the network, as a PEM file that no
    /// layer keeps: a path relative to this file, or `auto` for the file that the environment
    /// variable `SSL_CERT_FILE` names, if it names one. A file outside of the repository needs
    /// `--allow fs.read=PATH`.
    #[schemars(with = "Option<String>")]
    pub ca_certificates: Option<Spanned<String>>,
    /// Secrets that steps can mount, by id.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, SecretTable>")]
    pub secrets: IndexMap<Spanned<String>, Spanned<SecretTable>>,
}

/// Where a secret comes from: one of the two.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct SecretTable {
    /// The environment variable that holds it.
    #[schemars(with = "Option<String>")]
    pub env: Option<Spanned<String>>,
    /// The file that holds it, relative to this file. One outside of the repository needs
    /// `--allow fs.read=PATH`.
    #[schemars(with = "Option<String>")]
    pub file: Option<Spanned<String>>,
    /// Whether a build may go on without it.
    #[serde(default)]
    pub optional: bool,
}

tables!(
    MatrixFile,
    ImageTable,
    CompressionTable,
    AxisValueTable,
    ExcludeTable,
    SetTable,
    ExtraTable,
    VerifyTable,
    BuildTable,
    SecretTable
);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl Visitor<'_> for ValueVisitor {
            type Value = Value;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a boolean")
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
                Ok(Value::Text(value.to_owned()))
            }
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl<'de> Deserialize<'de> for AxisEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;
        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = AxisEntry;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string, a boolean or a table with the key `value`")
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<AxisEntry, E> {
                Ok(AxisEntry::Plain(Value::Bool(value)))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<AxisEntry, E> {
                Ok(AxisEntry::Plain(Value::Text(value.to_owned())))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AxisEntry, A::Error> {
                AxisValueTable::deserialize(MapAccessDeserializer::new(map)).map(AxisEntry::Table)
            }
        }
        deserializer.deserialize_any(EntryVisitor)
    }
}

impl<'de> Deserialize<'de> for ConditionEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ConditionVisitor;
        impl<'de> Visitor<'de> for ConditionVisitor {
            type Value = ConditionEntry;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string, a boolean or an array of these")
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<ConditionEntry, E> {
                Ok(ConditionEntry::One(Value::Bool(value)))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<ConditionEntry, E> {
                Ok(ConditionEntry::One(Value::Text(value.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ConditionEntry, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(ConditionEntry::Any(values))
            }
        }
        deserializer.deserialize_any(ConditionVisitor)
    }
}

impl<'de> Deserialize<'de> for RunEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RunVisitor;
        impl<'de> Visitor<'de> for RunVisitor {
            type Value = RunEntry;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or an array of strings")
            }
            fn visit_str<E: de::Error>(self, line: &str) -> Result<RunEntry, E> {
                Ok(RunEntry::Shell(line.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<RunEntry, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(RunEntry::Exec)
            }
        }
        deserializer.deserialize_any(RunVisitor)
    }
}

impl<'de> Deserialize<'de> for CompressionEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CompressionVisitor;
        impl<'de> Visitor<'de> for CompressionVisitor {
            type Value = CompressionEntry;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a table with the key `algorithm`")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<CompressionEntry, E> {
                let name = de::value::StrDeserializer::new(name);
                CompressionAlgorithm::deserialize(name).map(CompressionEntry::Algorithm)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CompressionEntry, A::Error> {
                let table = CompressionTable::deserialize(MapAccessDeserializer::new(map));
                table.map(CompressionEntry::Table)
            }
        }
        deserializer.deserialize_any(CompressionVisitor)
    }
}

impl<'de> Deserialize<'de> for Variable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VariableVisitor;
        impl<'de> Visitor<'de> for VariableVisitor {
            type Value = Variable;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .write_str("a string, a boolean, an integer, or an array or table of these")
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Variable, E> {
                Ok(Variable(value.into()))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Variable, E> {
                Ok(Variable(value.into()))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Variable, E> {
                Ok(Variable(value.into()))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Variable, E> {
                Ok(Variable(value.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Variable, A::Error> {
                let mut values = Vec::new();
                while let Some(Variable(value)) = list.next_element()? {
                    values.push(value);
                }
                Ok(Variable(values.into()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Variable, A::Error> {
                let mut values = serde_json::Map::new();
                while let Some((key, Variable(value))) = table.next_entry()? {
                    values.insert(key, value);
                }
                Ok(Variable(values.into()))
            }
        }
        deserializer.deserialize_any(VariableVisitor)
    }
}

impl JsonSchema for Variable {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Variable".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let nested = generator.subschema_for::<Self>();
        schemars::json_schema!({
            "description": "A text, true, false, a whole number, or a list or table of these.",
            "type": ["string", "boolean", "integer", "array", "object"],
            "items": nested,
            "additionalProperties": nested,
        })
    }
}

/// The JSON schema of `matrix.toml`, for editors, with a line end at its end.
#[must_use]
pub fn json_schema() -> String {
    let schema = schemars::schema_for!(MatrixFile);
    let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    format!("{text}\n")
}

/// Where a value of the file stands, in bytes from its beginning.
pub(super) type Span = Range<usize>;
