//! Interrupted runs, and the runs that complete them.

use crate::harness::machine::{Machine, RELEASE_TAGS, published_tags, release};
use crate::harness::registry::FakeRegistry;
use crate::kill_at_request;

/// The run is killed at each request in turn. The next run sets all tags to the same digests without rebuilding staged images.
#[tokio::test]
async fn the_next_run_completes_a_run_that_was_killed_at_any_request() {
    let registry = FakeRegistry::start().await;
    let digests =
        Machine::new().publish_whole(&release(&registry, "v1", "x").with_checks("one")).await;
    let requests = registry.count("*", "*");
    assert!(requests > 20, "{requests}");
    for request in 1..=requests {
        let registry = FakeRegistry::start().await;
        let machine = Machine::new();
        let v1 = release(&registry, "v1", "x").with_checks("one");
        kill_at_request(&registry, request, machine.publish(&v1)).await;
        registry.clear_faults();
        machine.wait_until_stopped().await;
        let staged = ["acme/a", "acme/b"].map(|path| {
            registry.tags(path).iter().any(|(tag, _)| tag.len() == "basegen-".len() + 32)
        });
        let before = machine.built_targets();
        let again = machine.publish_whole(&v1).await;
        assert_eq!(again, digests, "killed at request {request}");
        assert_eq!(published_tags(&registry), RELEASE_TAGS, "killed at request {request}");
        let built = &machine.built_targets()[before.len()..];
        for (id, staged) in ["a", "b"].iter().zip(staged) {
            assert!(!(staged && built.iter().any(|target| target == id)), "{id} at {request}");
        }
    }
}
