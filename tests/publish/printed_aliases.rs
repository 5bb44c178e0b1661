//! Aliases with the output of commands that run in the images.

use std::collections::HashMap;

use basegen::engine::BuildJob;
use basegen::error::{ExitCode, Report};
use basegen::matrix::Pattern;
use basegen::plan::PrintedTag;

use crate::harness::machine::{Machine, Release, job_file, published_tags, release};
use crate::harness::registry::FakeRegistry;

/// Returns a release whose images have printed these aliases: one JSON array per image.
fn release_that_prints(registry: &FakeRegistry, version: &str, printed: [&str; 2]) -> Release {
    let mut release = release(registry, version, "x");
    for (row, printed) in release.rows.iter_mut().zip(printed) {
        row.job.labels.insert(BuildJob::ALIASES_LABEL.to_owned(), printed.to_owned());
        row.job.alias_commands = vec!["version".to_owned()];
        row.printed_tags = vec![printed_tag(0, "{{output}}")];
    }
    release
}

/// Returns an alias with the output of a command, for an image with a GPU.
fn printed_tag(command: usize, tag: &str) -> PrintedTag {
    let pattern = Pattern::parse(tag).expect("a pattern");
    PrintedTag { command, pattern, values: HashMap::from([("gpu".to_owned(), "cuda".to_owned())]) }
}

const ALL_TAGS: [&str; 8] =
    ["3.13.1", "a", "a-v1", "basegen-release", "basegen-release-v1", "3.13.2", "b", "b-v1"];

#[tokio::test]
async fn printed_aliases_are_set_with_the_other_tags() {
    let registry = FakeRegistry::start().await;
    let v1 = release_that_prints(&registry, "v1", [r#"["3.13.1"]"#, r#"["3.13.2"]"#]);
    let digests = Machine::new().publish_whole(&v1).await;
    assert_eq!(published_tags(&registry), ALL_TAGS);
    assert_eq!(registry.tag("acme/a", "3.13.1").as_ref(), Some(&digests[0]));
    // Another machine reads them from the images without a build.
    let machine = Machine::new();
    let v2 = release_that_prints(&registry, "v2", ["", ""]);
    machine.publish_whole(&v2).await;
    assert!(!machine.has_connected());
    assert_eq!(registry.tag("acme/b", "3.13.2").as_ref(), Some(&digests[1]));
}

#[tokio::test]
async fn patterns_turn_outputs_into_tags() {
    let registry = FakeRegistry::start().await;
    let tags = ["{{gpu}}-python-{{output}}", "{{replace output '.' ''}}"];
    let with_tags = |version: &str, outputs: [&str; 2]| {
        let mut release = release_that_prints(&registry, version, outputs);
        release.rows[0].printed_tags = vec![printed_tag(0, tags[0]), printed_tag(1, tags[1])];
        // The image already has this tag.
        release.rows[1].printed_tags.push(printed_tag(1, "{{output}}"));
        release
    };
    let v1 = with_tags("v1", [r#"["3.13.1","13.0"]"#, r#"["3.13.2","b"]"#]);
    Machine::new().publish_whole(&v1).await;
    let tags_of_a = ["130", "a", "a-v1", "basegen-release", "basegen-release-v1"];
    let expected = [&tags_of_a[..], &["cuda-python-3.13.1", "3.13.2", "b", "b-v1"]].concat();
    assert_eq!(published_tags(&registry), expected);

    let long = format!("[\"{}\",\"13.0\"]", "1".repeat(120));
    let mut v2 = with_tags("v2", [&long, r#"["3.13.2","b"]"#]);
    v2.rows[0].fingerprint = None;
    let error = Machine::new().publish_error(&v2).await;
    assert_eq!(error.exit_code(), ExitCode::Matrix);
    assert!(published_tags(&registry).iter().all(|tag| !tag.ends_with("-v2")));
    insta::assert_snapshot!(error);
}

#[tokio::test]
async fn a_merge_sets_printed_aliases() {
    let registry = FakeRegistry::start().await;
    let v1 = release_that_prints(&registry, "v1", [r#"["3.13.1"]"#, r#"["3.13.2"]"#]);
    let machine = Machine::new();
    let digests = machine.stage_whole(&v1).await;
    assert_eq!(published_tags(&registry), Vec::<String>::new());
    let file = job_file("images.json", &v1, &digests);
    machine.promote(&v1, &[file]).await.expect("a release");
    assert_eq!(published_tags(&registry), ALL_TAGS);
}

/// Two jobs have staged one platform each. Each has read only its own output.
#[tokio::test]
async fn rejects_platforms_that_print_different_aliases() {
    let registry = FakeRegistry::start().await;
    let platforms = ["linux/amd64", "linux/arm64"].map(|text| text.parse().expect("a platform"));
    let for_both = |python: &str| {
        let outputs = [&format!("[\"{python}\"]"), r#"["3.13.2"]"#];
        let mut release = release_that_prints(&registry, "v1", outputs);
        for row in &mut release.rows {
            row.job.platforms = platforms.to_vec();
        }
        release
    };
    let machine = Machine::new();
    for (platform, python) in platforms.iter().zip(["3.13.1", "3.13.9"]) {
        machine.stage_for(&for_both(python), Some(platform)).await.expect("staged");
    }
    let error = machine.promote(&for_both("3.13.1"), &[]).await.expect_err("refused");
    insta::assert_snapshot!(Report::from(error).to_string());
    assert_eq!(published_tags(&registry), Vec::<String>::new());
}

#[tokio::test]
async fn rejects_two_images_that_print_the_same_alias() {
    let registry = FakeRegistry::start().await;
    let mut v1 = release_that_prints(&registry, "v1", [r#"["3.13"]"#, r#"["3.13"]"#]);
    let first = v1.rows[0].job.references[0].repository.clone();
    for reference in &mut v1.rows[1].job.references {
        reference.repository = first.clone();
    }
    let error = Machine::new().publish_error(&v1).await;
    assert_eq!(error.exit_code(), ExitCode::Matrix);
    assert_eq!(published_tags(&registry), Vec::<String>::new());
    insta::assert_snapshot!(error.to_string().replace(&registry.host(), "HOST"));
}

#[tokio::test]
async fn rejects_an_image_without_a_valid_label_for_its_aliases() {
    for label in ["", "3.13", r#"["no tag"]"#] {
        let registry = FakeRegistry::start().await;
        let v1 = release_that_prints(&registry, "v1", [r#"["3.13.1"]"#, label]);
        let error = Machine::new().publish_error(&v1).await;
        assert!(error.to_string().contains("the image of b does not list"), "{error}");
        assert!(error.to_string().contains("hint: "), "{error}");
        assert_eq!(published_tags(&registry), Vec::<String>::new());
    }
}

#[tokio::test]
async fn printed_aliases_are_set_in_all_registries() {
    let both = [FakeRegistry::start().await, FakeRegistry::start().await];
    let v1 = release_that_prints(&both[0], "v1", [r#"["3.13.1"]"#, r#"["3.13.2"]"#])
        .with_replica(&both[1]);
    Machine::new().publish_whole(&v1).await;
    for registry in &both {
        assert_eq!(published_tags(registry), ALL_TAGS);
    }
}
