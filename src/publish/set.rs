//! The release set: an artifact that says which images belong together.
//!
//! It is an [OCI artifact] without content: a manifest with an `artifactType`, the empty
//! configuration and the empty layer, and an annotation with the list of all images of the release
//! and their digests, as JSON. So it is read with one request, and a release of unchanged images
//! sends no blob. Its bytes depend on what it lists alone: the same release has the same set.
//!
//! Some registries, GitLab's among them, refuse artifacts. There the set is an image without files
//! that has the same annotation.
//!
//! [OCI artifact]: https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{PublishError, Row};
use crate::error::JsonError;
use crate::image::{Digest, Reference, Repository};
use crate::plan::Fingerprint;
use crate::registry::{Blob, Manifest, Registries, RegistryError, RegistryErrorKind};

/// The form in which a release set is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SetForm {
    /// An artifact, or an image where the registry refuses artifacts.
    #[default]
    Artifact,
    /// An image.
    Image,
}

/// What kind of artifact a release set is.
const ARTIFACT_TYPE: &str = "application/vnd.basegen.release.v1+json";

/// The annotation with the list.
const ANNOTATION: &str = "dev.basegen.release";

/// A configuration, and a layer, that say nothing, as the OCI image specification defines them.
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const EMPTY: &[u8] = b"{}";

/// The media types of an image's parts.
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// A tar archive without files: two blocks of zeros.
const EMPTY_TAR: &[u8] = &[0; 1024];

/// The version of the list's format.
const SCHEMA: u32 = 1;

/// The tags and the form of a release set.
#[derive(Debug, Clone)]
pub struct SetName {
    /// The tags, all in one repository: that of the version, and the one that moves on.
    pub references: Vec<Reference>,
    /// The form in which it is written.
    pub form: SetForm,
}

/// The images that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseSet {
    schema: u32,
    /// The version of the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether the release takes part in the order of the matrix' own releases, in which aliases go on
    /// to the newest.
    #[serde(default, rename = "ordered", skip_serializing_if = "std::ops::Not::not")]
    pub is_ordered: bool,
    /// The newer releases that `--overwrite` has withdrawn, in the newest set.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub withdrawn: BTreeSet<String>,
    /// The images, by the ids of their variants.
    pub images: BTreeMap<String, SetImage>,
}

/// One image of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetImage {
    /// The tag of the version, in full.
    #[serde(with = "full_name")]
    pub reference: Reference,
    /// What it stands for.
    pub digest: Digest,
    /// What it is made of, where that is known for certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The digest of the checks that it has passed, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Digest>,
    /// The tags that move on with the releases, in the same repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "aliases")]
    alias_tags: Vec<String>,
}

impl SetImage {
    /// The aliases that point to it as long as its release is the newest.
    pub(super) fn aliases(&self) -> impl Iterator<Item = Reference> {
        let tags = self.alias_tags.iter().filter_map(|tag| tag.parse().ok());
        tags.map(|tag| Reference { tag, ..self.reference.clone() })
    }

    /// Whether this is the image `digest`, made of what has `fingerprint`.
    pub(super) fn is(&self, digest: &Digest, fingerprint: Option<&Fingerprint>) -> bool {
        let fingerprint = fingerprint.map(ToString::to_string);
        self.digest == *digest && fingerprint.is_some() && self.fingerprint == fingerprint
    }
}

impl ReleaseSet {
    pub(super) fn new(version: Option<String>, rows: &[Row], digests: &[Digest]) -> Self {
        let images = rows.iter().zip(digests).map(|(row, digest)| {
            let image = SetImage {
                reference: row.version().clone(),
                digest: digest.clone(),
                fingerprint: row.fingerprint.as_ref().map(ToString::to_string),
                checks: row.checks.clone(),
                alias_tags: row.aliases().iter().map(|alias| alias.tag.to_string()).collect(),
            };
            (row.job.target.clone(), image)
        });
        Self {
            schema: SCHEMA,
            version,
            is_ordered: false,
            withdrawn: BTreeSet::new(),
            images: images.collect(),
        }
    }

