use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::engine::ParentImage;
use crate::event::Listener;
use crate::image::Digest;

/// The behaviour of the fake engine for a job.
#[derive(Clone, Copy)]
enum Behaviour {
    /// Builds for a number of seconds.
    Build(u64),
    /// Builds for a number of seconds, then fails.
    Fail(u64),
    Panic,
}

/// An engine that only waits.
#[derive(Default)]
struct Fake {
    behaviours: Vec<Behaviour>,
    running: AtomicUsize,
    most: AtomicUsize,
    begun: Mutex<Vec<String>>,
    ended: Mutex<Vec<String>>,
}

/// Decrements the number of running builds on drop.
struct Running<'a>(&'a Fake);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Engine for Fake {
    fn name(&self) -> &'static str {
        "a fake"
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
        self.most.fetch_max(now, Ordering::SeqCst);
        self.begun.lock().expect("notes").push(job.target.clone());
        let index: usize = job.target.parse().expect("a number");
        let (seconds, fails) = match self.behaviours[index] {
            Behaviour::Build(seconds) => (seconds, false),
            Behaviour::Fail(seconds) => (seconds, true),
            Behaviour::Panic => panic!("the fake panics"),
        };
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        dependencies.wait_for_upload(|| ()).await;
        self.ended.lock().expect("notes").push(job.target.clone());
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
        message: "it fails".to_owned(),
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

/// Returns a job with the steps of `dockerfile`, whose image goes to `repository`.
fn job_in(repository: &str, index: usize, dockerfile: &str) -> BuildJob {
    let reference = format!("{repository}:{index}").parse().expect("a reference");
    let target = index.to_string();
    BuildJob { target, references: vec![reference], ..BuildJob::of_dockerfile(dockerfile) }
}

#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Listener for Notes {
    fn hear(&self, event: &Event) {
        let note = match event {
            Event::RunStarted { jobs, .. } => format!("run of {jobs}"),
            Event::TargetStarted { target } => format!("{target} started"),
            Event::TargetFinished { target, .. } => format!("{target} finished"),
            Event::TargetFailed { target, .. } => format!("{target} failed"),
            Event::TargetCancelled { target, reason } => format!("{target} cancelled {reason:?}"),
            Event::RunFinished { .. } => "over".to_owned(),
            _ => return,
        };
        self.0.lock().expect("notes").push(note);
    }
}

struct Ran {
    engine: Arc<Fake>,
    outcomes: Vec<Outcome>,
    notes: Vec<String>,
}

async fn ran(behaviours: Vec<Behaviour>, request: RunRequest) -> Ran {
    let engine = Arc::new(Fake { behaviours, ..Fake::default() });
    let notes = Arc::new(Notes::default());
    let listener: Arc<dyn Listener> = Arc::<Notes>::clone(&notes);
    let outcomes = run(Arc::clone(&engine), request, &Events::to(listener)).await;
    let notes = std::mem::take(&mut *notes.0.lock().expect("notes"));
    Ran { engine, outcomes, notes }
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
    let behaviours = (0..40).map(|index| Behaviour::Build(1 + index % 3)).collect();
    let ran = ran(behaviours, request(independent(40), 7)).await;
    assert_eq!(ran.engine.most.load(Ordering::SeqCst), 7);
    assert_eq!(ran.outcomes, vec![Outcome::Built(image()); 40]);
    assert_eq!(ran.notes.first().map(String::as_str), Some("run of 7"));
    assert_eq!(ran.notes.last().map(String::as_str), Some("over"));
}

