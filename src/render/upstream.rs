use std::collections::BTreeMap;

use super::arguments::UNKNOWN;
use crate::image::{Digest, Reference, Repository};

/// The digests of upstream images: of their indexes or manifests.
pub type Pins = BTreeMap<Reference, Digest>;

/// An external input of a Dockerfile: an image that is not one of its stages, or the URL of an `ADD` without a
/// checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The full name, such as `docker.io/library/python:3.11-slim-bookworm`, or the name as written if it
    /// contains an argument that only the engine knows.
    pub name: String,
    /// The tagged image; `None` for a digest without a tag, or a name that only the engine knows.
    pub reference: Option<Reference>,
    /// The digest from a pin or from the template.
    pub digest: Option<Digest>,
}

impl Upstream {
    /// Creates the image of a `word` in a Dockerfile, with its arguments `expanded`.
    pub(super) fn new(word: &str, expanded: &str) -> Self {
        let as_written = Self { name: word.to_owned(), reference: None, digest: None };
        if expanded.contains(UNKNOWN) {
            return as_written;
        }
        Self::image(expanded).unwrap_or(as_written)
    }

    /// Parses the name of an image with its tag, its digest or both. Returns `None` for a name with a scheme, and for other
    /// texts that are no name.
    #[must_use]
    pub fn exact_image(text: &str) -> Option<Self> {
        let has_either = text.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
        Self::image(text).filter(|_| has_either)
    }

    /// Parses the name of an image, such as `python:3.11` or `ghcr.io/acme/base@sha256:…`.
    #[must_use]
    pub fn image(text: &str) -> Option<Self> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse::<Digest>().ok()?)),
            None => (text, None),
        };
        let has_tag = name.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/'));
        let tag = if has_tag { "" } else { ":latest" };
        let mut reference: Reference = format!("{name}{tag}").parse().ok()?;
        reference.repository = official(reference.repository)?;
        if let (false, Some(known)) = (has_tag, &digest) {
            let name = format!("{}@{known}", reference.repository.canonical());
            return Some(Self { name, reference: None, digest });
        }
        Some(Self { name: reference.canonical(), reference: Some(reference), digest })
    }

    /// Sets the digest to that of `pins`, if it has none, and returns it.
    pub(super) fn pin(&mut self, pins: &Pins) -> Option<Digest> {
        let digest = self.reference.as_ref().and_then(|name| pins.get(name));
        let digest = digest.filter(|_| self.digest.is_none()).cloned()?;
        self.digest = Some(digest.clone());
        Some(digest)
    }

    /// Returns the tagged image of a name such as `python:3.11` in a Dockerfile, if it has one.
    #[must_use]
    pub fn reference(name: &str) -> Option<Reference> {
        Self::image(name)?.reference
    }

    /// Returns the full name with the digest, if it is known.
    #[must_use]
    pub fn pinned_name(&self) -> String {
        match &self.digest {
            Some(digest) if !self.name.contains('@') => format!("{}@{digest}", self.name),
            _ => self.name.clone(),
        }
    }

    /// Returns the repository; `None` for a URL, and for a name that only the engine knows.
    #[must_use]
    pub fn repository(&self) -> Option<Repository> {
        match &self.reference {
            Some(reference) => Some(reference.repository.clone()),
            None => self.name.split_once('@')?.0.parse().ok(),
        }
    }

    /// Returns true for a URL, false for an image.
    #[must_use]
    pub fn is_url(&self) -> bool {
        is_remote(&self.name)
    }

    /// Returns the short name, such as `python:3.11-slim-bookworm`.
    #[must_use]
    pub fn familiar(&self) -> &str {
        familiar(&self.name)
    }
}

/// Removes the default registry and namespace of Docker Hub from the full name of an image.
#[must_use]
pub fn familiar(name: &str) -> &str {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// Adds the namespace `library/` to an official image of Docker Hub.
fn official(repository: Repository) -> Option<Repository> {
    if repository.registry() != "docker.io" || repository.path().contains('/') {
        return Some(repository);
    }
    Repository::new(repository.registry(), &format!("library/{}", repository.path())).ok()
}

/// Returns true if a source of an `ADD` is not in the context.
pub(super) fn is_remote(source: &str) -> bool {
    source.contains("://") || source.starts_with("git@")
}
