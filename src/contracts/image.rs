//! Demands that several contracts have in common.

use super::dockerfile::{Base, Word, words};
use super::{Subject, Violation};

/// Parts of names and tags of images that are not based on Debian.
const OTHER_SYSTEMS: [&str; 18] = [
    "alpine",
    "almalinux",
    "amazonlinux",
    "archlinux",
    "busybox",
    "centos",
    "distroless",
    "fedora",
    "mariner",
    "nanoserver",
    "opensuse",
    "oraclelinux",
    "rhel",
    "rockylinux",
    "ubi7",
    "ubi8",
    "ubi9",
    "wolfi",
];

/// Returns a violation if the base image is known to be no Debian.
pub(super) fn debian_base(subject: &Subject<'_>, platform: &str) -> Vec<Violation> {
    let Some(base) = subject.dockerfile.base() else {
        let all = subject.dockerfile.image();
        let from = all.iter().find(|instruction| instruction.keyword == "FROM");
        let what = format!(
            "`FROM scratch` has no operating system; {platform} requires Debian or a derivative"
        );
        return from.map(|from| Violation::new(from.place(0), what)).into_iter().collect();
    };
    let (repository, tag) = base.parts();
    let names = repository.split('/').next_back().into_iter().chain(tag.split(['-', '_']));
    // A tag such as `alpine3.20` ends with a version.
    let is_other = |name: &str| OTHER_SYSTEMS.iter().any(|system| name.starts_with(system));
    let found = names.into_iter().chain(repository.split('/')).find(|name| is_other(name));
    let violation = found.map(|name| {
        let name = name.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit());
        Violation::new(
            base.at,
            format!("the base image is `{name}`; {platform} requires Debian or a derivative"),
        )
    });
    violation.into_iter().collect()
}

pub(super) fn debian_script(platform: &str) -> String {
    format!(
        "grep -qw 'ID=debian\\|ID_LIKE=debian' /etc/os-release || \
         {{ echo '/etc/os-release has neither ID=debian nor ID_LIKE=debian, which {platform} requires' >&2; exit 1; }}"
    )
}

/// Returns a violation if the Python version of the image is known and its minor version not in `range`.
pub(super) fn python_range(
    subject: &Subject<'_>,
    platform: &str,
    range: (u16, u16),
) -> Vec<Violation> {
    let Some(base) = subject.dockerfile.base() else { return Vec::new() };
    let (first, last) = range;
    let known = official_version(&base).or_else(|| subject.python.clone());
    let Some(version) = known else { return Vec::new() };
    let mut numbers = version.split('.').map(|number| number.parse::<u16>().ok());
    let (Some(Some(major)), Some(Some(minor))) = (numbers.next(), numbers.next()) else {
        return Vec::new();
    };
    if major == 3 && (first..=last).contains(&minor) {
        return Vec::new();
    }
    let what = format!(
        "Python {major}.{minor} is not supported by {platform}, which requires 3.{first} to 3.{last}"
    );
    vec![Violation::new(base.at, what)]
}

/// Returns the version in the tag of an image `python`.
fn official_version(base: &Base) -> Option<String> {
    let (repository, tag) = base.parts();
    let version = tag.split('-').next().unwrap_or_default();
    let is_version =
        version.contains('.') && version.split('.').all(|part| part.parse::<u16>().is_ok());
    (is_version && repository.rsplit('/').next() == Some("python")).then(|| version.to_owned())
}

pub(super) fn python_script(platform: &str, (first, last): (u16, u16)) -> String {
    let versions: Vec<String> =
        (first..=last).map(|minor| format!("'Python 3.{minor}.'*")).collect();
    format!(
        "version=$(python3 --version 2>/dev/null) || {{ echo 'there is no python3 on PATH' >&2; exit 1; }}; \
         case \"$version\" in {}) ;; *) \
         echo \"python3 is $version; {platform} requires 3.{first} to 3.{last}\" >&2; exit 1;; esac",
        versions.join("|")
    )
}

