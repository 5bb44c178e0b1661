//! The matrices of `examples/`, each after the images of a project: all names, and what needs no engine.
//!
//! `tests/buildkit/examples.rs` builds one image of each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::project::{basegen, git, stdout};

/// An example, and the files of the project that say the same.
struct Example {
    name: &'static str,
    images: usize,
    /// The version of a matrix without one.
    version: Option<&'static str>,
    /// The files of the project that the matrix replaces, with their lines.
    sources: &'static [(&'static str, usize)],
}

const EXAMPLES: [Example; 4] = [
    Example {
        name: "cog",
        images: 325,
        version: None,
        sources: &[
            ("pkg/dockerfile/base.go", 387),
            ("pkg/config/torch_compatibility.json", 1250),
            ("pkg/config/cuda_compatibility.json", 582),
        ],
    },
    Example {
        name: "docker-library",
        images: 36,
        version: None,
        sources: &[("generate-stackbrew-library.sh", 169)],
    },
    Example {
        name: "docker-stacks",
        images: 14,
        version: Some("0123456789ab"),
        sources: &[
            ("tagging/hierarchy/images_hierarchy.py", 80),
            ("tagging/taggers/*.py", 120),
            ("images/**/Dockerfile", 836),
        ],
    },
    Example {
        name: "runpod",
        images: 42,
        version: None,
        sources: &[
            ("official-templates/shared/versions.hcl", 35),
            ("official-templates/*/docker-bake.hcl", 423),
        ],
    },
];

/// A copy of an example in a repository of its own.
struct Copied {
    folder: tempfile::TempDir,
}

impl Copied {
    fn new(example: &str) -> Self {
        let copied = Self { folder: tempfile::tempdir().expect("a folder") };
        copy(&folder(example), copied.folder.path());
        git(copied.folder.path(), &["init", "--quiet"]);
        git(copied.folder.path(), &["add", "--all"]);
        git(copied.folder.path(), &["commit", "--quiet", "--message", "example"]);
        copied
    }

    fn commit(&self) -> String {
        let mut command = Command::new("git");
        command.args(["rev-parse", "HEAD"]).current_dir(self.folder.path());
        stdout(command)
    }

    fn printed(&self, arguments: &str) -> String {
        let mut command = basegen(arguments);
        command
            .current_dir(self.folder.path())
            .env("PATH", std::env::var_os("PATH").expect("a path"));
        stdout(command)
    }
}

fn folder(example: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example)
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).expect("a folder");
    for entry in fs_err::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs_err::copy(entry.path(), target).expect("a copy");
        }
    }
}

fn check(name: &str) -> String {
    let example = EXAMPLES.iter().find(|example| example.name == name).expect("an example");
    let matrix = fs_err::read_to_string(folder(name).join("matrix.toml")).expect("a matrix");
    let lines: usize = example.sources.iter().map(|(_, lines)| lines).sum();
    assert!(matrix.lines().count() <= lines, "{name}: {} lines", matrix.lines().count());
    let copied = Copied::new(name);
    let version = example.version.map(|version| format!("--version-tag {version}"));
    let version = version.as_deref().unwrap_or_default();
    let plan = copied.printed(&format!("plan --offline --format json {version}"));
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    let targets = plan["targets"].as_array().expect("targets");
    assert_eq!(targets.len(), example.images, "{name}");
    let rendered = copied.printed("render");
    assert!(rendered.matches("FROM ").count() >= example.images, "{name}");
    if version.is_empty() {
        copied.printed("check --offline");
    }
    let names = copied.printed(&format!("list --all-tags {version}"));
    // What each commit and each day changes.
    let commit = copied.commit();
    let filters =
        [(&commit[..12], "COMMIT"), (&commit[..7], "COMMIT"), (r"\d{4}-\d\d-\d\d", "DATE")];
    insta::with_settings!({ filters => filters }, { insta::assert_snapshot!(name, names) });
    names
}

#[test]
fn cog() {
    check("cog");
}

#[test]
fn docker_library() {
    let names = check("docker-library");
    let listed: BTreeSet<&str> =
        names.split_whitespace().filter(|word| word.contains(':')).collect();
    let expected = official_tags();
    let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
    assert_eq!(listed, expected);
}

/// Computes the tags of the official image from versions.json, by the rules of its maintainers: all versions of a release,
/// without `latest-`, with the name of the distribution, and with a shorter one for the first of its kind.
fn official_tags() -> Vec<String> {
    let versions =
        fs_err::read_to_string(folder("docker-library").join("versions.json")).expect("versions");
    let versions: Value = serde_json::from_str(&versions).expect("JSON");
    let mut tags = Vec::new();
    for (minor, release) in versions.as_object().expect("a table") {
        let mut numbers = vec![release["version"].as_str().expect("a version"), minor.as_str()];
        if minor == "3.14" {
            numbers.extend(["3", "latest"]);
        }
        let listed = release["variants"].as_array().expect("a list");
        let variants: Vec<&str> =
            listed.iter().map(|name| name.as_str().expect("a name")).collect();
        let first = |is_wanted: fn(&str) -> bool| {
            variants.iter().copied().find(|name| is_wanted(name)).expect("one")
        };
        let debian = first(|name| !name.starts_with("alpine") && !name.starts_with("slim-"));
        let alpine = first(|name| name.starts_with("alpine"));
        for variant in &variants {
            let mut suffixes = vec![*variant];
            match variant.strip_suffix(debian) {
                Some("") => tags.extend(numbers.iter().map(|number| format!("python:{number}"))),
                Some(kind) => suffixes.push(kind.trim_end_matches('-')),
                None if *variant == alpine => suffixes.push("alpine"),
                None => {}
            }
            for suffix in suffixes {
                let named = numbers.iter().map(|number| format!("{number}-{suffix}"));
                tags.extend(
                    named.map(|tag| format!("python:{}", tag.trim_start_matches("latest-"))),
                );
            }
        }
    }
    tags
}

#[test]
fn docker_stacks() {
    check("docker-stacks");
}

#[test]
fn runpod() {
    check("runpod");
}

/// What the README of an example says of itself.
#[test]
fn each_example_has_a_page() {
    let folders = fs_err::read_dir(folder("")).expect("examples");
    for entry in folders {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            let page = fs_err::read_to_string(path.join("README.md")).expect("a page");
            assert!(page.contains("After this page you can"), "{}", path.display());
        }
    }
}
