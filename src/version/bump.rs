//! Computes the next version.
//!
//! The rules are those of npm's [`semver.inc`]: bumping a pre-release results in its release, if that is high enough. They also
//! apply to PEP 440.
//!
//! [`semver.inc`]: https://github.com/npm/node-semver#functions

use std::str::FromStr;

use pep440_rs::{Prerelease as Pep440Prerelease, PrereleaseKind, Version as Pep440};
use semver::{BuildMetadata, Version as SemVer};

use super::edit::new_version;
use super::number::{Number, is_number, split_prefix};
use super::place::VersionOccurrence;
use super::{InvalidVersion, Version, VersionError};
use crate::error::{ExitCode, Explain};

/// The part of a version to increment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Patch,
    Minor,
    Major,
    /// Increments the pre-release, or starts one of the next patch.
    Prerelease,
}

impl FromStr for Level {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "patch" => Ok(Self::Patch),
            "minor" => Ok(Self::Minor),
            "major" => Ok(Self::Major),
            "prerelease" => Ok(Self::Prerelease),
            _ => Err(()),
        }
    }
}

/// The kinds of pre-releases in both grammars, in ascending order: `1.2.3-dev.1` and `1.2.3.dev1`, `1.2.3-alpha.1` and
/// `1.2.3a1`, `1.2.3-beta.1` and `1.2.3b1`, `1.2.3-rc.1` and `1.2.3rc1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Prerelease {
    Dev,
    Alpha,
    Beta,
    Rc,
}

/// Why there is no next version.
#[derive(Debug, thiserror::Error)]
pub enum BumpError {
    /// The argument is neither a level nor a version.
    #[error(
        "`{0}` is neither `patch`, `minor`, `major` or `prerelease` nor a version, such as `v0.13.0`"
    )]
    Unknown(String),
    /// The version cannot be part of a tag.
    #[error(transparent)]
    Invalid(InvalidVersion),
    /// The prefix differs from that of the present version.
    #[error("`{wanted}` has another prefix than `{now}`: expected `{prefix}`")]
    Prefix { wanted: String, now: Version, prefix: String },
    /// The version is lower than the present one.
    #[error("`{wanted}` is lower than `{now}`")]
    Lower { wanted: String, now: String },
    #[error("no version follows `{0}`: a number in it is too large")]
    Overflow(String),
    /// The first place cannot express the version.
    #[error(transparent)]
    Place(#[from] VersionError),
}

impl Explain for BumpError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Place(error) => error.exit_code(),
            _ => ExitCode::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Place(error) => error.hint(),
            Self::Lower { .. } => {
                Some("pass `--allow-downgrade` to go back to a version".to_owned())
            }
            _ => None,
        }
    }
}

/// Returns the version `wanted` in the style of the `first` place. Its prefix is optional. A lower version requires
/// `allow_downgrade`.
pub fn target(
    first: &VersionOccurrence,
    wanted: &str,
    allow_downgrade: bool,
) -> Result<Version, BumpError> {
    let unknown = |error| match error {
        InvalidVersion::Grammar(_) => BumpError::Unknown(wanted.to_owned()),
        other => BumpError::Invalid(other),
    };
    let prefix = first.version.prefix();
    let behind_prefix = wanted.strip_prefix(prefix).filter(|rest| is_number(rest));
    let (given, written) =
        behind_prefix.map_or_else(|| split_prefix(wanted), |written| (prefix, written));
    let number = Number::parse(written, first.grammar).map_err(unknown)?;
    if !["", "v", prefix].contains(&given) {
        let (wanted, prefix) = (wanted.to_owned(), prefix.to_owned());
        return Err(BumpError::Prefix { wanted, now: first.version.clone(), prefix });
    }
    if number < first.number && !allow_downgrade {
        let (wanted, now) = (wanted.to_owned(), first.version.to_string());
        return Err(BumpError::Lower { wanted, now });
    }
    Ok(new_version(first, &number, written)?)
}

/// Returns the version after that at the `first` place, in the style of that place. With `kind`, it is a pre-release.
pub fn bump(
    first: &VersionOccurrence,
    level: Level,
    kind: Option<Prerelease>,
) -> Result<Version, BumpError> {
    let number = next(&first.number, level, kind)?;
    Ok(new_version(first, &number, "")?)
}

