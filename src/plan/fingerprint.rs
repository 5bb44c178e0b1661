//! The fingerprint of an image: a digest of everything that it is built from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Target;
use super::context_inputs::ContextInputs;
use super::listing::short;
use crate::image::{Compression, Digest, DigestError, Platform, Tag};
use crate::render::{BuildContext, NamedContext};

/// The scheme of fingerprints. Its number increases whenever equal inputs get another fingerprint.
pub(super) const SCHEME: &str = "basegen fingerprint v1";

/// The number of digits of a fingerprint in a staging tag.
const STAGING_DIGITS: usize = 32;

/// The number of digits of the checks in a staging tag.
const CHECKS_DIGITS: usize = 12;

/// The digest of everything that an image is built from. Two images with the same fingerprint are
/// interchangeable, independent of their names and versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(Digest);

impl Fingerprint {
    /// The label of images with their fingerprint.
    pub const LABEL: &'static str = "dev.basegen.fingerprint";

    /// Returns the digits in a listing of inputs.
    pub(super) fn listed(&self) -> String {
        short(&self.0)
    }

    /// Returns the staging tag, under which an image is pushed before it gets a version tag: `basegen-` and the first
    /// 32 digits.
    #[must_use]
    pub fn staging_tag(&self) -> Tag {
        let tag = format!("basegen-{}", &self.0.hex()[..STAGING_DIGITS]);
        tag.parse().expect("hexadecimal digits are valid in a tag")
    }

    /// Returns the staging tag of an image that has passed the checks with the digest `checks`: the staging tag, `-`
    /// and the first 12 digits of `checks`.
    #[must_use]
    pub fn checked_tag(&self, checks: &Digest) -> Tag {
        let tag = format!("{}-{}", self.staging_tag(), &checks.hex()[..CHECKS_DIGITS]);
        tag.parse().expect("hexadecimal digits are valid in a tag")
    }

    /// Returns the staging tag and, with the digest of checks, that of an image that has passed them.
    pub fn staging_tags(&self, checks: Option<&Digest>) -> impl Iterator<Item = Tag> {
        std::iter::once(self.staging_tag()).chain(checks.map(|checks| self.checked_tag(checks)))
    }

    /// Returns the fingerprint of one platform of an image for several: the SHA-256 of the image's own, a space and the
    /// platform.
    #[must_use]
    pub fn of_platform(&self, platform: &Platform) -> Self {
        Self(Digest::of(format!("{self} {platform}").as_bytes()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl FromStr for Fingerprint {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Everything that an image is built from, in a defined order. It is digested as JSON, so that different identities
/// never have equal bytes.
#[derive(Serialize)]
struct Identity<'a> {
    scheme: &'a str,
    dockerfile: &'a str,
    files: FilesIdentity<'a>,
    upstreams: BTreeSet<(&'a str, Option<&'a Digest>)>,
    secrets: &'a BTreeSet<String>,
    platforms: BTreeSet<String>,
    labels: &'a BTreeMap<String, String>,
    compression: Compression,
    // Inputs that most images lack are left out, so that these keep the fingerprints of earlier versions of basegen.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    arguments: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    contexts: BTreeMap<&'a str, ContextIdentity<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    other_platforms: BTreeMap<String, PlatformIdentity<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    mirror: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    alias_commands: &'a [String],
}

/// The inputs of a platform that differ from those of others.
#[derive(Serialize)]
struct PlatformIdentity<'a> {
    dockerfile: String,
    files: FilesIdentity<'a>,
    arguments: &'a BTreeMap<String, String>,
    target: Option<&'a str>,
    contexts: BTreeMap<&'a str, ContextIdentity<'a>>,
}

type FilesIdentity<'a> = BTreeMap<&'a str, (u16, &'a Digest)>;

/// A named context.
#[derive(Serialize)]
enum ContextIdentity<'a> {
    Files(FilesIdentity<'a>),
    Image(&'a str, Option<&'a Digest>),
}

/// Computes the fingerprint of `target`. `secrets` are the ids of the mounted secrets, and `parent` returns the
/// fingerprints of the images that it is based on.
pub(super) fn identity(
    target: &Target<'_>,
    inputs: &ContextInputs<'_>,
    secrets: &BTreeSet<String>,
    parent: impl Fn(&str) -> Option<Fingerprint>,
) -> Fingerprint {
    let ContextInputs { context, platforms, .. } = inputs;
    // An image of the same matrix is its fingerprint: neither its name nor its digest matters.
    let dockerfile = |context: &BuildContext| {
        context.with_parents(|named| parent(&named.id).map(|known| known.to_string()))
    };
    let upstreams = context.upstreams.iter();
    let identity = Identity {
        scheme: SCHEME,
        dockerfile: &dockerfile(context),
        files: files(inputs, None),
        upstreams: upstreams.map(|found| (found.name.as_str(), found.digest.as_ref())).collect(),
        secrets,
        platforms: target.platforms.iter().map(ToString::to_string).collect(),
        labels: &target.labels,
        compression: target.compression,
        arguments: &context.options.arguments,
        target: context.options.target.as_deref(),
        contexts: contexts(inputs),
        other_platforms: platforms
            .iter()
            .map(|(name, inputs)| {
                (
                    name.to_string(),
                    PlatformIdentity {
                        dockerfile: dockerfile(inputs.context),
                        files: files(inputs, None),
                        arguments: &inputs.context.options.arguments,
                        target: inputs.context.options.target.as_deref(),
                        contexts: contexts(inputs),
                    },
                )
            })
            .collect(),
        mirror: target.is_mirror,
        alias_commands: &target.alias_commands,
    };
    Fingerprint(Digest::of(&serde_json::to_vec(&identity).expect("an identity is JSON")))
}

fn files<'a>(inputs: &ContextInputs<'a>, name: Option<&str>) -> FilesIdentity<'a> {
    let identities =
        inputs.files_of(name).map(|(file, content)| (file.path.as_str(), (file.mode(), content)));
    identities.collect()
}

fn contexts<'a>(inputs: &ContextInputs<'a>) -> BTreeMap<&'a str, ContextIdentity<'a>> {
    let contexts = inputs.context.options.contexts.iter().map(|(name, named)| {
        let identity = match named {
            NamedContext::Files(_) => ContextIdentity::Files(files(inputs, Some(name))),
            NamedContext::Image(image) => {
                ContextIdentity::Image(&image.name, image.digest.as_ref())
            }
        };
        (name.as_str(), identity)
    });
    contexts.collect()
}
