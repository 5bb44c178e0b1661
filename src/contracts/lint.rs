//! Rules for every Dockerfile, whatever the platform.

use regex_lite::Regex;

use super::dockerfile::{self, Word};
use super::{Kind, Rule, Severity, Subject, Violation};
use crate::matrix::holds_secret;
use crate::render::flags;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "lint/secrets",
        requirement: "No `ARG` or `ENV` holds a secret",
        fix: "mount it in the step that needs it: `RUN --mount=type=secret,id=…`",
        source: "Docker, Build checks: <https://docs.docker.com/reference/build-checks/secrets-used-in-arg-or-env/>; fal, Use a Custom Container Image: Build Secrets",
        severity: Severity::Error,
        kind: Kind::Static(secrets),
    },
    Rule {
        id: "lint/tagged-bases",
        requirement: "Every base image has a digest, or a tag other than `latest`",
        fix: "name a tag, or pin it with `basegen update`",
        source: "Docker, Building best practices: <https://docs.docker.com/build/building/best-practices/#pin-base-image-versions>",
        severity: Severity::Error,
        kind: Kind::Static(moving_bases),
    },
    Rule {
        id: "lint/pinned-packages",
        requirement: "Every Python package that a step installs has an exact version",
        fix: "write `NAME==VERSION`, or install from a lock file with `-r`",
        source: "fal, Use a Custom Container Image: Pre-Deploy Checklist",
        severity: Severity::Error,
        kind: Kind::Static(unpinned_packages),
    },
    Rule {
        id: "lint/pinned-system-packages",
        requirement: "Every Debian package that a step installs has an exact version",
        fix: "write `NAME=VERSION` where the exact version matters",
        source: "fal, Use a Custom Container Image: Pre-Deploy Checklist",
        severity: Severity::Warning,
        kind: Kind::Static(unpinned_system_packages),
    },
    Rule {
        id: "lint/pinned-conda-packages",
        requirement: "Every conda package that a step installs has a version",
        fix: "write `NAME=VERSION`, or install from an environment file",
        source: "fal, Use a Custom Container Image: Pre-Deploy Checklist",
        severity: Severity::Warning,
        kind: Kind::Static(unpinned_conda_packages),
    },
    Rule {
        id: "lint/apt-lists",
        requirement: "A step that runs `apt-get update` removes the package lists from its layer",
        fix: "add `&& rm -rf /var/lib/apt/lists/*` to the same step",
        source: "Docker, Building best practices: <https://docs.docker.com/build/building/best-practices/#apt-get>",
        severity: Severity::Error,
        kind: Kind::Static(apt_lists),
    },
    Rule {
        id: "lint/add-checksum",
        requirement: "`ADD` of a URL has a checksum, and of a Git repository a commit",
        fix: "add `--checksum=sha256:…`, or `#COMMIT` to a Git repository",
        source: "Docker, Dockerfile reference: <https://docs.docker.com/reference/dockerfile/#add---checksum>",
        severity: Severity::Error,
        kind: Kind::Static(unverified_sources),
    },
    Rule {
        id: "lint/dependencies",
        requirement: "The installed Python packages fit together: `pip check`",
        fix: "install versions that fit together",
        source: "pip, `pip check`: <https://pip.pypa.io/en/stable/cli/pip_check/>",
        severity: Severity::Error,
        kind: Kind::InImage(|_| Some(dependencies_script())),
    },
];

/// Names of variables that hold secrets.
///
/// Reference: `SecretsUsedInArgOrEnv` in
/// <https://github.com/moby/buildkit/blob/master/frontend/dockerfile/dockerfile2llb/convert.go>
const SECRET: &str = "(?i)(?:_|^)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)";
const PUBLIC: &str = "(?i)(?:_|^)public(?:_|$)";

