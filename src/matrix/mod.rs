//! `matrix.toml`: the axes, variants and settings of a matrix of images.
//!
//! [`load`] reads a file in three steps. `schema` deserializes it, `validate` and `rules` check it, and `expand`
//! combines the axes to variants. The result is a [`Matrix`], from which [`Matrix::select`] chooses variants. Errors
//! show the line and column in the file; validation reports all errors at once.

mod absent;
mod by_type;
mod checker;
mod command;
mod complete;
mod condition;
mod content_settings;
mod contents;
mod contracts;
mod data;
mod diagnostic;
mod dockerfile;
mod document;
mod expand;
mod facts;
mod hosts;
mod keys;
mod limits;
mod load;
mod mirror;
mod model;
mod options;
mod pattern;
mod placeholders;
mod places;
mod platforms;
mod printed;
mod publish;
mod pull_request;
mod registries;
mod relation;
mod rules;
mod safe;
mod schema;
mod secrets;
mod select;
mod settings;
mod spanned;
mod tools;
mod validate;
mod value;
mod variable_files;
mod variables;
mod when;

pub use absent::Absent;
pub use command::CheckCommand;
pub use condition::{Condition, RangeError};
pub(crate) use condition::{compare_versions, is_version};
pub use content_settings::{CopiedFile, Healthcheck, PackageItem, PackageManager};
pub use contents::{Contents, PackageLayer, Text};
pub use contracts::{BASETEN_USER_ID, Contract, ContractSettings};
pub(crate) use data::{Content, Format, JsonEntries, Node, read_data};
pub use diagnostic::{Diagnostic, SourceError, SourceFile, nearest, nearest_spelling};
pub(crate) use diagnostic::{did_you_mean, quoted_list};
pub(crate) use dockerfile::refuse_argument;
pub use dockerfile::{ContextSource, Dockerignore};
pub(crate) use document::from_toml;
pub use expand::MAX_ROWS;
pub use facts::{Fact, FactSource, VariantSettings};
pub(crate) use keys::key_parts;
pub(crate) use load::data_files;
pub use load::{LoadError, load, load_in, load_with, parse};
pub use model::{
    Alias, Axis, AxisValue, BuildInputs, Check, Exclude, Image, Matrix, Variant, Waive,
};
pub use pattern::{Pattern, PatternError, is_image_call};
pub use placeholders::OUTPUT;
pub use places::{GeneratedTable, VERSION_GROUP, VersionPlace, VersionTable, version_pattern};
pub use printed::PrintedAliases;
pub use publish::{PublishTable, ReleaseSetForm};
pub use pull_request::PullRequestTable;
pub(crate) use pull_request::refuse_branch;
pub use registries::{AuthMethod, RegistrySettings};
pub(crate) use registries::{AuthMethodName, refuse_credential, registry_host};
pub use relation::{NoVariant, Relations, WantedValue};
pub(crate) use safe::{INSTRUCTIONS, is_invisible};
pub use schema::{SecretTable, json_schema};
pub(crate) use secrets::holds_secret;
pub use secrets::looks_like_secret;
pub use select::{Selected, Selection, SelectionError, Term};
pub use settings::Settings;
pub use spanned::Spanned;
pub use tools::Tool;
pub use value::Value;

#[cfg(test)]
mod tests;
