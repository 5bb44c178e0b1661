//! The images of this repository: their content, and the layers that variants share.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use basegen::engine::Destination;
use basegen::image::{Platform, Reference};
use serde_json::Value;

use crate::harness::project::{self, copy};
use crate::harness::testbed;

/// All libraries take gigabytes and minutes. `make demo` builds them.
pub(crate) const FEW_LIBRARIES: &str = r#"
[[set]]
when = { gpu = true }
variables = { cuda_libraries = ["cuda-runtime", "cuda-nvrtc"] }
"#;

/// The platforms of this repository's images.
const PLATFORMS: &str = r#"platforms = ["linux/amd64", "linux/arm64"]"#;

/// Copies the matrix and the templates of this repository to a new folder, and adds tables to the matrix. The images are only for
/// this machine's platform, because others need emulation.
pub(crate) fn project(tables: &str) -> tempfile::TempDir {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a folder");
    let matrix = fs_err::read_to_string(repository.join("matrix.toml")).expect("the matrix");
    assert!(matrix.contains(PLATFORMS), "{matrix}");
    let matrix = matrix.replace(PLATFORMS, &format!("platforms = [\"{}\"]", own_platform()));
    fs_err::write(folder.path().join("matrix.toml"), matrix + tables).expect("a matrix");
    fs_err::copy(repository.join("Cargo.toml"), folder.path().join("Cargo.toml")).expect("a copy");
    copy(&repository.join("dockerfiles"), &folder.path().join("dockerfiles"));
    folder
}

/// Returns the platform of this machine.
fn own_platform() -> String {
    let own: Platform = format!("linux/{}", std::env::consts::ARCH).parse().expect("a platform");
    own.to_string()
}

pub(crate) fn basegen(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = testbed::basegen(folder);
    command.args(arguments).env("NO_COLOR", "1");
    command.output().expect("the command runs")
}

