//! The requirements of the `fal` package on the three packages that it shares with an image.
//!
//! `fal-releases.txt` has a line for each release whose metadata was read from PyPI: `scripts/fal-releases` writes it.

use std::cmp::Ordering;

use crate::matrix::compare_versions;

const TABLE: &str = include_str!("fal-releases.txt");

/// A package and its version specifiers; empty for any version.
pub(super) type Requirement = (&'static str, &'static str);

fn releases() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(": "))
}

/// Returns the first and the last known release.
pub(super) fn range() -> (&'static str, &'static str) {
    let mut versions = releases().map(|(version, _)| version);
    let first = versions.next().expect("the table has a release");
    (first, versions.last().unwrap_or(first))
}

/// Returns the requirements of a release: those of the newest listed release that is not newer. `None` before the first
/// and after the last listed release.
pub(super) fn requirements(version: &str) -> Option<Vec<Requirement>> {
    let is_at_least = |known: &str| compare_versions(version, known).is_some_and(Ordering::is_ge);
    let (_, last) = range();
    if compare_versions(version, last).is_none_or(Ordering::is_gt) {
        return None;
    }
    let (_, requirements) = releases().filter(|(known, _)| is_at_least(known)).last()?;
    let parts = requirements.split(';').map(str::trim);
    Some(parts.map(|part| part.split_once(' ').unwrap_or((part, ""))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_the_requirements_of_the_listed_one_before_it() {
        let (first, last) = range();
        for version in [first, "1.72.3", last] {
            let requirements = requirements(version).expect(version);
            let names: Vec<&str> = requirements.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, ["pydantic", "protobuf", "boto3"], "{version}");
        }
        for version in ["0.1", "99.0", "latest", ""] {
            assert_eq!(requirements(version), None, "{version}");
        }
    }
}
