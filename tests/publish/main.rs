//! Tests of [`basegen::publish`] with a registry in this process that injects faults.

#[path = "../harness/mod.rs"]
mod harness;

mod by_platform;
mod checks;
mod conflicts;
mod faults;
mod interrupted_runs;
mod limits;
mod mirrors;
mod order;
mod printed_aliases;
mod release_sets;
mod releases;
mod replicas;
mod staging;
mod vendors;

use std::fmt::Debug;

use futures_util::future::LocalBoxFuture;

use self::harness::registry::{FakeRegistry, Fault, Rule};

/// Drops `run` with all of its tasks at one of its requests to `registry`, like a killed process. A run that needs fewer
/// requests than that, since their order varies, must succeed.
fn kill_at_request<'a, T: Debug, E: Debug>(
    registry: &'a FakeRegistry,
    request: usize,
    run: impl Future<Output = Result<T, E>> + 'a,
) -> LocalBoxFuture<'a, ()> {
    let hang = registry.fail(Rule::nth(request, "*", "*", Fault::Hang));
    Box::pin(async move {
        tokio::select! {
            result = run => drop(result.expect("a successful run")),
            () = hang.wait_until_used() => {}
        }
    })
}

/// Returns the number of `PUT` and `POST` requests, which push manifests and blobs.
fn count_writes(registry: &FakeRegistry) -> usize {
    registry.count("PUT", "*") + registry.count("POST", "*")
}
