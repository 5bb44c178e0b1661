use std::collections::HashMap;

use crate::image::{Digest, Platform};
use crate::render::{BuildContext, ContextFile};

/// A context with the digests of its files.
pub(super) struct ContextInputs<'a> {
    pub(super) context: &'a BuildContext,
    files: Vec<(Option<&'a str>, &'a ContextFile, &'a Digest)>,
    /// The contexts of platforms that differ.
    pub(super) platforms: Vec<(&'a Platform, Self)>,
}

/// The digests of contents, by [`address`].
pub(super) type Digests = HashMap<(usize, usize), Digest>;

impl<'a> ContextInputs<'a> {
    pub(super) fn new(context: &'a BuildContext, digests: &'a Digests) -> Self {
        let files = context.all_files();
        let files = files.map(|(name, file)| (name, file, &digests[&address(file)]));
        let platforms = context.platforms.iter();
        let platforms = platforms.map(|(platform, other)| (platform, Self::new(other, digests)));
        Self { context, files: files.collect(), platforms: platforms.collect() }
    }

    /// Returns the files of the context with this name, and their digests. `None` is the main context.
    pub(super) fn files_of<'s>(
        &'s self,
        name: Option<&'s str>,
    ) -> impl Iterator<Item = (&'a ContextFile, &'a Digest)> + 's {
        let files = self.files.iter().filter(move |(context, ..)| *context == name);
        files.map(|(_, file, content)| (*file, *content))
    }
}

/// Returns the memory address and size of the content of a file. Shared content has the same address.
pub(super) fn address(file: &ContextFile) -> (usize, usize) {
    (file.content.as_ptr() as usize, file.content.len())
}
