//! A repository to release, a registry to release into, and what stands on the path of a runner.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use basegen::image::Digest;
use basegen::matrix;
use basegen::plan::Fingerprint;
use basegen::registry::Manifest;
use basegen::render::Renderer;
use serde_json::{Value, json};

use crate::harness::github::{FakeGitHub, Identity, Kind};
use crate::harness::registry::FakeRegistry;
use crate::harness::variants::{Variant, variants};
use crate::harness::workflows::path;

/// What is copied from this repository: what the matrix is made of, and what the workflows run.
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

/// What a release brings in step, of which GitHub has what the repository has.
const IN_STEP: [&str; 3] = ["README.md", "Cargo.toml", "Cargo.lock"];

/// The token that GitHub gives a run.
pub(crate) const TOKEN: &str = "token-of-the-run";

/// Everything that a run takes place in.
pub(crate) struct Harness {
    folder: tempfile::TempDir,
    pub(crate) registry: FakeRegistry,
    pub(crate) github: FakeGitHub,
    /// How many runners there were.
    runners: AtomicUsize,
}

impl Harness {
    /// A git repository with the matrix of this one, whose images go to a registry of the harness and
    /// whose upstream images are pinned, so that nothing else is asked.
    pub(crate) async fn new() -> Self {
        let harness = Self {
            folder: tempfile::tempdir().expect("a folder"),
            registry: FakeRegistry::start().await,
            github: FakeGitHub::start(&[]).await,
            runners: AtomicUsize::new(0),
        };
        harness.github.add_token(TOKEN, Identity::new("github-actions[bot]", Kind::Actions));
        let origin = harness.origin();
        fs_err::create_dir_all(&origin).expect("a folder");
        for name in COPIED {
            let copied = Command::new("cp").arg("-R").arg(path(name)).arg(&origin).status();
            assert!(copied.expect("cp runs").success(), "{name}");
        }
        let matrix = fs_err::read_to_string(origin.join("matrix.toml")).expect("the matrix");
        let host = format!("[image]\nregistry = \"{}\"\n", harness.registry.host());
        fs_err::write(origin.join("matrix.toml"), matrix.replacen("[image]\n", &host, 1))
            .expect("the matrix");
        harness.pin();
        harness.git(&["init", "--quiet", "--initial-branch=main"]);
        harness.commit("Begin");
        harness.write_shims();
        harness
    }

    /// The repository as GitHub has it.
    pub(crate) fn origin(&self) -> PathBuf {
        self.folder.path().join("origin")
    }

    /// A new folder for a runner.
    pub(crate) fn runner(&self) -> PathBuf {
        let number = self.runners.fetch_add(1, Ordering::Relaxed);
        let runner = self.folder.path().join("runners").join(number.to_string());
        fs_err::create_dir_all(&runner).expect("a folder");
        runner
    }

    /// The folder of the commands that stand before those of the machine.
    pub(crate) fn shims(&self) -> PathBuf {
        self.folder.path().join("shims")
    }

    /// What the shims were called with, a line each.
    pub(crate) fn calls(&self) -> Vec<String> {
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

    /// Commits everything, and gives the commit before it and the new one.
    pub(crate) fn commit(&self, message: &str) -> (String, String) {
        let before = self.head();
        self.git(&["add", "--all"]);
        let name = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
        self.git(&[&name[..], &["commit", "--quiet", "--message", message]].concat());
        for file in IN_STEP {
            self.github.push("main", file, &self.read(file));
        }
        (before, self.head())
    }

    /// Sets the version of the repository, and gives what GitHub says of the push.
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

    /// Pins every upstream image of the matrix to something.
    fn pin(&self) {
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

    /// All variants as the repository has them now, by their ids.
    pub(crate) fn variants(&self) -> BTreeMap<String, Variant> {
        let variants = variants(&self.origin().join("matrix.toml"), "v1");
        variants.into_iter().map(|variant| (variant.id.clone(), variant)).collect()
    }

    /// Builds and checks variants, as an engine at work would have by the time that a job looks.
    pub(crate) fn build<'a>(&self, ids: impl IntoIterator<Item = &'a str>) {
        let variants = self.variants();
        for id in ids {
            let Variant { reference, fingerprint, staging, .. } = &variants[id];
            let repository = reference.repository.path();
            let labels = BTreeMap::from([(Fingerprint::LABEL, fingerprint.to_string())]);
            let config = json!({ "config": { "Labels": labels } }).to_string();
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

    /// Commands that are too heavy for a test, or that leave this machine: each notes how it was
    /// called, and does no more than what later steps need.
    fn write_shims(&self) {
        let binary = env!("CARGO_BIN_EXE_basegen");
        // Both put basegen in place.
        self.shim(
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
        self.shim("rustup", r#"[ "$# $1 $2" = "3 target add" ] || exit 97"#);
        self.shim(
            "make",
            r#"[ "$#" = 1 ] || exit 97
exec /usr/bin/env -i PATH=/usr/bin:/bin HOME="$HOME" make -n "$1""#,
        );
        self.shim("gh", r#"exec "$SHIMS/../gh-answer" "$@""#);
        self.set_releases("exit 1");
        self.shim("basegen", &format!("exec {binary} \"$@\""));
    }

    /// Says how `gh` answers.
    pub(crate) fn set_releases(&self, script: &str) {
        executable(&self.folder.path().join("gh-answer"), script);
    }

    /// Makes `gh` keep releases, of which those that are drafts are hidden from who downloads, attest
    /// all that they hold, and know `commits`.
    pub(crate) fn keep_releases(&self, commits: &[(&str, &str)]) {
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
    # As the real one does, it prints what the server says of an error.
    *) echo '{"message":"Not Found"}'; exit 1 ;;
esac"#;
        self.set_releases(&script.replace("COMMITS", &commits.collect::<String>()));
    }

    /// Leaves a release as a run that was stopped has left it.
    pub(crate) fn draft(&self, tag: &str) {
        let releases = self.folder.path().join("releases");
        fs_err::create_dir_all(releases.join(tag)).expect("a folder");
        fs_err::write(releases.join(format!("{tag}.draft")), "").expect("a file");
    }

    fn shim(&self, name: &str, script: &str) {
        fs_err::create_dir_all(self.shims()).expect("a folder");
        let (shims, calls) = (self.shims(), self.folder.path().join("calls"));
        let script = format!(
            "SHIMS={}\necho \"{name} $*\" >>{}\n{script}",
            shims.display(),
            calls.display()
        );
        executable(&shims.join(name), &script);
    }
}

fn executable(file: &Path, script: &str) {
    fs_err::write(file, format!("#!/usr/bin/env bash\n{script}\n")).expect("a script");
    fs_err::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("a script");
}
