//! Overlapping releases: aliases and the newest release set belong to the newest release, whichever run writes last.

use basegen::image::Digest;
use basegen::publish::{ReleaseSet, stray_aliases};

use crate::harness::machine::{Machine, Release, client, reference, release, run_during_hang};
use crate::harness::registry::{FakeRegistry, Fault, Rule};

/// A registry with a release, and an older and a newer one that are staged there.
struct Scene {
    registry: FakeRegistry,
    older: Release,
    newer: Release,
    newest: Vec<Digest>,
}

impl Scene {
    async fn new() -> Self {
        let registry = FakeRegistry::start().await;
        Machine::new().publish_whole(&release(&registry, "v1", "w")).await;
        let (older, newer) = (release(&registry, "v2", "x"), release(&registry, "v3", "y"));
        Machine::new().stage_whole(&older).await;
        let newest = Machine::new().stage_whole(&newer).await;
        registry.clear_requests();
        Self { registry, older, newer, newest }
    }

    /// Makes sure that nothing has gone back.
    async fn check(&self, case: &str) {
        for (path, digest) in ["a", "b"].iter().zip(&self.newest) {
            let alias = self.registry.tag(&format!("acme/{path}"), path);
            assert_eq!(alias.as_ref(), Some(digest), "the alias `{path}` of {case}");
        }
        let newest = reference(&self.registry.repository("acme/a"), "basegen-release");
        let set = ReleaseSet::read(&client(), &newest).await.expect("read").expect("a set").0;
        assert_eq!(set.version.as_deref(), Some("v3"), "the newest set of {case}");
    }
}

/// How many requests a release makes whose images are staged.
async fn requests() -> usize {
    let scene = Scene::new().await;
    Machine::new().publish_whole(&scene.older).await;
    let requests = scene.registry.count("*", "*");
    assert!(requests > 20, "{requests}");
    requests
}

#[tokio::test]
async fn a_release_that_is_met_at_any_request_by_a_newer_one_takes_nothing_back() {
    for request in 1..=requests().await {
        let scene = Scene::new().await;
        let hangs = scene.registry.fail(Rule::nth(request, "*", "*", Fault::Hang));
        let (slow, quick) = (Machine::new(), Machine::new());
        run_during_hang(
            &hangs,
            slow.publish_whole(&scene.older),
            quick.publish_whole(&scene.newer),
        )
        .await;
        scene.check(&format!("request {request}")).await;
    }
}

#[tokio::test]
async fn a_release_that_is_met_at_any_request_by_an_older_one_is_the_newest() {
    for request in 1..=requests().await {
        let scene = Scene::new().await;
        let hangs = scene.registry.fail(Rule::nth(request, "*", "*", Fault::Hang));
        let (slow, quick) = (Machine::new(), Machine::new());
        run_during_hang(
            &hangs,
            slow.publish_whole(&scene.newer),
            quick.publish_whole(&scene.older),
        )
        .await;
        scene.check(&format!("request {request}")).await;
    }
}

/// The older one is killed, and its job is run again after the newer one has ended.
#[tokio::test]
async fn a_release_that_is_killed_at_any_request_takes_nothing_back_when_it_is_run_again() {
    for request in 1..=requests().await {
        let scene = Scene::new().await;
        let hangs = scene.registry.fail(Rule::nth(request, "*", "*", Fault::Hang));
        let slow = Machine::new();
        tokio::select! {
            published = slow.publish(&scene.older) => drop(published.expect("a release")),
            () = hangs.wait_until_used() => {}
        }
        Machine::new().publish_whole(&scene.newer).await;
        // Its last request may arrive when it is gone.
        scene.registry.clear_faults();
        slow.wait_until_stopped().await;
        slow.publish_whole(&scene.older).await;
        scene.check(&format!("request {request}")).await;
    }
}

/// The newer one is killed while it moves aliases, and the older one ends before it is run again.
#[tokio::test]
async fn a_newest_release_that_is_killed_at_any_request_is_finished_when_it_is_run_again() {
    for request in 1..=requests().await {
        let scene = Scene::new().await;
        let hangs = scene.registry.fail(Rule::nth(request, "*", "*", Fault::Hang));
        let slow = Machine::new();
        tokio::select! {
            published = slow.publish(&scene.newer) => drop(published.expect("a release")),
            () = hangs.wait_until_used() => {}
        }
        Machine::new().publish_whole(&scene.older).await;
        scene.registry.clear_faults();
        slow.wait_until_stopped().await;
        slow.publish_whole(&scene.newer).await;
        scene.check(&format!("request {request}")).await;
    }
}

