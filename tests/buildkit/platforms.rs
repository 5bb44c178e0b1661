//! Images for several platforms. They need no emulation, because their steps run no programs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use basegen::engine::Destination;
use basegen::event::FailureKind;
use basegen::image::Digest;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::export::{arguments, bake, basegen, repositories, succeeded};
use crate::harness::project;
use crate::harness::registry::FakeRegistry;
use crate::harness::testbed;

const MATRIX: &str = r#"
[image]
repository = "acme/{{job_type}}"
dockerfile = "Dockerfile.hbs"
platforms = ["linux/amd64", "linux/arm64"]
aliases = ["latest"]
[axes]
job_type = ["server", "training"]
"#;

fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs_err::create_dir(folder.path().join("dockerfiles")).expect("a folder");
    let shared = format!("{}\n", testbed::unique());
    for (path, text) in [
        ("matrix.toml", MATRIX),
        (
            "dockerfiles/Dockerfile.hbs",
            "FROM scratch\nCOPY --link shared /shared\nCOPY --link own /own\n",
        ),
        ("dockerfiles/shared", &shared),
        ("dockerfiles/own.hbs", "{{job_type}}\n"),
    ] {
        fs_err::write(folder.path().join(path), text).expect("a file");
    }
    folder
}

/// Runs a command for images of `version` in a registry, with a state folder.
async fn run(folder: &Path, host: &str, version: &str, state: &str, arguments: &[&str]) -> Output {
    let mut command = Command::from(testbed::basegen(folder));
    command.env("XDG_STATE_HOME", folder.join(state)).args(arguments);
    command.args(["--registry", host, "--version-tag", version]);
    command.output().await.expect("the command runs")
}

