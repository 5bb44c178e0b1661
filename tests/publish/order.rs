//! Overlapping releases: the aliases and the newest release set point to the newest release, whichever run writes last.

use basegen::image::Digest;
use basegen::publish::{ReleaseSet, stray_aliases};

use crate::harness::machine::{Machine, Release, client, reference, release, run_during_hang};
use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::kill_at_request;

/// A registry with the published release `v1` and two staged releases.
struct StagedReleases {
    registry: FakeRegistry,
    older: Release,
    newer: Release,
    newer_digests: Vec<Digest>,
}

impl StagedReleases {
    async fn new() -> Self {
        let registry = FakeRegistry::start().await;
        Machine::new().publish_whole(&release(&registry, "v1", "w")).await;
        let (older, newer) = (release(&registry, "v2", "x"), release(&registry, "v3", "y"));
        Machine::new().stage_whole(&older).await;
        let newer_digests = Machine::new().stage_whole(&newer).await;
        registry.clear_requests();
        Self { registry, older, newer, newer_digests }
    }

    /// Asserts that the aliases and the newest release set point to the newer release.
    async fn assert_newer_wins(&self, case: &str) {
        for (path, digest) in ["a", "b"].iter().zip(&self.newer_digests) {
            let alias = self.registry.tag(&format!("acme/{path}"), path);
            assert_eq!(alias.as_ref(), Some(digest), "alias `{path}`, {case}");
        }
        let newest = reference(&self.registry.repository("acme/a"), "basegen-release");
        let set = ReleaseSet::read(&client(), &newest).await.expect("read").expect("a set").0;
        assert_eq!(set.version.as_deref(), Some("v3"), "newest release set, {case}");
    }
}

/// Returns the number of requests of a release whose images are staged.
async fn count_requests() -> usize {
    let staged = StagedReleases::new().await;
    Machine::new().publish_whole(&staged.older).await;
    let requests = staged.registry.count("*", "*");
    assert!(requests > 20, "{requests}");
    requests
}

#[tokio::test]
async fn an_older_release_takes_no_alias_from_a_newer_one_that_runs_during_any_request() {
    for request in 1..=count_requests().await {
        let staged = StagedReleases::new().await;
        let hang = staged.registry.fail(Rule::nth(request, "*", "*", Fault::Hang));
        let (slow, quick) = (Machine::new(), Machine::new());
        run_during_hang(
            &hang,
            slow.publish_whole(&staged.older),
            quick.publish_whole(&staged.newer),
        )
        .await;
        staged.assert_newer_wins(&format!("request {request}")).await;
    }
}

#[tokio::test]
async fn a_newer_release_keeps_the_aliases_if_an_older_one_runs_during_any_request() {
    for request in 1..=count_requests().await {
        let staged = StagedReleases::new().await;
        let hang = staged.registry.fail(Rule::nth(request, "*", "*", Fault::Hang));
        let (slow, quick) = (Machine::new(), Machine::new());
        run_during_hang(
            &hang,
            slow.publish_whole(&staged.newer),
            quick.publish_whole(&staged.older),
        )
        .await;
        staged.assert_newer_wins(&format!("request {request}")).await;
    }
}

/// The older release is killed at each request in turn, and rerun after the newer one has ended.
#[tokio::test]
async fn a_rerun_of_a_killed_older_release_takes_no_alias_from_a_newer_one() {
    for request in 1..=count_requests().await {
        let staged = StagedReleases::new().await;
        let slow = Machine::new();
        kill_at_request(&staged.registry, request, slow.publish(&staged.older)).await;
        Machine::new().publish_whole(&staged.newer).await;
        // The last request of the killed run may still arrive.
        staged.registry.clear_faults();
        slow.wait_until_stopped().await;
        slow.publish_whole(&staged.older).await;
        staged.assert_newer_wins(&format!("request {request}")).await;
    }
}

/// The newer release is killed at each request in turn, and rerun after the older one has ended.
#[tokio::test]
async fn a_rerun_of_a_killed_newer_release_moves_the_aliases() {
    for request in 1..=count_requests().await {
        let staged = StagedReleases::new().await;
        let slow = Machine::new();
        kill_at_request(&staged.registry, request, slow.publish(&staged.newer)).await;
        Machine::new().publish_whole(&staged.older).await;
        staged.registry.clear_faults();
        slow.wait_until_stopped().await;
        slow.publish_whole(&staged.newer).await;
        staged.assert_newer_wins(&format!("request {request}")).await;
    }
}

