use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::image::{Descriptor, Digest, Platform, Tag};

/// The name of a manifest in its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    Tag(&'a Tag),
    Digest(&'a Digest),
}

impl<'a> From<&'a Tag> for Name<'a> {
    fn from(tag: &'a Tag) -> Self {
        Self::Tag(tag)
    }
}

impl<'a> From<&'a Digest> for Name<'a> {
    fn from(digest: &'a Digest) -> Self {
        Self::Digest(digest)
    }
}

impl Name<'_> {
    /// Returns the name as the suffix of a reference: `:v1` or `@sha256:…`.
    pub(super) fn suffix(&self) -> String {
        match self {
            Self::Tag(tag) => format!(":{tag}"),
            Self::Digest(digest) => format!("@{digest}"),
        }
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(formatter),
            Self::Digest(digest) => digest.fmt(formatter),
        }
    }
}

/// The original bytes of an image manifest, an index or an artifact's manifest.
///
/// A tag is moved by sending the same bytes again; a manifest that is parsed and serialized has
/// another digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The media type, such as `application/vnd.oci.image.manifest.v1+json`.
    pub media_type: String,
    pub bytes: Bytes,
}

impl Manifest {
    pub const OCI_IMAGE: &'static str = "application/vnd.oci.image.manifest.v1+json";
    pub const OCI_INDEX: &'static str = "application/vnd.oci.image.index.v1+json";
    pub const DOCKER_IMAGE: &'static str = "application/vnd.docker.distribution.manifest.v2+json";
    pub const DOCKER_INDEX: &'static str =
        "application/vnd.docker.distribution.manifest.list.v2+json";

    /// The media types that requests accept.
    pub(super) const ACCEPTED: [&'static str; 4] =
        [Self::OCI_INDEX, Self::OCI_IMAGE, Self::DOCKER_INDEX, Self::DOCKER_IMAGE];

    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest(),
            size: self.bytes.len() as u64,
        }
    }

    /// Returns the image's configuration; an index has none.
    #[must_use]
    pub fn config(&self) -> Option<Descriptor> {
        self.document()?.config?.descriptor()
    }

    /// Returns the image's layers, lowest first; an index has none.
    #[must_use]
    pub fn layers(&self) -> Vec<Descriptor> {
        let layers = self.document().map(|document| document.layers).unwrap_or_default();
        layers.iter().filter_map(Entry::descriptor).collect()
    }

    /// Returns the configuration and the layers that a registry with this manifest has.
    #[must_use]
    pub fn blobs(&self) -> Vec<Descriptor> {
        let document = self.document().unwrap_or_default();
        let layers = document.layers.iter().filter(|layer| !layer.is_foreign());
        document.config.iter().chain(layers).filter_map(Entry::descriptor).collect()
    }

    /// Returns the images of an index with their platforms, without attestations, whose platform is
    /// `unknown`.
    #[must_use]
    pub fn platforms(&self) -> Vec<(Platform, Descriptor)> {
        let entries = self.document().map(|document| document.manifests).unwrap_or_default();
        entries.iter().filter_map(|entry| Some((entry.platform()?, entry.descriptor()?))).collect()
    }

    /// Returns the index of the images of several platforms, in OCI's format or, if the images have Docker's, in that.
    #[must_use]
    pub fn index(images: &[(Platform, Descriptor)]) -> Self {
        let is_docker = images.iter().any(|(_, image)| image.media_type == Self::DOCKER_IMAGE);
        let media_type = if is_docker { Self::DOCKER_INDEX } else { Self::OCI_INDEX };
        let entries = images.iter().map(|(platform, image)| Entry {
            media_type: image.media_type.clone(),
            digest: image.digest.to_string(),
            size: image.size,
            platform: Some(EntryPlatform {
                architecture: platform.architecture().to_owned(),
                os: platform.os().to_owned(),
                variant: platform.variant().map(str::to_owned),
            }),
            urls: Vec::new(),
        });
        let index = Index { schema_version: 2, media_type, manifests: entries.collect() };
        // With the indentation of BuildKit, so that the same images have the same index wherever it is made.
        let bytes = serde_json::to_vec_pretty(&index).expect("an index is JSON");
        Self { media_type: media_type.to_owned(), bytes: bytes.into() }
    }

    /// Returns the blobs and manifests that must exist before this one can be pushed.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let manifests = self.document().unwrap_or_default().manifests;
        Needs {
            blobs: self.blobs().into_iter().map(|blob| blob.digest).collect(),
            manifests: manifests.iter().filter_map(Entry::digest).collect(),
        }
    }

    /// Parses the manifest. Invalid ones have been rejected when they were fetched.
    fn document(&self) -> Option<Document> {
        serde_json::from_slice(&self.bytes).ok()
    }

    /// Returns why these bytes are not a valid manifest.
    pub(super) fn problem(bytes: &[u8]) -> Option<&'static str> {
        match serde_json::from_slice::<Document>(bytes) {
            Err(_) => Some("it is not valid JSON"),
            Ok(document) if document.schema_version == Some(1) => {
                Some("schema version 1 is not supported")
            }
            Ok(document) if document.schema_version != Some(2) => Some("it has no schema version"),
            Ok(_) => None,
        }
    }

    /// Returns the media type in the manifest itself, or the default of OCI.
    pub(super) fn own_media_type(bytes: &[u8]) -> Option<String> {
        let document = serde_json::from_slice::<Document>(bytes).ok()?;
        match document.media_type {
            Some(media_type) => Some(media_type),
            None if document.manifests.is_empty() => Some(Self::OCI_IMAGE.to_owned()),
            None => Some(Self::OCI_INDEX.to_owned()),
        }
    }
}

