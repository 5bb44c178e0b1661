//! Aliases that commands in the images have printed. A label of each image has them.

use std::collections::HashMap;

use futures_util::future::try_join_all;

use super::image::Labels;
use super::{PublishError, ReleaseRequest, Row};
use crate::event::{Event, Events};
use crate::image::{Digest, Reference, Tag};
use crate::registry::Registries;

impl ReleaseRequest {
    /// Adds the aliases that the images of `digests` have printed to the rows, and reports them. Fails if two images have
    /// printed the same.
    pub(super) async fn read_aliases(
        &mut self,
        registries: &Registries,
        events: &Events,
        digests: &[Digest],
    ) -> Result<(), PublishError> {
        let rows = self.rows.iter().zip(digests);
        let printed = rows.map(async |(row, digest)| row.printed_aliases(registries, digest).await);
        let printed = try_join_all(printed).await?;
        for (row, tags) in self.rows.iter_mut().zip(printed) {
            if !tags.is_empty() {
                row.add_aliases(&tags);
            }
        }
        self.check_aliases()?;
        for row in self.rows.iter().filter(|row| !row.printed_tags.is_empty()) {
            let (target, references) = (row.job.target.clone(), row.job.references.clone());
            events.emit(&Event::AliasesPrinted { target, references });
        }
        Ok(())
    }

    /// Fails if an alias that an image has printed is also a tag of another image.
    fn check_aliases(&self) -> Result<(), PublishError> {
        if self.rows.iter().all(|row| row.printed_tags.is_empty()) {
            return Ok(());
        }
        let mut owners: HashMap<&Reference, &str> = HashMap::new();
        for row in &self.rows {
            for reference in &row.job.references {
                if let Some(other) = owners.insert(reference, &row.job.target) {
                    return Err(PublishError::AliasClash {
                        first: other.to_owned(),
                        second: row.job.target.clone(),
                        reference: reference.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

impl Row {
    /// Returns the aliases with the outputs in the label of the image `digest`.
    async fn printed_aliases(
        &self,
        registries: &Registries,
        digest: &Digest,
    ) -> Result<Vec<Tag>, PublishError> {
        if self.printed_tags.is_empty() {
            return Ok(Vec::new());
        }
        let target = || self.job.target.clone();
        let labels = Labels::of_platforms(registries, self.first().repository(), digest).await?;
        let mut printed = labels.iter().map(Labels::printed_aliases);
        let outputs = printed.next().flatten().unwrap_or_default();
        // Each job of a platform has read only its own output.
        if printed.any(|other| other.as_ref() != Some(&outputs)) {
            return Err(PublishError::PlatformAliases { target: target() });
        }
        let tags = self.printed_tags.iter().map(|printed| {
            let Some(output) = outputs.get(printed.command) else {
                return Err(PublishError::NoAliases { target: target() });
            };
            let tag = printed.tag(output.as_str());
            tag.map_err(|source| PublishError::InvalidAlias { target: target(), source })
        });
        tags.collect()
    }

    /// Adds aliases in all repositories. An alias that the matrix lists already is not added again.
    fn add_aliases(&mut self, tags: &[Tag]) {
        let mut references = Vec::new();
        for place in self.places() {
            let known = std::iter::once(place.version()).chain(place.aliases());
            let mut own: Vec<Reference> = known.cloned().collect();
            for tag in tags {
                let alias = Reference { repository: place.repository().clone(), tag: tag.clone() };
                if !own.contains(&alias) {
                    own.push(alias);
                }
            }
            references.extend(own);
        }
        self.job.references = references;
    }
}
