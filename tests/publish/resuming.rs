//! Interrupted runs, and the runs after them.

use crate::harness::machine::{Machine, WHOLE, names, release};
use crate::harness::registry::{FakeRegistry, Fault, Rule};

/// The run is killed at each request in turn. The next run sets all tags to the same digests without rebuilding staged images.
#[tokio::test]
async fn a_run_that_is_killed_at_any_request_is_finished_by_the_next() {
    let registry = FakeRegistry::start().await;
    let digests = Machine::new().whole(&release(&registry, "v1", "x").checked_by("one")).await;
    let requests = registry.count("*", "*");
    assert!(requests > 20, "{requests}");
    for request in 1..=requests {
        let registry = FakeRegistry::start().await;
        let machine = Machine::new();
        let v1 = release(&registry, "v1", "x").checked_by("one");
        let hangs = registry.fail(Rule::nth(request, "*", "*", Fault::Hang));
        tokio::select! {
            published = machine.publish(&v1) => {
                // The order of requests varies: a run may have needed fewer.
                published.expect("a release");
            }
            // Dropped here, with all that it was doing, as a process that is killed.
            () = hangs.reached() => {}
        }
        registry.mend();
        machine.is_gone().await;
        let staged = ["acme/a", "acme/b"].map(|path| {
            registry.tags(path).iter().any(|(tag, _)| tag.len() == "basegen-".len() + 32)
        });
        let before = machine.built();
        let again = machine.whole(&v1).await;
        assert_eq!(again, digests, "killed at request {request}");
        assert_eq!(names(&registry), WHOLE, "killed at request {request}");
        let built = &machine.built()[before.len()..];
        for (id, staged) in ["a", "b"].iter().zip(staged) {
            assert!(!(staged && built.iter().any(|target| target == id)), "{id} at {request}");
        }
    }
}
