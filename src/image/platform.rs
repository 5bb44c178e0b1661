use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// An operating system and a processor architecture, written `os/architecture[/variant]`.
///
/// The names are those of Go, as in OCI image indexes: `linux/amd64`, `linux/arm64`, `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// Returns the architecture, such as `amd64`.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Returns the variant of the architecture, such as `v7`.
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// Joins platforms for messages: `linux/amd64, linux/arm64`.
    #[must_use]
    pub fn list(platforms: &[Self]) -> String {
        platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Returns the operating system, such as `linux`.
    #[must_use]
    pub fn os(&self) -> &str {
        &self.os
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform: expected `os/architecture`, such as `linux/amd64`")]
pub struct PlatformError(String);

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_word = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(is_word) {
            return Err(PlatformError(text.to_owned()));
        }
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(PlatformError(text.to_owned())),
        };
        // `uname -m` prints other names than registries use.
        let architecture = match architecture {
            "aarch64" => "arm64",
            "x86_64" => "amd64",
            other => other,
        };
        // The default variants, as BuildKit writes them into an index.
        let variant = match (architecture, variant) {
            ("arm64", Some("v8")) | ("amd64", Some("v1")) => None,
            ("arm", None) => Some("v7"),
            (_, variant) => variant,
        };
        Ok(Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(formatter, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_have_one_spelling() {
        for (spellings, expected) in [
            (["linux/arm64", "linux/arm64/v8", "linux/aarch64"], "linux/arm64"),
            (["linux/amd64", "linux/amd64/v1", "linux/x86_64"], "linux/amd64"),
            (["linux/arm", "linux/arm/v7", "linux/arm/v7"], "linux/arm/v7"),
        ] {
            let parsed = spellings.map(|text| text.parse::<Platform>().expect(text).to_string());
            assert_eq!(parsed, [expected; 3]);
        }
    }

    #[test]
    fn invalid_platforms_are_refused() {
        for text in ["", "linux", "linux/", "Linux/amd64", "linux/amd64/v2/x", "linux amd64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
