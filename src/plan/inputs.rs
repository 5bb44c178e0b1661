//! The inputs of an image: its fingerprint, and a listing that explains changes.
//!
//! [`Inputs`] are stored in a label of the image. So a later run can compare a published image with the current matrix
//! and list the [`Change`]s.

use std::collections::HashMap;
use std::slice::from_ref;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Target;
use super::changes::{Change, changes};
use super::context_inputs::{ContextInputs, Digests, address};
use super::fingerprint::{Fingerprint, SCHEME, identity};
use super::graph::levels_of;
use super::listing::{Listing, listing};
use crate::image::Digest;
use crate::render::{BuildContext, ContextFile};

/// The maximum size of a label that is parsed, in bytes. Written labels are much shorter.
const MAX_LABEL: usize = 256 << 10;

/// The inputs of an image: its identity, and a listing that explains changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    scheme: String,
    identity: Fingerprint,
    #[serde(flatten)]
    pub(super) listing: Listing,
}

impl Inputs {
    /// The label of images with their inputs.
    pub const LABEL: &'static str = "dev.basegen.inputs";

    /// Returns the inputs of `target`. Only those of the `secrets` count that its build steps mount.
    #[must_use]
    pub fn new(target: &Target<'_>, context: &BuildContext, secrets: &[&str]) -> Self {
        Self::for_targets(from_ref(target), from_ref(context), secrets).remove(0)
    }

    /// Returns the inputs of all `targets`. Files shared by several contexts are digested once. The fingerprint of an
    /// image covers those of the images of the matrix that it is based on, which must be among `targets`.
    #[must_use]
    pub fn for_targets(
        targets: &[Target<'_>],
        contexts: &[BuildContext],
        secrets: &[&str],
    ) -> Vec<Self> {
        let all = contexts.iter().flat_map(BuildContext::all);
        let files = all.flat_map(BuildContext::all_files);
        let distinct: HashMap<_, &ContextFile> =
            files.map(|(_, file)| (address(file), file)).collect();
        let digests: Digests = distinct
            .into_par_iter()
            .map(|(address, file)| (address, Digest::of(&file.content)))
            .collect();
        let inputs = |at: usize, fingerprints: &HashMap<&str, Option<Fingerprint>>| {
            let (target, context) = (&targets[at], &contexts[at]);
            let files = ContextInputs::new(context, &digests);
            let mut mounted = context.secrets();
            mounted.retain(|id| secrets.contains(&id.as_str()));
            let parent = |id: &str| fingerprints.get(id).cloned().flatten();
            let identity = identity(target, &files, &mounted, parent);
            let mut listing = listing(target, &files, mounted);
            let parents = context.parents.iter();
            listing.parents = parents
                .map(|named| (named.id.clone(), parent(&named.id).map(|known| known.listed())))
                .collect();
            Self { scheme: SCHEME.to_owned(), identity, listing }
        };
        let mut all: Vec<Option<Self>> = vec![None; targets.len()];
        let mut fingerprints = HashMap::new();
        for level in levels_of(targets, contexts) {
            let level: Vec<(usize, Self)> =
                level.into_par_iter().map(|at| (at, inputs(at, &fingerprints))).collect();
            for (at, inputs) in level {
                fingerprints.insert(targets[at].id(), inputs.fingerprint());
                all[at] = Some(inputs);
            }
        }
        // Images that are based on each other have no fingerprint.
        let all = all.into_iter().enumerate();
        all.map(|(at, known)| known.unwrap_or_else(|| inputs(at, &fingerprints))).collect()
    }

    /// Returns the fingerprint of the image, or `None` if an upstream image is not pinned, or one of an image that it is
    /// based on, because its content is then unknown.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        let mut inputs = self.listing.upstreams.values().chain(self.listing.parents.values());
        let is_pinned = inputs.all(Option::is_some);
        is_pinned.then(|| self.identity.clone())
    }

    /// Returns the changes since `before`, most specific first. Empty if the images are interchangeable.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        if self.identity == before.identity {
            return Vec::new();
        }
        changes(&before.listing, &self.listing)
    }

    /// Returns the text of the label, JSON of a few KB.
    #[must_use]
    pub fn label(&self) -> String {
        serde_json::to_string(self).expect("inputs are JSON")
    }

    /// Parses a label. Returns `None` if it is invalid or of another scheme.
    #[must_use]
    pub fn from_label(text: &str) -> Option<Self> {
        if text.len() > MAX_LABEL {
            return None;
        }
        let inputs: Self = serde_json::from_str(text).ok()?;
        (inputs.scheme == SCHEME).then_some(inputs)
    }
}

#[cfg(test)]
mod tests;
