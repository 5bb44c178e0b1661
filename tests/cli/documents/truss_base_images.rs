//! Truss: Base images. `tests/cli/check/published.rs` and `tests/buildkit/truss_repository.rs` publish them.

use crate::harness::project::{MATRIX, Project, basegen, output, stdout};

/// `bin/generate_base_images.py --live-reload y --use-gpu y --python-version 3.9 --version-tag v0.2.2 --job-type server`
#[test]
fn generating_base_images_for_truss() {
    let selection = "--live-reload --gpu --python 3.9 --job-type server --version-tag v0.2.2";
    let list = stdout(basegen(&format!("list {selection}")));
    assert_eq!(list, "baseten/truss-server-base:3.9-gpu-reload-v0.2.2\n");
    // `--version-tag v0.2.2 --push` pushes all images.
    let list = stdout(basegen("list --version-tag v0.2.2"));
    assert_eq!(list.lines().count(), 48, "{list}");
    assert!(list.lines().all(|line| line.ends_with("-v0.2.2")), "{list}");
    let help = stdout(basegen("--help"));
    assert!(["--version-tag", "--push"].iter().all(|option| help.contains(option)), "{help}");
}

/// Only the images that a change affects are built, under a version of their own.
#[test]
fn testing_base_images() {
    let list = stdout(basegen("list --python 3.9 --no-gpu --job-type server --version-tag test-1"));
    assert_eq!(
        list,
        "baseten/truss-server-base:3.9-test-1\nbaseten/truss-server-base:3.9-reload-test-1\n"
    );
}

/// The versions of the images are versions of Truss, which skip those without new images.
const VERSION: &str = "[version]\nfile = \"util.py\"\nconstant = \"TRUSS_BASE_IMAGE_VERSION_TAG\"\n\n\
    [version.follows]\nfile = \"pyproject.toml\"\nkey = \"project.version\"\nprefix = \"v\"\n";

/// Images of one version that follow another version of Truss.
fn follows(images: &str, truss: &str) -> Project {
    let project = Project::new();
    project.write("matrix.toml", &MATRIX.replace("[version]\nfile = \"VERSION\"\n", VERSION));
    project.write("util.py", &format!("TRUSS_BASE_IMAGE_VERSION_TAG = \"{images}\"\n"));
    project
        .write("pyproject.toml", &format!("[project]\nname = \"truss\"\nversion = \"{truss}\"\n"));
    project
}

#[test]
fn publishing_base_images() {
    // A release of Truss alone needs no images.
    let check = |images: &str| output(follows(images, "0.3.0").basegen("check --offline"));
    insta::assert_snapshot!("older", check("v0.2.2"));
    insta::assert_snapshot!("newer", check("v0.4.0"));
}

#[test]
fn releasing_truss_versions_with_new_base_images() {
    let project = follows("v0.2.2", "0.4.0");
    stdout(project.basegen("bump 0.4.0"));
    let util = fs_err::read_to_string(project.path().join("util.py")).expect("the constant");
    assert_eq!(util, "TRUSS_BASE_IMAGE_VERSION_TAG = \"v0.4.0\"\n");
    let list = stdout(project.basegen("list --python 3.11 --gpu --job-type server"));
    assert_eq!(list, "acme/server-base:3.11-gpu-v0.4.0\n");
}
