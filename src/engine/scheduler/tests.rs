use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::engine::ParentImage;
use crate::event::Listener;
use crate::image::Digest;

/// The behavior of the fake engine for a job.
#[derive(Clone, Copy)]
enum Behavior {
    /// Builds for a number of seconds.
    Build(u64),
    /// Builds for a number of seconds, then fails.
    Fail(u64),
    Panic,
}

/// An engine that only waits.
#[derive(Default)]
struct FakeEngine {
    behaviors: Vec<Behavior>,
    running: AtomicUsize,
    max_running: AtomicUsize,
    started: Mutex<Vec<String>>,
    finished: Mutex<Vec<String>>,
}

/// Decrements the number of running builds on drop.
struct Running<'a>(&'a FakeEngine);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Engine for FakeEngine {
    fn name(&self) -> &'static str {
        "a fake engine"
    }

    fn capacity(&self) -> usize {
        20
    }

    async fn build(
        &self,
        job: &BuildJob,
        _: &Events,
        mut dependencies: JobDependencies,
    ) -> Result<BuiltImage, Box<Failure>> {
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        let _running = Running(self);
        self.max_running.fetch_max(now, Ordering::SeqCst);
        self.started.lock().expect("events").push(job.target.clone());
        let index: usize = job.target.parse().expect("a number");
        let (seconds, fails) = match self.behaviors[index] {
            Behavior::Build(seconds) => (seconds, false),
            Behavior::Fail(seconds) => (seconds, true),
            Behavior::Panic => panic!("the fake engine panics"),
        };
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        dependencies.wait_for_upload(|| ()).await;
        self.finished.lock().expect("events").push(job.target.clone());
        if fails {
            return Err(Box::new(failure()));
        }
        Ok(image())
    }
}

fn image() -> BuiltImage {
    BuiltImage { digest: Digest::of(b""), cached: false, manifests: Vec::new() }
}

fn failure() -> Failure {
    Failure {
        kind: FailureKind::Build,
        message: "the build fails".to_owned(),
        step: None,
        source: None,
        exit_code: Some(1),
        platform: None,
        hint: None,
    }
}

/// Returns a job that shares no step.
fn job(index: usize) -> BuildJob {
    BuildJob { target: index.to_string(), ..BuildJob::of_dockerfile("") }
}

/// Returns a job with the steps of `dockerfile`, whose image is pushed to `repository`.
fn job_in(repository: &str, index: usize, dockerfile: &str) -> BuildJob {
    let reference = format!("{repository}:{index}").parse().expect("a reference");
    let target = index.to_string();
    BuildJob { target, references: vec![reference], ..BuildJob::of_dockerfile(dockerfile) }
}

/// Records a short description of each event.
#[derive(Default)]
struct RecordedEvents(Mutex<Vec<String>>);

impl Listener for RecordedEvents {
    fn hear(&self, event: &Event) {
        let text = match event {
            Event::RunStarted { jobs, .. } => format!("run of {jobs}"),
            Event::TargetStarted { target } => format!("{target} started"),
            Event::TargetFinished { target, .. } => format!("{target} finished"),
            Event::TargetFailed { target, .. } => format!("{target} failed"),
            Event::TargetCancelled { target, reason } => format!("{target} cancelled {reason:?}"),
            Event::RunFinished { .. } => "run finished".to_owned(),
            _ => return,
        };
        self.0.lock().expect("events").push(text);
    }
}

struct FinishedRun {
    engine: Arc<FakeEngine>,
    outcomes: Vec<Outcome>,
    events: Vec<String>,
}

async fn run_with(behaviors: Vec<Behavior>, request: RunRequest) -> FinishedRun {
    let engine = Arc::new(FakeEngine { behaviors, ..FakeEngine::default() });
    let recorded = Arc::new(RecordedEvents::default());
    let listener: Arc<dyn Listener> = Arc::<RecordedEvents>::clone(&recorded);
    let outcomes = run(Arc::clone(&engine), request, &Events::to(listener)).await;
    let events = std::mem::take(&mut *recorded.0.lock().expect("events"));
    FinishedRun { engine, outcomes, events }
}