    /// Reads the release set behind `reference`, and gives its digest too; `None` where there is
    /// nothing.
    pub async fn read(
        registries: &Registries,
        reference: &Reference,
    ) -> Result<Option<(Self, Digest)>, PublishError> {
        let repository = &reference.repository;
        let Some(manifest) = registries.manifest(repository, &reference.tag).await? else {
            return Ok(None);
        };
        let not_a_set =
            |problem: String| PublishError::NotASet { reference: reference.clone(), problem };
        let document: SetManifest = serde_json::from_slice(&manifest.bytes)
            .map_err(|_| not_a_set("it is no manifest of an image".to_owned()))?;
        if let Some(kind) = document.artifact_type.filter(|kind| kind != ARTIFACT_TYPE) {
            return Err(not_a_set(format!("it is a `{kind}`")));
        }
        let list = document.annotations.get(ANNOTATION);
        let list = list.ok_or_else(|| not_a_set(format!("it has no annotation `{ANNOTATION}`")))?;
        let set: Self = serde_json::from_str(list)
            .map_err(|error| not_a_set(format!("its list: {}", JsonError::from(error))))?;
        if set.schema != SCHEMA {
            return Err(not_a_set(format!("its format is {}, not {SCHEMA}", set.schema)));
        }
        let registry = repository.registry();
        let is_foreign = |image: &SetImage| image.reference.repository.registry() != registry;
        set.refuse(reference, is_foreign)?;
        Ok(Some((set, manifest.digest())))
    }

    /// Whether both are the same images under the same version tags.
    fn lists_the_same(&self, other: &Self) -> bool {
        let images = |set: &Self| -> Vec<(Reference, Digest)> {
            let images = set.images.values();
            images.map(|image| (image.reference.clone(), image.digest.clone())).collect()
        };
        self.version == other.version && images(self) == images(other)
    }

    /// Returns an error if an image of this set, read from `reference`, is in none of `repositories`.
    pub fn check_repositories(
        &self,
        reference: &Reference,
        repositories: &BTreeSet<&Repository>,
    ) -> Result<(), PublishError> {
        self.refuse(reference, |image| !repositories.contains(&image.reference.repository))
    }

    /// Returns an error if `is_foreign` holds for an image.
    fn refuse(
        &self,
        reference: &Reference,
        is_foreign: impl Fn(&SetImage) -> bool,
    ) -> Result<(), PublishError> {
        match self.images.values().find(|image| is_foreign(image)) {
            None => Ok(()),
            Some(image) => Err(PublishError::ForeignImage {
                set: reference.clone(),
                image: Box::new(image.reference.clone()),
            }),
        }
    }
}

/// A release set that is in its registry.
pub(super) struct Written {
    pub(super) digest: Digest,
    /// Whether it had to be written.
    pub(super) is_new: bool,
}