/// Returns a script that fails if one of `paths` cannot be created as a folder. Only root also creates them: other users of
/// the image need no access, because platforms create them as root.
pub(super) fn creatable(platform: &str, paths: &[&str]) -> String {
    let paths = paths.join(" ");
    format!(
        "for path in {paths}; do part=$path; \
         while [ ! -e \"${{part:-/}}\" ] && [ ! -L \"$part\" ]; do part=${{part%/*}}; done; \
         if [ ! -d \"${{part:-/}}\" ]; then \
         echo \"$part is not a folder, so {platform} cannot create $path\" >&2; exit 1; fi; done; \
         if [ \"$(id -u)\" = 0 ]; then mkdir -p {paths} && \
         for path in {paths}; do : >\"$path/.basegen\" || exit 1; done || exit 1; fi"
    )
}

/// The last `USER` of an image.
pub(super) struct User {
    /// The name or uid, without the group.
    pub(super) name: String,
    pub(super) at: usize,
}

/// Returns the user that the image runs as, if the Dockerfile says so.
pub(super) fn user(subject: &Subject<'_>) -> Option<User> {
    let all = subject.dockerfile.image();
    let last = all.iter().rfind(|instruction| instruction.keyword == "USER")?;
    let word = words(last).into_iter().next()?;
    let name = word.text.split(':').next().unwrap_or_default().to_owned();
    (!name.contains('$')).then_some(User { name, at: word.at })
}

/// An offset in the Dockerfile, and the ports that a word there names.
type Ports = (usize, std::ops::RangeInclusive<u16>);

/// Returns the ports in the `EXPOSE` instructions of the image.
pub(super) fn exposed_ports(subject: &Subject<'_>) -> Vec<Ports> {
    let all = subject.dockerfile.image().into_iter();
    let words = all.filter(|instruction| instruction.keyword == "EXPOSE").flat_map(words);
    let ports = words.filter_map(|word| {
        let range = word.text.split('/').next().unwrap_or_default();
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some((word.at, first.parse().ok()?..=last.parse().ok()?))
    });
    ports.collect()
}

/// Returns the ports that the command of the image names: the values of options such as `--port` and `--bind`, and `PORT=`.
pub(super) fn command_ports(subject: &Subject<'_>) -> Vec<Ports> {
    let all = subject.dockerfile.image();
    let last = |keyword: &str| all.iter().rposition(|instruction| instruction.keyword == keyword);
    let (entry, command) = (last("ENTRYPOINT"), last("CMD"));
    let instructions = entry.into_iter().chain(command).map(|index| all[index]);
    let parts: Vec<Word> =
        instructions.flat_map(words).flat_map(|word| shell_words(&word)).collect();
    let mut ports = Vec::new();
    for (index, word) in parts.iter().enumerate() {
        let (option, value, at) = match word.text.split_once('=') {
            Some((option, value)) => (option, value, word.at),
            None => match parts.get(index + 1) {
                Some(next) => (word.text.as_str(), next.text.as_str(), next.at),
                None => continue,
            },
        };
        let is_port = matches!(option, "-p" | "PORT")
            || (option.starts_with('-') && option.ends_with("port"));
        let is_address = matches!(option, "-b" | "--bind" | "--listen" | "--address");
        let port = match value.rsplit_once(':') {
            Some((_, port)) if is_address => port.parse::<u16>().ok(),
            None if is_port || is_address => value.parse::<u16>().ok(),
            _ => None,
        };
        ports.extend(port.map(|port| (at, port..=port)));
    }
    ports
}

/// Splits a word that is a command line itself, as after `sh -c`.
fn shell_words(word: &Word) -> Vec<Word> {
    let words = word.text.split_whitespace();
    words.map(|text| Word { text: text.to_owned(), at: word.at }).collect()
}
