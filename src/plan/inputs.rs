//! What made an image, as a listing that is small enough to be a label of it: an image that
//! was published long ago can still say why today's differs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Target;
use super::changes::{Change, changes};
use super::fingerprint::{Fingerprint, SCHEME, identity};
use crate::image::{Compression, Digest};
use crate::render::{BuildContext, ContextFile};

/// The longest label that is read back, in bytes; those that are written are far shorter.
const MAX_LABEL: usize = 256 << 10;

/// How many files are listed; of more, folders are.
const MAX_FILES: usize = 48;

/// How many variables are listed; of more, none is.
const MAX_VARIABLES: usize = 64;

/// The longest value that is listed, in bytes; of a longer one, its digest is.
const MAX_VALUE: usize = 64;

/// How many hexadecimal digits tell one content from another in a listing.
const DIGITS: usize = 16;

/// What follows the digits of a file that can be executed.
pub(super) const EXECUTABLE: &str = "+x";

/// What made an image: its identity, and what explains how it differs from another's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    scheme: String,
    identity: Fingerprint,
    #[serde(flatten)]
    pub(super) listing: Listing,
}

/// The inputs one by one. Contents are told by the first digits of their digests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Listing {
    pub(super) dockerfile: String,
    /// The templates' folder, in which files and templates are.
    pub(super) folder: String,
    pub(super) files: BTreeMap<String, String>,
    pub(super) templates: BTreeMap<String, String>,
    /// Upstream images by their full names; one without a digest is not pinned.
    pub(super) upstreams: BTreeMap<String, Option<String>>,
    /// The variables with the axes that bring them, unless there are too many.
    pub(super) variables: Option<BTreeMap<String, Variable>>,
    pub(super) secrets: BTreeSet<String>,
    pub(super) platforms: BTreeSet<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) compression: String,
}

/// A variable's value and the axes that bring it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Variable(pub(super) String, pub(super) Vec<String>);

impl Variable {
    /// The value, unless it is so long that its digest stands for it.
    pub(super) fn value(&self) -> Option<&str> {
        // No value holds this sign: see `matrix::safe`.
        (!self.0.starts_with('#')).then_some(self.0.as_str())
    }
}

impl Inputs {
    /// The label that an image has them under.
    pub const LABEL: &'static str = "dev.basegen.inputs";

    /// What makes the image of `target`. Of `secrets`, the ids of those that there are, the
    /// ones that its steps mount count.
    #[must_use]
    pub fn of(target: &Target<'_>, context: &BuildContext, secrets: &[&str]) -> Self {
        let contents: Vec<Digest> =
            context.files.iter().map(|file| Digest::of(&file.content)).collect();
        Self::with_contents(target, context, secrets, &contents)
    }

    /// What makes the images of `targets`, each with its context: files that several of them
    /// have are digested once.
    #[must_use]
    pub fn of_all(
        targets: &[Target<'_>],
        contexts: &[BuildContext],
        secrets: &[&str],
    ) -> Vec<Self> {
        let files = || contexts.iter().flat_map(|context| &context.files);
        let distinct: HashMap<_, &ContextFile> =
            files().map(|file| (address(file), file)).collect();
        let distinct: Vec<_> = distinct.into_iter().collect();
        let digests: HashMap<_, Digest> = distinct
            .into_par_iter()
            .map(|(address, file)| (address, Digest::of(&file.content)))
            .collect();
        let inputs = targets.par_iter().zip(contexts).map(|(target, context)| {
            let contents: Vec<Digest> =
                context.files.iter().map(|file| digests[&address(file)].clone()).collect();
            Self::with_contents(target, context, secrets, &contents)
        });
        inputs.collect()
    }

    fn with_contents(
        target: &Target<'_>,
        context: &BuildContext,
        secrets: &[&str],
        contents: &[Digest],
    ) -> Self {
        let mut mounted = context.secrets();
        mounted.retain(|id| secrets.contains(&id.as_str()));
        let identity = identity(target, context, contents, &mounted);
        let listing = listing(target, context, contents, mounted);
        Self { scheme: SCHEME.to_owned(), identity, listing }
    }

    /// The fingerprint of the image; `None` while an upstream image is not pinned, since it
    /// then may be made of anything.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        let is_pinned = self.listing.upstreams.values().all(Option::is_some);
        is_pinned.then(|| self.identity.clone())
    }

