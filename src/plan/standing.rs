use serde::Serialize;

/// How a target stands to what its registry has, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// How.
    pub state: PublishedState,
    /// Whether the target's checks, as they are now, have passed on its image; `false` if it has none.
    #[serde(rename = "checked")]
    pub is_checked: bool,
    /// Why, the most telling reason first; nothing where there is nothing to tell.
    pub reasons: Vec<String>,
    /// Whether the tag of the version points to an image of different content.
    #[serde(skip)]
    pub is_taken: bool,
}

/// How a target stands to what its registry has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishedState {
    /// Its image is there, under the tag of the version.
    Published,
    /// Its image is there, and the tag is missing.
    Missing,
    /// Another image was published for it.
    Changed,
    /// Nothing was ever published for it.
    New,
}

impl PublishedState {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::New => "new",
        }
    }
}
