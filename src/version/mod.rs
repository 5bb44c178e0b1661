//! The version constant that tags follow, read from where it lives.
//!
//! A version lives at a key of a TOML or JSON file, in one assignment of a Python, Rust or
//! text file, where a regular expression says, or alone in a file of its own. It is read, never
//! guessed: no match and more than one are errors. Other places may say the same version in their
//! own way of writing; [`edits`] changes all of them, or none.

mod bump;
mod code;
mod edit;
mod error;
mod keyed;
mod locks;
mod number;
mod place;
mod workspace;
mod write;

pub use bump::{BumpError, Level, Prerelease, bump, target};
pub use edit::{FileEdit, agreed, diff, edits};
pub use error::VersionError;
pub use locks::lock_files;
pub use number::{Grammar, Number, Style, split_prefix};
pub use place::{Said, identity, named, say};
pub use write::write;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::matrix::VersionTable;

/// A version as tags write it: `v0.2.2`, `1.4.0rc1`.
///
/// It is a [SemVer] or [PEP 440] version after an optional prefix, such as `v`, and can be
/// part of a tag; build metadata and local versions (`+…`) cannot.
///
/// [SemVer]: https://semver.org
/// [PEP 440]: https://peps.python.org/pep-0440
#[derive(Clone, PartialEq, Eq)]
pub struct Version(String);

/// Why a text is not a [`Version`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVersion {
    /// It is neither SemVer nor PEP 440.
    #[error("`{0}` is not a version: expected one such as `v0.13.0` or `1.4.0rc1`")]
    Grammar(String),
    /// It holds what no tag can hold.
    #[error("`{0}` cannot be part of a tag: a tag has no `+`")]
    Local(String),
    /// The other way of writing versions has no words for it.
    #[error("`{version}` cannot be written as {grammar} asks: {reason}")]
    Counterpart {
        /// The version.
        version: String,
        /// The way of writing.
        grammar: Grammar,
        /// What is in the way.
        reason: &'static str,
    },
}

/// Reads the version that `table` tells of; its file is relative to `folder`.
pub fn read(table: &VersionTable, folder: &Path) -> Result<Version, VersionError> {
    Ok(say(&table.first(), folder)?.version)
}

impl Version {
    /// The version as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The version as a number that can be compared; an error for a custom version.
    pub fn number(&self) -> Result<Number, InvalidVersion> {
        Number::parse(split_prefix(&self.0).1, None)
    }

    /// Any word that a tag can hold. `--version-tag` takes these, since test builds are
    /// called `my-test` as often as `v0.2.2-test`.
    pub fn custom(text: &str) -> Result<Self, InvalidVersion> {
        match text.parse::<crate::image::Tag>() {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(InvalidVersion::Grammar(text.to_owned())),
        }
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (_, number) = split_prefix(text);
        let is_version =
            semver::Version::parse(number).is_ok() || pep440_rs::Version::from_str(number).is_ok();
        if !is_version {
            return Err(InvalidVersion::Grammar(text.to_owned()));
        }
        if text.contains('+') {
            return Err(InvalidVersion::Local(text.to_owned()));
        }
        Self::custom(text)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
