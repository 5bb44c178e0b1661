//! Finds and deletes staging tags that no current image needs.

use std::collections::{BTreeSet, HashMap};

use futures_util::future::try_join_all;

use super::PublishError;
use super::survey::digest_of;
use crate::image::{Digest, Reference, Repository, Tag};
use crate::registry::{Registries, RegistryError, RegistryErrorKind};

/// Returns the staging tags of `repositories` that are not in `needed`.
pub async fn stale_tags(
    registries: &Registries,
    repositories: &BTreeSet<Repository>,
    needed: &BTreeSet<Tag>,
) -> Result<Vec<Reference>, PublishError> {
    let mut stale = Vec::new();
    for repository in repositories {
        let tags = registries.tags(repository).await?.unwrap_or_default();
        let tags = tags.iter().filter(|tag| is_staging(tag));
        let tags = tags.filter_map(|tag| tag.parse::<Tag>().ok());
        let repository = |tag| Reference { repository: repository.clone(), tag };
        stale.extend(tags.filter(|tag| !needed.contains(tag)).map(repository));
    }
    Ok(stale)
}

/// Returns true for a staging tag: `basegen-` and 32 hexadecimal digits, optionally with `-` and 12 digits of the checks,
/// or `basegen-once-` and 24 digits.
fn is_staging(tag: &str) -> bool {
    let is_hex = |digits: &str, length| {
        digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    if let Some(digits) = tag.strip_prefix("basegen-once-") {
        return is_hex(digits, 24);
    }
    let Some(digits) = tag.strip_prefix("basegen-") else { return false };
    match digits.split_once('-') {
        Some((fingerprint, checks)) => is_hex(fingerprint, 32) && is_hex(checks, 12),
        None => is_hex(digits, 32),
    }
}

/// Deletes `tags` of `repository`, and no image that another tag points to. Returns the number of deleted tags.
///
/// Some registries cannot delete a tag, but only a manifest with all tags that point to it. There, tags are deleted
/// only if `tags` contains all tags of the manifest, and all tags of the indexes that list it.
pub async fn delete_tags(
    registries: &Registries,
    repository: &Repository,
    tags: &[&Tag],
) -> Result<usize, PublishError> {
    let mut deleted = 0;
    let mut others: Option<Tagged> = None;
    for tag in tags {
        match registries.delete(repository, *tag).await {
            Ok(_) => {
                deleted += 1;
                continue;
            }
            Err(error) if is_unsupported(&error) => {}
            Err(error) => return Err(error.into()),
        }
        let known = match &mut others {
            Some(known) => known,
            None => others.insert(Tagged::read(registries, repository, tags).await?),
        };
        let of_tag = known.tags.iter().find(|(_, names)| names.contains(tag));
        let Some((digest, _)) = of_tag else { continue };
        if !known.kept.contains(digest) {
            registries.delete(repository, digest).await?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// The manifests of a repository that have tags.
struct Tagged {
    tags: HashMap<Digest, Vec<Tag>>,
    /// Those that have other tags than the stale ones, and those that their indexes list.
    kept: BTreeSet<Digest>,
}

impl Tagged {
    async fn read(
        registries: &Registries,
        repository: &Repository,
        stale: &[&Tag],
    ) -> Result<Self, PublishError> {
        let tags = by_digest(registries, repository).await?;
        let is_kept = |names: &[Tag]| names.iter().any(|name| !stale.contains(&name));
        let named = tags.iter().filter(|(_, names)| is_kept(names)).map(|(digest, _)| digest);
        let listed = named.clone().map(async |digest| {
            let manifest = registries.manifest(repository, digest).await?;
            Ok::<_, PublishError>(manifest.map(|manifest| manifest.needs().manifests))
        });
        let listed = try_join_all(listed).await?.into_iter().flatten().flatten();
        let kept = listed.chain(named.cloned()).collect();
        Ok(Self { tags, kept })
    }
}

/// Returns true if the registry cannot delete a tag without its manifest.
fn is_unsupported(error: &RegistryError) -> bool {
    match error.kind() {
        RegistryErrorKind::Status { status: 405, .. } => true,
        RegistryErrorKind::Status { status: 400 | 404, problem, .. } => problem
            .codes
            .iter()
            .any(|code| matches!(code.as_str(), "UNSUPPORTED" | "DIGEST_INVALID")),
        _ => false,
    }
}

/// Returns all tags of a repository by the digests that they point to.
async fn by_digest(
    registries: &Registries,
    repository: &Repository,
) -> Result<HashMap<Digest, Vec<Tag>>, PublishError> {
    let tags = registries.tags(repository).await?.unwrap_or_default();
    let references = tags.iter().filter_map(|tag| {
        Some(Reference { repository: repository.clone(), tag: tag.parse().ok()? })
    });
    let digests = try_join_all(references.map(async |reference| {
        let digest = digest_of(registries, &reference).await?;
        Ok::<_, PublishError>((digest, reference.tag))
    }));
    let mut found: HashMap<Digest, Vec<Tag>> = HashMap::new();
    for (digest, tag) in digests.await? {
        if let Some(digest) = digest {
            found.entry(digest).or_default().push(tag);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staging_tags_are_recognized() {
        let fingerprint_tag = format!("basegen-{}", "0f".repeat(16));
        let without_fingerprint = format!("basegen-once-{}", "0f".repeat(12));
        let checked = format!("{fingerprint_tag}-{}", "0f".repeat(6));
        for tag in [fingerprint_tag.as_str(), &checked, &without_fingerprint] {
            assert!(is_staging(tag), "{tag}");
        }
        let commit_tag = format!("basegen-{}", "0f".repeat(20));
        assert!(!is_staging(&commit_tag));
        for tag in ["basegen-release", "basegen-release-v1", "basegen-", "3.9-v1", "basegen-abc"] {
            assert!(!is_staging(tag), "{tag}");
        }
    }
}
