//! Reads, compares and edits the version that image tags follow.
//!
//! A [`VersionPlace`](crate::matrix::VersionPlace) is a key of a TOML or JSON file, a constant in source code, the match of a
//! regular expression, or a whole file. [`locate`] finds its only occurrence; no occurrence and several ones are errors. [`bump`]
//! and [`target`] return the next version. [`edits`] returns the changes of all places and of lock files, each in its own
//! grammar (SemVer or PEP 440), and [`write()`] writes all of them or none.

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
pub use place::{VersionOccurrence, display_path, file_identity, locate};
pub use workspace::cargo_manifests;
pub use write::write;

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::files::Checkout;
use crate::matrix::VersionTable;
use number::{is_number, release_digits, split_prefix};

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
    /// The length of the prefix in bytes.
    prefix: usize,
}

/// Why a text is not a [`Version`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVersion {
    /// It is neither SemVer nor PEP 440.
    #[error("`{0}` is not a version: expected one such as `v0.13.0` or `1.4.0rc1`")]
    Grammar(String),
    /// It has build metadata or a local version, which a tag cannot contain.
    #[error("`{0}` cannot be part of a tag: a tag cannot contain `+`")]
    Local(String),
    /// It has an epoch, which a tag cannot contain.
    #[error("`{0}` cannot be part of a tag: a tag cannot contain the `!` of an epoch")]
    Epoch(String),
    /// The other grammar cannot express it.
    #[error("`{version}` has no equivalent in {grammar}: {reason}")]
    Counterpart { version: String, grammar: Grammar, reason: &'static str },
}

/// Reads the version at the first place of `table`. Paths are relative to the folder of `checkout`.
pub fn read(table: &VersionTable, checkout: &Checkout) -> Result<Version, VersionError> {
    Ok(locate(&table.first(), checkout)?.version)
}

impl Version {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text before the number, such as `v`.
    pub(crate) fn prefix(&self) -> &str {
        &self.text[..self.prefix]
    }

    /// The version without its prefix.
    pub(crate) fn written(&self) -> &str {
        &self.text[self.prefix..]
    }

    /// Parses the version for comparison. Fails for custom versions.
    pub fn number(&self) -> Result<Number, InvalidVersion> {
        Number::parse(self.written(), None)
    }

    /// Returns the first number of a final release, as written. Pre-releases and custom versions have none, because tags
    /// that follow releases do not follow them.
    #[must_use]
    pub fn major(&self) -> Option<&str> {
        self.release_number(0)
    }

    /// Returns the second number of a final release, as written.
    #[must_use]
    pub fn minor(&self) -> Option<&str> {
        self.release_number(1)
    }

    fn release_number(&self, index: usize) -> Option<&str> {
        let is_final = self.number().is_ok_and(|number| !number.is_prerelease());
        release_digits(self.written()).nth(index).filter(|digits| is_final && !digits.is_empty())
    }

    /// Returns true if `other` is higher. Custom versions cannot be compared.
    #[must_use]
    pub fn is_below(&self, other: &str) -> bool {
        let behind = other.strip_prefix(self.prefix());
        let behind = behind.and_then(|number| Number::parse(number, None).ok());
        // `other` may have a different prefix.
        let other = behind.or_else(|| other.parse::<Self>().ok()?.number().ok());
        self.number().is_ok_and(|own| other.is_some_and(|other| own < other))
    }

    /// The text of [`Version::any`].
    pub const ANY: &str = "0_any_version_0";

    /// Returns a version for plans whose own version does not matter or is unknown. No real version equals it.
    #[must_use]
    pub fn any() -> Self {
        Self { text: Self::ANY.to_owned(), prefix: 0 }
    }

    /// Replaces [`Version::any`] in the name of an image by a placeholder.
    #[must_use]
    pub fn show_any(name: &str) -> String {
        name.replace(Self::ANY, "{{version}}")
    }

    /// Returns true if this is [`Version::any`].
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.text == Self::ANY
    }

    /// Creates a version from a prefix and a number. In a text such as `base2-5`, the end of the prefix is ambiguous.
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

    /// Creates a version from any valid part of a tag, such as `my-test`, for `--version-tag`.
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

/// Versions with the same text are equal, even if their prefixes differ.
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
