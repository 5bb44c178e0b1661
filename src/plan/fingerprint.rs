//! The fingerprint of an image: a digest of everything that it is built from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Target;
use super::listing::short;
use crate::image::{Compression, Digest, DigestError, Tag};
use crate::render::BuildContext;

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
    files: BTreeMap<&'a str, (u16, Digest)>,
    upstreams: BTreeSet<(&'a str, Option<&'a Digest>)>,
    secrets: &'a BTreeSet<String>,
    platforms: BTreeSet<String>,
    labels: &'a BTreeMap<String, String>,
    compression: Compression,
}

/// Computes the fingerprint of `target`. `contents` are the digests of the files of `context` in order, `secrets` the ids
/// of the mounted secrets, and `parent` the fingerprints of the images that it is based on.
pub(super) fn identity(
    target: &Target<'_>,
    context: &BuildContext,
    contents: &[Digest],
    secrets: &BTreeSet<String>,
    parent: impl Fn(&str) -> Option<Fingerprint>,
) -> Fingerprint {
    // An image of the same matrix is its fingerprint: neither its name nor its digest matters.
    let dockerfile = context.with_parents(|named| parent(&named.id).map(|known| known.to_string()));
    let files = context.files.iter().zip(contents).map(|(file, content)| {
        let mode = if file.executable { 0o755 } else { 0o644 };
        (file.path.as_str(), (mode, content.clone()))
    });
    let upstreams = context.upstreams.iter();
    let identity = Identity {
        scheme: SCHEME,
        dockerfile: &dockerfile,
        files: files.collect(),
        upstreams: upstreams.map(|found| (found.name.as_str(), found.digest.as_ref())).collect(),
        secrets,
        platforms: target.platforms.iter().map(ToString::to_string).collect(),
        labels: &target.labels,
        compression: target.compression,
    };
    Fingerprint(Digest::of(&serde_json::to_vec(&identity).expect("an identity is JSON")))
}
