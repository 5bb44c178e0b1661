//! Refuses images that break a limit of the matrix: those that lose GPUs since the last release, and those that are too
//! large.

use futures_util::future::try_join_all;

use super::error::Oversized;
use super::image::{Labels, manifests};
use super::status::previous;
use super::{PublishError, ReleaseRequest, ReleaseSet, Row, Survey};
use crate::image::{Digest, Size};
use crate::registry::Registries;

/// Refuses images that are larger than their `max_size`. `digests` are those of `rows`.
pub(super) async fn refuse_oversized(
    registries: &Registries,
    rows: &[Row],
    digests: &[Digest],
) -> Result<(), PublishError> {
    let limited = rows.iter().zip(digests).filter_map(|(row, digest)| {
        let limit = row.max_size?;
        Some(async move { oversized(registries, row, digest, limit).await })
    });
    let images: Vec<Oversized> = try_join_all(limited).await?.into_iter().flatten().collect();
    if images.is_empty() { Ok(()) } else { Err(PublishError::Oversized { images }) }
}

async fn oversized(
    registries: &Registries,
    row: &Row,
    digest: &Digest,
    limit: Size,
) -> Result<Option<Oversized>, PublishError> {
    let manifests = manifests(registries, &row.version().repository, digest).await?;
    let of_platforms = manifests.iter().map(|manifest| {
        let layers = manifest.layers().into_iter();
        let mut layers: Vec<_> = layers.map(|layer| (layer.digest, Size(layer.size))).collect();
        layers.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        (Size(layers.iter().map(|(_, size)| size.0).sum()), layers)
    });
    let largest = of_platforms.max_by_key(|(size, _)| *size);
    Ok(largest.filter(|(size, _)| *size > limit).map(|(size, layers)| Oversized {
        target: row.job.target.clone(),
        size,
        limit,
        layers,
    }))
}

/// Refuses images whose CUDA libraries have no machine code for a GPU architecture that the published image has, unless
/// `drop_sm` permits it. `surveys` are those of the rows.
pub(super) async fn refuse_losses(
    registries: &Registries,
    release: &ReleaseRequest,
    surveys: &[Survey],
) -> Result<(), PublishError> {
    let rows = release.rows.iter().zip(surveys);
    let changed = rows.filter(|(row, survey)| row.gpu.is_some() && !survey.is_published());
    let changed: Vec<_> = changed.collect();
    let newest = if changed.is_empty() { &[] } else { &release.newest[..] };
    let newest = ReleaseSet::read_all(registries, newest).await?;
    let images = changed.into_iter().map(async |(row, survey)| {
        let (first, id) = (row.first(), &row.job.target);
        let Some(before) = previous(registries, first, survey.version(), &newest, id).await? else {
            return Ok(None);
        };
        let before = Labels::read(registries, first.repository(), &before).await?.gpu_facts();
        let lost = row.gpu.as_ref().zip(before).map(|(now, before)| now.lost_since(&before));
        let lost = lost.filter(|lost| !lost.is_empty());
        Ok::<_, PublishError>(lost.map(|lost| (id.clone(), lost)))
    });
    let images: Vec<_> = try_join_all(images).await?.into_iter().flatten().collect();
    if images.is_empty() { Ok(()) } else { Err(PublishError::LostGpus { images }) }
}
