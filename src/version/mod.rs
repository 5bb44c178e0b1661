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
pub use number::{Grammar, Number, Style};
pub use place::{Said, identity, named, say};
pub use workspace::cargo_manifests;
pub use write::write;

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::files::Checkout;
use crate::matrix::VersionTable;
use number::{is_number, split_prefix};

/// A version as tags write it: `v0.2.2`, `1.4.0rc1`.
///
/// It is a [SemVer] or [PEP 440] version after an optional prefix, such as `v`, and can be
/// part of a tag; build metadata and local versions (`+…`) cannot.
///
/// [SemVer]: https://semver.org
/// [PEP 440]: https://peps.python.org/pep-0440
#[derive(Clone)]
pub struct Version {
    text: String,
    /// How many bytes of it are the prefix.
    prefix: usize,
}

/// Why a text is not a [`Version`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVersion {
    /// It is neither SemVer nor PEP 440.
    #[error("`{0}` is not a version: expected one such as `v0.13.0` or `1.4.0rc1`")]
    Grammar(String),
    /// It holds what no tag can hold.
    #[error("`{0}` cannot be part of a tag: a tag has no `+`")]
    Local(String),
    /// It has an epoch, which no tag can hold.
    #[error("`{0}` cannot be part of a tag: a tag has no `!`, and so no epoch")]
    Epoch(String),
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

/// Reads the version at the first place of `table`, whose file is relative to the folder of
/// `checkout`.
pub fn read(table: &VersionTable, checkout: &Checkout) -> Result<Version, VersionError> {
    Ok(say(&table.first(), checkout)?.version)
}

impl Version {
    /// The version as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands before the number: `v`, or nothing.
    pub(crate) fn prefix(&self) -> &str {
        &self.text[..self.prefix]
    }

    /// The version without its prefix, as it is written.
    pub(crate) fn written(&self) -> &str {
        &self.text[self.prefix..]
    }

    /// The version as a number that can be compared; an error for a custom version.
    pub fn number(&self) -> Result<Number, InvalidVersion> {
        Number::parse(self.written(), None)
    }

    /// Whether `other`, which is written as this one is, is higher; `false` where one of them is no
    /// number.
    #[must_use]
    pub fn is_below(&self, other: &str) -> bool {
        let behind = other.strip_prefix(self.prefix());
        let behind = behind.and_then(|number| Number::parse(number, None).ok());
        // The prefix may have been another then.
        let other = behind.or_else(|| other.parse::<Self>().ok()?.number().ok());
        self.number().is_ok_and(|own| other.is_some_and(|other| own < other))
    }

    /// `number` behind a `prefix` that is known: what of a text is its prefix can be guessed, but
    /// not of `base2-5`.
    pub(crate) fn with_prefix(prefix: &str, number: &str) -> Result<Self, InvalidVersion> {
        let text = format!("{prefix}{number}");
        let refuse = match number {
            _ if !is_number(number) => InvalidVersion::Grammar,
            _ if number.contains('+') => InvalidVersion::Local,
            _ if number.contains('!') => InvalidVersion::Epoch,
            _ if text.parse::<crate::image::Tag>().is_err() => InvalidVersion::Grammar,
            _ => return Ok(Self { text, prefix: prefix.len() }),
        };
        Err(refuse(text))
    }

    /// Any word that a tag can hold. `--version-tag` takes these, since test builds are
    /// called `my-test` as often as `v0.2.2-test`.
    pub fn custom(text: &str) -> Result<Self, InvalidVersion> {
        match text.parse::<crate::image::Tag>() {
            Ok(_) => Ok(Self { text: text.to_owned(), prefix: split_prefix(text).0.len() }),
            Err(_) => Err(InvalidVersion::Grammar(text.to_owned())),
        }
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (prefix, number) = split_prefix(text);
        Self::with_prefix(prefix, number)
    }
}

/// The same text is the same version, whatever of it is the prefix.
impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
