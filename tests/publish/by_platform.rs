//! Images for two platforms, each staged by a job of its own, and joined by the merge.

use basegen::error::{ExitCode, Explain as _, Report};
use basegen::image::{Digest, Platform, Tag};
use basegen::publish::{JobFile, Staged, delete_tags};
use basegen::registry::Manifest;
use bytes::Bytes;

use crate::harness::machine::{
    Machine, RELEASE_TAGS, Release, client, job_file, join_files, published_tags, release,
};
use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::{count_writes, kill_at_request};

fn platforms() -> [Platform; 2] {
    ["linux/amd64", "linux/arm64"].map(|platform| platform.parse().expect("a platform"))
}

/// Returns a release whose images are for two platforms.
fn for_two_platforms(registry: &FakeRegistry, version: &str) -> Release {
    let mut release = release(registry, version, "x").with_checks("one");
    for row in &mut release.rows {
        row.job.platforms = platforms().into();
    }
    release
}

/// Stages `release` for one platform. Returns the digests and the metadata file of the job.
async fn stage_for(
    machine: &Machine,
    release: &Release,
    platform: &Platform,
) -> (Vec<Digest>, JobFile) {
    let staged = machine.stage_for(release, Some(platform)).await;
    let Ok(Staged::All { digests, .. }) = staged else { panic!("{staged:?}") };
    let mut file = job_file(&format!("images-{platform}.json"), release, &digests);
    for image in file.images.values_mut() {
        image.fingerprint = image.fingerprint.as_ref().map(|whole| whole.of_platform(platform));
    }
    file.forced = machine.force;
    (digests, file)
}

/// Stages `release` for both platforms, each on a machine of its own.
async fn stage_for_both(release: &Release) -> [(Vec<Digest>, JobFile); 2] {
    let machines = [Machine::new(), Machine::new()];
    let [amd64, arm64] = platforms();
    let (amd64, arm64) = tokio::join!(
        Box::pin(stage_for(&machines[0], release, &amd64)),
        Box::pin(stage_for(&machines[1], release, &arm64))
    );
    [amd64, arm64]
}

/// Stages `release` for one platform after the other, on one machine. Returns the metadata files of the jobs.
async fn stage_each(machine: &Machine, release: &Release) -> Vec<JobFile> {
    let mut files = Vec::new();
    for platform in platforms() {
        files.push(stage_for(machine, release, &platform).await.1);
    }
    files
}

/// Returns the images in an index.
fn images_of(registry: &FakeRegistry, path: &str, index: &Digest) -> Vec<(Platform, Digest)> {
    let bytes: Bytes = registry.manifest(path, &index.to_string()).expect("an index");
    let index = Manifest { media_type: Manifest::OCI_INDEX.to_owned(), bytes };
    index.platforms().into_iter().map(|(platform, image)| (platform, image.digest)).collect()
}

#[tokio::test]
async fn platforms_that_two_jobs_stage_become_one_image() {
    let registry = FakeRegistry::start().await;
    let v1 = for_two_platforms(&registry, "v1");
    let [(amd64, one), (arm64, two)] = stage_for_both(&v1).await;
    assert_eq!(published_tags(&registry), Vec::<String>::new());
    assert!(amd64.iter().zip(&arm64).all(|(amd64, arm64)| amd64 != arm64));
    let machine = Machine::new();
    let files = [one, two];
    let digests = machine.promote(&v1, &files).await.expect("a release");
    assert_eq!(published_tags(&registry), RELEASE_TAGS);
    let both = platforms().into_iter().zip([amd64[0].clone(), arm64[0].clone()]);
    assert_eq!(images_of(&registry, "acme/a", &digests[0]), both.collect::<Vec<_>>());
    // The same images come from one job that builds both platforms.
    let alone = FakeRegistry::start().await;
    let whole = Machine::new().publish_whole(&for_two_platforms(&alone, "v1")).await;
    assert_eq!(whole, digests);
    // Nothing is left to do for another merge, for a release or for the jobs.
    registry.clear_requests();
    assert_eq!(machine.promote(&v1, &files).await.expect("a release"), digests);
    assert_eq!(machine.publish_whole(&v1).await, digests);
    assert_eq!(count_writes(&registry), 0);
    assert_eq!(stage_for(&machine, &v1, &platforms()[1]).await.0, arm64);
    assert_eq!((machine.built_targets(), machine.checked_targets()), (Vec::new(), Vec::new()));
}

/// A merge without `--push` lists an index that no registry has yet.
#[tokio::test]
async fn the_file_of_a_merge_can_be_merged_again() {
    let alone = FakeRegistry::start().await;
    let whole = Machine::new().publish_whole(&for_two_platforms(&alone, "v1")).await;
    let registry = FakeRegistry::start().await;
    let v1 = for_two_platforms(&registry, "v1");
    let merged = job_file("all.json", &v1, &whole);
    let error = Machine::new().promote(&v1, std::slice::from_ref(&merged)).await;
    insta::assert_snapshot!(Report::from(error.expect_err("refused")).to_string());
    stage_for_both(&v1).await;
    let machine = Machine::new();
    assert_eq!(machine.promote(&v1, &[merged]).await.expect("a release"), whole);
    assert_eq!(machine.warnings(), [""; 0]);
}

