//! Compares versions, and writes them in the grammar of [SemVer] or [PEP 440].
//!
//! [SemVer]: https://semver.org
//! [PEP 440]: https://peps.python.org/pep-0440

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr as _;

use pep440_rs::{Prerelease, PrereleaseKind, Version as Pep440};
use semver::Version as SemVer;

use super::InvalidVersion;

/// The grammar of a version. Cargo and npm read SemVer (`1.2.3-rc.1`), Python reads PEP 440 (`1.2.3rc1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grammar {
    SemVer,
    Pep440,
}

impl Grammar {
    /// Returns true if `text`, a version without its prefix, is in this grammar. PEP 440 can parse a dash after the numbers, but
    /// that is the style of SemVer.
    #[must_use]
    pub fn is_written(self, text: &str) -> bool {
        let semver = SemVer::parse(text).ok();
        match self {
            Self::SemVer => semver.is_some(),
            Self::Pep440 => {
                Pep440::from_str(text).is_ok()
                    && semver.is_none_or(|version| version.pre.is_empty())
            }
        }
    }
}

impl fmt::Display for Grammar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::SemVer => "SemVer",
            Self::Pep440 => "PEP 440",
        })
    }
}

/// The style of the versions at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    pub grammar: Grammar,
    /// Whether SemVer has no dot between `rc` and its number: `1.2.3-rc1`.
    pub joined: bool,
    /// The minimum count of numbers in PEP 440, if less than three: `2026.11`.
    pub parts: Option<usize>,
    /// The digits of the numbers in PEP 440. SemVer has no leading zeros.
    pub padding: Padding,
}

impl Style {
    /// Returns the default style of a grammar.
    #[must_use]
    pub fn usual(grammar: Grammar) -> Self {
        Self { grammar, joined: false, parts: None, padding: Padding::default() }
    }

    /// Detects the style of `text`, a version without its prefix, except its padding. Returns `None` if it is the same in both
    /// grammars, as `1.2.3`.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let Ok(version) = SemVer::parse(text) else {
            let version = Pep440::from_str(text).ok()?;
            let parts = Some(version.release().len()).filter(|parts| *parts < 3);
            return Some(Self { parts, ..Self::usual(Grammar::Pep440) });
        };
        let joined = version.pre.ends_with(|last: char| last.is_ascii_digit())
            && !version.pre.contains('.')
            && version.pre.starts_with(|first: char| first.is_ascii_alphabetic());
        (!version.pre.is_empty()).then_some(Self { joined, ..Self::usual(Grammar::SemVer) })
    }
}

/// The minimum digits of the first numbers of a release: calendar versions have `2026.01`. Zero means unknown, as for `10`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Padding([u8; 4]);

impl Padding {
    /// Detects the padding of `text`, a version without its prefix.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut widths = [0; 4];
        for (width, digits) in widths.iter_mut().zip(release_digits(text)) {
            if digits.len() == 1 || digits.starts_with('0') {
                *width = u8::try_from(digits.len()).unwrap_or_default();
            }
        }
        Self(widths)
    }

    /// Replaces unknown digits by those of `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let mut widths = self.0;
        for (width, other) in widths.iter_mut().zip(other.0) {
            *width = if *width == 0 { other } else { *width };
        }
        Self(widths)
    }

    /// Returns true if a text can have both.
    #[must_use]
    pub fn agrees_with(self, other: Self) -> bool {
        self.or(other) == other.or(self)
    }

    /// Returns true if `text`, a version without its prefix, has this padding.
    #[must_use]
    pub fn admits(self, text: &str) -> bool {
        self.0.iter().zip(release_digits(text)).all(|(width, digits)| {
            let width = usize::from(*width);
            width == 0
                || digits.len() == width
                || (digits.len() > width && !digits.starts_with('0'))
        })
    }

    /// Writes `version` with this padding.
    fn write(self, version: &Pep440) -> String {
        let text = version.to_string();
        let start = text.find('!').map_or(0, |epoch| epoch + 1);
        let numbers: Vec<String> = version.release().iter().map(ToString::to_string).collect();
        let end = start + numbers.join(".").len();
        let widths = self.0.into_iter().map(usize::from).chain(std::iter::repeat(0));
        let padded = numbers.iter().zip(widths).map(|(number, width)| format!("{number:0>width$}"));
        let padded: Vec<String> = padded.collect();
        format!("{}{}{}", &text[..start], padded.join("."), &text[end..])
    }
}