fn request(jobs: Vec<BuildJob>, parallel: usize) -> RunRequest {
    RunRequest {
        jobs,
        parallel,
        on_failure: OnFailure::KeepGoing,
        cancel: CancellationToken::new(),
    }
}

fn independent(count: usize) -> Vec<BuildJob> {
    (0..count).map(job).collect()
}

#[tokio::test(start_paused = true)]
async fn parallelism_is_bounded_and_used() {
    let behaviors = (0..40).map(|index| Behavior::Build(1 + index % 3)).collect();
    let result = run_with(behaviors, request(independent(40), 7)).await;
    assert_eq!(result.engine.max_running.load(Ordering::SeqCst), 7);
    assert_eq!(result.outcomes, vec![Outcome::Built(image()); 40]);
    assert_eq!(result.events.first().map(String::as_str), Some("run of 7"));
    assert_eq!(result.events.last().map(String::as_str), Some("run finished"));
}

#[tokio::test(start_paused = true)]
async fn zero_parallelism_means_one() {
    let result = run_with(vec![Behavior::Build(1); 2], request(independent(2), 0)).await;
    assert_eq!(result.engine.max_running.load(Ordering::SeqCst), 1);
    assert_eq!(result.outcomes.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn parallelism_is_limited_by_the_engine() {
    let result = run_with(vec![Behavior::Build(1); 40], request(independent(40), 500)).await;
    assert_eq!(result.engine.max_running.load(Ordering::SeqCst), 20);
    assert_eq!(result.events.first().map(String::as_str), Some("run of 20"));
}

const SLOW: &str = "FROM python\nRUN apt\nRUN slow\n";
const FAST: &str = "FROM python\nRUN apt\nRUN fast\n";
const OTHER: &str = "FROM other\n";

#[tokio::test(start_paused = true)]
async fn the_first_job_that_is_ready_uploads_shared_layers() {
    // Uploads of the fake engine take no time, so the first job to be ready ends first.
    let jobs = vec![job_in("server", 0, SLOW), job_in("server", 1, FAST)];
    let result = run_with(vec![Behavior::Build(9), Behavior::Build(1)], request(jobs, 8)).await;
    let finished = result.engine.finished.lock().expect("events").clone();
    assert_eq!(finished, ["1", "0"]);
}

/// An engine that only uploads. Uploads take a number of seconds.
struct UploadingEngine(FakeEngine);

impl Engine for UploadingEngine {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }

    async fn build(
        &self,
        job: &BuildJob,
        events: &Events,
        mut dependencies: JobDependencies,
    ) -> Result<BuiltImage, Box<Failure>> {
        dependencies.wait_for_upload(|| ()).await;
        self.0.build(job, events, JobDependencies::none()).await
    }
}

#[tokio::test(start_paused = true)]
async fn other_jobs_run_while_a_job_waits_for_an_upload() {
    let jobs = vec![
        job_in("server", 0, SLOW),
        job_in("training", 1, FAST),
        job_in("training", 2, FAST),
        job_in("other", 3, OTHER),
    ];
    let behaviors =
        vec![Behavior::Build(9), Behavior::Build(1), Behavior::Build(1), Behavior::Build(1)];
    let engine = Arc::new(UploadingEngine(FakeEngine { behaviors, ..FakeEngine::default() }));
    let outcomes = run(
        Arc::clone(&engine),
        request(jobs, 2),
        &Events::to(Arc::new(RecordedEvents::default())),
    )
    .await;
    assert_eq!(outcomes, vec![Outcome::Built(image()); 4]);
    let finished = engine.0.finished.lock().expect("events").clone();
    assert_eq!(finished[..2], ["3", "0"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_does_not_stop_other_jobs() {
    let behaviors = vec![Behavior::Fail(1), Behavior::Build(5), Behavior::Build(1)];
    let result = run_with(behaviors, request(independent(3), 2)).await;
    let expected =
        [Outcome::Failed(Box::new(failure())), Outcome::Built(image()), Outcome::Built(image())];
    assert_eq!(result.outcomes, expected);
}

#[tokio::test(start_paused = true)]
async fn fail_fast_cancels_running_and_waiting_jobs() {
    let behaviors = vec![Behavior::Build(9), Behavior::Fail(1), Behavior::Build(1)];
    let mut request = request(independent(3), 2);
    request.on_failure = OnFailure::FailFast;
    let result = run_with(behaviors, request).await;
    let expected = [
        "run of 2",
        "0 started",
        "1 started",
        "1 failed",
        "0 cancelled FailFast",
        "2 cancelled FailFast",
        "run finished",
    ];
    assert_eq!(result.events, expected);
    assert_eq!(result.engine.running.load(Ordering::SeqCst), 0);
    assert!(result.engine.finished.lock().expect("events").len() == 1);
}

#[tokio::test(start_paused = true)]
async fn an_interruption_stops_every_build() {
    let request = request(independent(3), 2);
    let cancel = request.cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        cancel.cancel();
    });
    let behaviors = vec![Behavior::Build(1), Behavior::Build(90), Behavior::Build(90)];
    let result = run_with(behaviors, request).await;
    let interrupted = Outcome::Cancelled(CancelReason::Interrupted);
    let expected = [Outcome::Built(image()), interrupted.clone(), interrupted];
    assert_eq!(result.outcomes, expected);
    assert_eq!(result.engine.running.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_builds_nothing() {
    let request = request(independent(2), 2);
    request.cancel.cancel();
    let result = run_with(vec![Behavior::Build(1); 2], request).await;
    let interrupted = Outcome::Cancelled(CancelReason::Interrupted);
    assert_eq!(result.outcomes, [interrupted.clone(), interrupted]);
    assert!(result.engine.started.lock().expect("events").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_its_target() {
    let behaviors = vec![Behavior::Panic, Behavior::Build(1)];
    let result = run_with(behaviors, request(independent(2), 1)).await;
    let Outcome::Failed(failure) = &result.outcomes[0] else {
        panic!("{:?}", result.outcomes[0]);
    };
    assert!(failure.message.contains("the fake engine panics"), "{failure:?}");
    assert_eq!(result.outcomes[1], Outcome::Built(image()));
}

/// Returns one job for each list of the indices of its parents.
fn jobs_with_parents(parents: &[&[usize]]) -> Vec<BuildJob> {
    let parent = |target: &usize| ParentImage {
        placeholder: format!("basegen.invalid/{target}"),
        target: target.to_string(),
        repository: "acme/base".parse().expect("a repository"),
        staging: "staged".parse().expect("a tag"),
        digest: None,
    };
    let jobs = parents.iter().enumerate().map(|(index, parents)| {
        let parents = parents.iter().map(parent).collect();
        BuildJob { parents, ..job(index) }
    });
    jobs.collect()
}

#[tokio::test(start_paused = true)]
async fn jobs_start_after_the_jobs_that_they_are_based_on() {
    // 0 is based on 1 and 3, which are based on 2.
    let jobs = jobs_with_parents(&[&[1, 3], &[2], &[], &[2], &[]]);
    let result = run_with(vec![Behavior::Build(1); 5], request(jobs, 5)).await;
    assert_eq!(*result.engine.started.lock().expect("events"), ["2", "4", "1", "3", "0"]);
    assert!(result.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Built(_))));
}

#[tokio::test(start_paused = true)]
async fn jobs_based_on_a_failed_one_are_cancelled() {
    let jobs = jobs_with_parents(&[&[], &[0], &[1], &[]]);
    let mut behaviors = vec![Behavior::Build(1); 4];
    behaviors[0] = Behavior::Fail(1);
    let result = run_with(behaviors, request(jobs, 1)).await;
    assert_eq!(
        result.events,
        [
            "run of 1",
            "0 started",
            "0 failed",
            "1 cancelled ParentFailed",
            "2 cancelled ParentFailed",
            "3 started",
            "3 finished",
            "run finished",
        ]
    );
}
