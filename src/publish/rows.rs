//! The rows of a run: those of a release, and the images of the matrix that these are based on.
//!
//! A release can be a part of its matrix. Then images that it does not contain may be below its own. They are used as
//! their registry has them. Those that are not there are built and get staging tags, but no version tags.

use std::borrow::Cow;
use std::collections::HashMap;

use futures_util::future::try_join_all;

use super::copies::{Copied, incomplete_images};
use super::staging::checking;
use super::{PublishError, ReleaseRequest, Row, Survey, by_platform};
use crate::engine::BuildJob;
use crate::image::{Digest, Platform};
use crate::plan::needed;
use crate::registry::Registries;

/// The rows of a run with their states in the registries.
pub(super) struct SurveyedRows<'a> {
    /// The rows of the release, then those that they are based on.
    pub(super) rows: Cow<'a, [Row]>,
    /// The positions of the rows to build or to check: all of the release that are missing or not checked, and of the
    /// others those that a row to build is based on.
    pub(super) missing: Vec<usize>,
    surveys: Vec<Survey>,
    /// The number of rows of the release.
    released: usize,
}

impl<'a> SurveyedRows<'a> {
    /// `surveys` are those of the release, and `below` those of the rows that it is based on.
    pub(super) fn new(
        release: &'a ReleaseRequest,
        surveys: Vec<Survey>,
        below: Vec<Survey>,
    ) -> Self {
        let rows = match &release.parents[..] {
            [] => Cow::Borrowed(&release.rows[..]),
            parents => Cow::Owned([&release.rows[..], parents].concat()),
        };
        let surveys: Vec<Survey> = surveys.into_iter().chain(below).collect();
        let released = release.rows.len();
        let missing = missing(&rows, &surveys, released);
        Self { rows, missing, surveys, released }
    }

    /// Returns the rows of the images for one platform, which the jobs of other platforms do not build. With `forced`, no
    /// image of the release counts that was built before.
    pub(super) async fn for_platform(
        self,
        registries: &Registries,
        platform: &Platform,
        forced: bool,
    ) -> Result<SurveyedRows<'static>, PublishError> {
        let rows: Vec<Row> = self.rows.iter().map(|row| row.for_platform(platform)).collect();
        let surveys = self.rows.iter().zip(&rows).zip(&self.surveys).enumerate();
        let surveys = surveys.map(async |(at, ((row, part), whole))| {
            if !row.has(platform) || (forced && at < self.released) {
                return Ok(whole.clone());
            }
            by_platform::survey(registries, part, platform, Some(whole)).await
        });
        let surveys = try_join_all(surveys).await?;
        let missing = missing(&rows, &surveys, self.released);
        Ok(SurveyedRows { rows: Cow::Owned(rows), missing, surveys, released: self.released })
    }

    /// Returns the rows with an image to push.
    pub(super) fn incomplete(&self) -> impl Iterator<Item = &Row> {
        let incomplete = (0..self.rows.len()).filter(|row| {
            let is_released = *row < self.released;
            self.missing.contains(row) || (is_released && !self.surveys[*row].is_everywhere())
        });
        incomplete.map(|row| &self.rows[row])
    }

    /// Returns the images that some of their repositories lack. Only images that are built need those that they are based
    /// on.
    pub(super) fn incomplete_images(&self) -> impl Iterator<Item = Copied<'_>> {
        let count = if self.missing.is_empty() { self.released } else { self.rows.len() };
        incomplete_images(&self.rows[..count], &self.surveys)
    }

    /// Returns the images of all rows, also those whose checks have not run.
    pub(super) fn existing(&self) -> Vec<Option<Digest>> {
        self.surveys.iter().map(|survey| survey.content.clone()).collect()
    }

    /// Returns the images of all rows but the missing ones.
    pub(super) fn unchanged(&self) -> Vec<Option<Digest>> {
        let mut digests = self.existing();
        for row in &self.missing {
            digests[*row] = None;
        }
        digests
    }

    /// Returns the images of the release that were missing, as they are in their first repositories now. `digests` are
    /// those of all rows.
    pub(super) fn built<'b>(
        &'b self,
        digests: &'b [Option<Digest>],
    ) -> impl Iterator<Item = Copied<'b>> {
        let released = self.missing.iter().filter(|row| **row < self.released);
        released.filter_map(|row| {
            let (row, digest) = (&self.rows[*row], digests[*row].as_ref()?);
            Some(Copied { row, digest, from: &row.version().repository, is_checked: true })
        })
    }

    /// Returns the rows of the release.
    pub(super) fn released(&self) -> &[Row] {
        &self.rows[..self.released]
    }

    /// Returns the digests of the release, if `digests` has all of them.
    pub(super) fn of_release(&self, digests: &[Option<Digest>]) -> Option<Vec<Digest>> {
        digests[..self.released].iter().cloned().collect()
    }

    /// Returns the jobs of the missing rows. For images that exist, only the checks run. Images that the release is based
    /// on have only their staging tag as a name.
    pub(super) fn jobs(&self) -> Vec<BuildJob> {
        let by_target = by_target(&self.rows);
        let content = |row: usize| self.surveys[row].content.as_ref();
        let jobs = self.missing.iter().map(|row| {
            let mut job = match content(*row) {
                Some(digest) => checking(&self.rows[*row].job, digest),
                None => self.rows[*row].job.clone(),
            };
            for parent in &mut job.parents {
                let at = by_target.get(&*parent.target);
                parent.digest = at.and_then(|at| content(*at).cloned());
            }
            if *row >= self.released {
                job.references = job.staged().into_iter().collect();
            }
            job
        });
        jobs.collect()
    }
}

fn missing(rows: &[Row], surveys: &[Survey], released: usize) -> Vec<usize> {
    let by_target = by_target(rows);
    let parents = rows.iter().map(|row| {
        let parents = row.job.parents.iter();
        parents.filter_map(|parent| by_target.get(&*parent.target).copied()).collect()
    });
    let needed =
        needed(released, &parents.collect::<Vec<_>>(), |row| surveys[row].content.is_none());
    needed.into_iter().filter(|row| !surveys[*row].is_checked).collect()
}

fn by_target(rows: &[Row]) -> HashMap<&str, usize> {
    rows.iter().map(|row| row.job.target.as_str()).zip(0..).collect()
}