/// Returns the digits of each number of a release. The last item can be empty.
pub(super) fn release_digits(text: &str) -> impl Iterator<Item = &str> {
    let text = text.split_once('!').map_or(text, |(_, text)| text);
    let is_release = |c: char| c.is_ascii_digit() || c == '.';
    let end = text.find(|c| !is_release(c)).unwrap_or(text.len());
    text[..end].split('.')
}

/// A version without its prefix, independent of its grammar: `1.2.3rc1` equals `1.2.3-rc.1`.
#[derive(Debug, Clone)]
pub enum Number {
    Pep440(Pep440),
    /// A version without an equivalent in PEP 440: `1.2.3-nightly.4`.
    SemVer(SemVer),
}

impl Number {
    /// Parses `text` without a prefix. An ambiguous version such as `1.2.3-1` is parsed in `grammar`, by default SemVer.
    pub fn parse(text: &str, grammar: Option<Grammar>) -> Result<Self, InvalidVersion> {
        if text.contains('+') {
            return Err(InvalidVersion::Local(text.to_owned()));
        }
        let pep440 = || Pep440::from_str(text).ok().map(Self::Pep440);
        let semver = || SemVer::parse(text).ok().map(Self::from);
        let number = match grammar {
            Some(Grammar::Pep440) => pep440().or_else(semver),
            Some(Grammar::SemVer) | None => semver().or_else(pep440),
        };
        number.ok_or_else(|| InvalidVersion::Grammar(text.to_owned()))
    }

    /// Writes the version in a style. Fails if the grammar cannot express it.
    pub fn write(&self, style: Style) -> Result<String, InvalidVersion> {
        let refuse = |version: String, reason| InvalidVersion::Counterpart {
            version,
            grammar: style.grammar,
            reason,
        };
        match (style.grammar, self) {
            (Grammar::Pep440, Self::Pep440(version)) => {
                let mut release = version.release().to_vec();
                let fewest = style.parts.unwrap_or(release.len());
                while release.len() > fewest && release.last() == Some(&0) {
                    release.pop();
                }
                Ok(style.padding.write(&version.clone().with_release(release)))
            }
            (Grammar::Pep440, Self::SemVer(version)) => {
                let reason = "pre-releases are `a`, `b`, `rc` and `dev`, with a number";
                Err(refuse(version.to_string(), reason))
            }
            (Grammar::SemVer, Self::SemVer(version)) => Ok(version.to_string()),
            (Grammar::SemVer, Self::Pep440(version)) => {
                let written = semver_text(version, style.joined);
                written.map_err(|reason| refuse(version.to_string(), reason))
            }
        }
    }

    /// Returns true for pre-releases and development releases.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        match self {
            Self::Pep440(version) => version.any_prerelease(),
            Self::SemVer(version) => !version.pre.is_empty(),
        }
    }

    fn to_semver(&self) -> Option<SemVer> {
        let text = self.write(Style::usual(Grammar::SemVer)).ok()?;
        SemVer::parse(&text).ok()
    }

    /// Returns the numbers without the pre-release.
    fn release(&self) -> Pep440 {
        match self {
            Self::Pep440(version) => version.only_release(),
            Self::SemVer(version) => Pep440::new([version.major, version.minor, version.patch]),
        }
    }
}

impl From<SemVer> for Number {
    fn from(version: SemVer) -> Self {
        counterpart(&version).map_or(Self::SemVer(version), Self::Pep440)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    /// Orders by the rules of PEP 440 if both versions have an equivalent there, otherwise by those of SemVer.
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Pep440(left), Self::Pep440(right)) => left.cmp(right),
            (Self::SemVer(left), Self::SemVer(right)) => left.cmp_precedence(right),
            _ => self.release().cmp(&other.release()).then_with(|| {
                match (self.to_semver(), other.to_semver()) {
                    (Some(left), Some(right)) => left.cmp_precedence(&right),
                    // Only post-releases and their pre-releases have no equivalent in SemVer.
                    (Some(_), None) => Ordering::Less,
                    (None, _) => Ordering::Greater,
                }
            }),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pep440(version) => version.fmt(formatter),
            Self::SemVer(version) => version.fmt(formatter),
        }
    }
}

/// Returns true if `text` is a version without a prefix, whether or not a tag can contain it.
pub(super) fn is_number(text: &str) -> bool {
    // PEP 440 allows a leading `v`.
    text.starts_with(|first: char| first.is_ascii_digit())
        && (SemVer::parse(text).is_ok() || Pep440::from_str(text).is_ok())
}

/// Splits a text into what looks like a prefix, such as `v` or `release-`, and the rest.
pub(super) fn split_prefix(text: &str) -> (&str, &str) {
    let number =
        text.trim_start_matches(|letter: char| letter.is_ascii_alphabetic() || letter == '-');
    text.split_at(text.len() - number.len())
}

