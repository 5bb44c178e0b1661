//! The environment of a workflow run: a copy of this repository, a registry, a GitHub, and shims for commands.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use basegen::image::{Digest, Platform};
use basegen::matrix;
use basegen::plan::Fingerprint;
use basegen::registry::Manifest;
use basegen::render::Renderer;
use serde_json::{Value, json};

use crate::harness::github::{FakeGitHub, Identity, TokenKind};
use crate::harness::registry::FakeRegistry;
use crate::harness::variants::{Variant, variants};
use crate::harness::workflows::path;

/// The files that the matrix and the workflows need.
const COPIED: [&str; 10] = [
    "matrix.toml",
    "README.md",
    "LICENSE",
    "Cargo.toml",
    "Cargo.lock",
    "Makefile",
    "action.yml",
    "dockerfiles",
    "scripts",
    ".github",
];

/// The files that a release pull request changes. GitHub has the same content as the repository.
const RELEASE_FILES: [&str; 3] = ["README.md", "Cargo.toml", "Cargo.lock"];

/// The `github.token` of a run.
pub(crate) const TOKEN: &str = "token-of-the-run";

/// The environment of workflow runs.
pub(crate) struct Harness {
    folder: tempfile::TempDir,
    pub(crate) registry: FakeRegistry,
    pub(crate) github: FakeGitHub,
    /// The number of runners so far.
    runners: AtomicUsize,
}

impl Harness {
    /// Creates a git repository with this repository's matrix. Its images are in a registry of the harness, and its upstream images are
    /// pinned, so that no other registry is needed.
    pub(crate) async fn new() -> Self {
        let harness = Self {
            folder: tempfile::tempdir().expect("a folder"),
            registry: FakeRegistry::start().await,
            github: FakeGitHub::start(&[]).await,
            runners: AtomicUsize::new(0),
        };
        harness.github.add_token(TOKEN, Identity::new("github-actions[bot]", TokenKind::Actions));
        let origin = harness.origin();
        fs_err::create_dir_all(&origin).expect("a folder");
        for name in COPIED {
            let status = Command::new("cp").arg("-R").arg(path(name)).arg(&origin).status();
            assert!(status.expect("cp runs").success(), "{name}");
        }
        let matrix = fs_err::read_to_string(origin.join("matrix.toml")).expect("the matrix");
        let host = format!("[image]\nregistry = \"{}\"\n", harness.registry.host());
        fs_err::write(origin.join("matrix.toml"), matrix.replacen("[image]\n", &host, 1))
            .expect("the matrix");
        harness.pin_upstream_images();
        harness.git(&["init", "--quiet", "--initial-branch=main"]);
        harness.commit("Begin");
        harness.write_shims();
        harness
    }

    /// Returns the folder of the git repository.
    pub(crate) fn origin(&self) -> PathBuf {
        self.folder.path().join("origin")
    }

    /// Creates the folder of a new runner.
    pub(crate) fn create_runner_folder(&self) -> PathBuf {
        let number = self.runners.fetch_add(1, Ordering::Relaxed);
        let runner = self.folder.path().join("runners").join(number.to_string());
        fs_err::create_dir_all(&runner).expect("a folder");
        runner
    }

    /// Returns the folder of the shims, which comes first in a runner's `PATH`.
    pub(crate) fn shims(&self) -> PathBuf {
        self.folder.path().join("shims")
    }

