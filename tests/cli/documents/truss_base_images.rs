//! Truss: Base images.

use crate::harness::project::{basegen, stdout};

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