/// As when an older release has taken the aliases, and was killed before it gave them back.
#[tokio::test]
async fn an_audit_reports_aliases_that_have_gone_back() {
    let scene = Scene::new().await;
    Machine::new().publish_whole(&scene.older).await;
    let of_old = ["a", "b"].map(|path| {
        let digest = scene.registry.tag(&format!("acme/{path}"), path).expect("an alias");
        scene.registry.manifest(&format!("acme/{path}"), &digest.to_string()).expect("an image")
    });
    let newest = reference(&scene.registry.repository("acme/a"), "basegen-release");
    let old_set = scene.registry.manifest("acme/a", "basegen-release").expect("a set");
    Machine::new().publish_whole(&scene.newer).await;
    let claim = reference(&scene.registry.repository("acme/a"), "basegen-release-v3");
    let stray = async || {
        let (set, _) = ReleaseSet::read(&client(), &claim).await.expect("read").expect("a set");
        let stray = stray_aliases(&client(), &set, &newest).await.expect("an audit");
        stray.iter().map(|alias| alias.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(stray().await, [""; 0]);
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    scene.registry.add_manifest("acme/a", "a", media_type, of_old[0].clone());
    assert_eq!(stray().await, ["a"]);
    scene.registry.add_manifest("acme/a", "basegen-release", media_type, old_set);
    scene.registry.remove_tag("acme/b", "b");
    assert_eq!(stray().await, ["a", "b"]);
    // Any run sets it right, that of an older release too.
    Machine::new().publish_whole(&scene.older).await;
    assert_eq!(stray().await, [""; 0]);
    scene.check("the run after").await;
}

/// Who has withdrawn a release goes on from the one before.
#[tokio::test]
async fn a_release_that_was_withdrawn_does_not_hold_the_next_one_back() {
    let registry = FakeRegistry::start().await;
    let machine = Machine::new();
    let old = machine.publish_whole(&release(&registry, "v1", "x")).await;
    machine.publish_whole(&release(&registry, "v2", "y")).await;
    let back = Machine { overwrite: true, ..Machine::new() };
    back.publish_whole(&release(&registry, "v1", "x")).await;
    assert_eq!(registry.tag("acme/a", "a").as_ref(), Some(&old[0]));
    let next = machine.publish_whole(&release(&registry, "v1.1", "z")).await;
    assert_eq!(registry.tag("acme/a", "a").as_ref(), Some(&next[0]));
    // It may be released again, by whoever wants it so.
    let again = machine.publish_whole(&release(&registry, "v2", "y")).await;
    assert_eq!(registry.tag("acme/a", "a").as_ref(), Some(&again[0]));
}

/// Versions 1.10.4 and 1.10.5 have the alias `1.10`, which version 1.11.0 does not have.
#[tokio::test]
async fn a_release_moves_the_aliases_that_no_newer_release_has() {
    let registry = FakeRegistry::start().await;
    let of_line = |version: &str, content: &str, line: &str| {
        let mut release = release(&registry, version, content);
        release.rows[0].job.references.push(reference(&registry.repository("acme/a"), line));
        release
    };
    let machine = Machine::new();
    machine.publish_whole(&of_line("v1.10.4", "w", "1.10")).await;
    let newest = machine.publish_whole(&of_line("v1.11.0", "x", "1.11")).await;
    let patched = machine.publish_whole(&of_line("v1.10.5", "y", "1.10")).await;
    let aliases = || ["a", "1.10", "1.11"].map(|alias| registry.tag("acme/a", alias));
    let expected = [&newest[0], &patched[0], &newest[0]].map(|digest| Some(digest.clone()));
    assert_eq!(aliases(), expected);
    // The oldest release takes none of them back when it is published again.
    machine.publish_whole(&of_line("v1.10.4", "w", "1.10")).await;
    assert_eq!(aliases(), expected);
}
