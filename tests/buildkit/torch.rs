//! A user's image with the real PyTorch, on a GPU image with all CUDA libraries.

use crate::harness::testbed::{self, docker_client};
use crate::images::{basegen, project};
use crate::truss_models::printed;

/// What a user writes, and the certificates of the test bed's network.
const DOCKERFILE: &str = "\
RUN --mount=type=bind,source=certificates.pem,target=/run/certificates.pem \\
    SSL_CERT_FILE=/run/certificates.pem uv pip install --system --no-cache";

/// The layer with PyTorch's own packages has about 880 MB, and with the NVIDIA libraries 3,400 MB.
const MAX_LAYER: u64 = 1_000_000_000;

#[tokio::test]
async fn torch_on_a_gpu_image_installs_no_nvidia_library_again() {
    let folder = project("");
    let (registry, version) = (testbed::registry(), testbed::unique());
    let arguments = ["--variant", "3.11-gpu-server", "--push", "--registry", &registry];
    let output = basegen(folder.path(), &[&arguments[..], &["--version-tag", &version]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let base = format!("{registry}/baseten/truss-server-base:3.11-gpu-{version}");

    let requirement = fs_err::read_to_string(folder.path().join("dockerfiles/cuda/torch-2.9.in"))
        .expect("the requirement");
    let requirement = requirement.lines().last().expect("a line");
    let context = tempfile::tempdir().expect("a folder");
    fs_err::copy(testbed::certificates(), context.path().join("certificates.pem"))
        .expect("certificates");
    let dockerfile = format!("FROM {base}\n{DOCKERFILE} {requirement}\n");
    fs_err::write(context.path().join("Dockerfile"), dockerfile).expect("a Dockerfile");
    let image = format!("{registry}/basegen-test/torch:{version}");
    let build = ["buildx", "build", "--push", "--progress", "plain", "--tag", &image];
    let log = printed(docker_client(&build).arg(context.path()));
    assert!(log.contains("Downloading torch"), "{log}");
    assert!(!log.contains("Downloading nvidia-"), "{log}");

    let (_, manifest) = testbed::manifest(&testbed::reference(&image)).await;
    let layer = manifest["layers"].as_array().and_then(|layers| layers.last()).expect("a layer");
    let size = layer["size"].as_u64().expect("a size");
    assert!(size < MAX_LAYER, "the layer with PyTorch has {size} bytes");

    let import = "python -c 'import torch; print(torch.__version__)' && uv pip check --system";
    let loaded = printed(&mut docker_client(&["run", "--rm", &image, "sh", "-c", import]));
    let wanted = requirement.split_once("==").expect("a version").1;
    assert!(loaded.starts_with(wanted), "{loaded}");
    for image in [&image, &base] {
        let _ = docker_client(&["rmi", image]).output();
    }
}
