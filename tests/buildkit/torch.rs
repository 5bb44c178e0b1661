//! A user's image with the real `torch`, on a GPU image with all CUDA libraries.

use crate::harness::testbed::{self, docker_command};
use crate::images::{basegen, project};
use crate::truss_models::printed;

/// The certificates are those of the test bed's network.
const STEPS: &str = "\
RUN --mount=type=bind,source=certificates.pem,target=/run/certificates.pem \\
    SSL_CERT_FILE=/run/certificates.pem uv pip install --system --no-cache $REQUIREMENT
RUN python -c 'import torch; print(\"imported\", torch.__version__)' && uv pip check --system
";

#[test]
fn torch_on_a_gpu_image_installs_no_nvidia_library_again() {
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
    let dockerfile = format!("FROM {base}\nARG REQUIREMENT={requirement}\n{STEPS}");
    fs_err::write(context.path().join("Dockerfile"), dockerfile).expect("a Dockerfile");
    // Steps from the cache print nothing.
    let build = ["buildx", "build", "--progress", "plain", "--no-cache", "--output"];
    let log = printed(docker_command(&build).arg("type=cacheonly").arg(context.path()));
    assert!(log.contains("Downloading torch"), "{log}");
    assert!(!log.contains("Downloading nvidia-"), "{log}");
    let wanted = requirement.split_once("==").expect("a version").1;
    assert!(log.contains(&format!("imported {wanted}")), "{log}");
}