    /// Returns the command lines of all calls of shims.
    pub(crate) fn shim_calls(&self) -> Vec<String> {
        let calls = fs_err::read_to_string(self.folder.path().join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// Writes a file of the repository.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs_err::write(self.origin().join(name), text).expect("a file");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.origin().join(name)).expect("a file")
    }

    /// Commits all changes. Returns the previous and the new commit.
    pub(crate) fn commit(&self, message: &str) -> (String, String) {
        let before = self.head();
        self.git(&["add", "--all"]);
        let author = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
        self.git(&[&author[..], &["commit", "--quiet", "--message", message]].concat());
        for file in RELEASE_FILES {
            self.github.push("main", file, &self.read(file));
        }
        (before, self.head())
    }

    /// Commits a new version, and returns the `github` context of its push.
    pub(crate) fn push_version(&self, version: &str) -> Value {
        let cargo = self.read("Cargo.toml");
        let line = cargo.lines().find(|line| line.starts_with("version = ")).expect("a version");
        self.write("Cargo.toml", &cargo.replacen(line, &format!("version = \"{version}\""), 1));
        let (before, _) = self.commit(&format!("Release {version}"));
        json!({ "event": { "before": before, "repository": { "fork": false } } })
    }

    fn head(&self) -> String {
        let mut command = Command::new("git");
        command.current_dir(self.origin()).args(["rev-parse", "--quiet", "--verify", "HEAD"]);
        let head = command.output().expect("git runs").stdout;
        let head = String::from_utf8(head).expect("a commit");
        match head.trim() {
            "" => "0".repeat(40),
            head => head.to_owned(),
        }
    }

    fn git(&self, arguments: &[&str]) {
        let mut command = Command::new("git");
        command.current_dir(self.origin()).args(arguments);
        let output = command.output().expect("git runs");
        assert!(output.status.success(), "{command:?}: {output:?}");
    }

    /// Pins every upstream image of the matrix to a made-up digest.
    fn pin_upstream_images(&self) {
        let matrix = matrix::load(&self.origin().join("matrix.toml")).expect("a matrix");
        let variants: Vec<_> = matrix.variants.iter().collect();
        let contexts =
            Renderer::new(&matrix).expect("templates").render_all(&variants).expect("contexts");
        let upstreams = contexts.iter().flat_map(|context| &context.upstreams);
        let names: BTreeSet<&str> = upstreams.map(|upstream| upstream.name.as_str()).collect();
        let pins =
            names.iter().map(|name| format!("\"{name}\" = \"{}\"\n", Digest::of(name.as_bytes())));
        let lock = format!("schema = 1\n\n[images]\n{}", pins.collect::<String>());
        self.write("basegen.lock", &lock);
    }

    /// Returns the current variants of the repository, by id.
    pub(crate) fn variants(&self) -> BTreeMap<String, Variant> {
        let variants = variants(&self.origin().join("matrix.toml"), "v1");
        variants.into_iter().map(|variant| (variant.id.clone(), variant)).collect()
    }

    /// Adds the staged images of variants to the registry, for one platform or for all, in place of an engine that builds
    /// them.
    pub(crate) fn stage_variants<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a str>,
        platform: Option<&Platform>,
    ) {
        let variants = self.variants();
        for id in ids {
            let variant = &variants[id];
            let Variant { reference, fingerprint, .. } = variant;
            let staging = platform
                .map_or_else(|| variant.staging.clone(), |platform| variant.staging_for(platform));
            let repository = reference.repository.path();
            let labels = BTreeMap::from([(Fingerprint::LABEL, fingerprint.to_string())]);
            let architecture = platform.map(Platform::architecture).unwrap_or_default();
            let config = json!({ "architecture": architecture, "config": { "Labels": labels } });
            let config = config.to_string();
            let part = |media_type: &str, text: &str| {
                let digest = self.registry.add_blob(repository, text.to_owned());
                json!({ "mediaType": media_type, "digest": digest, "size": text.len() })
            };
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": Manifest::OCI_IMAGE,
                "config": part("application/vnd.oci.image.config.v1+json", &config),
                "layers": [part("application/vnd.oci.image.layer.v1.tar", id)],
            });
            for tag in staging {
                let (tag, manifest) = (tag.to_string(), manifest.to_string());
                self.registry.add_manifest(repository, &tag, Manifest::OCI_IMAGE, manifest);
            }
        }
    }

    /// Writes shims for commands that are too slow for a test or need the network. Each records its arguments, and does only what later
    /// steps need.
    fn write_shims(&self) {
        let binary = env!("CARGO_BIN_EXE_basegen");
        // Both calls install basegen.
        self.write_shim(
            "cargo",
            r#"case "$#: $*" in
    "6: install --locked --path "*" --root "*) [ -f "$4/Cargo.toml" ] && place=$6/bin ;;
    "5: build --release --locked --target "*)
        [ -f Cargo.toml ] && [ "$BASEGEN_REPOSITORY $BASEGEN_COMMIT" = "acme/images $(git rev-parse HEAD)" ] &&
            place=target/$5/release ;;
    *) exit 97 ;;