fn next(now: &Number, level: Level, kind: Option<Prerelease>) -> Result<Number, BumpError> {
    let overflow = || BumpError::Overflow(now.to_string());
    let next = match now {
        Number::Pep440(version) => after_pep440(version, level, kind).map(Number::Pep440),
        Number::SemVer(version) => after_semver(version, level, kind),
    };
    let next = next.ok_or_else(overflow)?;
    if next > *now {
        Ok(next)
    } else {
        Err(BumpError::Lower { wanted: next.to_string(), now: now.to_string() })
    }
}

/// Returns `None` if a number overflows.
fn after_pep440(now: &Pep440, level: Level, kind: Option<Prerelease>) -> Option<Pep440> {
    if let (Level::Prerelease, Some((is, number))) = (level, prerelease_of(now)) {
        let same = kind.is_none_or(|kind| kind == is);
        let number = if same { number.checked_add(1)? } else { 1 };
        return Some(with(&stable(now), kind.unwrap_or(is), number));
    }
    let is_early = prerelease_of(now).is_some();
    // A requested pre-release belongs to the next version.
    let stays = is_early && kind.is_none();
    let release = stepped(now.release(), level, stays)?;
    let next = Pep440::new(release).with_epoch(now.epoch());
    Some(match (level, kind) {
        (_, Some(kind)) => with(&next, kind, 1),
        (Level::Prerelease, None) => with(&next, Prerelease::Rc, 1),
        (_, None) => next,
    })
}

/// Increments the numbers. With `stays`, numbers that are a release of this level already stay.
fn stepped(release: &[u64], level: Level, stays: bool) -> Option<Vec<u64>> {
    let at = |index: usize| release.get(index).copied().unwrap_or(0);
    let (major, minor, patch) = (at(0), at(1), at(2));
    let plain = release.iter().skip(3).all(|number| *number == 0);
    Some(match level {
        Level::Major if stays && minor == 0 && patch == 0 && plain => vec![major, 0, 0],
        Level::Major => vec![major.checked_add(1)?, 0, 0],
        Level::Minor if stays && patch == 0 && plain => vec![major, minor, 0],
        Level::Minor => vec![major, minor.checked_add(1)?, 0],
        Level::Patch | Level::Prerelease if stays => release.to_vec(),
        Level::Patch | Level::Prerelease => vec![major, minor, patch.checked_add(1)?],
    })
}

/// Returns the pre-release of a version and its number. A development release of a pre-release counts as that pre-release.
fn prerelease_of(version: &Pep440) -> Option<(Prerelease, u64)> {
    match (version.pre(), version.dev()) {
        // `1.2.post1.dev3` comes after 1.2.
        _ if version.is_post() => None,
        (Some(Pep440Prerelease { kind, number }), _) => Some((
            match kind {
                PrereleaseKind::Alpha => Prerelease::Alpha,
                PrereleaseKind::Beta => Prerelease::Beta,
                PrereleaseKind::Rc => Prerelease::Rc,
            },
            number,
        )),
        (None, Some(number)) => Some((Prerelease::Dev, number)),
        (None, None) => None,
    }
}

fn stable(version: &Pep440) -> Pep440 {
    Pep440::new(version.release().iter().copied()).with_epoch(version.epoch())
}

fn with(release: &Pep440, kind: Prerelease, number: u64) -> Pep440 {
    let pre = |kind| release.clone().with_pre(Some(Pep440Prerelease { kind, number }));
    match kind {
        Prerelease::Dev => release.clone().with_dev(Some(number)),
        Prerelease::Alpha => pre(PrereleaseKind::Alpha),
        Prerelease::Beta => pre(PrereleaseKind::Beta),
        Prerelease::Rc => pre(PrereleaseKind::Rc),
    }
}

