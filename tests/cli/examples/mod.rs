//! The matrices of `examples/`, which describe the images of other projects: their names, sizes and pages.
//!
//! `tests/buildkit/examples.rs` builds one image of each.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::project::{basegen, copy, example as folder, init_repository, stdout, write};

/// An example, and facts about the images of the project.
struct Example {
    name: &'static str,
    images: usize,
    /// The number of tags that are read from the images.
    read_tags: usize,
    /// The version of a matrix without one.
    version: Option<&'static str>,
    /// The folder that the example is copied to in the repository of the project. Default: the repository itself.
    folder: &'static str,
    /// Other files of that repository, with their texts.
    files: &'static [(&'static str, &'static str)],
    /// The files of the project that the matrix replaces, with their lines.
    sources: &'static [(&'static str, usize)],
}

impl Example {
    const DEFAULT: Self = Self {
        name: "",
        images: 0,
        read_tags: 0,
        version: None,
        folder: "",
        files: &[],
        sources: &[],
    };

    /// Checks the matrix and its page. Returns the names of the images, one a line.
    fn check(&self) -> String {
        let name = self.name;
        let matrix = fs_err::read_to_string(folder(name).join("matrix.toml")).expect("a matrix");
        let lines: usize = self.sources.iter().map(|(_, lines)| lines).sum();
        assert!(matrix.lines().count() <= lines, "{name}: {} lines", matrix.lines().count());

        let project = Project::new(self);
        let version = self.version.map(|version| format!("--version-tag {version}"));
        let version = version.as_deref().unwrap_or_default();
        let plan = project.printed(&format!("plan --offline --format json {version}"));
        let plan: Value = serde_json::from_str(&plan).expect("JSON");
        let targets = plan["targets"].as_array().expect("targets");
        assert_eq!(targets.len(), self.images, "{name}");
        let rendered = project.printed("render");
        assert!(rendered.matches("FROM ").count() >= self.images, "{name}");
        if !self.folder.is_empty() {
            // The page of the example names this command.
            project.printed("check --fix --offline");
        }
        if version.is_empty() {
            project.printed("check --offline");
        }

        let names = project.printed(&format!("list --all-tags {version}"));
        project.try_commands(&folder(name).join("README.md"));
        let page = fs_err::read_to_string(folder("README.md")).expect("a page");
        let tags = names.lines().count() + self.read_tags;
        let row = format!("| [{name}]({name}/README.md) | {} | {tags} |", self.images);
        assert!(page.contains(&row), "no {row}");
        // Tags that depend on the commit or the date.
        let commit = project.commit();
        let filters =
            [(&commit[..12], "COMMIT"), (&commit[..7], "COMMIT"), (r"\d{4}-\d\d-\d\d", "DATE")];
        insta::with_settings!({ filters => filters }, { insta::assert_snapshot!(name, names) });
        names
    }
}

/// A copy of an example in a repository of its own.
struct Project {
    repository: tempfile::TempDir,
    folder: &'static str,
}

impl Project {
    fn new(example: &Example) -> Self {
        let repository = tempfile::tempdir().expect("a folder");
        let path = repository.path();
        copy(&folder(example.name), &path.join(example.folder));
        for (file, text) in example.files {
            write(path, file, text);
        }
        init_repository(path);
        Self { repository, folder: example.folder }
    }

    fn commit(&self) -> String {
        let mut command = Command::new("git");
        command.args(["rev-parse", "HEAD"]).current_dir(self.repository.path());
        stdout(command)
    }

    fn printed(&self, arguments: &str) -> String {
        let mut command = basegen(arguments);
        command
            .current_dir(self.repository.path().join(self.folder))
            .env("PATH", std::env::var_os("PATH").expect("a path"));
        stdout(command)
    }

    /// Runs the commands of a page that need neither a network nor an earlier commit, builds as dry runs.
    fn try_commands(&self, page: &Path) {
        let page = fs_err::read_to_string(page).expect("a page");
        let arguments = page.lines().filter_map(|line| line.strip_prefix("basegen "));
        for arguments in
            arguments.filter(|line| !line.starts_with("update") && !line.contains("--since"))
        {
            let arguments = arguments.replace("--push", "--dry-run");
            let is_build = arguments.starts_with("--") && !arguments.contains("--dry-run");
            let option = if is_build { "--dry-run" } else { "" };
            let mut shell = Command::new("sh");
            shell
                .env_clear()
                .env("PATH", std::env::var_os("PATH").expect("a path"))
                .env("GH_TOKEN", "token")
                .current_dir(self.repository.path())
                .arg("-c")
                .arg(format!("{} {option} {arguments}", env!("CARGO_BIN_EXE_basegen")));
            stdout(shell);
        }
    }
}

#[test]
fn cog() {
    let sources = &[
        ("pkg/dockerfile/base.go", 387),
        ("pkg/config/torch_compatibility.json", 1250),
        ("pkg/config/cuda_compatibility.json", 582),
    ];
    Example { name: "cog", images: 325, sources, ..Example::DEFAULT }.check();
}

#[test]
fn docker_library() {
    let sources = &[("generate-stackbrew-library.sh", 169)];
    let names = Example { name: "docker-library", images: 36, sources, ..Example::DEFAULT }.check();
    let listed: BTreeSet<&str> = names.lines().collect();
    let expected = official_tags();
    let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
    assert_eq!(listed, expected);
}

/// Computes the tags of the official image from versions.json by the rules of its maintainers. A tag consists of a version
/// and the name of a distribution. The first distribution of each kind also has a shorter name, and `latest-` is omitted.
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
    let sources = &[
        ("tagging/hierarchy/images_hierarchy.py", 80),
        ("tagging/taggers/*.py", 120),
        ("images/**/Dockerfile", 836),
    ];
    Example {
        name: "docker-stacks",
        images: 14,
        read_tags: 123,
        version: Some("0123456789ab"),
        sources,
        ..Example::DEFAULT
    }
    .check();
}

#[test]
fn rapids() {
    let sources = &[
        ("matrix.yaml", 53),
        ("latest.yaml", 16),
        ("ci/compute-matrix.jq", 78),
        ("ci/compute-build-args.sh", 41),
    ];
    Example { name: "rapids", images: 104, sources, ..Example::DEFAULT }.check();
}

#[test]
fn runpod() {
    let sources = &[
        ("official-templates/shared/versions.hcl", 35),
        ("official-templates/*/docker-bake.hcl", 423),
    ];
    Example { name: "runpod", images: 42, sources, ..Example::DEFAULT }.check();
}

#[test]
fn text_embeddings_inference() {
    let sources = &[(".github/workflows/matrix.json", 128)];
    let name = "text-embeddings-inference";
    Example { name, images: 27, sources, ..Example::DEFAULT }.check();
}

#[test]
fn truss() {
    let sources = &[("bin/generate_base_images.py", 174)];
    // A newer version of Truss with unchanged images.
    let files = &[
        ("pyproject.toml", "[project]\nname = \"truss\"\nversion = \"0.18.25\"\n"),
        ("truss/contexts/image_builder/util.py", "TRUSS_BASE_IMAGE_VERSION_TAG = \"v0.13.0\"\n"),
    ];
    let folder = "docker/base_images";
    Example { name: "truss", images: 12, folder, files, sources, ..Example::DEFAULT }.check();
}

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