    /// Why an image of these is not one of `before`: the most telling reasons, the most
    /// specific first. Nothing where the two are interchangeable.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        match self.identity == before.identity {
            true => Vec::new(),
            false => changes(&before.listing, &self.listing),
        }
    }

    /// Them as text, for the label: JSON of a few KB.
    #[must_use]
    pub fn label(&self) -> String {
        serde_json::to_string(self).expect("inputs are JSON")
    }

    /// Reads a label back; `None` where it is of another scheme or no such label at all.
    #[must_use]
    pub fn from_label(text: &str) -> Option<Self> {
        if text.len() > MAX_LABEL {
            return None;
        }
        let inputs: Self = serde_json::from_str(text).ok()?;
        (inputs.scheme == SCHEME).then_some(inputs)
    }
}

/// Where a file's bytes are in memory: files that share them are at one address.
fn address(file: &ContextFile) -> (usize, usize) {
    (file.content.as_ptr() as usize, file.content.len())
}

fn listing(
    target: &Target<'_>,
    context: &BuildContext,
    contents: &[Digest],
    secrets: BTreeSet<String>,
) -> Listing {
    let files = context.files.iter().zip(contents).map(|(file, content)| {
        let executable = if file.executable { EXECUTABLE } else { "" };
        (file.path.clone(), format!("{}{executable}", short(content)))
    });
    let templates = context.origin.templates.iter();
    let labels = target.labels.iter();
    Listing {
        dockerfile: short(&Digest::of(context.dockerfile.as_bytes())),
        folder: context.origin.folder.clone(),
        files: condensed(files.collect()),
        templates: templates.map(|(path, digest)| (path.clone(), short(digest))).collect(),
        upstreams: upstreams(context),
        variables: variables(context),
        secrets,
        platforms: target.platforms.iter().map(ToString::to_string).collect(),
        labels: labels.map(|(name, text)| (name.clone(), short_of(text))).collect(),
        compression: compression(target.compression),
    }
}

fn upstreams(context: &BuildContext) -> BTreeMap<String, Option<String>> {
    let mut upstreams: BTreeMap<String, Option<String>> = BTreeMap::new();
    for upstream in &context.upstreams {
        let digest = upstream.digest.as_ref().map(short);
        upstreams
            .entry(upstream.name.clone())
            // A name that is pinned in two ways is both of them, or not pinned at all.
            .and_modify(|known| {
                let both = known.take().zip(digest.clone());
                *known = both.map(|(known, digest)| format!("{known}+{digest}"));
            })
            .or_insert(digest);
    }
    upstreams
}

fn variables(context: &BuildContext) -> Option<BTreeMap<String, Variable>> {
    let variables = &context.origin.variables;
    let listed = |text: &str| match text.len() > MAX_VALUE {
        true => format!("#{}", short_of(text)),
        false => text.to_owned(),
    };
    (variables.len() <= MAX_VARIABLES).then(|| {
        let variables = variables.iter();
        let variables = variables.map(|(name, found)| {
            (name.clone(), Variable(listed(&found.value), found.axes.clone()))
        });
        variables.collect()
    })
}

/// `zstd`, or `zstd level 3`.
fn compression(compression: Compression) -> String {
    let algorithm = serde_json::to_value(compression.algorithm).expect("a word is JSON");
    let algorithm = algorithm.as_str().unwrap_or_default();
    match compression.level {
        Some(level) => format!("{algorithm} level {level}"),
        None => algorithm.to_owned(),
    }
}

/// `files`, or where there are too many the folders that they are in, as deep as possible.
fn condensed(files: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let deepest = files.keys().map(|path| path.matches('/').count()).max().unwrap_or(0);
    let mut listed = files;
    for depth in (0..=deepest).rev() {
        if listed.len() <= MAX_FILES {
            break;
        }
        let mut folders: BTreeMap<String, String> = BTreeMap::new();
        for (path, content) in listed {
            if let Some(folder) = folder(&path, depth) {
                let within = folders.entry(folder.to_owned()).or_default();
                *within = short_of(&format!("{within} {path} {content}"));
            } else {
                folders.insert(path, content);
            }
        }
        listed = folders;
    }
    listed
}

/// The first `depth` folders that `path` is in, if it is in so many.
fn folder(path: &str, depth: usize) -> Option<&str> {
    if depth == 0 {
        return Some("");
    }
    path.match_indices('/').nth(depth - 1).map(|(at, _)| &path[..=at])
}

fn short(digest: &Digest) -> String {
    let mut digits = digest.hex();
    digits.truncate(DIGITS);
    digits
}

fn short_of(text: &str) -> String {
    short(&Digest::of(text.as_bytes()))
}

#[cfg(test)]
mod tests;