/// The content to which a manifest refers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// The configuration and the layers.
    pub blobs: Vec<Digest>,
    /// The manifests of an index.
    pub manifests: Vec<Digest>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<Entry>,
    #[serde(default)]
    layers: Vec<Entry>,
    #[serde(default)]
    manifests: Vec<Entry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u64,
    media_type: &'static str,
    manifests: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: u64,
    platform: Option<EntryPlatform>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    urls: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct EntryPlatform {
    architecture: String,
    os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

impl Entry {
    fn digest(&self) -> Option<Digest> {
        self.digest.parse().ok()
    }

    fn descriptor(&self) -> Option<Descriptor> {
        let media_type = self.media_type.clone();
        Some(Descriptor { media_type, digest: self.digest()?, size: self.size })
    }

    fn platform(&self) -> Option<Platform> {
        let platform = self.platform.as_ref().filter(|platform| platform.os != "unknown")?;
        let variant = platform.variant.iter().filter(|variant| !variant.is_empty());
        let parts = [platform.os.as_str(), platform.architecture.as_str()].into_iter();
        let text: Vec<_> = parts.chain(variant.map(String::as_str)).collect();
        text.join("/").parse().ok()
    }

    /// Returns true for layers that only their owner distributes, which no registry has.
    fn is_foreign(&self) -> bool {
        !self.urls.is_empty()
            || self.media_type.contains("nondistributable")
            || self.media_type.contains("foreign")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(value: &serde_json::Value) -> Manifest {
        Manifest {
            media_type: Manifest::OCI_IMAGE.to_owned(),
            bytes: serde_json::to_vec(value).expect("JSON").into(),
        }
    }

    #[test]
    fn an_image_has_a_configuration_and_layers() {
        let (config, layer, foreign) = (Digest::of(b"c"), Digest::of(b"l"), Digest::of(b"f"));
        let image = manifest(&serde_json::json!({
            "schemaVersion": 2,
            "config": { "mediaType": "c", "digest": config, "size": 1 },
            "layers": [
                { "mediaType": "l", "digest": layer, "size": 2 },
                { "mediaType": "f", "digest": foreign, "size": 3, "urls": ["https://elsewhere"] },
            ],
        }));
        assert_eq!(image.config().expect("a configuration").digest, config);
        assert_eq!(image.layers().iter().map(|layer| layer.size).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(image.needs(), Needs { blobs: vec![config, layer], manifests: vec![] });
        assert_eq!(image.platforms(), []);
    }

    #[test]
    fn an_index_has_platforms_without_its_attestations() {
        let (image, attestation) = (Digest::of(b"i"), Digest::of(b"p"));
        let index = manifest(&serde_json::json!({
            "schemaVersion": 2,
            "manifests": [
                { "mediaType": "m", "digest": image, "size": 1,
                  "platform": { "os": "linux", "architecture": "arm64", "variant": "v8" } },
                { "mediaType": "m", "digest": attestation, "size": 1,
                  "platform": { "os": "unknown", "architecture": "unknown" } },
            ],
        }));
        let platforms = index.platforms();
        assert_eq!(platforms.len(), 1);
        assert_eq!(platforms[0].0.to_string(), "linux/arm64");
        assert_eq!(index.needs().manifests, [image, attestation]);
        assert_eq!(Manifest::own_media_type(&index.bytes).as_deref(), Some(Manifest::OCI_INDEX));
    }

    #[test]
    fn an_index_can_be_made_of_the_images_of_platforms() {
        let image = |media_type: &str, size| Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(b"i"),
            size,
        };
        let platform = |text: &str| text.parse::<Platform>().expect("a platform");
        let images = [
            (platform("linux/amd64"), image(Manifest::OCI_IMAGE, 1)),
            (platform("linux/arm/v7"), image(Manifest::OCI_IMAGE, 2)),
        ];
        let index = Manifest::index(&images);
        let entry = |size: u64, platform: serde_json::Value| {
            serde_json::json!({
                "mediaType": Manifest::OCI_IMAGE, "digest": Digest::of(b"i"), "size": size,
                "platform": platform,
            })
        };
        let expected = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": Manifest::OCI_INDEX,
            "manifests": [
                entry(1, serde_json::json!({ "architecture": "amd64", "os": "linux" })),
                entry(2, serde_json::json!({ "architecture": "arm", "os": "linux", "variant": "v7" })),
            ],
        });
        assert_eq!(index.bytes, serde_json::to_string_pretty(&expected).expect("JSON"));
        assert_eq!(index.media_type, Manifest::OCI_INDEX);
        assert_eq!(index.platforms(), images);
        let images = [(platform("linux/arm64"), image(Manifest::DOCKER_IMAGE, 1))];
        assert_eq!(Manifest::index(&images).media_type, Manifest::DOCKER_INDEX);
    }

    #[test]
    fn invalid_manifests_are_rejected() {
        for text in ["", "<html>", "[]", "{}", r#"{"schemaVersion":1}"#, r#"{"layers":5}"#] {
            assert!(Manifest::problem(text.as_bytes()).is_some(), "{text}");
        }
        assert_eq!(Manifest::problem(br#"{"schemaVersion":2}"#), None);
    }
}