/// Converts a version to PEP 440 if converting it back results in the same version.
fn counterpart(version: &SemVer) -> Option<Pep440> {
    let release = Pep440::new([version.major, version.minor, version.patch]);
    if version.pre.is_empty() {
        return Some(release);
    }
    let text = version.pre.as_str();
    let word = text.trim_end_matches(|last: char| last.is_ascii_digit());
    let digits = &text[word.len()..];
    // `rc` and `rc01` would be different when converted back.
    let number: u64 = digits.parse().ok().filter(|number: &u64| number.to_string() == digits)?;
    let kind = match word.strip_suffix('.').unwrap_or(word) {
        "alpha" => PrereleaseKind::Alpha,
        "beta" => PrereleaseKind::Beta,
        "rc" => PrereleaseKind::Rc,
        "dev" => return Some(release.with_dev(Some(number))),
        _ => return None,
    };
    Some(release.with_pre(Some(Prerelease { kind, number })))
}

/// Converts a version to the text of SemVer, or returns the reason why that is not possible.
fn semver_text(version: &Pep440, joined: bool) -> Result<String, &'static str> {
    if version.epoch() > 0 {
        return Err("SemVer has no epochs");
    }
    if version.is_post() {
        return Err("SemVer has no post-releases");
    }
    let [major, minor, patch] = match *version.release() {
        [major] => [major, 0, 0],
        [major, minor] => [major, minor, 0],
        [major, minor, patch] => [major, minor, patch],
        _ => return Err("SemVer has three numbers"),
    };
    let (word, number) = match (version.pre(), version.dev()) {
        (None, None) => return Ok(format!("{major}.{minor}.{patch}")),
        (Some(_), Some(_)) => return Err("SemVer has no development releases of pre-releases"),
        (None, Some(number)) => ("dev", number),
        (Some(Prerelease { kind, number }), None) => (semver_word(kind), number),
    };
    let dot = if joined { "" } else { "." };
    Ok(format!("{major}.{minor}.{patch}-{word}{dot}{number}"))
}

