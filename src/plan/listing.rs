//! A short listing of the inputs of an image, which explains changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::Target;
use super::context_inputs::ContextInputs;
use crate::image::{Compression, Digest};
use crate::render::BuildContext;

/// The maximum number of listed files. If there are more, folders are listed.
const MAX_FILES: usize = 48;

/// The maximum number of listed variables. If there are more, none is listed.
const MAX_VARIABLES: usize = 64;

/// The maximum size of a listed value, in bytes. For a longer one, the digest is listed.
const MAX_VALUE: usize = 64;

/// The number of hexadecimal digits of digests in a listing.
const DIGITS: usize = 16;

/// The suffix of the digits of an executable file.
pub(super) const EXECUTABLE: &str = "+x";

/// The single inputs. Contents are the first digits of their digests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Listing {
    pub(super) dockerfile: String,
    /// The folder of the templates, which contains the files and templates.
    pub(super) folder: String,
    /// The folder of the files, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) context: Option<String>,
    pub(super) files: BTreeMap<String, String>,
    pub(super) templates: BTreeMap<String, String>,
    /// The digests of upstream images by full name; `None` if an image is not pinned.
    pub(super) upstreams: BTreeMap<String, Option<String>>,
    /// The fingerprints of the images of the matrix that it is based on, by the ids of their variants; `None` without one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) parents: BTreeMap<String, Option<String>>,
    /// The variables; `None` if there are too many.
    pub(super) variables: Option<BTreeMap<String, Variable>>,
    pub(super) secrets: BTreeSet<String>,
    pub(super) platforms: BTreeSet<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) compression: String,
    /// The build arguments.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) arguments: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<String>,
    /// The named contexts that are folders.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) contexts: BTreeMap<String, String>,
}

/// The value of a variable and the axes on which it depends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Variable(pub(super) String, pub(super) Vec<String>);

impl Variable {
    /// Returns the value, or `None` if only its digest is listed.
    pub(super) fn value(&self) -> Option<&str> {
        // Values never contain this character: see `matrix::safe`.
        (!self.0.starts_with('#')).then_some(self.0.as_str())
    }
}

/// Lists the inputs of `target`.
pub(super) fn listing(
    target: &Target<'_>,
    inputs: &ContextInputs<'_>,
    secrets: BTreeSet<String>,
) -> Listing {
    let context = inputs.context;
    let files_of = |name: Option<&str>| -> BTreeMap<String, String> {
        let listed = inputs.files_of(name).map(|(file, content)| {
            let executable = if file.executable { EXECUTABLE } else { "" };
            (file.path.clone(), format!("{}{executable}", short(content)))
        });
        listed.collect()
    };
    let contexts = context.folders().map(|(name, _)| {
        let files: String =
            files_of(Some(name)).iter().map(|(path, file)| format!("{path}\0{file}\0")).collect();
        (name.to_owned(), short_of(&files))
    });
    let arguments = context.options.arguments.iter();
    let templates = context.origin.templates.iter();
    let labels = target.labels.iter();
    Listing {
        dockerfile: short_of(&dockerfiles(context)),
        folder: context.origin.folder.clone(),
        context: context.origin.context.clone(),
        files: condensed(files_of(None)),
        templates: templates.map(|(path, digest)| (path.clone(), short(digest))).collect(),
        upstreams: upstreams(context),
        parents: BTreeMap::new(),
        variables: variables(context),
        secrets,
        platforms: target.platforms.iter().map(ToString::to_string).collect(),
        labels: labels.map(|(name, text)| (name.clone(), short_of(text))).collect(),
        compression: compression(target.compression),
        arguments: arguments.map(|(name, value)| (name.clone(), listed(value))).collect(),
        target: context.options.target.clone(),
        contexts: contexts.collect(),
    }
}

/// Returns the Dockerfiles of all platforms, and the files of those that differ.
fn dockerfiles(context: &BuildContext) -> String {
    let mut text = context.dockerfile.clone();
    for (platform, other) in &context.platforms {
        let _ = write!(text, "\0{platform}\0{}", other.dockerfile);
        for (_, file) in other.all_files() {
            let _ = write!(text, "\0{}\0{}", file.path, Digest::of(&file.content));
        }
    }
    text
}

fn upstreams(context: &BuildContext) -> BTreeMap<String, Option<String>> {
    let mut upstreams: BTreeMap<String, Option<String>> = BTreeMap::new();
    for upstream in &context.upstreams {
        let digest = upstream.digest.as_ref().map(short);
        upstreams
            .entry(upstream.name.clone())
            // If the same name has two digests, both are listed.
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
    if variables.len() > MAX_VARIABLES {
        return None;
    }
    let variables = variables
        .iter()
        .map(|(name, found)| (name.clone(), Variable(listed(&found.value), found.axes.clone())));
    Some(variables.collect())
}

/// Returns a value, or for a long one `#` and its digest.
fn listed(text: &str) -> String {
    if text.len() > MAX_VALUE { format!("#{}", short_of(text)) } else { text.to_owned() }
}

/// `zstd`, or `zstd level 3 for all layers`.
fn compression(compression: Compression) -> String {
    let algorithm = serde_json::to_value(compression.algorithm).expect("a word is JSON");
    let algorithm = algorithm.as_str().unwrap_or_default();
    let level = compression.level.map(|level| format!(" level {level}")).unwrap_or_default();
    let forced = if compression.force { " for all layers" } else { "" };
    format!("{algorithm}{level}{forced}")
}

/// Returns `files`, or their folders if there are too many files.
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

/// Returns the first `depth` folders of `path`, if it has as many.
fn folder(path: &str, depth: usize) -> Option<&str> {
    if depth == 0 {
        return Some("");
    }
    path.match_indices('/').nth(depth - 1).map(|(at, _)| &path[..=at])
}

pub(super) fn short(digest: &Digest) -> String {
    let mut digits = digest.hex();
    digits.truncate(DIGITS);
    digits
}

fn short_of(text: &str) -> String {
    short(&Digest::of(text.as_bytes()))
}
