use serde::Serialize;

/// The publication status of a target, with reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublicationStatus {
    pub state: PublishedState,
    /// Whether the published image has passed the target's current checks; `false` if it has none.
    #[serde(rename = "checked")]
    pub is_checked: bool,
    /// Why the state is not `published`, the most important reason first.
    pub reasons: Vec<String>,
    /// Whether the version tag points to an image with different content.
    #[serde(skip)]
    pub has_conflicting_tag: bool,
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
