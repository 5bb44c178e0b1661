//! `basegen changed`: whether the version or the images differ from those of an earlier commit.

use super::since::{self, Since};
use super::{Context, NameOptions};
use crate::error::Report;
use crate::matrix::Selection;
use crate::version::{self, Version};

/// The version and the images, compared with those of an earlier commit.
pub struct ChangedOutcome {
    pub before: Option<Version>,
    pub now: Option<Version>,
    /// The comparison of the images.
    pub since: Since,
}

impl ChangedOutcome {
    /// Returns true if the version differs.
    #[must_use]
    pub fn is_version_changed(&self) -> bool {
        self.before != self.now
    }

    /// Returns the ids of the variants whose images must be built.
    #[must_use]
    pub fn variants_to_build(&self) -> Vec<&str> {
        let affected = self.since.comparison.affected.iter();
        affected.filter(|row| row.is_built()).map(|row| row.id.as_str()).collect()
    }

    /// Returns true if the version differs or an image must be built.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.is_version_changed() || !self.variants_to_build().is_empty()
    }
}

/// Compares the version and all images with those of `revision`.
pub fn run(context: &Context, revision: &str) -> Result<ChangedOutcome, Report> {
    let matrix = context.matrix()?;
    let table = matrix.version.as_ref();
    let now = table.map(|table| version::read(table, &matrix.checkout)).transpose()?;
    let since = since::compare(context, &Selection::default(), &NameOptions::default(), revision)?;
    Ok(ChangedOutcome { before: since.version()?, now, since })
}
