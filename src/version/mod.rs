//! The version constant that tags follow, read from where it lives.
//!
//! A version lives at a key of a TOML or JSON file, in one assignment of a Python, Rust or
//! text file, or alone in a file of its own. It is read, never guessed: no match and more
//! than one are errors.

mod read;

pub use read::{VersionError, read};

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

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
}

impl Version {
    /// The version as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
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
        let number =
            text.trim_start_matches(|letter: char| letter.is_ascii_alphabetic() || letter == '-');
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
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_version_are_versions() {
        for text in
            ["v0.2.2", "0.13.0", "1.4.0rc1", "1.0.0-rc.1", "2026.11", "v1.2.dev3", "release-1.2"]
        {
            assert!(text.parse::<Version>().is_ok(), "{text}");
        }
        for text in ["", "latest", "v", "1.0.0+cu128", "1.0 .0", "v1.0\n", "{{version}}"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_custom_version_is_any_tag() {
        assert!(Version::custom("my-test").is_ok());
        assert!(Version::custom("my test").is_err());
    }
}
