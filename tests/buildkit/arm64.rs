//! The images of this repository for arm64, whose programs an amd64 machine emulates.

use std::collections::BTreeMap;

use basegen::image::Platform;
use serde_json::Value;

use crate::harness::testbed;
use crate::images::{FEW_LIBRARIES, basegen, check_gpu_images, project};

#[tokio::test]
#[ignore = "needs emulation of arm64: `make test-arm64`"]
async fn a_release_has_complete_images_for_amd64_and_arm64() {
    let arm64: Platform = "linux/arm64".parse().expect("a platform");
    let has_arm64 = testbed::engine().await.platforms().contains(&arm64);
    assert!(has_arm64, "the engine cannot run arm64 programs: `testbed up --emulate arm64`");

    let folder = project(FEW_LIBRARIES);
    let (registry, version) = (testbed::registry(), format!("test-{}", testbed::unique()));
    let run = |version: &str, command: &[&str]| {
        let selection = ["--python", "3.11", "--gpu", "--platform", "linux/amd64,linux/arm64"];
        let names = ["--registry", &registry, "--version-tag", version];
        let output = basegen(folder.path(), &[command, &selection[..], &names].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let update = basegen(folder.path(), &["update", "python:3.11-slim-bookworm"]);
    assert!(update.status.success(), "{}", String::from_utf8_lossy(&update.stderr));
    let printed = run(&version, &["--push"]);
    let names: Vec<&str> =
        printed.lines().filter_map(|line| Some(line.split_once('@')?.0)).collect();
    assert_eq!(names.len(), 4, "{printed}");
    let mut by_architecture: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for name in names {
        let reference = testbed::reference(name);
        let (repository, tag) = (reference.repository.path(), reference.tag.to_string());
        for (architecture, manifest) in testbed::images(repository, &tag).await.1 {
            by_architecture.entry(architecture).or_default().insert(name.to_owned(), manifest);
        }
    }
    for architecture in ["amd64", "arm64"] {
        let platform = format!("linux/{architecture}");
        check_gpu_images(&platform, &version, &by_architecture[architecture]).await;
    }

    // Jobs for single platforms make the same images.
    let jobs = format!("{version}-jobs");
    for (platform, file) in [("linux/amd64", "amd64.json"), ("linux/arm64", "arm64.json")] {
        let stage = ["--stage", "--force", "--only-platform", platform, "--metadata-file", file];
        run(&jobs, &stage);
    }
    let merged = run(&jobs, &["merge", "amd64.json", "arm64.json", "--push"]);
    assert_eq!(merged.replace(&jobs, &version), printed);
}