#[tokio::test]
async fn a_platform_that_is_staged_is_not_built_again() {
    let registry = FakeRegistry::start().await;
    let v1 = for_two_platforms(&registry, "v1");
    let [amd64, arm64] = platforms();
    let (digests, _) = stage_for(&Machine::new(), &v1, &amd64).await;
    let machine = Machine::with_different_output();
    assert_eq!(stage_for(&machine, &v1, &amd64).await.0, digests);
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    stage_for(&machine, &v1, &arm64).await;
    assert_eq!(machine.built_targets(), ["a", "b"]);
}

#[tokio::test]
async fn a_merge_rejects_images_without_all_of_their_platforms() {
    let registry = FakeRegistry::start().await;
    let v1 = for_two_platforms(&registry, "v1");
    let (_, file) = stage_for(&Machine::new(), &v1, &platforms()[0]).await;
    let mut failed = file.clone();
    failed.name = "images-linux/arm64.json".to_owned();
    failed.images.clear();
    failed.failed.insert("b".to_owned());
    let error = Machine::new().promote(&v1, &[file, failed]).await.expect_err("refused");
    assert_eq!(error.exit_code(), ExitCode::Registry);
    insta::assert_snapshot!(Report::from(error).to_string());
    assert_eq!(published_tags(&registry), Vec::<String>::new());
}

#[tokio::test]
async fn platforms_of_different_inputs_are_not_joined() {
    let registry = FakeRegistry::start().await;
    let [amd64, arm64] = platforms();
    let v1 = for_two_platforms(&registry, "v1");
    let (_, one) = stage_for(&Machine::new(), &v1, &amd64).await;
    let other = Release { rows: release(&registry, "v1", "y").rows, ..v1.clone() };
    let mut other = other.with_checks("one");
    for row in &mut other.rows {
        row.job.platforms = platforms().into();
    }
    let (_, two) = stage_for(&Machine::new(), &other, &arm64).await;
    let error = join_files(&v1, &[one, two]).expect_err("refused");
    insta::assert_snapshot!(Report::from(error).to_string());
}

#[tokio::test]
async fn changed_checks_run_for_each_platform_and_the_image_stays() {
    let registry = FakeRegistry::start().await;
    let digests = Machine::new().publish_whole(&for_two_platforms(&registry, "v1")).await;
    let changed = for_two_platforms(&registry, "v2").with_checks("two");
    let machine = Machine::new();
    let [amd64, arm64] = platforms();
    let (_, one) = stage_for(&machine, &changed, &amd64).await;
    let error = machine.promote(&changed, std::slice::from_ref(&one)).await.expect_err("refused");
    insta::assert_snapshot!(Report::from(error).to_string());
    let (of_arm64, two) = stage_for(&machine, &changed, &arm64).await;
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    assert_eq!(machine.checked_targets().len(), 4);
    assert_eq!(images_of(&registry, "acme/b", &digests[1])[1].1, of_arm64[1]);
    assert_eq!(machine.promote(&changed, &[one, two]).await.expect("a release"), digests);
}

#[tokio::test]
async fn an_image_that_is_joined_is_in_all_registries() {
    let (registry, replica) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let v1 = for_two_platforms(&registry, "v1").with_replica(&replica);
    let files = stage_for_both(&v1).await.map(|(_, file)| file);
    let digests = Machine::new().promote(&v1, &files).await.expect("a release");
    for registry in [&registry, &replica] {
        assert_eq!(registry.tag("acme/a", "a-v1").as_ref(), Some(&digests[0]));
        for (_, image) in images_of(registry, "acme/a", &digests[0]) {
            assert!(registry.manifest("acme/a", &image.to_string()).is_some());
        }
    }
}

#[tokio::test]
async fn platforms_that_were_rebuilt_replace_a_published_image() {
    let registry = FakeRegistry::start().await;
    let v1 = for_two_platforms(&registry, "v1");
    let before = Machine::new().publish_whole(&v1).await;
    let machine = rebuilding();
    let files = stage_each(&machine, &v1).await;
    assert_eq!(machine.built_targets().len(), 4);
    let after = machine.promote(&v1, &files).await.expect("a release");
    assert!(before.iter().zip(&after).all(|(before, after)| before != after));
    assert_eq!(registry.tag("acme/b", "b-v1").as_ref(), Some(&after[1]));
}

/// Returns a machine that rebuilds images, and whose tags may move.
fn rebuilding() -> Machine {
    let mut machine = Machine::with_different_output();
    (machine.force, machine.overwrite) = (true, true);
    machine
}

