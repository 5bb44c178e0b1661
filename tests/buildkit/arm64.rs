//! The images of this repository for arm64, whose programs an amd64 machine emulates.

use std::collections::BTreeMap;

use basegen::image::Platform;

use crate::harness::testbed;
use crate::images::{
    FEW_LIBRARIES, assert_shared_layers, base_layers, basegen, check, check_arguments, project,
};

#[tokio::test]
#[ignore = "needs emulation of arm64: `make test-arm64`"]
async fn a_release_has_complete_images_for_amd64_and_arm64() {
    let arm64: Platform = "linux/arm64".parse().expect("a platform");
    let has_arm64 = testbed::engine().await.platforms().contains(&arm64);
    assert!(has_arm64, "the engine cannot run arm64 programs: `testbed up --emulate arm64`");

    let folder = project(FEW_LIBRARIES);
    let (registry, version) = (testbed::registry(), format!("test-{}", testbed::unique()));
    let arguments = ["--python", "3.11", "--gpu", "--platform", "linux/amd64,linux/arm64"];
    let more = ["--push", "--registry", &registry, "--version-tag", &version];
    let output = basegen(folder.path(), &[&arguments[..], &more].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let printed = String::from_utf8_lossy(&output.stdout);
    let names: Vec<&str> =
        printed.lines().filter_map(|line| Some(line.split_once('@')?.0)).collect();
    assert_eq!(names.len(), 4, "{printed}");
    for architecture in ["amd64", "arm64"] {
        let platform = format!("linux/{architecture}");
        let base = base_layers(&platform).await;
        let mut images: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in &names {
            let reference = testbed::reference(name);
            let (repository, tag) = (reference.repository.path(), reference.tag.to_string());
            let (_, manifests) = testbed::images(repository, &tag).await;
            let layers = testbed::layers(&manifests[architecture]);
            assert_eq!(layers[..base.len()], base, "{name} is not based on Python's image");
            images.insert(name.rsplit('/').next().expect("a name").to_owned(), layers);
            check(&platform, name, &check_arguments(name));
        }
        assert_shared_layers(&images, &version, base.len());
    }
}