fn secrets(subject: &Subject<'_>) -> Vec<Violation> {
    let [secret, public] =
        [SECRET, PUBLIC].map(|form| Regex::new(form).expect("a regular expression"));
    let mut violations = Vec::new();
    for instruction in subject.dockerfile.all() {
        if !matches!(instruction.keyword.as_str(), "ARG" | "ENV") {
            continue;
        }
        for variable in dockerfile::variables(instruction) {
            let name = &variable.name.text;
            let is_named = secret.is_match(name) && !public.is_match(name);
            let is_empty_setting =
                instruction.keyword == "ENV" && variable.value.as_deref() == Some("");
            if (is_named && !is_empty_setting)
                || variable.value.as_deref().is_some_and(holds_secret)
            {
                let what = format!(
                    "`{} {name}` holds a secret, which everyone who pulls the image can read",
                    instruction.keyword
                );
                violations.push(Violation::new(variable.name.at, what));
            }
        }
    }
    violations
}

fn moving_bases(subject: &Subject<'_>) -> Vec<Violation> {
    let bases = subject.dockerfile.bases().into_iter();
    let moving = bases.filter(|base| !base.is_pinned && !base.is_tagged);
    let violations = moving.map(|base| {
        let name = crate::render::familiar(&base.name);
        Violation::new(
            base.at,
            format!("the base image `{name}` moves with every release of its publisher"),
        )
    });
    violations.collect()
}

/// Returns the commands of all `RUN` instructions.
fn commands(subject: &Subject<'_>) -> Vec<Vec<Word>> {
    let runs = subject.dockerfile.all().filter(|instruction| instruction.keyword == "RUN");
    runs.flat_map(|run| subject.dockerfile.commands(run)).collect()
}

/// Returns the arguments after the subcommand `install` of a `program`, if the command has it.
fn install_arguments(words: &[Word], is_program: fn(&str) -> bool) -> Option<&[Word]> {
    arguments_of(words, is_program, &["install"])
}

/// Returns the arguments after one of the `subcommands` of a program, if the command has it.
fn arguments_of<'a>(
    words: &'a [Word],
    is_program: fn(&str) -> bool,
    subcommands: &[&str],
) -> Option<&'a [Word]> {
    let program = words
        .iter()
        .position(|word| is_program(word.text.rsplit('/').next().unwrap_or_default()))?;
    let rest = &words[program + 1..];
    let install = rest.iter().position(|word| !word.text.starts_with('-'))?;
    subcommands.contains(&rest[install].text.as_str()).then(|| &rest[install + 1..])
}

/// Returns the arguments that are no options, without the values of `options`.
fn operands<'a>(arguments: &'a [Word], options: &[&str]) -> Vec<&'a Word> {
    let mut operands = Vec::new();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        if options.contains(&word.text.as_str()) {
            rest.next();
        } else if !word.text.starts_with('-') && !is_redirection(&word.text) {
            operands.push(word);
        }
    }
    operands
}

