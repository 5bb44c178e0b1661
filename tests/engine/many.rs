use std::sync::Arc;

use basegen::engine::{BuildJob, Destination, OnFailure, Outcome, RunRequest, run};
use tokio_util::sync::CancellationToken;

use crate::bed;

/// The most memory that this process may ever take, in kB.
const MEMORY: usize = 100_000;

/// How many builds: a few more than an engine takes at a time, or as many as a variable says.
fn count() -> usize {
    let count = std::env::var("BASEGEN_TEST_BUILDS").ok();
    count.and_then(|count| count.parse().ok()).unwrap_or(70)
}

fn jobs() -> Vec<BuildJob> {
    let word = bed::unique();
    let job = |index| {
        let name = format!("many-{index}");
        let text = format!("{word} {index}");
        let mut job = bed::job(&name, "FROM scratch\nCOPY own /own\n", &[("own", &text)]);
        let name = format!("{}/basegen-test/many:{index}", bed::registry());
        job.references = vec![bed::reference(&name)];
        job
    };
    (0..count()).map(job).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_builds_at_a_time_all_go_through_in_little_memory() {
    let builder = Arc::new(bed::builder(Destination::Registry).await);
    let jobs = jobs();
    let request = RunRequest {
        parallel: 16,
        jobs,
        on_failure: OnFailure::KeepGoing,
        cancel: CancellationToken::new(),
    };
    let heard = Arc::new(bed::Heard::default());
    let outcomes = run(builder, request, &heard.events()).await;
    let failed = outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Built(_)));
    assert_eq!(failed, None);
    let memory = most_memory();
    assert!(memory < MEMORY, "{memory} kB");
}

/// The most memory that this process ever took, in kB, as Linux tells it.
fn most_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