async fn push(folder: &Path, host: &str, version: &str, state: &str) -> Output {
    run(folder, host, version, state, &["--push"]).await
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_has_one_index_for_all_platforms_of_an_image() {
    let (folder, registry) = (project(), FakeRegistry::start().await);
    let host = registry.host();
    let output = push(folder.path(), &host, "v1", "state").await;
    if testbed::has_graph_driver().await {
        let stderr = stderr(&output);
        assert_eq!(output.status.code(), Some(5), "{stderr}");
        assert!(stderr.contains("cannot build an image for several platforms"), "{stderr}");
        assert!(stderr.contains("hint: choose one with `--platform`"), "{stderr}");
        return;
    }
    assert!(output.status.success(), "{}", stderr(&output));
    let repositories = ["acme/server", "acme/training"];
    let mut staged: Vec<(&str, String)> = Vec::new();
    for path in repositories {
        let name = path.trim_start_matches("acme/");
        let digest = registry.tag(path, &format!("{name}-v1")).expect("the version's tag");
        let index = manifest(&host, path, &digest).await;
        let platforms: Vec<&Value> = index["manifests"]
            .as_array()
            .expect("an index")
            .iter()
            .map(|entry| &entry["platform"]["architecture"])
            .collect();
        assert_eq!(platforms, ["amd64", "arm64"], "{index}");
        let own = registry.tags(path).into_iter().filter(|(_, tagged)| *tagged == digest);
        let own: Vec<String> = own.map(|(tag, _)| tag).collect();
        assert_eq!(own.len(), 2, "the version and the staging tag: {own:?}");
        let tags = own.into_iter().filter(|tag| tag.starts_with("basegen-"));
        staged.extend(tags.map(|tag| (path, tag)));
    }
    // The layer that both repositories have was uploaded once.
    let mut blobs: Vec<_> = repositories.iter().flat_map(|path| registry.blobs(path)).collect();
    let all = blobs.len();
    blobs.sort();
    blobs.dedup();
    assert!(blobs.len() < all, "{blobs:?}");
    assert_eq!(registry.uploaded_bytes(), blobs.iter().map(|(_, size)| size).sum::<u64>());

    // Without staging tags, the release set identifies the images. Nothing is built or uploaded.
    registry.clear_requests();
    assert_eq!(staged.len(), 2, "{staged:?}");
    for (path, tag) in &staged {
        registry.remove_tag(path, tag);
    }
    let again = push(folder.path(), &host, "v1", "other").await;
    assert!(stderr(&again).contains("all 2 images are already published"), "{}", stderr(&again));
    assert_eq!((registry.uploaded_bytes(), registry.count("POST", "*")), (0, 0));

    // A build sets the staging tags again. They identify the images of the next version.
    for (path, tag) in &staged {
        let name = path.trim_start_matches("acme/");
        registry.remove_tag(path, &format!("{name}-v1"));
        assert_eq!(registry.tag(path, tag), None);
    }
    let built = push(folder.path(), &host, "v2", "other").await;
    assert!(stderr(&built).contains("Built and pushed 2 images"), "{}", stderr(&built));
    let kept = push(folder.path(), &host, "v3", "third").await;
    assert!(stderr(&kept).contains("2 images unchanged, 2 tags set"), "{}", stderr(&kept));
}

#[tokio::test(flavor = "multi_thread")]
async fn platforms_that_are_staged_one_by_one_become_the_same_images() {
    let (folder, registry) = (project(), FakeRegistry::start().await);
    let host = registry.host();
    let based = "{ value = \"training\", dockerfile = \"based.Dockerfile.hbs\" }]";
    let file = |path: &str, text: &str| project::write(folder.path(), path, text);
    file("matrix.toml", &MATRIX.replace("\"training\"]", based));
    let dockerfile = "FROM {{image \"server\"}}\nCOPY own /based\n";
    file("dockerfiles/based.Dockerfile.hbs", dockerfile);
    for platform in ["linux/amd64", "linux/arm64"] {
        let file = format!("{}.json", platform.replace('/', "-"));
        let stage = ["--stage", "--only-platform", platform, "--metadata-file", &file];
        let staged = run(folder.path(), &host, "v1", platform, &stage).await;
        assert!(staged.status.success(), "{}", stderr(&staged));
    }
    let merge = ["merge", "linux-amd64.json", "linux-arm64.json", "--push"];
    let merged = run(folder.path(), &host, "v1", "merge", &merge).await;
    assert!(merged.status.success(), "{}", stderr(&merged));
    let paths = ["server", "training"].map(|name| (format!("acme/{name}"), format!("{name}-v1")));
    for (path, tag) in &paths {
        let digest = registry.tag(path, tag).expect("the version's tag");
        let index = manifest(&host, path, &digest).await;
        let platforms = index["manifests"].as_array().expect("an index").iter();
        let platforms: Vec<&Value> =
            platforms.map(|entry| &entry["platform"]["architecture"]).collect();
        assert_eq!(platforms, ["amd64", "arm64"], "{index}");
    }
    if testbed::has_graph_driver().await {
        // Such an engine builds images for one platform only.
        return;
    }
    let alone = FakeRegistry::start().await;
    let pushed = push(folder.path(), &alone.host(), "v1", "state").await;
    assert!(pushed.status.success(), "{}", stderr(&pushed));
    for (path, tag) in &paths {
        assert_eq!(alone.tag(path, tag), registry.tag(path, tag), "{path}");
    }
}

#[tokio::test]
async fn images_for_the_engine_are_built_for_its_own_platform() {
    const NOTE: &str = "note: building only for";
    let folder = project();
    let repository = format!("basegen-test/own-{}/{{{{job_type}}}}", testbed::unique());
    let registry = testbed::registry();
    let run = |arguments: &[&str]| {
        let mut command = testbed::basegen(folder.path());
        command.args(arguments).args(["--registry", &registry, "--repository", &repository]);
        let output = command.output().expect("the command runs");
        assert!(output.status.success(), "{}", stderr(&output));
        output
    };
    let own = testbed::engine().await.native_platform().expect("a platform").to_string();
    let built = run(&["--version-tag", "v1", "--metadata-file", "images.json"]);
    let note = format!("{NOTE} {own}, the platform of the engine; `--platform` selects others\n");
    assert!(stderr(&built).contains(&note), "{}", stderr(&built));
    let metadata = fs_err::read(folder.path().join("images.json")).expect("the metadata");
    let metadata: Value = serde_json::from_slice(&metadata).expect("JSON");
    assert_eq!(metadata["targets"]["server"]["platforms"], json!([own]));
    let printed = String::from_utf8_lossy(&built.stdout).into_owned();
    let (name, _) = printed.lines().next().and_then(|line| line.split_once('@')).expect("a name");
    let inspect = ["image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", name];
    let inspected = testbed::docker_command(&inspect).output().expect("docker runs");
    assert_eq!(String::from_utf8_lossy(&inspected.stdout).trim(), own, "{inspected:?}");

    // Images for one platform are current, too.
    let stale = run(&["prune"]);
    assert!(stderr(&stale).contains("nothing to prune"), "{stale:?}");
    let again = run(&["--version-tag", "v1"]);
    assert_eq!(again.stdout, built.stdout);
    let selected = run(&["--version-tag", "v1", "--platform", "linux/arm64"]);
    assert!(!stderr(&selected).contains(NOTE), "{}", stderr(&selected));

    // If an image is not for the engine's platform, all are built for all of theirs.
    if !testbed::has_graph_driver().await {
        let limited = "{ value = \"training\", platforms = [\"linux/s390x\"] }";
        let matrix = MATRIX.replace("\"training\"", limited).replace("arm64", "s390x");
        project::write(folder.path(), "matrix.toml", &matrix);
        let all = run(&["--version-tag", "v1"]);
        assert!(!stderr(&all).contains(NOTE), "{}", stderr(&all));
    }
}

async fn manifest(host: &str, path: &str, digest: &Digest) -> Value {
    let (_, body) = testbed::fetch_from(host, &format!("/v2/{path}/manifests/{digest}")).await;
    serde_json::from_slice(&body).expect("a manifest")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_of_another_platform_fails_with_a_hint() {
    let builder = testbed::builder(Destination::Registry).await;
    // No machine can run this program, so the build also fails if the engine supports arm64. Then there is no hint.
    let dockerfile = "FROM scratch\nCOPY program /program\nRUN [\"/program\"]\n";
    let mut job = testbed::job("foreign", dockerfile, &[("program", &testbed::unique())]);
    job.context.files[0].executable = true;
    job.platforms = vec!["linux/arm64".parse().expect("a platform")];
    let failure = testbed::build(&builder, &job).await.expect_err("a failure");
    assert_eq!(failure.kind, FailureKind::Build, "{failure:?}");
    let is_native = testbed::engine().await.platforms().contains(&job.platforms[0]);
    let hint = failure.hint.unwrap_or_default();
    assert_ne!(is_native, hint.contains("cannot run programs for `linux/arm64`"), "{hint}");
}

/// Engines limit messages to 4 MiB, and describe the image of each platform together with its context.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_context_is_sent_for_several_platforms() {
    let text = testbed::unique().repeat(150_000);
    let mut job = testbed::job("large", "FROM scratch\nCOPY large /large\n", &[("large", &text)]);
    let platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7"];
    job.platforms = platforms.map(|platform| platform.parse().expect("a platform")).into();
    let builder = testbed::builder(Destination::Registry).await;
    let built = testbed::build(&builder, &job).await;
    if testbed::has_graph_driver().await {
        drop(built.expect_err("no index"));
    } else {
        drop(built.expect("an index"));
    }
}

const VARIABLES: &str = r#"
[image]
repository = "any"
dockerfile = "Dockerfile.hbs"
platforms = ["linux/amd64", "linux/arm64"]
[axes]
size = ["small"]
[variables]
arch = "x86_64"
[platform."linux/arm64".variables]
arch = "aarch64"
"#;

/// Returns the digest of an index, and the configuration of each of its images by architecture.
async fn configurations(repository: &str, tag: &str) -> (String, BTreeMap<String, Value>) {
    let (digest, images) = testbed::images(repository, tag).await;
    let mut configurations = BTreeMap::new();
    for (architecture, manifest) in images {
        let config = manifest["config"]["digest"].as_str().expect("a digest");
        let (_, body) = testbed::fetch(&format!("/v2/{repository}/blobs/{config}")).await;
        let config: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(config["architecture"], *architecture);
        configurations.insert(architecture, config);
    }
    (digest, configurations)
}

#[tokio::test]
async fn variables_of_a_platform_are_in_its_image_only() {
    if testbed::has_graph_driver().await {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = |path: &str, text: &str| project::write(folder.path(), path, text);
    file("matrix.toml", VARIABLES);
    let dockerfile = "FROM scratch\nENV ARCH={{arch}}\nCOPY --link {{arch}}.txt shared.txt /\n";
    file("dockerfiles/Dockerfile.hbs", dockerfile);
    file("dockerfiles/shared.txt.hbs", "for {{arch}}\n");
    file("dockerfiles/x86_64.txt", &testbed::unique());
    file("dockerfiles/aarch64.txt", &testbed::unique());
    let [(ours, our_names), (theirs, their_names)] = repositories();
    basegen(folder.path(), &arguments(&["--push"], &our_names));
    let (digest, built) = configurations(&ours, "small-v1").await;
    for (architecture, arch) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
        let env = built[architecture]["config"]["Env"].as_array().expect("variables");
        assert!(env.contains(&format!("ARCH={arch}").into()), "{env:?}");
    }
    let layers = |architecture: &str| &built[architecture]["rootfs"]["diff_ids"];
    assert_ne!(layers("amd64"), layers("arm64"));
    assert_eq!(built.len(), 2);

    basegen(folder.path(), &arguments(&["export", "bake", "-o", "baked"], &their_names));
    succeeded(&bake(&folder.path().join("baked"), &["--push"]));
    assert_eq!(configurations(&theirs, "small-v1").await, (digest, built));
}
