//! The keys of `matrix.toml` for the contents of images without a Dockerfile of their own.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::RunEntry;
use crate::matrix::by_type::by_type;
use crate::matrix::document::tables;
use crate::matrix::spanned::Spanned;

/// The packages of a package manager: a file, an array, or a table.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum PackagesEntry {
    /// The path of a file with packages, relative to the build context.
    File(String),
    /// Packages with their versions, and options: `["numpy>=1.26,<2", "-r requirements.txt"]`.
    List(Vec<Spanned<String>>),
    /// Versions by package, and values by option: `{ numpy = ">=1.26,<2", "-r" = "requirements.txt" }`.
    Table(IndexMap<Spanned<String>, Spanned<PackageValue>>),
}

/// The version of a package, or the value of an option.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum PackageValue {
    /// A version: `latest`, an exact one, or a range. The value of an option.
    Text(String),
    /// Several values of an option.
    List(Vec<Spanned<String>>),
    /// `false` removes the package from some images; `true` sets an option without a value.
    Flag(bool),
}

/// The files that an image contains: an array of paths, or a table of sources and their paths in the image.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum FilesEntry {
    /// Paths in the build context, which are the same below `workdir`.
    List(Vec<Spanned<String>>),
    /// Paths in the image by path in the build context. `false` removes a file from some images.
    Table(IndexMap<Spanned<String>, Spanned<FileValue>>),
}

/// The path of a file in an image, or `false` for a file that some images do not contain.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum FileValue {
    Path(String),
    Flag(bool),
}

/// A port with its protocol, such as `8080` or `53/udp`.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum PortEntry {
    Number(i64),
    Text(String),
}

/// One or several ports.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum ExposeEntry {
    One(PortEntry),
    Many(Vec<PortEntry>),
}

/// The command that shows whether a container works, or `false` for none.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum HealthcheckEntry {
    /// `false`: not even that of the base image.
    Flag(bool),
    /// A command line for the shell, or a program and its arguments.
    Command(RunEntry),
    /// A command with its intervals.
    Table(HealthcheckTable),
}

/// A health check with its intervals. Durations are such as `30s` or `1m30s`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct HealthcheckTable {
    /// The command: a string for the shell, or an array of a program and its arguments.
    pub run: Spanned<RunEntry>,
    /// The time between two checks. Default: `30s`.
    pub interval: Option<Spanned<String>>,
    /// The time after which a check has failed. Default: `30s`.
    pub timeout: Option<Spanned<String>>,
    /// The time that the container needs to start. Default: `0s`.
    pub start_period: Option<Spanned<String>>,
    /// The number of failures in a row after which the container is unhealthy. Default: 3.
    #[schemars(with = "Option<u32>")]
    pub retries: Option<Spanned<i64>>,
}

tables!(HealthcheckTable);

by_type!(PackagesEntry, "a string, an array or a table", {
    text: PackagesEntry::File,
    list: PackagesEntry::List,
    table: PackagesEntry::Table,
});
by_type!(PackageValue, "a string, a boolean or an array", {
    text: PackageValue::Text,
    flag: PackageValue::Flag,
    list: PackageValue::List,
});
by_type!(FilesEntry, "an array or a table", { list: FilesEntry::List, table: FilesEntry::Table });
by_type!(FileValue, "a string or `false`", { text: FileValue::Path, flag: FileValue::Flag });
by_type!(PortEntry, "an integer or a string", { text: PortEntry::Text, number: PortEntry::Number });
by_type!(ExposeEntry, "an integer, a string or an array", {
    text: |text| ExposeEntry::One(PortEntry::Text(text)),
    number: |number| ExposeEntry::One(PortEntry::Number(number)),
    list: ExposeEntry::Many,
});
by_type!(HealthcheckEntry, "a string, an array, a table or `false`", {
    text: |text| HealthcheckEntry::Command(RunEntry::Shell(text)),
    flag: HealthcheckEntry::Flag,
    list: |words| HealthcheckEntry::Command(RunEntry::Exec(words)),
    table: HealthcheckEntry::Table,
});
