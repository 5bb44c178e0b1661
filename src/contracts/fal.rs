//! fal: base images of containers that run a `fal.App`.

use super::{Kind, Rule, Severity, Subject, Violation, fal_releases};
use crate::matrix::ContractSettings;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "fal/curl",
        requirement: "`curl` is installed",
        fix: "install `curl` with the packages of the system",
        source: "fal, Use a Custom Container Image: fal Platform Requirements",
        severity: Severity::Error,
        kind: Kind::Both(missing_curl, |_| {
            let script = "command -v curl >/dev/null || \
                          { echo 'there is no curl on PATH; fal needs it to start a runner' >&2; exit 1; }";
            Some(script.to_owned())
        }),
    },
    Rule {
        id: "fal/packages",
        requirement: "`pydantic`, `protobuf` and `boto3` are installed in versions that the `fal` release of `[image.fal]` accepts",
        fix: "install them last, or `fal` itself",
        source: "fal, Use a Custom Container Image: fal Platform Requirements",
        severity: Severity::Error,
        kind: Kind::InImage(packages_script),
    },
];

/// Base images without `curl`: their names, and a part of the tag.
const WITHOUT_CURL: [(&str, &str); 4] =
    [("python", "slim"), ("debian", ""), ("ubuntu", ""), ("cuda", "")];

fn missing_curl(subject: &Subject<'_>) -> Vec<Violation> {
    let Some(base) = subject.dockerfile.base() else { return Vec::new() };
    let (repository, tag) = base.parts();
    let name = repository.rsplit('/').next().unwrap_or_default();
    let lacks_curl = WITHOUT_CURL.iter().any(|(other, part)| name == *other && tag.contains(part));
    let image = subject.dockerfile.image();
    // A step may install it by a script or copy it from another image: then only the check in the image knows.
    let runs = image.iter().filter(|instruction| instruction.keyword == "RUN");
    let commands: Vec<_> = runs.flat_map(|run| subject.dockerfile.commands(run)).collect();
    let is_known = commands.iter().all(|words| !is_script(&words[0].text));
    let is_curl =
        |word: &str| word.rsplit(['/', '>']).next() == Some("curl") || word.starts_with("curl=");
    let is_named = commands.iter().flatten().any(|word| is_curl(&word.text));
    let is_copied = image.iter().any(|instruction| {
        matches!(instruction.keyword.as_str(), "COPY" | "ADD")
            && instruction.arguments.contains("--from=")
    });
    if !lacks_curl || !is_known || is_named || is_copied {
        return Vec::new();
    }
    vec![Violation::new(base.at, "no step installs `curl`, and the base image does not have it")]
}

/// Returns true if a command can install anything: a shell with a script, or a script itself.
fn is_script(command: &str) -> bool {
    matches!(command, "sh" | "bash" | "." | "source") || command.contains('/')
}

/// Compares the installed versions with the ranges of the release, with the standard library of Python alone.
fn packages_script(settings: &ContractSettings) -> Option<String> {
    let named = settings.fal_version.as_deref().map(String::as_str);
    let version = named.unwrap_or(fal_releases::range().1);
    let requirements = fal_releases::requirements(version)?;
    let tests: Vec<String> = requirements
        .iter()
        .map(|(name, specifiers)| {
            let parts: Option<Vec<String>> =
                specifiers.split(',').filter(|part| !part.is_empty()).map(comparison).collect();
            let test = parts
                .filter(|parts| !parts.is_empty())
                .map_or("True".to_owned(), |parts| parts.join(" and "));
            let wanted = format!("{name} {specifiers}");
            format!("(\"{name}\", \"{}\", lambda v: {test})", wanted.trim())
        })
        .collect();
    Some(format!(
        "python3 -I -c 'import re, sys; from importlib.metadata import distributions; \
         installed = lambda name: next((one.version for one in distributions(name=name)), \"\"); \
         numbers = lambda text: ([int(n) for n in re.findall(\"[0-9]+\", re.match(\"[0-9.]*\", text)[0])] + [0] * {NUMBERS})[:{NUMBERS}]; \
         wrong = [\"%s (found: %s)\" % (wanted, installed(name) or \"none\") for name, wanted, test in [{}] \
         if not installed(name) or not test(numbers(installed(name)))]; \
         sys.exit(\"fal {version} requires \" + \", \".join(wrong) if wrong else 0)'",
        tests.join(", ")
    ))
}

/// The number of parts of a version that are compared.
const NUMBERS: usize = 4;

/// Translates a version specifier to a comparison of the list `v` in Python.
fn comparison(specifier: &str) -> Option<String> {
    let operator = ["<=", ">=", "==", "!=", "<", ">"]
        .into_iter()
        .find(|start| specifier.starts_with(start))?;
    let version = &specifier[operator.len()..];
    let (version, is_prefix) =
        version.strip_suffix(".*").map_or((version, false), |version| (version, true));
    let mut numbers: Vec<u32> =
        version.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    if is_prefix {
        return Some(format!("v[:{}] {operator} {numbers:?}", numbers.len()));
    }
    numbers.resize(NUMBERS, 0);
    Some(format!("v {operator} {numbers:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_specifier_of_the_releases_is_a_comparison() {
        let (first, last) = fal_releases::range();
        for version in [first, "1.77.0", last] {
            for (_, specifiers) in fal_releases::requirements(version).expect(version) {
                for specifier in specifiers.split(',').filter(|part| !part.is_empty()) {
                    assert!(comparison(specifier).is_some(), "{specifier}");
                }
            }
        }
        assert_eq!(comparison("!=2.0.*").as_deref(), Some("v[:2] != [2, 0]"));
        assert_eq!(comparison("<3").as_deref(), Some("v < [3, 0, 0, 0]"));
        assert_eq!(comparison("~=1"), None);
    }
}
