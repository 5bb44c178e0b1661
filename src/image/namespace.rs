use std::fmt;
use std::str::FromStr;

use super::reference::looks_like_registry;
use super::{ReferenceError, Repository};

/// A registry, or a path in one, that contains repositories: `ghcr.io`, `ghcr.io/acme/images`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Namespace {
    registry: String,
    path: Option<String>,
}

impl Namespace {
    /// Returns the host of the registry, with its port if given.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the repository with this path below the namespace.
    pub fn repository(&self, path: &str) -> Result<Repository, ReferenceError> {
        match &self.path {
            Some(parent) => Repository::new(&self.registry, &format!("{parent}/{path}")),
            None => Repository::new(&self.registry, path),
        }
    }
}

impl FromStr for Namespace {
    type Err = ReferenceError;

    /// Parses `registry[/path]`. A registry before a path contains a dot or a colon, or is `localhost`, as in Docker.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        super::refuse_scheme(text)?;
        let Some((registry, path)) = text.split_once('/') else {
            let registry = Repository::new(text, "any")?.registry().to_owned();
            return Ok(Self { registry, path: None });
        };
        if path.is_empty() || !looks_like_registry(registry) {
            return Err(ReferenceError::Namespace(text.to_owned()));
        }
        let namespace = Repository::new(registry, path)?;
        let (registry, path) = (namespace.registry().to_owned(), namespace.path().to_owned());
        Ok(Self { registry, path: Some(path) })
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.registry)?;
        match &self.path {
            Some(path) => write!(formatter, "/{path}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(namespace: &str) -> Result<String, ReferenceError> {
        Ok(namespace.parse::<Namespace>()?.repository("a/b")?.canonical())
    }

    #[test]
    fn repositories_are_below_the_path() {
        for (namespace, expected) in [
            ("ghcr.io", "ghcr.io/a/b"),
            ("index.docker.io", "docker.io/a/b"),
            ("index.docker.io/acme", "docker.io/acme/a/b"),
            ("localhost:5000/acme/images", "localhost:5000/acme/images/a/b"),
        ] {
            assert_eq!(repository(namespace).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let refused = [
            "acme/images",
            "ghcr.io/",
            "ghcr.io/Acme",
            "ghcr.io/acme/",
            "a b",
            "https://ghcr.io/acme",
        ];
        let reasons = refused.map(|text| repository(text).expect_err(text).to_string());
        insta::assert_snapshot!(reasons.join("\n"));
    }
}