/// Runs `check.py` in a container of `image`, as the user that platforms run it as.
fn check(platform: &str, image: &str, arguments: &[&str]) {
    let run = ["run", "--rm", "--interactive", "--user", "60000:60000", "--platform", platform];
    let mut child = testbed::docker_command(&run)
        .args([image, "python", "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("docker runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(include_bytes!("../images/check.py")).expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("docker ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{image} {arguments:?}:\n{errors}");
}

#[tokio::test]
async fn variants_share_layers_and_have_their_content() {
    let folder = project(FEW_LIBRARIES);
    let metadata = folder.path().join("images.json");
    let version = format!("test-{}", testbed::unique());
    let registry = testbed::registry();
    let arguments = ["--python", "3.11", "--gpu", "--push", "--registry", &registry];
    let more = ["--version-tag", &version, "--metadata-file", "images.json"];
    let output = basegen(folder.path(), &[&arguments[..], &more[..]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");

    let metadata: Value =
        serde_json::from_slice(&fs_err::read(metadata).expect("the metadata")).expect("JSON");
    let targets = metadata["targets"].as_object().expect("targets");
    assert_eq!(targets.len(), 4, "{metadata}");

    let mut images: BTreeMap<String, Value> = BTreeMap::new();
    for target in targets.values() {
        let references = target["references"].as_object().expect("references");
        let (name, digest) = references.iter().next().expect("a reference");
        let reference: Reference = name.parse().expect("a reference");
        let (in_registry, manifest) = testbed::manifest(&reference).await;
        assert_eq!(in_registry, digest.as_str().expect("a digest"), "{name}");
        images.insert(name.clone(), manifest);
    }
    check_gpu_images(&own_platform(), &version, &images).await;
}

/// Checks the content and the layers of GPU images of Python 3.11 with [`FEW_LIBRARIES`], given their manifests by name.
pub(crate) async fn check_gpu_images(
    platform: &str,
    version: &str,
    images: &BTreeMap<String, Value>,
) {
    let base = base_layers(platform).await;
    let mut all = BTreeMap::new();
    for (name, manifest) in images {
        let layers = testbed::layers(manifest);
        assert_eq!(layers[..base.len()], base, "{name} is not based on Python's image");
        all.insert(name.rsplit('/').next().expect("a name").to_owned(), layers);

        let is_reload = name.contains("-reload-");
        let job_type = if name.contains("training") { "training" } else { "server" };
        let mut wanted = vec!["3.11", job_type, "--cuda", "libcudart.so.12", "libnvrtc.so.12"];
        wanted.extend(is_reload.then_some("--reload"));
        check(platform, name, &wanted);
    }
    assert_shared_layers(&all, version, base.len());
}

/// Returns the layers of the image of Python 3.11 that the images are based on.
async fn base_layers(platform: &str) -> Vec<String> {
    let mut job = testbed::job("python", "FROM python:3.11-slim-bookworm\n", &[]);
    job.platforms = vec![platform.parse().expect("a platform")];
    let builder = testbed::builder(Destination::Registry).await;
    let image = testbed::build(&builder, &job).await.expect("an image");
    testbed::layers(&testbed::pushed_manifest(&job, &image).await)
}

/// Asserts how many layers above Python's image differ between variants.
fn assert_shared_layers(images: &BTreeMap<String, Vec<String>>, version: &str, base: usize) {
    let server = &images[&format!("truss-server-base:3.11-gpu-{version}")];
    let reloading = &images[&format!("truss-server-base:3.11-gpu-reload-{version}")];
    let training = &images[&format!("truss-training-base:3.11-gpu-{version}")];
    let own = |layers: &[String], others: &[String]| {
        layers.iter().filter(|layer| !others.contains(layer)).count()
    };
    assert_eq!(own(reloading, server), 1, "layers that live reload adds to a server");
    assert_eq!(own(server, reloading), 0, "layers of a server that live reload changes");
    assert_eq!(own(training, server), 1, "layers that only a training image has: the requirements");
    let mut distinct: Vec<&String> = images.values().flat_map(|layers| &layers[base..]).collect();
    let all = distinct.len();
    distinct.sort();
    distinct.dedup();
    // Debian's packages, the registration of CUDA, two of its libraries, the library's bytecode,
    // uv, live reload, the requirements of all job types, and those of two job types.
    assert_eq!((distinct.len(), all), (10, 34), "{images:?}");
}

/// Training images are made for another release of `torch`, which requires the same CUDA runtime.
#[tokio::test]
async fn images_for_different_torch_releases_share_equal_libraries() {
    const OTHER: &str = r#"
[[set]]
when = { gpu = true, job_type = "training" }
variables = { torch = "2.8", cuda_libraries = ["cuda-runtime", "nvtx"] }
"#;
    let folder = project(FEW_LIBRARIES);
    let matrix = folder.path().join("matrix.toml");
    let text = fs_err::read_to_string(&matrix).expect("the matrix");
    fs_err::write(matrix, text + OTHER).expect("a matrix");
    let cuda = folder.path().join("dockerfiles/cuda");
    fs_err::create_dir(cuda.join("torch-2.8")).expect("a folder");
    for library in ["cuda-runtime", "nvtx"] {
        for suffix in ["txt", "facts.toml"] {
            let path = |release: &str| cuda.join(format!("torch-{release}/{library}.{suffix}"));
            fs_err::copy(path("2.9"), path("2.8")).expect("a copy");
        }
    }
    let (registry, version) = (testbed::registry(), format!("test-{}", testbed::unique()));
    let selection = ["--python", "3.11", "--gpu", "--no-live-reload"];
    let arguments = ["--push", "--registry", &registry, "--version-tag", &version];
    let output = basegen(folder.path(), &[&selection[..], &arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut images = Vec::new();
    for job_type in ["server", "training"] {
        let name = format!("{registry}/baseten/truss-{job_type}-base:3.11-gpu-{version}");
        let (_, manifest) = testbed::manifest(&testbed::reference(&name)).await;
        images.push(testbed::layers(&manifest));
    }
    let own = images[1].iter().filter(|layer| !images[0].contains(layer)).count();
    assert_eq!(own, 3, "the registration, nvtx and the requirements: {images:?}");
}

/// The other stages run programs of the platform.
#[test]
fn stages_that_only_unpack_build_for_arm64_without_emulation() {
    const AARCH64: u8 = 183;
    let folder = project(&FEW_LIBRARIES.replace("cuda-nvrtc", "cusparselt"));
    let (context, out) = (folder.path().join("rendered"), folder.path().join("out"));
    let selection = ["--python", "3.11", "--gpu", "--no-live-reload", "--job-type", "server"];
    let rendered = [&["render", "-o", "rendered"], &selection[..]].concat();
    let output = basegen(folder.path(), &rendered);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let context = context.join("3.11-gpu-server");
    let dockerfile = context.join("Dockerfile");
    let stages = fs_err::read_to_string(&dockerfile).expect("a Dockerfile");
    let unpacked = "FROM scratch AS unpacked\nCOPY --from=uv /out/ /\n\
        COPY --from=cuda-cuda-runtime /out/ /\nCOPY --from=cuda-cusparselt /package/ /package/\n";
    fs_err::write(&dockerfile, format!("{stages}\n{unpacked}")).expect("a Dockerfile");

    let build = ["buildx", "build", "--platform", "linux/arm64", "--target", "unpacked"];
    let mut command = testbed::docker_command(&build);
    command.arg("--output").arg(format!("type=local,dest={}", out.display()));
    let certificates = std::env::var("BASEGEN_TESTBED_CA").unwrap_or_default();
    if !certificates.is_empty() {
        command.args(["--secret", &format!("id=ca_certificates,src={certificates}")]);
    }
    let output = command.arg(&context).output().expect("docker runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for program in ["usr/local/bin/uv", "usr/local/cuda-12.8/lib64/libcudart.so.12"] {
        let program = fs_err::read(out.join(program)).expect(program);
        assert_eq!((&program[..4], program[18]), (&b"\x7fELF"[..], AARCH64));
    }
    // The wheel itself has `sbsa`, NVIDIA's name of the platform.
    let tags = fs_err::read_dir(out.join("package")).expect("a folder").find_map(|entry| {
        fs_err::read_to_string(entry.expect("an entry").path().join("WHEEL")).ok()
    });
    let tags = tags.expect("the tags of the wheel");
    assert!(tags.contains("Tag: py3-none-manylinux2014_aarch64\n"), "{tags}");
}

#[test]
fn a_repeated_push_needs_no_engine() {
    let folder = project(FEW_LIBRARIES);
    let (registry, version) = (testbed::registry(), testbed::unique());
    let selection = ["--python", "3.13", "--no-gpu", "--no-live-reload", "--job-type", "training"];
    let arguments = ["--push", "--registry", &registry, "--version-tag", &version];
    let arguments = [&selection[..], &arguments].concat();
    let digests = |output: &Output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // The test bed does not have all versions of Python.
    for image in ["python:3.11-slim-bookworm", "python:3.13-slim-bookworm"] {
        let lock = basegen(folder.path(), &["update", image]);
        assert!(lock.status.success(), "{}", String::from_utf8_lossy(&lock.stderr));
    }
    let first = digests(&basegen(folder.path(), &arguments));
    let again = testbed::basegen(folder.path())
        .args(&arguments)
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .output()
        .expect("the command runs");
    assert_eq!(digests(&again), first);
    let stderr = String::from_utf8_lossy(&again.stderr);
    assert!(stderr.contains("Nothing to do: the image is already published"), "{stderr}");
}

#[test]
fn a_failed_variant_is_reported_and_no_tags_are_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |path: &str, text: &str| project::write(folder.path(), path, text);
    file(
        "matrix.toml",
        "[image]\nrepository = \"basegen-test/failing\"\ndockerfile = \"Dockerfile.hbs\"\n\
         platforms = [\"linux/amd64\"]\n[axes]\nword = [\"good\", \"bad\"]\n",
    );
    file(
        "dockerfiles/Dockerfile.hbs",
        "FROM python:3.11-slim-bookworm\n\nRUN echo {{word}} && [ {{word}} = good ]\n",
    );
    let (registry, version) = (testbed::registry(), testbed::unique());
    let arguments = ["--version-tag", &version, "--push", "--registry", &registry];
    let output = basegen(folder.path(), &arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "a failed release prints no images");
    assert!(errors.contains("no tags were set"), "{errors}");
    for part in ["✗ bad failed", "Dockerfile.hbs:3", "exit code  1", "last lines bad", "full log"]
    {
        assert!(errors.contains(part), "no `{part}` in:\n{errors}");
    }
}