/// Increments a pre-release that only SemVer has, such as `1.2.3-nightly.4`.
fn after_semver(now: &SemVer, level: Level, kind: Option<Prerelease>) -> Option<Number> {
    let numbers = [now.major, now.minor, now.patch];
    if level != Level::Prerelease {
        let next = Pep440::new(stepped(&numbers, level, kind.is_none())?);
        return Some(Number::Pep440(kind.map_or(next.clone(), |kind| with(&next, kind, 1))));
    }
    if let Some(kind) = kind {
        return Some(Number::Pep440(with(&Pep440::new(numbers), kind, 1)));
    }
    let (before, last) = now.pre.rsplit_once('.').map_or(("", now.pre.as_str()), |parts| parts);
    let pre = match (last.parse::<u64>(), before) {
        (Ok(number), "") => number.checked_add(1)?.to_string(),
        (Ok(number), before) => format!("{before}.{}", number.checked_add(1)?),
        (Err(_), _) => format!("{}.1", now.pre),
    };
    let pre = semver::Prerelease::new(&pre).ok()?;
    Some(SemVer { pre, build: BuildMetadata::EMPTY, ..now.clone() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: [Level; 4] = [Level::Patch, Level::Minor, Level::Major, Level::Prerelease];
    const KINDS: [Prerelease; 4] =
        [Prerelease::Dev, Prerelease::Alpha, Prerelease::Beta, Prerelease::Rc];

    fn number(text: &str) -> Number {
        Number::parse(text, None).expect(text)
    }

    fn after(text: &str, level: Level, kind: Option<Prerelease>) -> String {
        match next(&number(text), level, kind) {
            Ok(next) => next.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn each_level_has_its_next_version() {
        let rows: Vec<String> = [
            "0.13.0",
            "0.13.0-rc.1",
            "0.13.1-rc.1",
            "1.0.0-rc.1",
            "1.2.3a4",
            "1.2.3.dev4",
            "1.2.3.post1",
            "1.2.post1.dev3",
            "1.2.3rc1.dev2",
            "2026.11",
            "2026.11rc1",
            "1",
            "1.2.3.4",
            "1.2.3.4rc1",
            "1!1.2.3",
            "1.2.3-rc",
            "1.2.3-nightly",
            "1.2.3-nightly.4",
            "1.2.3-4",
        ]
        .iter()
        .map(|text| {
            let next = LEVELS.map(|level| after(text, level, None));
            format!("{text:15} {}", next.map(|text| format!("{text:12}")).join(" ").trim_end())
        })
        .collect();
        insta::assert_snapshot!(rows.join("\n"));
    }

    #[test]
    fn a_kind_of_pre_release_can_be_chosen() {
        let rows: Vec<String> = ["0.13.0", "0.14.0-alpha.2", "0.14.0-rc.1", "1.2.3-nightly.4"]
            .iter()
            .flat_map(|text| {
                LEVELS.map(|level| {
                    let next = KINDS.map(|kind| after(text, level, Some(kind)));
                    format!("{text} {level:?}: {}", next.join(", "))
                })
            })
            .collect();
        insta::assert_snapshot!(rows.join("\n"));
    }

    /// All small versions of both grammars.
    fn small() -> Vec<String> {
        let suffixes =
            ["", "rc0", "rc1", "a2", "b1", ".dev3", ".post1", "-rc.1", "-nightly.1", "-0"];
        let mut all = Vec::new();
        for numbers in 0..27 {
            let (major, minor, patch) = (numbers / 9, numbers / 3 % 3, numbers % 3);
            all.extend(suffixes.map(|suffix| format!("{major}.{minor}.{patch}{suffix}")));
        }
        all
    }

    #[test]
    fn every_step_goes_up_or_is_refused() {
        for text in small() {
            let now = number(&text);
            for level in LEVELS {
                for kind in [None].into_iter().chain(KINDS.map(Some)) {
                    match next(&now, level, kind) {
                        Ok(next) => assert!(next > now, "{text} {level:?} {kind:?}: {next}"),
                        Err(error) => {
                            assert!(matches!(error, BumpError::Lower { .. }), "{error}");
                            assert!(
                                level == Level::Prerelease && kind.is_some(),
                                "{text} {level:?}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_step_never_passes_over_a_release() {
        for text in small() {
            let now = number(&text);
            for (level, unit) in [(Level::Patch, 2), (Level::Minor, 1), (Level::Major, 0)] {
                let next = next(&now, level, None).expect("a step");
                let Number::Pep440(next) = next else { panic!("{next} is not a release") };
                assert!(!next.any_prerelease() && !next.is_post(), "{text}: {next}");
                // The release one unit lower is not above where the step began.
                let mut lower = next.release().to_vec();
                assert!(lower[unit + 1..].iter().all(|number| *number == 0), "{text}: {next}");
                if lower[unit] > 0 {
                    lower[unit] -= 1;
                    assert!(Number::Pep440(Pep440::new(lower)) <= now, "{text}: {next}");
                }
            }
        }
    }

    #[test]
    fn numbers_do_not_wrap() {
        let highest = u64::MAX - 1;
        for text in [format!("1.2.{}", u64::MAX), format!("1.2.3-nightly.{}", u64::MAX)] {
            if let Ok(now) = Number::parse(&text, None) {
                let error = next(&now, Level::Prerelease, None).expect_err("too large");
                assert!(matches!(error, BumpError::Overflow(_)), "{error}");
            }
        }
        assert_eq!(after(&format!("1.2.{highest}"), Level::Minor, None), "1.3.0");
    }
}
