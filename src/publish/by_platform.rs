//! Images for several platforms that different jobs stage, each for one platform. The index of such an image is made
//! from its platforms when the release is published.
//!
//! The image of a platform has staging tags of its own, from the fingerprint of the whole image and the platform. Its
//! labels are those of the whole image.

use futures_util::future::try_join_all;

use super::copies::{Copies, incomplete_images};
use super::image::images;
use super::survey::{fetch, staged};
use super::{Place, PlaceSurvey, PublishError, Row, Survey};
use crate::image::{Digest, Platform, Repository};
use crate::plan::Fingerprint;
use crate::registry::{Manifest, Registries};

impl Row {
    /// Returns true if its image is an index of images for several platforms, which are built.
    #[must_use]
    pub fn is_index(&self) -> bool {
        self.mirror.is_none() && self.job.platforms.len() > 1
    }

    /// Returns the row of its image for one platform. An image that is no index, or is not for this platform, is built as
    /// a whole.
    pub(super) fn for_platform(&self, platform: &Platform) -> Self {
        let Some(fingerprint) = self.fingerprint.as_ref().filter(|_| self.has(platform)) else {
            return self.clone();
        };
        let fingerprint = fingerprint.of_platform(platform);
        let job = self.job.for_platform(platform, fingerprint.staging_tag());
        Self { job, fingerprint: Some(fingerprint), ..self.clone() }
    }

    /// Returns the platform whose image has the fingerprint `of_platform`.
    pub(super) fn platform_of(&self, of_platform: Option<&Fingerprint>) -> Option<&Platform> {
        let (whole, wanted) = (self.fingerprint.as_ref()?, of_platform?);
        let mut platforms = self.job.platforms.iter().filter(|_| self.is_index());
        platforms.find(|platform| whole.of_platform(platform) == *wanted)
    }

    /// Returns true if its image is an index that contains one for `platform`.
    pub(super) fn has(&self, platform: &Platform) -> bool {
        self.is_index() && self.job.platforms.contains(platform)
    }
}

/// Returns the platforms of the image of `row` that are not staged or not checked.
pub async fn unstaged_platforms<'a>(
    registries: &Registries,
    row: &'a Row,
) -> Result<Vec<&'a Platform>, PublishError> {
    let wholes = Survey::take(registries, std::slice::from_ref(row), &[], false).await?;
    let platforms = row.job.platforms.iter().map(async |platform| {
        let part = row.for_platform(platform);
        let survey = survey(registries, &part, platform, wholes.first()).await?;
        Ok::<_, PublishError>(Some(platform).filter(|_| !survey.is_checked))
    });
    Ok(try_join_all(platforms).await?.into_iter().flatten().collect())
}

/// Looks up the image of `part`, a row for `platform`. It is the one in the index of the survey `whole`, or else the one with
/// staging tags of its own.
pub(super) async fn survey(
    registries: &Registries,
    part: &Row,
    platform: &Platform,
    whole: Option<&Survey>,
) -> Result<Survey, PublishError> {
    let places = part.places().enumerate().map(async |(at, place)| {
        let whole = whole.and_then(|whole| whole.places.get(at));
        let listed = match whole.and_then(|whole| whole.content.as_ref()) {
            Some(index) => images(registries, place.repository(), index).await?,
            None => Vec::new(),
        };
        let listed = listed.into_iter().find(|(known, _)| known == platform);
        let listed = listed.map(|(_, image)| image);
        if listed.is_some() && whole.is_some_and(|whole| whole.is_checked) {
            return Ok(PlaceSurvey { content: listed, is_checked: true, version: None });
        }
        let mut found = place_survey(registries, part, place).await?;
        if listed.is_some() {
            found.is_checked &= found.content == listed;
            found.content = listed;
        }
        Ok::<_, PublishError>(found)
    });
    Ok(Survey::joined(try_join_all(places).await?, None, part.checks.is_some()))
}

