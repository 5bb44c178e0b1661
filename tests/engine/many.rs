use std::sync::Arc;
use std::time::Instant;

use basegen::engine::{BuildJob, Destination, OnFailure, Outcome, RunRequest, run};
use tokio_util::sync::CancellationToken;

use crate::bed;

/// How many builds: a few more than one connection carries, or as many as a variable says.
fn count() -> usize {
    let count = std::env::var("BASEGEN_TEST_BUILDS").ok();
    count.and_then(|count| count.parse().ok()).unwrap_or(60)
}

fn jobs() -> Vec<BuildJob> {
    let word = bed::unique();
    let steps = std::env::var("BASEGEN_TEST_RUN").is_ok();
    (0..count())
        .map(|index| {
            let dockerfile = if steps {
                "FROM python:3.11-slim-bookworm\nCOPY own /own\nRUN cp /own /made\n"
            } else {
                "FROM scratch\nCOPY own /own\n"
            };
            let text = format!("{word} {index}");
            let mut job = bed::job(&format!("many-{index}"), dockerfile, &[("own", &text)]);
            let name = format!("{}/basegen-test/many:{index}", bed::registry());
            job.references = vec![bed::reference(&name)];
            job
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_builds_at_a_time_all_go_through() {
    let builder = Arc::new(bed::builder(Destination::Registry).await);
    let jobs = jobs();
    let parallel = std::env::var("BASEGEN_TEST_JOBS").ok();
    let parallel = parallel.and_then(|jobs| jobs.parse().ok()).unwrap_or(jobs.len());
    for _ in 0..2 {
        let request = RunRequest {
            jobs: jobs.clone(),
            parallel,
            on_failure: OnFailure::KeepGoing,
            cancel: CancellationToken::new(),
        };
        let begun = Instant::now();
        let heard = Arc::new(bed::Heard::default());
        let outcomes = run(Arc::clone(&builder), request, &heard.events()).await;
        let failed = outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Built(_)));
        assert_eq!(failed, None);
        measured(jobs.len(), begun);
    }
}

/// Leaves the figures where `BASEGEN_TEST_FIGURES` says; the memory is the most there ever was.
fn measured(builds: usize, begun: Instant) {
    let Ok(path) = std::env::var("BASEGEN_TEST_FIGURES") else {
        return;
    };
    let seconds = begun.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    let mut figures = std::fs::read_to_string(&path).unwrap_or_default();
    figures += &format!("{builds} builds in {seconds:.1} s, {memory}\n");
    std::fs::write(path, figures).expect("a file");
}
