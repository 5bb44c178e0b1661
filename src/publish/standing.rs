//! How each row stands to what has been published, and why.

use std::collections::BTreeMap;

use super::labels::labels;
use super::survey::{Survey, digest_of};
use super::{PublishError, ReleaseSet};
use crate::image::{Digest, Reference};
use crate::plan::{Fingerprint, Inputs, PublishedState as State, Standing};
use crate::registry::Registries;
use futures_util::future::try_join_all;

/// A row to be asked about.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Its id.
    pub id: &'a str,
    /// The tag of the version.
    pub version: &'a Reference,
    /// The tags that move.
    pub aliases: &'a [Reference],
    /// What makes it.
    pub inputs: &'a Inputs,
}

/// Asks the registries how each of `candidates` stands. What was published before is what
/// `newest`, the release set that moves on, lists; or what the row's tags stand for.
pub async fn stands(
    registries: &Registries,
    candidates: &[Candidate<'_>],
    newest: Option<&Reference>,
) -> Result<Vec<Standing>, PublishError> {
    let newest = match newest {
        Some(reference) => ReleaseSet::read(registries, reference).await?,
        None => None,
    };
    let before: BTreeMap<&str, &Digest> = newest
        .iter()
        .flat_map(|(set, _)| &set.images)
        .map(|(id, image)| (id.as_str(), &image.digest))
        .collect();
    let asked = candidates.iter().map(|candidate| {
        let before = before.get(candidate.id).copied();
        stand(registries, candidate, before)
    });
    try_join_all(asked).await
}

async fn stand(
    registries: &Registries,
    candidate: &Candidate<'_>,
    before: Option<&Digest>,
) -> Result<Standing, PublishError> {
    let fingerprint = candidate.inputs.fingerprint();
    let survey = Survey::of(registries, candidate.version, fingerprint.as_ref(), None).await?;
    let tag = &candidate.version.tag;
    let (state, reasons) = match (&survey.content, &survey.version) {
        (Some(content), Some(version)) if content == version => (State::Published, Vec::new()),
        (Some(_), None) => {
            (State::Missing, vec![format!("its image is there, the tag `{tag}` is not")])
        }
        (Some(_), Some(_)) => {
            (State::Changed, vec![format!("the tag `{tag}` stands for another image")])
        }
        (None, version) => {
            let known = match version.as_ref().or(before) {
                Some(digest) => Some(digest.clone()),
                None => first_alias(registries, candidate.aliases).await?,
            };
            match known {
                None => (State::New, Vec::new()),
                Some(digest) => (State::Changed, reasons(registries, candidate, &digest).await?),
            }
        }
    };
    Ok(Standing { state, reasons })
}

async fn first_alias(
    registries: &Registries,
    aliases: &[Reference],
) -> Result<Option<Digest>, PublishError> {
    match aliases.first() {
        Some(alias) => digest_of(registries, alias).await,
        None => Ok(None),
    }
}

/// Why the image of today is not the one that was published.
async fn reasons(
    registries: &Registries,
    candidate: &Candidate<'_>,
    before: &Digest,
) -> Result<Vec<String>, PublishError> {
    let labels = labels(registries, &candidate.version.repository, before).await?;
    let reason = |text: &str| Ok(vec![text.to_owned()]);
    let Some(before) = labels.get(Inputs::LABEL).and_then(|text| Inputs::from_label(text)) else {
        return match labels.contains_key(Fingerprint::LABEL) {
            true => reason("another basegen made the one that is there"),
            false => reason("the one that is there does not say what made it"),
        };
    };
    let changes = candidate.inputs.changes_since(&before);
    if changes.is_empty() && candidate.inputs.fingerprint().is_none() {
        return reason("what it is built on is not pinned");
    }
    Ok(changes.iter().map(ToString::to_string).collect())
}
