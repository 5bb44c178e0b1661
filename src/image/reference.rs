use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Digest;

const DOCKER_HUB: &str = "docker.io";

/// The maximum length of a tag in the distribution specification.
const MAX_TAG: usize = 128;

/// The maximum length of a repository, including the registry.
const MAX_REPOSITORY: usize = 255;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// A URL instead of a name.
    #[error("`{0}` has `{1}` before the name; remove it")]
    Scheme(String, String),
    #[error("`{0}` is not a registry: expected `host` or `host:port`")]
    Registry(String),
    /// A path without a registry, or without repositories.
    #[error("`{0}` is not a path in a registry: expected `host/path`, such as `docker.io/acme`")]
    Namespace(String),
    #[error(
        "`{0}` is not a repository: expected parts of lower-case letters and digits, \
         joined by `.`, `_`, `__` or dashes, and separated by `/`"
    )]
    Repository(String),
    #[error("`{0}` is {1} characters long; registries accept {MAX_REPOSITORY}")]
    RepositoryLength(String, usize),
    #[error(
        "`{0}` is not a tag: expected letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`"
    )]
    Tag(String),
    #[error("the tag `{0}` is {1} characters long; registries accept {MAX_TAG}")]
    TagLength(String, usize),
    #[error("`{0}` has no tag")]
    NoTag(String),
}

/// A repository with its registry: the part of a reference before the tag.
///
/// `Display` writes the short form, without the host of Docker Hub:
/// `baseten/truss-server-base`, `ghcr.io/acme/base`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: String,
    path: String,
}

impl Repository {
    /// Checks both parts against the [distribution specification][spec].
    ///
    /// [spec]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
    pub fn new(registry: &str, path: &str) -> Result<Self, ReferenceError> {
        refuse_scheme(registry)?;
        let registry = match registry {
            "" | "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
            other => other,
        };
        if !is_registry(registry) {
            return Err(ReferenceError::Registry(registry.to_owned()));
        }
        if !path.split('/').all(is_path_component) {
            return Err(ReferenceError::Repository(path.to_owned()));
        }
        let length = registry.len() + 1 + path.len();
        if length > MAX_REPOSITORY {
            return Err(ReferenceError::RepositoryLength(format!("{registry}/{path}"), length));
        }
        Ok(Self { registry: registry.to_owned(), path: path.to_owned() })
    }

    /// Returns the host of the registry, with its port if given.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the repository without the registry.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the full form with the registry: `docker.io/library/python`.
    #[must_use]
    pub fn canonical(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    /// Parses `[registry/]path`. Like in Docker, the first part is a registry if it contains a dot or a colon, or is
    /// `localhost`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        refuse_scheme(text)?;
        match text.split_once('/') {
            Some((first, rest)) if looks_like_registry(first) => Self::new(first, rest),
            _ => Self::new(DOCKER_HUB, text),
        }
    }
}

/// Refuses a scheme such as `https://` before a name.
pub fn refuse_scheme(text: &str) -> Result<(), ReferenceError> {
    match text.split_once("://") {
        Some((scheme, _)) => Err(ReferenceError::Scheme(text.to_owned(), format!("{scheme}://"))),
        None => Ok(()),
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.registry != DOCKER_HUB {
            write!(formatter, "{}/", self.registry)?;
        }
        formatter.write_str(&self.path)
    }
}

/// A tag: up to 128 characters of `[A-Za-z0-9_.-]`, not beginning with `.` or `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_valid = text.bytes().next().is_some_and(is_word)
            && text.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-');
        if !is_valid {
            return Err(ReferenceError::Tag(text.to_owned()));
        }
        if text.len() > MAX_TAG {
            return Err(ReferenceError::TagLength(text.to_owned(), text.len()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The name of a tagged image: `repository:tag`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    pub repository: Repository,
    pub tag: Tag,
}

impl Reference {
    /// Returns the full form with the registry: `docker.io/library/python:3.11`.
    #[must_use]
    pub fn canonical(&self) -> String {
        format!("{}:{}", self.repository.canonical(), self.tag)
    }

    /// Groups references that follow each other by their repositories.
    pub fn by_repository(references: &[Self]) -> impl Iterator<Item = &[Self]> {
        references.chunk_by(|one, other| one.repository == other.repository)
    }

    /// Returns the reference by digest: `repository@sha256:…`.
    #[must_use]
    pub fn pinned(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.repository)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => {
                Ok(Self { repository: repository.parse()?, tag: tag.parse()? })
            }
            _ => Err(ReferenceError::NoTag(text.to_owned())),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.repository, self.tag)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

pub(super) fn looks_like_registry(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost"
}

fn is_registry(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        let port_is_valid = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return address.parse::<std::net::Ipv6Addr>().is_ok() && port_is_valid;
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// One part of a repository: runs of lower-case letters and digits, joined by one
/// `.`, one or two `_`, or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(is_word) || !bytes.last().is_some_and(is_word) {
        return false;
    }
    bytes
        .split(is_word)
        .all(|joint| matches!(joint, b"" | b"." | b"_" | b"__") || joint.iter().all(|b| *b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_docker_hub_is_omitted() {
        for text in [
            "baseten/truss-server-base:3.9-gpu-reload-v0.2.2",
            "ghcr.io/acme/base:1",
            "localhost/base:1",
            "127.0.0.1:5000/a/b:1",
            "[::1]:5000/a:1",
        ] {
            assert_eq!(text.parse::<Reference>().expect(text).to_string(), text);
        }
        let hub: Reference = "docker.io/baseten/base:1".parse().expect("a reference");
        assert_eq!(hub.to_string(), "baseten/base:1");
        assert_eq!(hub.canonical(), "docker.io/baseten/base:1");
    }

    #[test]
    fn tags_have_at_most_128_characters() {
        assert!("a".repeat(128).parse::<Tag>().is_ok());
        assert!(matches!("a".repeat(129).parse::<Tag>(), Err(ReferenceError::TagLength(_, 129))));
    }

    #[test]
    fn names_that_registries_reject_are_refused() {
        for path in ["Upper/case", "a//b", "/a", "a/", "a..b", "a___b", "-a", "a-", "a b", "ä"] {
            assert!(Repository::new("docker.io", path).is_err(), "{path}");
        }
        for tag in ["", "-a", ".a", "a b", "a/b", "a\n", "ä", "a:b"] {
            assert!(tag.parse::<Tag>().is_err(), "{tag}");
        }
        for registry in ["-a", "a..b", "host:port", "host:70000", "host/", "[::1", "a\n"] {
            assert!(Repository::new(registry, "a").is_err(), "{registry}");
        }
    }

    #[test]
    fn schemes_are_refused() {
        let text = "https://ghcr.io/acme/base";
        let expected = ReferenceError::Scheme(text.to_owned(), "https://".to_owned());
        assert_eq!(text.parse::<Repository>(), Err(expected));
        assert!(matches!(Repository::new("http://a", "b"), Err(ReferenceError::Scheme(..))));
    }

    #[test]
    fn separators_of_the_specification_are_accepted() {
        for path in ["a.b", "a_b", "a__b", "a---b", "a/b/c", "truss-server-base"] {
            assert!(Repository::new("docker.io", path).is_ok(), "{path}");
        }
    }
}