#[tokio::test]
async fn one_platform_that_was_rebuilt_is_joined_with_the_published_ones() {
    let registry = FakeRegistry::start().await;
    let v1 = for_two_platforms(&registry, "v1");
    let before = Machine::new().publish_whole(&v1).await;
    let machine = rebuilding();
    let [amd64, arm64] = platforms();
    let (rebuilt, one) = stage_for(&machine, &v1, &amd64).await;
    let (kept, two) = stage_for(&Machine::new(), &v1, &arm64).await;
    let after = machine.promote(&v1, &[one, two]).await.expect("a release");
    assert_ne!(before, after);
    let expected = vec![(amd64, rebuilt[0].clone()), (arm64, kept[0].clone())];
    assert_eq!(images_of(&registry, "acme/a", &after[0]), expected);
}

/// The first merge, without `--push`, has listed an index that no registry has. The published image has the same inputs.
#[tokio::test]
async fn the_file_of_a_merge_keeps_that_images_were_rebuilt() {
    let registry = FakeRegistry::start().await;
    let v1 = for_two_platforms(&registry, "v1");
    Machine::new().publish_whole(&v1).await;
    let machine = rebuilding();
    stage_each(&machine, &v1).await;
    let alone = FakeRegistry::start().await;
    let rebuilt =
        Machine::with_different_output().publish_whole(&for_two_platforms(&alone, "v1")).await;
    let merged = JobFile { forced: true, ..job_file("all.json", &v1, &rebuilt) };
    assert_eq!(machine.promote(&v1, &[merged]).await.expect("a release"), rebuilt);
}

/// A staging tag that cannot move keeps the image of an earlier build.
#[tokio::test]
async fn platforms_that_were_rebuilt_are_joined_although_no_tag_can_move() {
    let registry = FakeRegistry::start().await;
    let before = Machine::new().publish_whole(&for_two_platforms(&registry, "v1")).await;
    registry.set_immutable_tags(true);
    let mut v2 = for_two_platforms(&registry, "v2");
    for row in &mut v2.rows {
        row.job.references.truncate(1);
    }
    v2.sets.iter_mut().for_each(|set| set.references.truncate(1));
    let machine = rebuilding();
    let files = stage_each(&machine, &v2).await;
    let after = machine.promote(&v2, &files).await.expect("a release");
    assert_ne!(before, after);
    assert_eq!(registry.tag("acme/a", "a-v2").as_ref(), Some(&after[0]));
}

#[tokio::test]
async fn the_next_merge_of_platforms_completes_one_that_was_killed_at_any_request() {
    let registry = FakeRegistry::start().await;
    let v1 = for_two_platforms(&registry, "v1");
    let files = stage_for_both(&v1).await.map(|(_, file)| file);
    registry.clear_requests();
    let digests = Machine::new().promote(&v1, &files).await.expect("a release");
    let requests = registry.count("*", "*");
    assert!(requests > 30, "{requests}");
    for request in 1..=requests {
        let registry = FakeRegistry::start().await;
        let v1 = for_two_platforms(&registry, "v1");
        let files = stage_for_both(&v1).await.map(|(_, file)| file);
        let machine = Machine::new();
        kill_at_request(&registry, request, machine.promote(&v1, &files)).await;
        registry.clear_faults();
        machine.wait_until_stopped().await;
        let again = machine.promote(&v1, &files).await.expect("a release");
        assert_eq!(again, digests, "killed at request {request}");
        assert_eq!(published_tags(&registry), RELEASE_TAGS);
    }
}

#[tokio::test]
async fn staging_tags_of_platforms_are_deleted_without_the_images_of_an_index() {
    let registry = FakeRegistry::start().await;
    // Like a registry that deletes only manifests, with all of their tags.
    let refusal = Fault::error(405, "UNSUPPORTED", "the operation is unsupported");
    registry.fail(Rule::every("DELETE", "*/manifests/basegen-*", refusal));
    let v1 = for_two_platforms(&registry, "v1");
    let files = stage_for_both(&v1).await.map(|(_, file)| file);
    let digests = Machine::new().promote(&v1, &files).await.expect("a release");
    let images = images_of(&registry, "acme/a", &digests[0]);
    let stale: Vec<Tag> = registry
        .tags("acme/a")
        .into_iter()
        .filter(|(_, digest)| images.iter().any(|(_, image)| image == digest))
        .map(|(tag, _)| tag.parse().expect("a tag"))
        .collect();
    assert_eq!(stale.len(), 4, "{stale:?}");
    let stale: Vec<&Tag> = stale.iter().collect();
    let repository = registry.repository("acme/a");
    assert_eq!(delete_tags(&client(), &repository, &stale).await.expect("an answer"), 0);
    for (_, image) in &images {
        assert!(registry.manifest("acme/a", &image.to_string()).is_some(), "{image}");
    }
    // They go with the index.
    let all: Vec<Tag> =
        registry.tags("acme/a").into_iter().map(|(tag, _)| tag.parse().expect("a tag")).collect();
    let all: Vec<&Tag> =
        all.iter().filter(|tag| !tag.as_str().starts_with("basegen-release")).collect();
    delete_tags(&client(), &repository, &all).await.expect("an answer");
    for (_, image) in &images {
        assert!(registry.manifest("acme/a", &image.to_string()).is_none(), "{image}");
    }
}
