//! Determines the publication status of each candidate, with reasons.

use super::image::{Labels, size};
use super::survey::{Survey, Wanted, digest_of, released};
use super::{PinnedImage, Place, PublishError, ReleaseSet};
use crate::image::{Digest, Reference};
use crate::plan::{GpuFacts, Growth, Inputs, Lost, PublicationStatus, PublishedState as State};
use crate::registry::Registries;
use futures_util::future::try_join_all;

/// A target whose status is looked up.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// The id of its variant.
    pub id: &'a str,
    /// The version tag and the aliases in its first registry, then in each other one.
    pub references: Vec<Reference>,
    /// The image that it is a copy of, if it is not built.
    pub mirror: Option<PinnedImage>,
    pub inputs: &'a Inputs,
    /// The digest of its checks, if it has any.
    pub checks: Option<Digest>,
    /// Its CUDA libraries, if it has any.
    pub gpu: Option<&'a GpuFacts>,
    /// Whether its size is limited, and its growth therefore of interest.
    pub has_max_size: bool,
}

impl Candidate<'_> {
    fn places(&self) -> impl Iterator<Item = Place<'_>> {
        Reference::by_repository(&self.references).map(Place::new)
    }

    /// Returns the tags in the first registry.
    fn first(&self) -> Place<'_> {
        self.places().next().expect("an image has a version tag")
    }
}