#[tokio::test(start_paused = true)]
async fn zero_parallelism_means_one() {
    let ran = ran(vec![Behaviour::Build(1); 2], request(independent(2), 0)).await;
    assert_eq!(ran.engine.most.load(Ordering::SeqCst), 1);
    assert_eq!(ran.outcomes.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn parallelism_is_limited_by_the_engine() {
    let ran = ran(vec![Behaviour::Build(1); 40], request(independent(40), 500)).await;
    assert_eq!(ran.engine.most.load(Ordering::SeqCst), 20);
    assert_eq!(ran.notes.first().map(String::as_str), Some("run of 20"));
}

const SLOW: &str = "FROM python\nRUN apt\nRUN slow\n";
const FAST: &str = "FROM python\nRUN apt\nRUN fast\n";
const OTHER: &str = "FROM other\n";

#[tokio::test(start_paused = true)]
async fn the_first_job_that_is_ready_uploads_shared_layers() {
    // The fake takes no time for an upload, so the first job to be ready ends first.
    let jobs = vec![job_in("server", 0, SLOW), job_in("server", 1, FAST)];
    let ran = ran(vec![Behaviour::Build(9), Behaviour::Build(1)], request(jobs, 8)).await;
    let ended = ran.engine.ended.lock().expect("notes").clone();
    assert_eq!(ended, ["1", "0"]);
}

/// Waits for its turn to upload, which takes a number of seconds.
struct Uploading(Fake);

impl Engine for Uploading {
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
async fn a_waiting_job_leaves_its_place_to_others() {
    let jobs = vec![
        job_in("server", 0, SLOW),
        job_in("training", 1, FAST),
        job_in("training", 2, FAST),
        job_in("other", 3, OTHER),
    ];
    let behaviours =
        vec![Behaviour::Build(9), Behaviour::Build(1), Behaviour::Build(1), Behaviour::Build(1)];
    let engine = Arc::new(Uploading(Fake { behaviours, ..Fake::default() }));
    let outcomes =
        run(Arc::clone(&engine), request(jobs, 2), &Events::to(Arc::new(Notes::default()))).await;
    assert_eq!(outcomes, vec![Outcome::Built(image()); 4]);
    let ended = engine.0.ended.lock().expect("notes").clone();
    assert_eq!(ended[..2], ["3", "0"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_does_not_stop_other_jobs() {
    let behaviours = vec![Behaviour::Fail(1), Behaviour::Build(5), Behaviour::Build(1)];
    let ran = ran(behaviours, request(independent(3), 2)).await;
    let expected =
        [Outcome::Failed(Box::new(failure())), Outcome::Built(image()), Outcome::Built(image())];
    assert_eq!(ran.outcomes, expected);
}

#[tokio::test(start_paused = true)]
async fn fail_fast_cancels_running_and_waiting_jobs() {
    let behaviours = vec![Behaviour::Build(9), Behaviour::Fail(1), Behaviour::Build(1)];
    let mut request = request(independent(3), 2);
    request.on_failure = OnFailure::FailFast;
    let ran = ran(behaviours, request).await;
    let expected = [
        "run of 2",
        "0 started",
        "1 started",
        "1 failed",
        "0 cancelled FailFast",
        "2 cancelled FailFast",
        "over",
    ];
    assert_eq!(ran.notes, expected);
    assert_eq!(ran.engine.running.load(Ordering::SeqCst), 0);
    assert!(ran.engine.ended.lock().expect("notes").len() == 1);
}

#[tokio::test(start_paused = true)]
async fn an_interruption_stops_every_build() {
    let request = request(independent(3), 2);
    let cancel = request.cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        cancel.cancel();
    });
    let behaviours = vec![Behaviour::Build(1), Behaviour::Build(90), Behaviour::Build(90)];
    let ran = ran(behaviours, request).await;
    let interrupted = Outcome::Cancelled(CancelReason::Interrupted);
    let expected = [Outcome::Built(image()), interrupted.clone(), interrupted];
    assert_eq!(ran.outcomes, expected);
    assert_eq!(ran.engine.running.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_builds_nothing() {
    let request = request(independent(2), 2);
    request.cancel.cancel();
    let ran = ran(vec![Behaviour::Build(1); 2], request).await;
    let interrupted = Outcome::Cancelled(CancelReason::Interrupted);
    assert_eq!(ran.outcomes, [interrupted.clone(), interrupted]);
    assert!(ran.engine.begun.lock().expect("notes").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_its_target() {
    let behaviours = vec![Behaviour::Panic, Behaviour::Build(1)];
    let ran = ran(behaviours, request(independent(2), 1)).await;
    let Outcome::Failed(failure) = &ran.outcomes[0] else {
        panic!("{:?}", ran.outcomes[0]);
    };
    assert!(failure.message.contains("the fake panics"), "{failure:?}");
    assert_eq!(ran.outcomes[1], Outcome::Built(image()));
}

/// Returns jobs whose targets are their numbers, each based on the images of `parents`.
fn family(parents: &[&[usize]]) -> Vec<BuildJob> {
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
    let jobs = family(&[&[1, 3], &[2], &[], &[2], &[]]);
    let ran = ran(vec![Behaviour::Build(1); 5], request(jobs, 5)).await;
    assert_eq!(*ran.engine.begun.lock().expect("notes"), ["2", "4", "1", "3", "0"]);
    assert!(ran.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Built(_))));
}

#[tokio::test(start_paused = true)]
async fn jobs_based_on_a_failed_one_are_cancelled() {
    let jobs = family(&[&[], &[0], &[1], &[]]);
    let mut behaviours = vec![Behaviour::Build(1); 4];
    behaviours[0] = Behaviour::Fail(1);
    let ran = ran(behaviours, request(jobs, 1)).await;
    assert_eq!(
        ran.notes,
        [
            "run of 1",
            "0 started",
            "0 failed",
            "1 cancelled ParentFailed",
            "2 cancelled ParentFailed",
            "3 started",
            "3 finished",
            "over",
        ]
    );
}
