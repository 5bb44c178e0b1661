//! The release set: an artifact that lists the images of a release.
//!
//! It is an [OCI artifact] without content: a manifest with an `artifactType`, the empty
//! configuration and the empty layer, and an annotation with the list of all images of the release
//! and their digests, as JSON. One request reads it, and a release of unchanged images
//! sends no blob. Equal lists have equal bytes, so the same release has the same set.
//!
//! Some registries, such as GitLab's, refuse artifacts. There, the set is an image without files
//! and with the same annotation.
//!
//! [OCI artifact]: https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize, Serializer};

use super::error::is_immutable;
use super::{PublishError, Row};
use crate::error::JsonError;
use crate::image::{Digest, Reference, Repository};
use crate::plan::Fingerprint;
use crate::registry::{Blob, Manifest, Registries, RegistryErrorKind};
use crate::version::Version;

/// The form in which a release set is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SetForm {
    /// An artifact, or an image where the registry refuses artifacts.
    #[default]
    Artifact,
    /// An image without files, which every registry accepts.
    Image,
}

/// The type of the artifact.
const ARTIFACT_TYPE: &str = "application/vnd.basegen.release.v1+json";

/// The annotation with the list.
const ANNOTATION: &str = "dev.basegen.release";

/// The empty configuration and layer of the OCI image specification.
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const EMPTY: &[u8] = b"{}";

/// The media types of an image's parts.
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// A tar archive without files: two blocks of zeros.
const EMPTY_TAR: &[u8] = &[0; 1024];

/// The version of the list's format.
const SCHEMA: u32 = 1;

/// The tags and the form of a release set in one registry.
#[derive(Debug, Clone)]
pub struct SetName {
    /// The tags in one repository: that of the version, and the one of the newest release.
    pub references: Vec<Reference>,
    /// The form in which it is written.
    pub form: SetForm,
}

impl SetName {
    pub(super) fn registry(&self) -> &str {
        self.references[0].repository.registry()
    }
}

/// The images of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseSet {
    schema: u32,
    /// The version of the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether the release claims a place in the order of the matrix's releases, so that aliases move
    /// to the newest one.
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
    /// The version tag with its registry.
    #[serde(serialize_with = "canonical")]
    pub reference: Reference,
    /// The image that the tag points to.
    pub digest: Digest,
    /// The fingerprint of its inputs, unless they are uncertain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The digest of the checks that it has passed, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Digest>,
    /// The aliases, tags of the same repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "aliases")]
    alias_tags: Vec<String>,
}

impl SetImage {
    /// Returns true if this is the image `digest`, built from inputs with this fingerprint.
    pub(super) fn is(&self, digest: &Digest, fingerprint: Option<&Fingerprint>) -> bool {
        let fingerprint = fingerprint.map(ToString::to_string);
        self.digest == *digest && fingerprint.is_some() && self.fingerprint == fingerprint
    }
}

impl ReleaseSet {
    /// Lists the images in a registry.
    pub(super) fn new(
        version: Option<String>,
        rows: &[Row],
        digests: &[Digest],
        registry: &str,
    ) -> Self {
        let images = rows.iter().zip(digests).filter_map(|(row, digest)| {
            let place = row.place_in(registry)?;
            let image = SetImage {
                reference: place.version().clone(),
                digest: digest.clone(),
                fingerprint: row.fingerprint.as_ref().map(ToString::to_string),
                checks: row.checks.clone(),
                alias_tags: place.aliases().iter().map(|alias| alias.tag.to_string()).collect(),
            };
            Some((row.job.target.clone(), image))
        });
        Self {
            schema: SCHEMA,
            version,
            is_ordered: false,
            withdrawn: BTreeSet::new(),
            images: images.collect(),
        }
    }

    /// Reads the release set under `reference` and its digest. Returns `None` if the tag does not
    /// exist.
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

    /// Reads those of the release sets under `references` that exist.
    pub async fn read_all(
        registries: &Registries,
        references: &[Reference],
    ) -> Result<Vec<Self>, PublishError> {
        let sets = references.iter().map(|reference| Self::read(registries, reference));
        let sets = try_join_all(sets).await?.into_iter();
        Ok(sets.flatten().map(|(set, _)| set).collect())
    }

    /// Returns the aliases of all images, with the ids of their targets and their digests. They point to the images
    /// while the release is the newest.
    pub(super) fn aliases(&self) -> impl Iterator<Item = (&str, Reference, &Digest)> {
        self.images.iter().flat_map(|(id, image)| {
            let tags = image.alias_tags.iter().filter_map(|tag| tag.parse().ok());
            tags.map(move |tag| {
                (id.as_str(), Reference { tag, ..image.reference.clone() }, &image.digest)
            })
        })
    }

