//! The identity of an image: what it is made of, as one digest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Target;
use crate::image::{Compression, Digest, DigestError, Tag};
use crate::render::BuildContext;

/// The scheme of fingerprints. Its number counts up whenever the same inputs would give
/// another fingerprint.
pub(super) const SCHEME: &str = "basegen fingerprint v1";

/// How many digits of a fingerprint a staging tag has.
const STAGING_DIGITS: usize = 32;

/// How many digits of its checks a staging tag has.
const CHECKS_DIGITS: usize = 12;

/// What an image is made of, as one digest: two images with one fingerprint are
/// interchangeable, whatever they are called and whichever version they belong to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(Digest);

impl Fingerprint {
    /// The label that an image has it under.
    pub const LABEL: &'static str = "dev.basegen.fingerprint";

    /// The tag under which an image of this fingerprint is kept in its repository before, and
    /// whether or not, any version is called so: `basegen-` and its first 32 digits.
    #[must_use]
    pub fn staging_tag(&self) -> Tag {
        let tag = format!("basegen-{}", &self.0.hex()[..STAGING_DIGITS]);
        tag.parse().expect("hexadecimal digits can be in a tag")
    }

    /// The tag that an image of this fingerprint gets once it has passed the checks with the digest
    /// `checks`: the staging tag, `-`, and the first 12 digits of the checks.
    #[must_use]
    pub fn checked_tag(&self, checks: &Digest) -> Tag {
        let tag = format!("{}-{}", self.staging_tag(), &checks.hex()[..CHECKS_DIGITS]);
        tag.parse().expect("hexadecimal digits can be in a tag")
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

impl TryFrom<String> for Fingerprint {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

/// All that makes an image, in an order that does not depend on how it was found. It is JSON
/// that is digested, so that no two different identities are the same bytes.
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

/// The digest of what makes the image of `target`. `contents` are the digests of the context's
/// files, in their order; `secrets` the ids of those that its steps are given.
pub(super) fn identity(
    target: &Target<'_>,
    context: &BuildContext,
    contents: &[Digest],
    secrets: &BTreeSet<String>,
) -> Fingerprint {
    let files = context.files.iter().zip(contents).map(|(file, content)| {
        let mode = if file.executable { 0o755 } else { 0o644 };
        (file.path.as_str(), (mode, content.clone()))
    });
    let upstreams = context.upstreams.iter();
    let identity = Identity {
        scheme: SCHEME,
        dockerfile: &context.dockerfile,
        files: files.collect(),
        upstreams: upstreams.map(|found| (found.name.as_str(), found.digest.as_ref())).collect(),
        secrets,
        platforms: target.platforms.iter().map(ToString::to_string).collect(),
        labels: &target.labels,
        compression: target.compression,
    };
    Fingerprint(Digest::of(&serde_json::to_vec(&identity).expect("an identity is JSON")))
}