/// Writes `set` under `reference`, unless it is there already; in the first form that the registry
/// takes.
pub(super) async fn write(
    registries: &Registries,
    reference: &Reference,
    set: &ReleaseSet,
    form: SetForm,
) -> Result<Written, PublishError> {
    let forms = match form {
        SetForm::Artifact => vec![artifact(set), image(set)],
        SetForm::Image => vec![image(set)],
    };
    let found = registries.head(&reference.repository, &reference.tag).await?;
    if let Some(found) = found
        && forms.iter().any(|form| form.digest() == found.digest)
    {
        return Ok(Written { digest: found.digest, is_new: false });
    }
    match put(registries, reference, &mut forms.as_slice()).await {
        Ok(digest) => Ok(Written { digest, is_new: true }),
        Err(error) if matches!(error.kind(), RegistryErrorKind::TagImmutable { .. }) => {
            // What else a set says may have changed since: its images have not.
            match ReleaseSet::read(registries, reference).await? {
                Some((known, digest)) if known.lists_the_same(set) => {
                    Ok(Written { digest, is_new: false })
                }
                _ => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes the first of `forms` that the registry takes, and leaves out those that it refuses.
async fn put(
    registries: &Registries,
    reference: &Reference,
    forms: &mut &[SetDocument],
) -> Result<Digest, RegistryError> {
    loop {
        let SetDocument { manifest, blobs } = &forms[0];
        for blob in blobs {
            registries.push_blob(&reference.repository, blob).await?;
        }
        match registries.put_manifest(&reference.repository, &reference.tag, manifest).await {
            Ok(()) => return Ok(manifest.digest()),
            Err(error) if forms.len() > 1 && refuses_form(error.kind()) => *forms = &forms[1..],
            Err(error) => return Err(error),
        }
    }
}

/// Whether a registry refuses a manifest for its form.
fn refuses_form(kind: &RegistryErrorKind) -> bool {
    matches!(kind, RegistryErrorKind::Status { status: 400..=499, .. }) && !kind.is_transient()
}

/// A release set as it is pushed.
struct SetDocument {
    manifest: Manifest,
    blobs: Vec<Blob>,
}

impl SetDocument {
    /// A document of `set` whose configuration and layer are these.
    fn new(
        set: &ReleaseSet,
        artifact_type: Option<&str>,
        config: (&str, Bytes),
        layer: (&str, Bytes),
    ) -> Self {
        let part = |(media_type, bytes): &(&str, Bytes)| SetPart {
            media_type: (*media_type).to_owned(),
            digest: Digest::of(bytes),
            size: bytes.len(),
        };
        let list = serde_json::to_string(set).expect("a set is JSON");
        let document = SetManifest {
            schema_version: 2,
            media_type: Manifest::OCI_IMAGE.to_owned(),
            artifact_type: artifact_type.map(str::to_owned),
            config: part(&config),
            layers: vec![part(&layer)],
            annotations: BTreeMap::from([(ANNOTATION.to_owned(), list)]),
        };
        let bytes = serde_json::to_vec(&document).expect("a manifest is JSON").into();
        Self {
            manifest: Manifest { media_type: Manifest::OCI_IMAGE.to_owned(), bytes },
            blobs: vec![Blob::new(config.1), Blob::new(layer.1)],
        }
    }

    fn digest(&self) -> Digest {
        self.manifest.digest()
    }
}

/// The artifact of `set`.
fn artifact(set: &ReleaseSet) -> SetDocument {
    let empty = (EMPTY_TYPE, Bytes::from_static(EMPTY));
    SetDocument::new(set, Some(ARTIFACT_TYPE), empty.clone(), empty)
}

/// The image of `set`; it is for no platform that an engine runs on.
fn image(set: &ReleaseSet) -> SetDocument {
    let layer = Bytes::from_static(EMPTY_TAR);
    let config = serde_json::json!({
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer)] },
    });
    SetDocument::new(set, None, (CONFIG_TYPE, config.to_string().into()), (LAYER_TYPE, layer))
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetManifest {
    schema_version: u8,
    media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: SetPart,
    layers: Vec<SetPart>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetPart {
    media_type: String,
    digest: Digest,
    size: usize,
}

/// References in full, with the registry always there.
mod full_name {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::image::Reference;

    pub(super) fn serialize<S: Serializer>(
        reference: &Reference,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&reference.canonical())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Reference, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_is_what_the_specification_asks_for() {
        let set = ReleaseSet::new(Some("v1".to_owned()), &[], &[]);
        let json: serde_json::Value =
            serde_json::from_slice(&artifact(&set).manifest.bytes).expect("JSON");
        let empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        for part in [&json["config"], &json["layers"][0]] {
            assert_eq!((part["digest"].as_str(), part["size"].as_u64()), (Some(empty), Some(2)));
        }
        assert_eq!(json["artifactType"], ARTIFACT_TYPE);
        let list = json["annotations"][ANNOTATION].as_str().expect("a list");
        assert_eq!(serde_json::from_str::<ReleaseSet>(list).expect("a set"), set);
    }
}
