//! Entries of `aliases`, and `[[alias]]`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::When;
use crate::matrix::by_type::by_type;
use crate::matrix::document::tables;
use crate::matrix::spanned::Spanned;

/// A tag, or a tag with the images and releases that it is for.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum AliasEntry {
    /// A tag of all images.
    Tag(String),
    /// A tag of some images, or of some releases.
    Table(AliasTable),
}

/// A tag with the images and releases that it is for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct AliasTable {
    /// The tag, such as `{{variant}}-latest`.
    pub tag: Spanned<String>,
    /// The conditions of the images, by axis, or an array of alternatives. Default: all images.
    pub when: Option<Spanned<When>>,
    /// The releases that move the tag. Default: `["release"]`.
    pub moved_by: Option<Spanned<Vec<AliasMover>>>,
}

/// A kind of release that moves an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AliasMover {
    /// A release of the whole matrix under its own version.
    Release,
    /// A release of the whole matrix under the version of `--version-tag`.
    VersionTag,
}

/// `[[alias]]`: an alias that a command in a container of the image prints.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct PrintedAliasTable {
    /// The command, for the shell of the image. It must print one tag, such as `3.13.1`. It runs like a check: as the user of
    /// the image, without a network. `{{NAME}}` is the value of the axis `NAME`.
    pub run: Spanned<String>,
    /// The tag, with `{{output}}` for the output of the command, such as `python-{{output}}`. Default: `{{output}}`.
    pub tag: Option<Spanned<String>>,
    /// The conditions of the images, by axis, or an array of alternatives. Default: all images.
    pub when: Option<Spanned<When>>,
    /// The releases that move the tag. Default: `["release"]`.
    pub moved_by: Option<Spanned<Vec<AliasMover>>>,
}

tables!(AliasTable, PrintedAliasTable);

by_type!(AliasEntry, "a string or a table with the key `tag`", {
    text: AliasEntry::Tag,
    table: AliasEntry::Table,
});