/// Returns the publication status of each of `candidates`. The image published before is the one
/// listed by `known`, the release sets of the version, else by `newest`, the newest release sets,
/// else the one that the version tag or an alias points to.
pub async fn publication_status(
    registries: &Registries,
    candidates: &[Candidate<'_>],
    newest: &[Reference],
    known: &[Reference],
) -> Result<Vec<PublicationStatus>, PublishError> {
    let mut sets = ReleaseSet::read_all(registries, known).await?;
    sets.extend(ReleaseSet::read_all(registries, newest).await?);
    let statuses =
        candidates.iter().map(|candidate| candidate_status(registries, candidate, &sets));
    try_join_all(statuses).await
}

async fn candidate_status(
    registries: &Registries,
    candidate: &Candidate<'_>,
    sets: &[ReleaseSet],
) -> Result<PublicationStatus, PublishError> {
    let fingerprint = candidate.inputs.fingerprint();
    let wanted = Wanted {
        id: candidate.id,
        fingerprint: fingerprint.as_ref(),
        checks: candidate.checks.as_ref(),
        mirrored: candidate.mirror.as_ref().map(|mirror| &mirror.digest),
    };
    let survey = Survey::look_up(registries, candidate.places(), &wanted, sets).await?;
    let (exists, is_published) = (survey.exists(), survey.is_published());
    let has_limits = candidate.gpu.is_some() || candidate.has_max_size;
    let before = if !exists || (has_limits && !is_published) {
        Earlier::find(registries, candidate, survey.version(), sets).await?
    } else {
        None
    };
    let has_conflicts = survey.conflicts().next().is_some();
    let tag = &candidate.first().version().tag;
    let (state, mut reasons) = if is_published {
        (State::Published, Vec::new())
    } else if !exists {
        match &before {
            Some(before) => (State::Changed, reasons(candidate, before)),
            None => (State::New, Vec::new()),
        }
    } else if has_conflicts {
        (State::Changed, vec![format!("the tag `{tag}` points to a different image")])
    } else {
        let mut reasons = vec![format!("already built; only the tag `{tag}` will be set")];
        reasons.extend(candidate.places().zip(&survey.places).filter_map(|(place, found)| {
            let repository = place.repository();
            (found.content != survey.content)
                .then(|| format!("its image will be copied to `{repository}`"))
        }));
        (State::Retag, reasons)
    };
    let mut growth = None;
    if has_limits && let Some(before) = &before {
        let lost;
        let now = survey.content.as_ref().filter(|_| exists);
        (lost, growth) = comparison(registries, candidate, now, before).await?;
        if !lost.is_empty() {
            let lost = Lost::list(&lost);
            reasons.insert(0, format!("{lost}: refused unless `drop_sm` permits it"));
        }
    }
    if matches!(state, State::Published | State::Retag) && !survey.is_checked {
        reasons.insert(0, "its checks have not run on its image".to_owned());
    }
    let has_conflicting_tag = has_conflicts && fingerprint.is_some();
    Ok(PublicationStatus {
        state,
        is_checked: survey.is_checked,
        reasons,
        growth,
        has_conflicting_tag,
    })
}

/// The image that a candidate replaces.
struct Earlier {
    digest: Digest,
    labels: Labels,
}

impl Earlier {
    async fn find(
        registries: &Registries,
        candidate: &Candidate<'_>,
        named: Option<&Digest>,
        sets: &[ReleaseSet],
    ) -> Result<Option<Self>, PublishError> {
        let first = candidate.first();
        let digest = previous(registries, first, named, sets, candidate.id).await?;
        let Some(digest) = digest else { return Ok(None) };
        let labels = Labels::read(registries, first.repository(), &digest).await?;
        Ok(Some(Self { digest, labels }))
    }
}

/// Returns the losses and the growth of the candidate since the image `before`. `now` is its image, if that exists.
async fn comparison(
    registries: &Registries,
    candidate: &Candidate<'_>,
    now: Option<&Digest>,
    before: &Earlier,
) -> Result<(Vec<Lost>, Option<Growth>), PublishError> {
    let repository = candidate.first().repository();
    let (mut lost, mut growth) = (Vec::new(), None);
    if let Some(gpu) = candidate.gpu
        && let Some(earlier) = before.labels.gpu_facts()
    {
        lost = gpu.lost_since(&earlier);
        growth = Some(Growth { of: "CUDA libraries", now: gpu.size(), before: earlier.size() });
    }
    if let Some(now) = now
        && let Some(now) = size(registries, repository, now).await?
        && let Some(before) = size(registries, repository, &before.digest).await?
    {
        growth = Some(Growth { of: "compressed image", now, before });
    }
    Ok((lost, growth.filter(|growth| growth.now != growth.before)))
}

/// Returns the image in `place` to compare the one of the target `id` with: the one `named` by its version tag, else the
/// one that the first of `sets` lists, else the one under its first alias.
pub(super) async fn previous(
    registries: &Registries,
    place: Place<'_>,
    named: Option<&Digest>,
    sets: &[ReleaseSet],
    id: &str,
) -> Result<Option<Digest>, PublishError> {
    // A set may list any repository, but only the image's own is read.
    let released = released(sets, place, id);
    let released = released.filter(|image| image.reference.repository == *place.repository());
    let known = named.or(released.map(|image| &image.digest));
    match (known, place.aliases().first()) {
        (Some(digest), _) => Ok(Some(digest.clone())),
        (None, Some(alias)) => digest_of(registries, alias).await,
        (None, None) => Ok(None),
    }
}

/// Returns the reasons why the current image differs from the one `before`.
fn reasons(candidate: &Candidate<'_>, before: &Earlier) -> Vec<String> {
    if let Some(PinnedImage { repository, digest }) = &candidate.mirror {
        return vec![format!("it mirrors another image: `{repository}@{digest}`")];
    }
    let Some(before) = before.labels.inputs() else {
        return vec!["the published image lists no inputs that this basegen can read".to_owned()];
    };
    let changes = candidate.inputs.changes_since(&before);
    if !changes.is_empty() {
        return changes.iter().map(ToString::to_string).collect();
    }
    let reason = if candidate.inputs.fingerprint().is_none() {
        "a base image is not pinned; pin it with `basegen update`"
    } else {
        "its staged image is no longer in the registry"
    };
    vec![reason.to_owned()]
}
