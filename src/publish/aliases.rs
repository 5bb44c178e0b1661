//! Aliases that commands in the images have printed. A label of each image has them.

use std::collections::HashMap;

use futures_util::future::try_join_all;

use super::image::container_config;
use super::{PublishError, ReleaseRequest, Row};
use crate::engine::BuildJob;
use crate::image::{Digest, Reference, Tag};
use crate::registry::Registries;

impl ReleaseRequest {
    /// Adds the aliases that the images of `digests` have printed to the rows. Fails if two images have printed the same.
    pub(super) async fn read_aliases(
        &mut self,
        registries: &Registries,
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
        let mut owners: HashMap<&Reference, &str> = HashMap::new();
        for row in self.rows.iter().filter(|_| self.rows.iter().any(|row| row.prints_aliases)) {
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
    /// Returns the tags in the label of the image `digest`.
    async fn printed_aliases(
        &self,
        registries: &Registries,
        digest: &Digest,
    ) -> Result<Vec<Tag>, PublishError> {
        if !self.prints_aliases {
            return Ok(Vec::new());
        }
        let config = container_config(registries, self.first().repository(), digest).await?;
        let label = config.labels.unwrap_or_default().remove(BuildJob::ALIASES_LABEL);
        let tags = label.and_then(|label| serde_json::from_str::<Vec<String>>(&label).ok());
        let tags = tags.and_then(|tags| tags.iter().map(|tag| tag.parse().ok()).collect());
        tags.ok_or_else(|| PublishError::NoAliases { target: self.job.target.clone() })
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