/// Happens if an older release moves the aliases and is killed before it restores them.
#[tokio::test]
async fn an_audit_reports_aliases_that_point_to_an_older_release() {
    let staged = StagedReleases::new().await;
    Machine::new().publish_whole(&staged.older).await;
    let old_manifests = ["a", "b"].map(|path| {
        let digest = staged.registry.tag(&format!("acme/{path}"), path).expect("an alias");
        staged.registry.manifest(&format!("acme/{path}"), &digest.to_string()).expect("an image")
    });
    let newest = reference(&staged.registry.repository("acme/a"), "basegen-release");
    let old_set = staged.registry.manifest("acme/a", "basegen-release").expect("a set");
    Machine::new().publish_whole(&staged.newer).await;
    let claim = reference(&staged.registry.repository("acme/a"), "basegen-release-v3");
    let stray_ids = async || {
        let (set, _) = ReleaseSet::read(&client(), &claim).await.expect("read").expect("a set");
        let stray = stray_aliases(&client(), &set, &newest).await.expect("an audit");
        stray.iter().map(|alias| alias.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(stray_ids().await, [""; 0]);
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    staged.registry.add_manifest("acme/a", "a", media_type, old_manifests[0].clone());
    assert_eq!(stray_ids().await, ["a"]);
    staged.registry.add_manifest("acme/a", "basegen-release", media_type, old_set);
    staged.registry.remove_tag("acme/b", "b");
    assert_eq!(stray_ids().await, ["a", "b"]);
    // Every run repairs the aliases, even that of an older release.
    Machine::new().publish_whole(&staged.older).await;
    assert_eq!(stray_ids().await, [""; 0]);
    staged.assert_newer_wins("after the repair").await;
}

/// `v2` is withdrawn: `v1` is published again with `--overwrite`.
#[tokio::test]
async fn a_release_after_a_withdrawn_one_moves_the_aliases() {
    let registry = FakeRegistry::start().await;
    let machine = Machine::new();
    let old = machine.publish_whole(&release(&registry, "v1", "x")).await;
    machine.publish_whole(&release(&registry, "v2", "y")).await;
    let rollback = Machine { overwrite: true, ..Machine::new() };
    rollback.publish_whole(&release(&registry, "v1", "x")).await;
    assert_eq!(registry.tag("acme/a", "a").as_ref(), Some(&old[0]));
    let next = machine.publish_whole(&release(&registry, "v1.1", "z")).await;
    assert_eq!(registry.tag("acme/a", "a").as_ref(), Some(&next[0]));
    // The withdrawn version can be published again.
    let again = machine.publish_whole(&release(&registry, "v2", "y")).await;
    assert_eq!(registry.tag("acme/a", "a").as_ref(), Some(&again[0]));
}

/// Versions 1.10.4 and 1.10.5 have the alias `1.10`, which version 1.11.0 does not have.
#[tokio::test]
async fn a_release_moves_only_aliases_that_no_newer_release_has() {
    let registry = FakeRegistry::start().await;
    let release_with_alias = |version: &str, content: &str, alias: &str| {
        let mut release = release(&registry, version, content);
        release.rows[0].job.references.push(reference(&registry.repository("acme/a"), alias));
        release
    };
    let machine = Machine::new();
    machine.publish_whole(&release_with_alias("v1.10.4", "w", "1.10")).await;
    let newest = machine.publish_whole(&release_with_alias("v1.11.0", "x", "1.11")).await;
    let patched = machine.publish_whole(&release_with_alias("v1.10.5", "y", "1.10")).await;
    let aliases = || ["a", "1.10", "1.11"].map(|alias| registry.tag("acme/a", alias));
    let expected = [&newest[0], &patched[0], &newest[0]].map(|digest| Some(digest.clone()));
    assert_eq!(aliases(), expected);
    // Publishing the oldest release again moves none of them.
    machine.publish_whole(&release_with_alias("v1.10.4", "w", "1.10")).await;
    assert_eq!(aliases(), expected);
}
