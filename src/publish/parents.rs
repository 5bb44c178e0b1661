//! The images of the matrix that those of a release are based on.
//!
//! A release can be a part of its matrix. Then images that it does not contain may be below its own. They are used as
//! their registry has them. Those that are not there are built and get staging tags, but no version tags.

use std::collections::HashMap;

use super::staging::checking;
use super::{Row, Survey};
use crate::engine::BuildJob;
use crate::image::Digest;
use crate::plan::needed;

/// Returns the rows to build or to check: of the first `released` rows all that are missing or not checked, and of the
/// others those that a row to build is based on.
pub(super) fn missing(rows: &[Row], surveys: &[Survey], released: usize) -> Vec<usize> {
    let by_target = by_target(rows);
    let parents = rows.iter().map(|row| {
        let parents = row.job.parents.iter();
        parents.filter_map(|parent| by_target.get(&*parent.target).copied()).collect()
    });
    let needed =
        needed(released, &parents.collect::<Vec<_>>(), |row| surveys[row].content.is_none());
    needed.into_iter().filter(|row| !surveys[*row].is_checked).collect()
}

/// Returns the jobs of `missing` rows. Of those in `existing`, only the checks run. The rows after the first `released`
/// have only their staging tag as a name.
pub(super) fn jobs(
    rows: &[Row],
    missing: &[usize],
    existing: &[Option<Digest>],
    released: usize,
) -> Vec<BuildJob> {
    let by_target = by_target(rows);
    let jobs = missing.iter().map(|row| {
        let mut job = match &existing[*row] {
            Some(digest) => checking(&rows[*row].job, digest),
            None => rows[*row].job.clone(),
        };
        for parent in &mut job.parents {
            let at = by_target.get(&*parent.target);
            parent.digest = at.and_then(|at| existing[*at].clone());
        }
        if *row >= released {
            job.references = job.staged().into_iter().collect();
        }
        job
    });
    jobs.collect()
}

fn by_target(rows: &[Row]) -> HashMap<&str, usize> {
    rows.iter().map(|row| row.job.target.as_str()).zip(0..).collect()
}
