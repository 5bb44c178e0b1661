use crate::image::{Reference, Repository};

/// The tags of an image in one of its repositories.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a>(&'a [Reference]);

impl<'a> Place<'a> {
    /// Wraps the version tag and the aliases of an image in one repository.
    #[must_use]
    pub fn new(references: &'a [Reference]) -> Self {
        Self(references)
    }

    /// Returns the tag of the version.
    #[must_use]
    pub fn version(self) -> &'a Reference {
        &self.0[0]
    }

    /// Returns the version tag as a list, like the aliases.
    pub(super) fn versions(self) -> &'a [Reference] {
        &self.0[..1]
    }

    pub(super) fn aliases(self) -> &'a [Reference] {
        &self.0[1..]
    }

    pub(super) fn repository(self) -> &'a Repository {
        &self.version().repository
    }

    pub(super) fn registry(self) -> &'a str {
        self.repository().registry()
    }
}
