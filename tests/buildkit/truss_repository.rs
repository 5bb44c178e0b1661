//! Releases in a repository with the layout of Truss: the version in `pyproject.toml`, a Python constant that follows it,
//! and the base images in a subfolder.

use std::collections::BTreeMap;

use basegen::image::Digest;
use serde_json::Value;
use tokio::process::Command;

use crate::harness::github::{FakeGitHub, REPOSITORY};
use crate::harness::project::example;
use crate::harness::registry::FakeRegistry;
use crate::harness::testbed;

const MATRIX: &str = r#"
[image]
registry = "REGISTRY"
repository = "baseten/truss-{{job_type}}-base"
dockerfile = "base_image.Dockerfile.hbs"
platforms = ["linux/amd64"]
[axes]
python = ["3.11", "3.13"]
live_reload = [false, { value = true, tag = "reload" }]
job_type = [{ value = "server", tag = "" }, { value = "training", tag = "" }]
[[verify]]
name = "python"
run = ["python", "-c", "import sys; assert '%d.%d' % sys.version_info[:2] == '{{python}}'"]
[generated]
readme = "README.md"
[pull_request]
labels = ["base images"]
"#;

/// The images are released together with the product.
const SAME_VERSION: &str = r#"
[version]
file = "../../pyproject.toml"
key = "project.version"
prefix = "v"
[[version.also]]
file = "../../truss/contexts/image_builder/util.py"
constant = "TRUSS_BASE_IMAGE_VERSION_TAG"
"#;

