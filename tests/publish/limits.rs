//! Limits of images: the GPUs that they support, and `max_size`.

use std::collections::BTreeMap;

use basegen::error::ExitCode;
use basegen::image::Size;
use basegen::plan::{GpuFacts, Library};
use basegen::publish::Staged;

use crate::harness::machine::{Machine, RELEASE_TAGS, Release, job_file, published_tags, release};
use crate::harness::registry::FakeRegistry;

/// Returns a release whose second image has a library with machine code for `sm`.
fn gpu_release(registry: &FakeRegistry, version: &str, sm: &[&str]) -> Release {
    let mut release = release(registry, version, &format!("x{}", sm.len()));
    let sm = sm.iter().map(|name| (*name).to_owned()).collect();
    let library = Library { version: version.to_owned(), size: 1, sm, ptx: Vec::new() };
    let libraries = BTreeMap::from([("cublas".to_owned(), library)]);
    let platforms = BTreeMap::from([("linux/amd64".to_owned(), libraries)]);
    let gpu = GpuFacts { platforms, ..GpuFacts::default() };
    release.rows[1].job.labels.extend(gpu.labels());
    release.rows[1].gpu = Some(gpu);
    release
}

#[tokio::test]
async fn rejects_a_release_that_loses_a_gpu_before_the_build() {
    let registry = FakeRegistry::start().await;
    Machine::new().publish_whole(&gpu_release(&registry, "v1", &["50", "60", "90"])).await;
    let mut v2 = gpu_release(&registry, "v2", &["90"]);
    let machine = Machine::new();
    let error = machine.publish_error(&v2).await;
    assert_eq!(error.exit_code(), ExitCode::Verify);
    insta::assert_snapshot!(error);
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    assert_eq!(published_tags(&registry), RELEASE_TAGS);

    let gpu = v2.rows[1].gpu.as_mut().expect("facts");
    gpu.droppable = vec!["50".to_owned()];
    assert!(machine.publish_error(&v2).await.to_string().contains("b: cublas lacks sm_60\n"));
    let gpu = v2.rows[1].gpu.as_mut().expect("facts");
    gpu.droppable.push("60".to_owned());
    machine.publish_whole(&v2).await;
    // A second run compares nothing, and a later release may support more GPUs.
    machine.publish_whole(&v2).await;
    machine.publish_whole(&gpu_release(&registry, "v3", &["80", "90"])).await;
}

#[tokio::test]
async fn an_image_above_max_size_is_staged_but_gets_no_version_tag() {
    let registry = FakeRegistry::start().await;
    let mut v1 = release(&registry, "v1", "x");
    v1.rows[0].max_size = Some(Size(10));
    v1.rows[1].max_size = Some(Size(2_600_000_000));
    let machine = Machine::new();
    let error = machine.publish_error(&v1).await;
    assert_eq!(error.exit_code(), ExitCode::Verify);
    insta::assert_snapshot!(error);
    assert_eq!(published_tags(&registry), Vec::<String>::new());
    assert!(machine.stage(&v1).await.is_err());

    let mut raised = v1.clone();
    raised.rows[0].max_size = Some(Size(11));
    let Ok(Staged::All { digests, built: 0 }) = machine.stage(&raised).await else {
        panic!("the images are staged")
    };
    let files = [job_file("a.json", &raised, &digests)];
    let error = machine.promote(&v1, &files).await.expect_err("too large");
    assert!(error.to_string().starts_with("an image is larger"), "{error}");
    machine.promote(&raised, &files).await.expect("tags");
    assert_eq!(published_tags(&registry), RELEASE_TAGS);
    assert_eq!(machine.built_targets().len(), 2);
}