/// Returns true for `2>/dev/null`, not for a requirement such as `numpy>=2`.
fn is_redirection(word: &str) -> bool {
    word.contains(['>', '<']) && !word.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// Options of `pip install` and `uv pip install` with a value.
const PIP_OPTIONS: [&str; 40] = [
    "-r",
    "--requirement",
    "--requirements",
    "-c",
    "--constraint",
    "--constraints",
    "--build-constraint",
    "-b",
    "--override",
    "--prerelease",
    "--resolution",
    "--exclude-newer",
    "--torch-backend",
    "-e",
    "--editable",
    "-i",
    "--index-url",
    "--default-index",
    "--index",
    "--extra-index-url",
    "-f",
    "--find-links",
    "-t",
    "--target",
    "--prefix",
    "--root",
    "-p",
    "--python",
    "--python-version",
    "--platform",
    "--python-platform",
    "--cache-dir",
    "--trusted-host",
    "--timeout",
    "--no-binary",
    "--only-binary",
    "--upgrade-strategy",
    "--index-strategy",
    "--progress-bar",
    "--log",
];

fn unpinned_packages(subject: &Subject<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for words in commands(subject) {
        let Some(arguments) =
            install_arguments(&words, |name| name == "pip" || name.starts_with("pip3"))
        else {
            continue;
        };
        let is_constrained = arguments.iter().any(|word| {
            matches!(word.text.as_str(), "-c" | "--constraint" | "--constraints")
                || word.text.starts_with("--constraint")
        });
        if is_constrained {
            continue;
        }
        for word in
            operands(arguments, &PIP_OPTIONS).into_iter().filter(|word| !is_exact(&word.text))
        {
            let what = format!("`{}` is installed without an exact version", word.text);
            violations.push(Violation::new(word.at, what));
        }
    }
    violations
}

/// Returns true if a requirement always installs the same version, or if only the shell knows it.
fn is_exact(requirement: &str) -> bool {
    let is_archive = [".whl", ".tar.gz", ".zip"].iter().any(|ending| requirement.ends_with(ending));
    let is_file = requirement.starts_with(['.', '/']) || is_archive;
    let is_version = requirement.contains("==") && !requirement.contains('*');
    is_file || is_version || requirement.contains(['@', '$', '`']) || requirement.contains("://")
}

/// Options of `apt-get` with a value.
const APT_OPTIONS: [&str; 6] =
    ["-t", "--target-release", "--default-release", "-o", "--option", "-c"];

fn is_apt(name: &str) -> bool {
    matches!(name, "apt-get" | "apt")
}

fn unpinned_system_packages(subject: &Subject<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for words in commands(subject) {
        let arguments = install_arguments(&words, is_apt).unwrap_or_default();
        let unpinned = |word: &&&Word| !word.text.contains(['=', '$', '/']);
        let packages: Vec<&Word> = operands(arguments, &APT_OPTIONS);
        let names: Vec<&str> =
            packages.iter().filter(unpinned).map(|word| word.text.as_str()).collect();
        if let Some(first) = packages.iter().find(unpinned) {
            let what = format!("installed without an exact version: `{}`", names.join("`, `"));
            violations.push(Violation::new(first.at, what));
        }
    }
    violations
}

/// Options of conda, mamba and micromamba with a value.
const CONDA_OPTIONS: [&str; 11] = [
    "-n",
    "--name",
    "-p",
    "--prefix",
    "-r",
    "--root-prefix",
    "-c",
    "--channel",
    "-f",
    "--file",
    "--channel-priority",
];

fn unpinned_conda_packages(subject: &Subject<'_>) -> Vec<Violation> {
    let is_program = |name: &str| matches!(name, "conda" | "mamba" | "micromamba");
    let is_pinned =
        |package: &str| package.contains(['=', '$', '/']) && !package.contains(['<', '>', '*']);
    let mut violations = Vec::new();
    for words in commands(subject) {
        let arguments =
            arguments_of(&words, is_program, &["install", "create"]).unwrap_or_default();
        for word in
            operands(arguments, &CONDA_OPTIONS).into_iter().filter(|word| !is_pinned(&word.text))
        {
            let what = format!("`{}` is installed without a version", word.text);
            violations.push(Violation::new(word.at, what));
        }
    }
    violations
}

/// Package lists in a stage that the image is not based on never reach it.
fn apt_lists(subject: &Subject<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for run in
        subject.dockerfile.image().into_iter().filter(|instruction| instruction.keyword == "RUN")
    {
        let is_mounted = flags(&run.arguments).0.iter().any(|flag| flag.contains("=/var/lib/apt"));
        let commands = subject.dockerfile.commands(run);
        let update = commands.iter().find(|words| {
            words.iter().any(|word| is_apt(&word.text))
                && words.iter().any(|word| word.text == "update")
        });
        let removes =
            commands.iter().flatten().any(|word| word.text.contains("/var/lib/apt/lists"));
        if let Some(words) = update.filter(|_| !removes && !is_mounted) {
            violations
                .push(Violation::new(words[0].at, "the package lists of apt stay in the layer"));
        }
    }
    violations
}

fn unverified_sources(subject: &Subject<'_>) -> Vec<Violation> {
    let sources = subject.context.unverified().into_iter();
    let violations = sources.filter_map(|source| {
        let add = subject.dockerfile.all().find(|instruction| instruction.line == source.line)?;
        let lacks = if source.is_git { "does not name a commit" } else { "has no checksum" };
        Some(Violation::new(add.place(0), format!("`ADD {}` {lacks}", source.url)))
    });
    violations.collect()
}

/// An image without Python passes.
fn dependencies_script() -> String {
    "if command -v python3 >/dev/null; then if command -v uv >/dev/null; then \
     uv pip check --no-cache --offline --python \"$(command -v python3)\" || exit 1; \
     elif python3 -m pip --version >/dev/null 2>&1; then python3 -m pip check || exit 1; fi; fi"
        .to_owned()
}
