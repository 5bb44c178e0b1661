//! Push access, checked before the first build.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::{PublishError, Row};
use crate::image::Repository;
use crate::registry::Registries;

/// Makes sure that the images of `rows` can be pushed to their repositories.
pub(super) async fn check(
    registries: &Registries,
    rows: impl Iterator<Item = &Row>,
) -> Result<(), PublishError> {
    let repositories: BTreeSet<&Repository> = rows.flat_map(|row| row.job.repositories()).collect();
    let checks = repositories.iter().map(|repository| registries.check_push(repository));
    let checks = join_all(checks).await;
    let mut refused = Vec::new();
    for (repository, check) in repositories.iter().zip(checks) {
        // Any other error may be gone by the first push.
        if let Err(error) = check
            && error.kind().is_refusal()
        {
            refused.push(((*repository).clone(), error));
        }
    }
    if refused.is_empty() {
        Ok(())
    } else {
        Err(PublishError::PushRefused { refused, total: repositories.len() })
    }
}