esac || exit 97
mkdir -p "$place" && cp "$SHIMS/basegen" "$place/basegen""#,
        );
        self.write_shim("rustup", r#"[ "$# $1 $2" = "3 target add" ] || exit 97"#);
        self.write_shim(
            "make",
            r#"[ "$#" = 1 ] || exit 97
exec /usr/bin/env -i PATH=/usr/bin:/bin HOME="$HOME" make -n "$1""#,
        );
        self.write_shim("sudo", r#"[ "$1 $2" = "rm -rf" ] || exit 97"#);
        self.write_shim("gh", r#"exec "$SHIMS/../gh-script" "$@""#);
        self.set_gh_script("exit 1");
        self.write_shim("basegen", &format!("exec {binary} \"$@\""));
    }

    /// Sets the script that `gh` runs.
    pub(crate) fn set_gh_script(&self, script: &str) {
        write_executable(&self.folder.path().join("gh-script"), script);
    }

    /// Makes `gh` store releases, verify every file's attestation, and resolve `commits`. Downloads of draft releases fail.
    pub(crate) fn emulate_releases(&self, commits: &[(&str, &str)]) {
        let commits = commits.iter().map(|(name, commit)| {
            format!("    \"api repos/acme/basegen/commits/{name} --jq .sha\") echo {commit} ;;\n")
        });
        let script = r#"if [ "$*" = --version ]; then exit; fi
[ -n "$GH_TOKEN" ] || exit 97
store=${0%/*}/releases
release=$store/$3
case "$*" in
COMMITS    "release view $3 --json isDraft --jq .isDraft")
        if [ ! -d "$release" ]; then echo "release not found" >&2; exit 1; fi
        if [ -e "$release.draft" ]; then echo true; else echo false; fi ;;
    "release create $3 --draft --verify-tag --title $3 --notes "*)
        mkdir -p "$release" && touch "$release.draft" ;;
    "release upload $3 dist/"*" --clobber")
        [ -d "$release" ] && shift 3 && cp "${@:1:$#-1}" "$release" ;;
    "release edit $3 --draft=false") rm -f "$release.draft" ;;
    "release download $3 --repo acme/basegen --dir $7 --pattern "*)
        [ ! -e "$release.draft" ] && cp "$release/$9" "$7" ;;
    "attestation verify $3 --repo acme/basegen --signer-workflow acme/basegen/.github/workflows/binaries.yml --source-ref refs/tags/v"*)
        [ -f "$3" ] && echo 1 ;;
    # Like the real gh, prints the server's error response to stdout.
    *) echo '{"message":"Not Found"}'; exit 1 ;;
esac"#;
        self.set_gh_script(&script.replace("COMMITS", &commits.collect::<String>()));
    }

    /// Adds a draft release, like an interrupted run.
    pub(crate) fn add_draft_release(&self, tag: &str) {
        let releases = self.folder.path().join("releases");
        fs_err::create_dir_all(releases.join(tag)).expect("a folder");
        fs_err::write(releases.join(format!("{tag}.draft")), "").expect("a file");
    }

    /// Writes a shim that records its call and runs `script`.
    fn write_shim(&self, name: &str, script: &str) {
        fs_err::create_dir_all(self.shims()).expect("a folder");
        let (shims, calls) = (self.shims(), self.folder.path().join("calls"));
        let script = format!(
            "SHIMS={}\necho \"{name} $*\" >>{}\n{script}",
            shims.display(),
            calls.display()
        );
        write_executable(&shims.join(name), &script);
    }
}

fn write_executable(file: &Path, script: &str) {
    fs_err::write(file, format!("#!/usr/bin/env bash\n{script}\n")).expect("a script");
    fs_err::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("a script");
}
