//! A project whose images are already staged in a registry, so that a release needs no engine.

use std::collections::BTreeMap;
use std::process::Output;

use basegen::image::Digest;
use basegen::plan::{Fingerprint, Inputs};
use basegen::registry::Manifest;
use serde_json::json;
use tokio::process::Command;

use crate::harness::github::{FakeGitHub, REPOSITORY};
use crate::harness::project::git;
use crate::harness::registry::FakeRegistry;
use crate::harness::variants::variants;

const MATRIX: &str = r#"
[image]
registry = "REGISTRY"
repository = "acme/base"
tag = "{{variant}}-{{version}}"
aliases = ["{{variant}}"]
dockerfile = "Dockerfile.hbs"
platforms = ["linux/amd64"]
[axes]
python = ["3.11", "3.12"]
[version]
file = "VERSION"
[[version.also]]
file = "images/constants.py"
constant = "BASE_IMAGE_VERSION"
[generated]
readme = "README.md"
"#;

/// A README with the markers of the generated table of images, whose rows contain the version.
pub const README: &str = "# Images\n\n<!-- images: generated -->\n\n<!-- end of images -->\n";

pub const CONSTANT: &str = "# The images.\nBASE_IMAGE_VERSION = \"v1.2.3\"  # see VERSION\n";

/// The files of the project that its repository on GitHub contains.
pub const FILES: [(&str, &str); 3] =
    [("VERSION", "v1.2.3\n"), ("images/constants.py", CONSTANT), ("README.md", README)];

pub struct Project {
    pub folder: tempfile::TempDir,
    pub registry: FakeRegistry,
    pub github: FakeGitHub,
}

impl Project {
    pub async fn new() -> Self {
        let project = Self {
            folder: tempfile::tempdir().expect("a folder"),
            registry: FakeRegistry::start().await,
            github: FakeGitHub::start(&FILES).await,
        };
        project.write_matrix("");
        project.write("dockerfiles/Dockerfile.hbs", "FROM scratch\nCOPY {{python}}.txt /\n");
        project.write("dockerfiles/3.11.txt", "3.11\n");
        project.write("dockerfiles/3.12.txt", "3.12\n");
        for (path, text) in FILES {
            project.write(path, text);
        }
        project
    }

    /// Returns a project whose version v1.2.3 is published.
    pub async fn released() -> Self {
        let project = Self::new().await;
        project.stage();
        project.stdout("release").await;
        for (path, text) in FILES {
            project.write(path, text);
        }
        project
    }

    /// Writes the matrix file, followed by `more`.
    pub fn write_matrix(&self, more: &str) {
        let matrix = MATRIX.replace("REGISTRY", &self.registry.host());
        self.write("matrix.toml", &format!("{matrix}{more}"));
    }

    pub fn git(&self, arguments: &[&str]) {
        git(self.folder.path(), arguments);
    }

    pub fn path(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs_err::write(path, text).expect("a file");
    }

    pub fn read(&self, path: &str) -> String {
        fs_err::read_to_string(self.path(path)).expect("a file")
    }

    /// Adds the images of the matrix to the registry, with staging tags only.
    pub fn stage(&self) {
        self.stage_matrix("matrix.toml");
    }

    pub fn stage_matrix(&self, matrix: &str) {
        // Images do not contain the version.
        for variant in variants(&self.path(matrix), "v0.0.0") {
            let staging = &variant.staging[0];
            let labels = BTreeMap::from([
                (Fingerprint::LABEL, variant.fingerprint.to_string()),
                (Inputs::LABEL, variant.inputs),
            ]);
            let text = variant.files;
            let config = json!({ "config": { "Labels": labels } }).to_string();
            let layers = ["what all have in common\n".repeat(1000), text];
            let part = |kind: &str, text: &str| json!({ "mediaType": kind, "digest": Digest::of(text.as_bytes()), "size": text.len() });
            let tar = "application/vnd.oci.image.layer.v1.tar";
            let manifest = json!({
                "schemaVersion": 2, "mediaType": Manifest::OCI_IMAGE,
                "config": part("application/vnd.oci.image.config.v1+json", &config),
                "layers": layers.each_ref().map(|layer| part(tar, layer)),
            });
            for blob in layers.into_iter().chain([config]) {
                self.registry.add_blob("acme/base", blob);
            }
            let manifest = manifest.to_string();
            self.registry.add_manifest(
                "acme/base",
                staging.as_str(),
                Manifest::OCI_IMAGE,
                manifest,
            );
        }
    }

    /// Returns a command with a person's token and no other variables of the environment.
    pub fn basegen(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_basegen"));
        command
            .args(arguments.split_whitespace())
            .env_clear()
            .current_dir(self.folder.path())
            .env("HOME", self.path("home"))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("GITHUB_API_URL", self.github.api())
            .env("GITHUB_REPOSITORY", REPOSITORY)
            .env("GITHUB_TOKEN", "canary-person")
            // No command may need an engine.
            .env("DOCKER_HOST", "unix:///nonexistent");
        command
    }

    /// Runs a command and returns its stdout, stderr and exit code, without addresses.
    pub async fn output(&self, mut command: Command) -> String {
        let output = command.output().await.expect("the command runs");
        self.format_output(&output)
    }

    /// Replaces the parts of a text that differ between runs: the registry's address, and the digest of the release set, which
    /// depends on that address.
    pub fn normalize(&self, text: &str) -> String {
        let text = text.replace(&self.registry.host(), "REGISTRY");
        let lines = text.lines().map(|line| match line.split_once("The release set is ") {
            Some((before, _)) => format!("{before}The release set is SET"),
            None => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    pub fn format_output(&self, output: &Output) -> String {
        let text = |bytes: &[u8]| {
            let text = self.normalize(&String::from_utf8_lossy(bytes));
            let host = self.github.api().replace("http://", "").replace("/api/v3", "");
            let lines = text.replace(&host, "GITHUB");
            let lines = lines.lines().map(|line| match line.split_once(" tags set in ") {
                Some((before, _)) => format!("{before} tags set in TIME"),
                None => line.to_owned(),
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        let code = output.status.code().unwrap_or(-1);
        format!("{}\n----- stderr\n{}\n----- {code}", text(&output.stdout), text(&output.stderr))
    }

    /// Runs a command that must succeed, and returns its stdout.
    pub async fn stdout(&self, arguments: &str) -> String {
        let output = self.basegen(arguments).output().await.expect("the command runs");
        assert!(output.status.success(), "{}", self.format_output(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Merges the open pull request on GitHub, and updates the files of the project.
    pub fn merge_pull_request(&self) {
        self.github.with(|store| {
            let pull = store.pulls.iter_mut().find(|pull| pull.is_open).expect("an open one");
            pull.is_open = false;
            let head = store.branches.remove(&pull.head).expect("a branch");
            store.branches.insert("main".to_owned(), head);
        });
        for (path, _) in FILES {
            self.write(path, &self.github.file("main", path).expect("a file"));
        }
    }
}
