//! Releases with the real engine to a registry of the test, which counts uploads and can hang at any request.

use std::collections::BTreeMap;
use std::process::Stdio;

use basegen::image::Digest;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::addresses::{Api, tcp_proxy};
use crate::harness::project;
use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::harness::testbed;

/// Two versions of Python, and two job types with a repository each. Each layer depends on as few axes as possible, as in
/// the images of this repository.
const MATRIX: &str = r#"
[image]
repository = "acme/{{job_type}}"
dockerfile = "Dockerfile.hbs"
platforms = ["linux/amd64"]
aliases = ["{{variant}}"]
[axes]
python = ["3.11", "3.13"]
extra = [false, true]
job_type = [{ value = "server", tag = "" }, { value = "training", tag = "" }]
[[verify]]
name = "python"
run = ["python", "-c", "import sys; assert '%d.%d' % sys.version_info[:2] == '{{python}}'"]
[version]
file = "VERSION"
"#;

const DOCKERFILE: &str = "\
FROM python:{{python}}-slim-bookworm
RUN echo {{word}} {{python}} >/python && head -c 300000 /dev/urandom >>/python
{{#if extra}}
RUN echo {{word}} >/extra && head -c 200000 /dev/urandom >>/extra
{{/if}}
COPY --link {{job_type}}.txt /requirements.txt
";

/// A folder with a matrix and the state of basegen, and a registry.
struct Project {
    folder: tempfile::TempDir,
    registry: FakeRegistry,
}

impl Project {
    async fn new() -> Self {
        let project = Self::unpinned().await;
        project.ok(&["update"]).await;
        project
    }

    /// Creates a project without a lock.
    async fn unpinned() -> Self {
        let project = Self {
            folder: tempfile::tempdir().expect("a folder"),
            registry: FakeRegistry::start().await,
        };
        // The engine has built none of these images before.
        let variables = format!("[variables]\nword = \"{}\"\n", testbed::unique());
        project.file("matrix.toml", &format!("{MATRIX}{variables}"));
        project.file("dockerfiles/Dockerfile.hbs", DOCKERFILE);
        project.file("dockerfiles/server.txt", "uvicorn\n");
        project.file("dockerfiles/training.txt", "tqdm\n");
        project.version("v1");
        project
    }

    fn file(&self, path: &str, text: &str) {
        project::write(self.folder.path(), path, text);
    }

    fn version(&self, version: &str) {
        self.file("VERSION", &format!("{version}\n"));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::from(testbed::basegen(self.folder.path()));
        command.args(arguments);
        command
    }

    /// Pushes, and returns the metadata of the run.
    async fn push(&self) -> Value {
        let host = self.registry.host();
        self.ok(&["--push", "--registry", &host, "--metadata-file", "images.json"]).await;
        let metadata = fs_err::read(self.folder.path().join("images.json")).expect("metadata");
        serde_json::from_slice(&metadata).expect("JSON")
    }

    async fn ok(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().await.expect("the command runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("a text")
    }

    fn spawn(&self) -> Child {
        let mut command = self.command(&["--push", "--registry", &self.registry.host()]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        command.spawn().expect("the command runs")
    }

    /// Returns the digests of the uncompressed layers of an image.
    fn diff_ids(&self, path: &str, tag: &str) -> Vec<Digest> {
        let manifest = self.registry.manifest(path, tag).expect("a manifest");
        let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
        let config = manifest["config"]["digest"].as_str().expect("a digest").parse();
        let config = self.registry.blob(path, &config.expect("a digest")).expect("a configuration");
        let config: Value = serde_json::from_slice(&config).expect("JSON");
        serde_json::from_value(config["rootfs"]["diff_ids"].clone()).expect("digests")
    }

    /// Returns all tags except staging tags.
    fn names(&self) -> Vec<String> {
        let tags = |path: &str| self.registry.tags(path);
        let tags = ["acme/server", "acme/training"].map(tags).into_iter().flatten();
        tags.map(|(tag, _)| tag).filter(|tag| !tag.starts_with("basegen-")).collect()
    }
}

/// Two jobs of a workflow build one half of the matrix each, at the same time. A job without an engine sets the tags.
#[tokio::test(flavor = "multi_thread")]
async fn staged_images_of_two_jobs_are_merged_into_a_release() {
    let project = Project::new().await;
    let host = project.registry.host();
    let plan = ["plan", "--format", "github", "--shards", "2", "--registry", &host];
    let planned = project.ok(&plan).await;
    let output = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.expect("an output").to_owned()
    };
    let matrix: Value = serde_json::from_str(&output(&planned, "matrix")).expect("JSON");
    let jobs = matrix["include"].as_array().expect("jobs");
    assert_eq!(jobs.len(), 2);
    let stage = async |at: usize| {
        let file = format!("images-{}.json", jobs[at]["shard"].as_str().expect("a number"));
        let args = jobs[at]["args"].as_str().expect("arguments");
        let stage = ["--stage", args, "--registry", &host, "--metadata-file", &file];
        let mut command = project.command(&stage);
        command.env("XDG_STATE_HOME", project.folder.path().join(&file).with_extension("state"));
        let output = command.output().await.expect("the command runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        file
    };
    let (one, two) = tokio::join!(stage(0), stage(1));
    assert_eq!(project.names(), [""; 0]);
    let names = ["merge", &one, &two, "--push", "--registry", &host, "--metadata-file", "all.json"];
    let mut merge = project.command(&names);
    merge.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let output_of_merge = merge.output().await.expect("the command runs");
    let errors = String::from_utf8_lossy(&output_of_merge.stderr);
    assert!(output_of_merge.status.success(), "{errors}");
    assert!(errors.contains("Found 8 staged images, 16 tags set"), "{errors}");
    assert_eq!(project.names().len(), 16);
    let metadata = fs_err::read(project.folder.path().join("all.json")).expect("metadata");
    let metadata: Value = serde_json::from_slice(&metadata).expect("JSON");
    assert_eq!(metadata["whole"], true);
    let sizes = metadata["targets"].as_object().expect("targets").values();
    assert!(sizes.clone().all(|image| image["size"].as_u64() > Some(1_000_000)), "{metadata}");

    // A push finds all images, and a plan has no jobs.
    project.registry.clear_requests();
    assert_eq!(kept(&project.push().await).len(), 8);
    assert_eq!(project.registry.uploaded_bytes(), 0);
    let planned = project.ok(&plan).await;
    assert_eq!(output(&planned, "matrix"), "{\"include\":[]}");
    assert_eq!((&*output(&planned, "count"), &*output(&planned, "empty")), ("0", "true"));
}

/// Returns the variants whose images existed before the run.
fn kept(metadata: &Value) -> Vec<&str> {
    let targets = metadata["targets"].as_object().expect("targets").iter();
    targets.filter(|(_, image)| image["kept"] == true).map(|(id, _)| id.as_str()).collect()
}

fn digests(metadata: &Value) -> BTreeMap<String, String> {
    let targets = metadata["targets"].as_object().expect("targets").iter();
    let digest = |image: &Value| image["digest"].as_str().expect("a digest").to_owned();
    targets.map(|(id, image)| (id.clone(), digest(image))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_uploads_every_blob_once_and_the_next_one_none() {
    let project = Project::new().await;
    let first = project.push().await;
    assert_eq!((digests(&first).len(), kept(&first).len()), (8, 0));
    // A blob that both repositories have was uploaded once.
    let blobs: BTreeMap<Digest, u64> = ["acme/server", "acme/training"]
        .iter()
        .flat_map(|path| project.registry.blobs(path))
        .collect();
    assert_eq!(project.registry.uploaded_bytes(), blobs.values().sum::<u64>());

    project.registry.clear_requests();
    project.version("v2");
    let second = project.push().await;
    assert_eq!(kept(&second).len(), 8);
    assert_eq!(digests(&second), digests(&first));
    assert_eq!(project.registry.uploaded_bytes(), 0);
    assert_eq!(project.names().len(), 8 * 3, "{:?}", project.names());

    // A changed file changes only the images that copy it.
    project.file("dockerfiles/training.txt", "tqdm>4\n");
    project.version("v3");
    let third = project.push().await;
    let kept = kept(&third);
    assert_eq!(kept.len(), 4);
    assert!(kept.iter().all(|id| id.ends_with("-server")), "{kept:?}");

    // Another machine publishes the same images under a new version without an engine.
    project.version("v4");
    let host = project.registry.host();
    let mut fresh = project.command(&["--push", "--registry", &host]);
    fresh.env("XDG_STATE_HOME", project.folder.path().join("other"));
    fresh.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let output = fresh.output().await.expect("the command runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.contains("8 images unchanged, 8 tags set"),
        "{stderr}"
    );
    let status = project.ok(&["status", "v4", "--registry", &host]).await;
    assert!(status.contains("8 of 8 images match"), "{status}");
}

/// The mirror of Docker Hub can be in the configuration of buildkitd alone.
#[tokio::test(flavor = "multi_thread")]
async fn upstream_images_are_resolved_with_a_mirror_that_only_the_engine_has() {
    let project = Project::unpinned().await;
    let host = project.registry.host();
    let port = tcp_proxy(Api::BuildKit, None).await;
    let builder = format!("tcp://127.0.0.1:{port}");
    let push = async || {
        let mut command = project.command(&["--push", "--registry", &host]);
        // The BuildKit of a graph driver's engine cannot push.
        if !testbed::has_graph_driver().await {
            command.args(["--builder", &builder]);
        }
        // basegen itself reaches no other registry.
        command.env("HTTPS_PROXY", "http://127.0.0.1:1").env("NO_PROXY", "127.0.0.1");
        let output = command.output().await.expect("the command runs");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        errors
    };
    let errors = push().await;
    assert!(
        errors.contains("Built and pushed 8 images") && !errors.contains("warning"),
        "{errors}"
    );
    let errors = push().await;
    assert!(errors.contains("all 8 images are already published"), "{errors}");
}

/// The run is killed with SIGKILL in each phase of the release.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_completes_a_killed_release() {
    let project = Project::new().await;
    let pushes_by_tag = testbed::has_graph_driver().await;
    for (version, method, path) in [
        // During an upload; before a staging tag; before the first version tag; between version tags; between
        // aliases; before the release set.
        ("v1", "POST", "*/blobs/uploads/"),
        ("v2", "PUT", "*/manifests/basegen-????????????????????????????????"),
        ("v3", "PUT", "*/manifests/3.11-v3"),
        ("v4", "PUT", "*/manifests/3.13-extra-v4"),
        ("v5", "PUT", "*/manifests/3.13-extra"),
        ("v6", "PUT", "*/manifests/basegen-release-v6"),
    ] {
        project.version(version);
        project.file("dockerfiles/server.txt", &format!("uvicorn  # {version}\n"));
        project.file("dockerfiles/training.txt", &format!("tqdm  # {version}\n"));
        let hangs = project.registry.fail(Rule::first(method, path, Fault::Hang));
        let mut killed = project.spawn();
        hangs.wait_until_used().await;
        killed.kill().await.expect("killed");
        project.registry.clear_faults();
        let staged: BTreeMap<String, Digest> = ["acme/server", "acme/training"]
            .iter()
            .flat_map(|path| project.registry.tags(path))
            .filter(|(tag, _)| tag.len() == "basegen-".len() + 32)
            .collect();
        let metadata = project.push().await;
        let again = digests(&metadata);
        let is_in_release =
            |digest: &Digest| again.values().any(|known| *known == digest.to_string());
        let (staged, kept) =
            (staged.values().filter(|digest| is_in_release(digest)).count(), kept(&metadata).len());
        // An engine that pushes by tag can still set staging tags after the command was killed.
        assert!(kept == staged || kept > staged && pushes_by_tag, "{version}: {staged}, {kept}");
        let host = project.registry.host();
        let status = project.ok(&["status", version, "--registry", &host]).await;
        assert!(status.contains("8 of 8 images match"), "{version}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_check_stops_the_release() {
    let project = Project::new().await;
    project
        .file("dockerfiles/Dockerfile.hbs", "FROM python:3.11-slim-bookworm\nRUN echo {{word}}\n");
    let host = project.registry.host();
    let mut command = project.command(&["--push", "--registry", &host]);
    let output = command.output().await.expect("the command runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(10), "{stderr}");
    for part in ["failed a check", "the image fails the check `python`", "no tags were set"] {
        assert!(stderr.contains(part), "no `{part}` in:\n{stderr}");
    }
    assert_eq!(project.names(), Vec::<String>::new());
}

/// A tag is resolved once for all variants.
#[tokio::test(flavor = "multi_thread")]
async fn all_variants_use_the_same_digest_of_a_tag_that_moves() {
    let project = Project::new().await;
    let upstream = |word: &str| {
        let layer = project.registry.add_blob("acme/upstream", tar(word));
        let (config, manifest) = image(&layer, tar(word).len());
        project.registry.add_blob("acme/upstream", config);
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        project.registry.add_manifest("acme/upstream", "1", media_type, manifest);
        layer
    };
    let before = upstream("before");
    let host = project.registry.host();
    project.file(
        "dockerfiles/Dockerfile.hbs",
        &format!("FROM {host}/acme/upstream:1\nCOPY {{{{job_type}}}}.txt /{{{{python}}}}\n"),
    );
    let matrix = fs_err::read_to_string(project.folder.path().join("matrix.toml"));
    // The images of this test have no Python, so the check must not run in them.
    let elsewhere = "[[verify]]\nwhen = { python = \"3.13\" }";
    project.file("matrix.toml", &matrix.expect("a matrix").replace("[[verify]]", elsewhere));
    // The tag moves during the first upload.
    let hangs =
        project.registry.fail(Rule::first("POST", "*/acme/server/blobs/uploads/", Fault::Hang));
    let mut pushing = project.command(&["--push", "--registry", &host, "--python", "3.11"]);
    let pushing = pushing.arg("--no-cache").spawn().expect("the command runs");
    hangs.wait_until_used().await;
    let after = upstream("after");
    hangs.release();
    let output = pushing.wait_with_output().await.expect("the command ends");
    assert!(output.status.success());
    for path in ["acme/server", "acme/training"] {
        // Compares uncompressed layers, because a graph driver compresses the layer.
        let layers = project.diff_ids(path, "3.11-v1");
        assert!(layers.contains(&before) && !layers.contains(&after), "{path}: {layers:?}");
    }
}

/// Returns a layer with one file.
fn tar(word: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(word.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "word", word.as_bytes()).expect("a file");
    archive.into_inner().expect("an archive")
}

/// Returns the configuration and the manifest of an image with one uncompressed layer.
fn image(layer: &Digest, size: usize) -> (String, String) {
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [layer] },
    })
    .to_string();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of(config.as_bytes()), "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": size,
        }],
    });
    (config, manifest.to_string())
}

/// The interrupts arrive in phases that need no engine.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_a_release_and_a_second_one_ends_it_immediately() {
    let project = Project::new().await;
    for (method, interrupts) in [("HEAD", 1), ("PUT", 2)] {
        let rule = Rule::first(method, "*/acme/server/manifests/3.11-v1", Fault::Hang);
        let hangs = project.registry.fail(rule);
        let mut interrupted = project.spawn();
        hangs.wait_until_used().await;
        let id = interrupted.id().expect("it runs").to_string();
        for _ in 0..interrupts {
            let sent = Command::new("kill").args(["-INT", &id]).status().await.expect("kill runs");
            assert!(sent.success());
            // Two simultaneous interrupts count as one.
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        let ended = interrupted.wait().await.expect("it ends");
        assert_eq!(ended.code(), Some(130), "{method}");
        project.registry.clear_faults();
    }
    let metadata = project.push().await;
    assert_eq!(kept(&metadata).len(), 8, "images that the earlier runs have built");
}