fn semver_word(kind: PrereleaseKind) -> &'static str {
    match kind {
        PrereleaseKind::Alpha => "alpha",
        PrereleaseKind::Beta => "beta",
        PrereleaseKind::Rc => "rc",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(text: &str) -> (String, String) {
        let number = Number::parse(text, None).expect(text);
        let write = |grammar| match number.write(Style::usual(grammar)) {
            Ok(text) => text,
            Err(error) => error.to_string(),
        };
        (write(Grammar::Pep440), write(Grammar::SemVer))
    }

    #[test]
    fn both_grammars_convert_to_each_other() {
        let pairs = [
            ("1.2.3", "1.2.3"),
            ("1.2.3rc1", "1.2.3-rc.1"),
            ("1.2.3a0", "1.2.3-alpha.0"),
            ("1.2.3b22", "1.2.3-beta.22"),
            ("1.2.3.dev4", "1.2.3-dev.4"),
        ];
        for (pep440, semver) in pairs {
            assert_eq!(both(pep440), (pep440.to_owned(), semver.to_owned()));
            assert_eq!(both(semver), (pep440.to_owned(), semver.to_owned()));
        }
        assert_eq!(both("1.2.3-rc1").0, "1.2.3rc1");
        // Versions that would change when converted back are not converted.
        for text in ["1.2.3-rc", "1.2.3-rc01", "1.2.3-RC.1", "1.2.3-pre.2", "1.2.3-a7", "1.2.3-c.3"]
        {
            assert_eq!(both(text).1, text);
        }
        assert_eq!(both("2026.11").1, "2026.11.0");
        assert_eq!(both("1").1, "1.0.0");
    }

    #[test]
    fn every_pre_release_comes_back_as_it_went() {
        for word in ["a", "b", "rc", ".dev"] {
            for number in (0..200).chain([u64::from(u32::MAX), u64::MAX >> 1]) {
                let (pep440, semver) = both(&format!("0.13.0{word}{number}"));
                assert_eq!(both(&semver), (pep440.clone(), semver.clone()));
                let joined = Style { joined: true, ..Style::usual(Grammar::SemVer) };
                let joined = Number::parse(&pep440, None).expect("a number").write(joined);
                assert_eq!(both(&joined.expect("SemVer")).0, pep440);
            }
        }
    }

    #[test]
    fn versions_without_an_equivalent_have_a_reason() {
        let refused: Vec<String> = ["1.2.3.post1", "1!1.2.3", "1.2.3.4", "1.2.3rc1.dev2"]
            .iter()
            .map(|text| both(text).1)
            .chain(["1.2.3-nightly.4", "1.2.3-1", "1.2.3-post.1"].map(|text| both(text).0))
            .collect();
        insta::assert_snapshot!(refused.join("\n"));
    }

    #[test]
    fn ambiguous_versions_are_parsed_in_the_given_grammar() {
        let read = |grammar| Number::parse("1.2.3-1", Some(grammar)).expect("a number").to_string();
        assert_eq!(read(Grammar::SemVer), "1.2.3-1");
        assert_eq!(read(Grammar::Pep440), "1.2.3.post1");
    }

    #[test]
    fn texts_show_their_style() {
        let style = |text| Style::of(text).map(|style| (style.grammar, style.joined));
        assert_eq!(style("1.2.3"), None);
        assert_eq!(style("1.2"), Some((Grammar::Pep440, false)));
        assert_eq!(Style::of("2026.11").and_then(|style| style.parts), Some(2));
        assert_eq!(Style::of("1.2.3.4").and_then(|style| style.parts), None);
        assert_eq!(style("1.2.3rc1"), Some((Grammar::Pep440, false)));
        assert_eq!(style("1.2.dev3"), Some((Grammar::Pep440, false)));
        assert_eq!(style("1.2.3.post1"), Some((Grammar::Pep440, false)));
        assert_eq!(style("1.2.3-rc.1"), Some((Grammar::SemVer, false)));
        assert_eq!(style("1.2.3-rc1"), Some((Grammar::SemVer, true)));
    }

    #[test]
    fn numbers_keep_their_digits() {
        let write = |text: &str, like: &str| {
            let style = Style { padding: Padding::of(like), ..Style::usual(Grammar::Pep440) };
            Number::parse(text, None).expect(text).write(style).expect("PEP 440")
        };
        for (text, like, expected) in [
            ("2026.2", "2026.01", "2026.02"),
            ("2026.2.0", "2026.01.05", "2026.02.00"),
            ("2026.10", "2026.09", "2026.10"),
            ("1!26.2rc1", "1!26.01", "1!26.02rc1"),
            ("2026.2.dev3", "2026.01.dev3", "2026.02.dev3"),
            ("1.2.3.4.5", "01.02.03.04.05", "01.02.03.04.5"),
            ("1.3", "1.2", "1.3"),
        ] {
            assert_eq!(write(text, like), expected, "{text} like {like}");
        }
        assert!(Padding::of("2026.01").admits("2026.12"));
        assert!(Padding::of("2026.10").admits("2026.01"));
        assert!(!Padding::of("2026.01").admits("2026.2"));
        assert!(!Padding::of("2026.1").admits("2026.02"));
        assert!(Padding::of("2026.10").agrees_with(Padding::of("2026.01")));
        assert!(!Padding::of("2026.1").agrees_with(Padding::of("2026.01")));
    }

    #[test]
    fn the_order_is_that_of_releases() {
        let ascending = [
            "0.9.9",
            "0.13.0.dev1",
            "0.13.0-alpha.1",
            "0.13.0a2",
            "0.13.0-beta.1",
            "0.13.0rc1",
            "0.13.0-rc.2",
            "0.13",
            "0.13.0.post1",
            "0.13.1-rc.1",
            "1!0.1",
        ];
        let numbers = ascending.map(|text| Number::parse(text, None).expect(text));
        for (left, one) in numbers.iter().enumerate() {
            for (right, other) in numbers.iter().enumerate() {
                assert_eq!(one.cmp(other), left.cmp(&right), "{one} and {other}");
            }
        }
        let number = |text| Number::parse(text, None).expect(text);
        assert_eq!(number("0.13"), number("0.13.0"));
        for (lower, higher) in [
            ("1.2.3-nightly.4", "1.2.3"),
            ("1.2.3-nightly.4", "1.2.3-nightly.10"),
            ("1.2.2", "1.2.3-nightly.4"),
            ("1.2.3-nightly.4", "1.2.3.post1"),
            ("1.2.3-nightly.4", "1.2.3-rc.1"),
        ] {
            assert!(number(lower) < number(higher), "{lower} {higher}");
            assert!(number(higher) > number(lower), "{lower} {higher}");
        }
    }

    #[test]
    fn prefixes_are_letters_and_dashes() {
        assert_eq!(split_prefix("v0.13.0"), ("v", "0.13.0"));
        assert_eq!(split_prefix("release-1.2"), ("release-", "1.2"));
        assert_eq!(split_prefix("0.13.0-rc.1"), ("", "0.13.0-rc.1"));
    }
}