/// Looks up the image of a platform by its staging tags. No version tag points to it.
async fn place_survey(
    registries: &Registries,
    row: &Row,
    place: Place<'_>,
) -> Result<PlaceSurvey, PublishError> {
    let Some(fingerprint) = &row.fingerprint else { return Ok(PlaceSurvey::default()) };
    let repository = place.repository();
    let passed = staged(registries, repository, fingerprint, row.checks.as_ref()).await?;
    if passed.is_some() || row.checks.is_none() {
        return Ok(PlaceSurvey { is_checked: passed.is_some(), content: passed, version: None });
    }
    let content = staged(registries, repository, fingerprint, None).await?;
    Ok(PlaceSurvey { content, is_checked: false, version: None })
}

/// An image whose platforms are all staged and checked, and its index.
#[derive(Debug)]
pub(super) struct JoinedIndex<'a> {
    row: &'a Row,
    /// The rows of its platforms, with their states.
    rows: Vec<Row>,
    surveys: Vec<Survey>,
    index: Manifest,
}

impl<'a> JoinedIndex<'a> {
    /// Joins the images of `parts`, the rows of the platforms of `row` with their surveys. `known` is the survey of `row` if
    /// its index may exist.
    pub(super) async fn new(
        registries: &Registries,
        row: &'a Row,
        parts: Vec<(Row, Survey)>,
        known: Option<&Survey>,
    ) -> Result<Self, PublishError> {
        let (rows, surveys): (Vec<Row>, Vec<Survey>) = parts.into_iter().unzip();
        let index = if let Some((repository, digest)) = known.and_then(|known| located(row, known))
        {
            fetch(registries, repository, digest).await?
        } else {
            index(registries, row, &surveys).await?
        };
        Ok(Self { row, rows, surveys, index })
    }

    pub(super) fn digest(&self) -> Digest {
        self.index.digest()
    }

    /// Sets the index as the image of its row.
    pub(super) fn record_in(&self, survey: &mut Survey) {
        let digest = self.index.digest();
        if let Some(first) = survey.places.first_mut() {
            (first.content, first.is_checked) = (Some(digest.clone()), true);
        }
        (survey.content, survey.is_checked) = (Some(digest), true);
    }

    /// Copies the images of the platforms to repositories that lack them, and pushes the index to the first one, under the
    /// staging tags of its row.
    pub(super) async fn push(
        &self,
        registries: &Registries,
        copies: &Copies<'_>,
    ) -> Result<(), PublishError> {
        copies.complete(incomplete_images(&self.rows, &self.surveys)).await?;
        let repository = self.row.first().repository();
        // A staging tag that cannot move may keep another image.
        registries.put_manifest(repository, &self.index.digest(), &self.index).await?;
        registries.remember(repository, &self.index);
        copies.set_staging_tags(self.row, repository, &self.index, true).await
    }
}

/// Returns the index of the images of `surveys`, which are those of the platforms of `row`.
async fn index(
    registries: &Registries,
    row: &Row,
    surveys: &[Survey],
) -> Result<Manifest, PublishError> {
    let parts = row.job.platforms.iter().zip(surveys).map(async |(platform, survey)| {
        let (repository, digest) = located(row, survey).expect("a staged image");
        let manifest = fetch(registries, repository, digest).await?;
        Ok::<_, PublishError>((platform.clone(), manifest.descriptor()))
    });
    Ok(Manifest::index(&try_join_all(parts).await?))
}

/// Returns the image of a survey, and a repository of `row` that has it.
fn located<'s>(row: &'s Row, survey: &'s Survey) -> Option<(&'s Repository, &'s Digest)> {
    let content = survey.content.as_ref()?;
    let mut places = row.places().zip(&survey.places);
    let (place, _) = places.find(|(_, found)| found.content.as_ref() == Some(content))?;
    Some((place.repository(), content))
}
