use std::fmt;

use serde::Serialize;

use crate::image::Size;

/// The publication status of a target, with reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublicationStatus {
    pub state: PublishedState,
    /// Whether the published image has passed the target's current checks; `false` if it has none.
    #[serde(rename = "checked")]
    pub is_checked: bool,
    /// Why the state is not `published`, the most important reason first.
    pub reasons: Vec<String>,
    /// The change of the size since the image that was published before, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth: Option<Growth>,
    /// Whether the version tag points to an image with different content.
    #[serde(skip)]
    pub has_conflicting_tag: bool,
}

/// The change of a size since the image that was published before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Growth {
    /// The subject of the size: the compressed image if it is built already, or else its CUDA libraries.
    pub of: &'static str,
    /// The size in bytes.
    pub now: u64,
    /// The size before, in bytes.
    pub before: u64,
}

impl fmt::Display for Growth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, now, before } = self;
        write!(formatter, "{of}: {}, {}", Size(*now), Size(*now).change_since(Size(*before)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishedState {
    /// The image exists and the version tag points to it.
    Published,
    /// The image exists; only the version tag must be set.
    Retag,
    /// The content differs from the published image.
    Changed,
    /// No image has been published for the target.
    New,
}

impl PublishedState {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Retag => "retag",
            Self::Changed => "changed",
            Self::New => "new",
        }
    }
}