    /// Returns true if both list the same images under the same version tags.
    fn lists_the_same(&self, other: &Self) -> bool {
        let images = |set: &Self| -> Vec<(Reference, Digest)> {
            let images = set.images.values();
            images.map(|image| (image.reference.clone(), image.digest.clone())).collect()
        };
        self.version == other.version && images(self) == images(other)
    }

    /// Returns true if a name in this set is one of `names` under its version. `version` is that of `names`.
    fn shares_names(
        &self,
        names: impl IntoIterator<Item = Reference>,
        version: Option<&Version>,
    ) -> bool {
        let then = self.version.as_deref().zip(version);
        let own: HashSet<Reference> = names
            .into_iter()
            .map(|Reference { repository, tag }| {
                let of_set = then
                    .and_then(|(then, now)| tag.as_str().replace(now.as_str(), then).parse().ok());
                Reference { repository, tag: of_set.unwrap_or(tag) }
            })
            .collect();
        self.images.values().any(|image| own.contains(&image.reference))
            || self.aliases().any(|(_, alias, _)| own.contains(&alias))
    }

    /// Returns an error if the set, read from `reference`, has no name in common with `names`, those of all images of a
    /// matrix with this `version`: it is that of another matrix.
    pub fn check_matrix(
        &self,
        reference: &Reference,
        names: impl IntoIterator<Item = Reference>,
        version: Option<&Version>,
    ) -> Result<(), PublishError> {
        if self.images.is_empty() || self.shares_names(names, version) {
            return Ok(());
        }
        Err(PublishError::OtherMatrix { set: reference.clone() })
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
        let Some(image) = self.images.values().find(|image| is_foreign(image)) else {
            return Ok(());
        };
        let image = Box::new(image.reference.clone());
        Err(PublishError::ForeignImage { set: reference.clone(), image })
    }
}

/// A release set that is in its registry.
pub(super) struct Written {
    pub(super) digest: Digest,
    /// Whether it had to be written.
    pub(super) is_new: bool,
}

/// Writes `set` under `reference`, unless it exists there, in the first form that the registry
/// accepts.
pub(super) async fn write(
    registries: &Registries,
    reference: &Reference,
    set: &ReleaseSet,
    form: SetForm,
) -> Result<Written, PublishError> {
    let mut forms = match form {
        SetForm::Artifact => vec![image(set), artifact(set)],
        SetForm::Image => vec![image(set)],
    };
    let repository = &reference.repository;
    let current = registries.head(repository, &reference.tag).await?;
    if let Some(current) = current
        && forms.iter().any(|form| form.manifest.digest() == current.digest)
    {
        return Ok(Written { digest: current.digest, is_new: false });
    }
    while let Some(SetDocument { manifest, blobs }) = forms.pop() {
        for blob in &blobs {
            registries.push_blob(repository, blob).await?;
        }
        match registries.put_manifest(repository, &reference.tag, &manifest).await {
            Ok(()) => return Ok(Written { digest: manifest.digest(), is_new: true }),
            Err(error) if is_immutable(&error) => {
                // Other fields of the set may have changed since, but not its images.
                return match ReleaseSet::read(registries, reference).await? {
                    Some((known, digest)) if known.lists_the_same(set) => {
                        Ok(Written { digest, is_new: false })
                    }
                    _ => Err(error.into()),
                };
            }
            Err(error) if !forms.is_empty() && refuses_form(error.kind()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    unreachable!("the last form is accepted or refused with an error")
}

/// Returns true if a registry refuses a manifest because of its form.
fn refuses_form(kind: &RegistryErrorKind) -> bool {
    matches!(kind, RegistryErrorKind::Status { status: 400..=499, .. }) && !kind.is_transient()
}

/// A release set as it is pushed.
struct SetDocument {
    manifest: Manifest,
    blobs: Vec<Blob>,
}

impl SetDocument {
    /// Creates a document of `set` with this configuration and layer.
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
}

fn artifact(set: &ReleaseSet) -> SetDocument {
    let empty = (EMPTY_TYPE, Bytes::from_static(EMPTY));
    SetDocument::new(set, Some(ARTIFACT_TYPE), empty.clone(), empty)
}

/// Returns the image form of `set`, for a platform that no engine has.
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

/// Serializes a reference that always contains the registry.
fn canonical<S: Serializer>(reference: &Reference, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&reference.canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_follows_the_specification() {
        let set = ReleaseSet::new(Some("v1".to_owned()), &[], &[], "docker.io");
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