const DOCKERFILE: &str = "\
FROM python:{{python}}-slim-bookworm
{{#if live_reload}}
RUN mkdir /control && echo {{word}} >/control/.env
{{/if}}
COPY --link {{job_type}}_requirements.txt /app/requirements.txt
";

const PYPROJECT: &str = "[project]\nname = \"truss\"\nversion = \"0.13.0\"  # released by hand\n";

const UTIL: &str = "\
from pathlib import Path

# This needs to be updated whenever we want to update base images.
TRUSS_BASE_IMAGE_VERSION_TAG = \"v0.13.0\"


def truss_base_image_name(job_type: str) -> str:
    return f\"baseten/truss-{job_type}-base\"
";

const README: &str = "# Base images\n\n<!-- images: generated -->\n\n<!-- end of images -->\n";

const IMAGES: &str = "docker/base_images";
const CONSTANT: &str = "truss/contexts/image_builder/util.py";
const BRANCH: &str = "basegen/release-v0.14.0";

/// A clone of the repository, with its registry and its GitHub.
struct Truss {
    clone: tempfile::TempDir,
    /// The state folder of basegen, which is not in the clone.
    state: tempfile::TempDir,
    registry: FakeRegistry,
    github: FakeGitHub,
}

impl Truss {
    /// Creates the repository with these tables of the version.
    async fn new(version: &str) -> Self {
        let folder = || tempfile::tempdir().expect("a folder");
        let registry = FakeRegistry::start().await;
        let matrix = MATRIX.replace("REGISTRY", &registry.host());
        // The engine has built none of these images before.
        let word = testbed::unique();
        let matrix = format!("{matrix}{version}\n[variables]\nword = \"{word}\"\n");
        let images = |name: &str| format!("{IMAGES}/{name}");
        let files = [
            ("pyproject.toml".to_owned(), PYPROJECT.to_owned()),
            (CONSTANT.to_owned(), UTIL.to_owned()),
            (images("README.md"), README.to_owned()),
            (images("matrix.toml"), matrix),
            (images("dockerfiles/base_image.Dockerfile.hbs"), DOCKERFILE.to_owned()),
            (images("dockerfiles/server_requirements.txt"), "uvicorn==0.30.0\n".to_owned()),
            (images("dockerfiles/training_requirements.txt"), "tqdm==4.66.0\n".to_owned()),
        ];
        let github = FakeGitHub::start(&[]).await;
        let truss = Self { clone: folder(), state: folder(), registry, github };
        truss.git(&["init", "--quiet", "--initial-branch=main"]).await;
        for (path, text) in &files {
            truss.write(path, text);
        }
        // Pins the upstream images, and commits everything.
        truss.basegen("update").await;
        truss.commit("Add base images").await;
        truss
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.clone.path().join(path);
        fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs_err::write(path, text).expect("a file");
    }

    fn read(&self, path: &str) -> String {
        fs_err::read_to_string(self.clone.path().join(path)).expect("a file")
    }

    async fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        for (name, value) in [("user.name", "Someone"), ("user.email", "someone@example.org")] {
            command.args(["-c", &format!("{name}={value}")]);
        }
        command.arg("-C").arg(self.clone.path()).args(arguments);
        let output = command.output().await.expect("git runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Commits everything, and pushes it to GitHub.
    async fn commit(&self, message: &str) {
        self.git(&["add", "--all"]).await;
        self.git(&["commit", "--quiet", "--message", message]).await;
        for path in self.git(&["ls-files"]).await.lines() {
            self.github.push("main", path, &self.read(path));
        }
    }

    /// Merges the open pull request, and pulls.
    async fn merge(&self) {
        let tree = self.github.with(|store| {
            let pull = store.pulls.iter_mut().find(|pull| pull.is_open).expect("an open one");
            pull.is_open = false;
            let head = store.branches.remove(&pull.head).expect("a branch");
            let tree = store.tree(&head).clone();
            store.branches.insert("main".to_owned(), head);
            tree
        });
        for (path, file) in tree {
            self.write(&path, &String::from_utf8(file.content).expect("UTF-8"));
        }
        self.git(&["commit", "--quiet", "--all", "--message", "Release v0.14.0"]).await;
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_basegen"));
        command.args(arguments.split_whitespace()).current_dir(self.clone.path().join(IMAGES));
        command
            .env("XDG_STATE_HOME", self.state.path())
            .env("GITHUB_API_URL", self.github.api())
            .env("GITHUB_REPOSITORY", REPOSITORY)
            .env("GITHUB_TOKEN", "canary-person")
            .env_remove("GITHUB_ACTIONS")
            .env_remove("GITHUB_OUTPUT");
        command
    }

    /// Returns what a command prints on stdout. It must succeed.
    async fn basegen(&self, arguments: &str) -> String {
        let output = self.command(arguments).output().await.expect("the command runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "basegen {arguments}: {stderr}");
        assert!(!stderr.contains("canary-person"));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Returns what a command prints. It must fail with this exit code.
    async fn refusal(&self, arguments: &str, code: i32) -> String {
        let output = self.command(arguments).output().await.expect("the command runs");
        assert_eq!(output.status.code(), Some(code), "basegen {arguments}");
        let printed = [output.stdout, output.stderr].concat();
        String::from_utf8(printed).expect("UTF-8")
    }

    async fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.basegen(arguments).await).expect("JSON")
    }

    /// Returns the digests of the images of a version, by their names without the version.
    fn images(&self, version: &str) -> BTreeMap<String, Digest> {
        let paths = ["baseten/truss-server-base", "baseten/truss-training-base"];
        let tags = paths.into_iter().flat_map(|path| {
            let tags = self.registry.tags(path).into_iter();
            tags.map(move |(tag, digest)| (format!("{path}:{tag}"), digest))
        });
        let suffix = format!("-{version}");
        let of_version = tags.filter(|(name, _)| !name.contains(":basegen"));
        let bare = of_version
            .filter_map(|(name, digest)| Some((name.strip_suffix(&suffix)?.to_owned(), digest)));
        bare.collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_released_only_if_they_changed() {
    let truss = Truss::new(SAME_VERSION).await;
    truss.basegen("--push").await;
    let first = truss.images("v0.13.0");
    assert_eq!(first.len(), 8);

    truss.write(&format!("{IMAGES}/dockerfiles/server_requirements.txt"), "uvicorn==0.31.0\n");
    truss.commit("Update uvicorn").await;
    let changed = truss.json("changed --since HEAD^ --format json").await;
    assert_eq!(changed["version_changed"], false);
    assert_eq!(changed["count"], 4);
    let plan = truss.basegen("plan").await;
    assert_eq!(plan.matches("server_requirements.txt changed").count(), 4, "{plan}");
    let published = plan.lines().filter(|line| line.ends_with("  published"));
    assert_eq!(published.count(), 4, "{plan}");

    truss.basegen("release minor --pr --metadata-file images.json").await;
    let second = truss.images("v0.14.0");
    assert_eq!(second.keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>());
    for (name, digest) in &second {
        assert_eq!(*digest != first[name], name.contains("server"), "{name}");
    }
    let metadata: Value =
        serde_json::from_str(&truss.read(&format!("{IMAGES}/images.json"))).expect("JSON");
    let targets = metadata["targets"].as_object().expect("targets");
    let built = targets.iter().filter(|(_, image)| image["kept"] == false).map(|(id, _)| id);
    assert!(built.clone().all(|id| id.contains("server")) && built.count() == 4, "{metadata}");
    fs_err::remove_file(truss.clone.path().join(IMAGES).join("images.json")).expect("a file");

    let proposed = |path: &str| truss.github.file(BRANCH, path).expect("a file");
    assert_eq!(proposed("pyproject.toml"), PYPROJECT.replace("0.13.0", "0.14.0"));
    assert_eq!(proposed(CONSTANT), UTIL.replace("v0.13.0", "v0.14.0"));
    // Each row of the table has the images of all Python versions.
    assert_eq!(proposed(&format!("{IMAGES}/README.md")).matches("-v0.14.0`").count(), 4);
    assert_eq!(truss.github.file("main", "pyproject.toml").as_deref(), Some(PYPROJECT));
    assert_eq!(truss.git(&["status", "--porcelain"]).await, "", "changes in the clone");
    let body = truss.github.with(|store| store.pulls[0].body.clone());
    for (name, digest) in &second {
        assert!(body.contains(&digest.to_string()), "{name} is not in:\n{body}");
    }
    truss.merge().await;

    let changed = truss.json("changed --since HEAD^ --format json").await;
    assert_eq!(changed["version_changed"], true);
    assert_eq!(
        (&changed["version_before"], &changed["version"]),
        (&"v0.13.0".into(), &"v0.14.0".into())
    );
    assert_eq!(changed["count"], 0);
    truss.registry.clear_requests();
    truss.github.clear_requests();
    for call in
        ["release minor --pr", "--push --pr", "release --pr", "bump patch --if-changed", "check"]
    {
        truss.basegen(call).await;
    }
    assert_eq!(truss.registry.uploaded_bytes(), 0);
    assert_eq!(truss.registry.count("PUT", "*"), 0);
    assert!(truss.github.requests().iter().all(|seen| seen.method == "GET"));
    assert_eq!(truss.git(&["status", "--porcelain"]).await, "");
}

/// Returns the tables of the version of `examples/truss`.
fn version_of_the_example() -> String {
    let matrix = fs_err::read_to_string(example("truss").join("matrix.toml")).expect("a matrix");
    let (_, tables) = matrix.split_once("\n[version]\n").expect("a version");
    let (tables, _) = tables.split_once("\n[generated]\n").expect("the next table");
    format!("[version]\n{tables}")
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_images_get_the_version_of_truss_even_if_that_skips_versions() {
    let truss = Truss::new(&version_of_the_example()).await;
    truss.basegen("check --fix").await;
    truss.basegen("--push").await;
    let first = truss.images("v0.13.0");
    assert_eq!(first.len(), 8);

    // A release of Truss with the same images.
    truss.write("pyproject.toml", &PYPROJECT.replace("0.13.0", "0.14.0"));
    truss.commit("Release Truss 0.14.0").await;
    truss.registry.clear_requests();
    for call in ["check", "bump follow", "release follow", "--push"] {
        truss.basegen(call).await;
    }
    assert_eq!(truss.registry.count("PUT", "*"), 0);
    assert_eq!(truss.git(&["status", "--porcelain"]).await, "");

    // The next one changes images.
    truss.write("pyproject.toml", &PYPROJECT.replace("0.13.0", "0.15.2"));
    truss.write(&format!("{IMAGES}/dockerfiles/server_requirements.txt"), "uvicorn==0.31.0\n");
    let refusal = truss.refusal("check", 12).await;
    assert!(refusal.contains("v0.13.0 is already published with different content"), "{refusal}");
    assert!(refusal.contains("0.15.2 in ../../pyproject.toml:3"), "{refusal}");
    truss.basegen("bump follow").await;
    assert_eq!(truss.read(CONSTANT), UTIL.replace("v0.13.0", "v0.15.2"));
    truss.commit("Update uvicorn").await;
    truss.basegen("--push").await;
    let second = truss.images("v0.15.2");
    assert_eq!(second.keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>());
    for (name, digest) in &second {
        assert_eq!(*digest != first[name], name.contains("server"), "{name}");
    }
    assert_eq!(truss.images("v0.14.0").len(), 0);
    truss.basegen("check").await;
}
