//! Cancellation of a run.

use std::sync::Arc;
use std::time::Duration;

use basegen::engine::{Destination, OnFailure, Outcome, RunRequest, run};
use basegen::event::{CancelReason, Event};
use tokio_util::sync::CancellationToken;

use crate::harness::testbed;

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_stops_its_steps() {
    let word = testbed::unique();
    // The step writes the time into a cache mount as long as it runs.
    let dockerfile = format!(
        "FROM python:3.11-slim-bookworm\n\
         RUN --mount=type=cache,id={word},target=/time \
         echo started; while true; do date +%s%N > /time/last; sleep 0.1; done\n"
    );
    let job = testbed::job("cancelled", &dockerfile, &[]);
    let waiting = testbed::job("waiting", "FROM scratch\nCOPY a /a\n", &[("a", "a")]);
    let builder = Arc::new(testbed::builder(Destination::Registry).await);
    let recorded = Arc::new(testbed::RecordedEvents::default());
    let cancel = CancellationToken::new();
    let request = RunRequest {
        jobs: vec![job, waiting],
        parallel: 1,
        on_failure: OnFailure::KeepGoing,
        cancel: cancel.clone(),
    };
    let events = recorded.events();
    let running = tokio::spawn({
        let builder = Arc::clone(&builder);
        async move { run(builder, request, &events).await }
    });
    while !recorded.log_lines().contains(&"started".to_owned()) {
        assert!(!running.is_finished(), "{}", recorded.to_json());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cancel.cancel();
    let outcomes = running.await.expect("a run");
    let interrupted = Outcome::Cancelled(CancelReason::Interrupted);
    assert_eq!(outcomes, [interrupted.clone(), interrupted]);
    let last = recorded.0.lock().expect("events").last().cloned();
    assert!(matches!(last, Some(Event::RunFinished { .. })));

    tokio::time::sleep(Duration::from_secs(1)).await;
    let check = format!(
        "FROM python:3.11-slim-bookworm\n\
         RUN --mount=type=cache,id={word},target=/time \
         before=$(cat /time/last); sleep 1; [ \"$before\" = \"$(cat /time/last)\" ]\n"
    );
    let check = testbed::job("check", &check, &[]);
    testbed::build(&builder, &check).await.expect("the time no longer changes");
}
