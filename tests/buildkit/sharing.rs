//! Steps that several variants of a run have. Here one build is open all the while, in which what
//! they stand on has run for the first time: BuildKit then finds nothing of them in its cache.

use std::sync::Arc;
use std::time::Duration;

use basegen::engine::{
    BuildJob, BuildOptions, BuiltImage, Destination, Engine, JobDependencies, OnFailure, Outcome,
    RunRequest, run,
};
use basegen::matrix::{Check, CheckCommand};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::harness::registry::{FakeRegistry, Fault, FaultHandle, Rule};
use crate::harness::testbed;

/// A step that has not run yet, and a build that stands on it and waits for what it fetches.
struct Held {
    word: String,
    registry: FakeRegistry,
    hangs: FaultHandle,
}

const FETCHED: &str = "/v2/acme/word/manifests/1";

impl Held {
    async fn new() -> Self {
        let (word, registry) = (testbed::unique(), FakeRegistry::start().await);
        registry.add_manifest("acme/word", "1", "text/plain", word.clone());
        let hangs = registry.fail(Rule::every("*", FETCHED, Fault::Hang));
        Self { word, registry, hangs }
    }

    fn base(&self) -> String {
        format!("FROM python:3.11-slim-bookworm\nRUN echo {} > /word\n", self.word)
    }

    /// The build that holds the step.
    fn holding(&self) -> BuildJob {
        let source = format!("{}{FETCHED}", self.registry.origin());
        testbed::job("holding", &format!("{}ADD {source} /held\n", self.base()), &[])
    }

    /// Runs `jobs` one after the other, while the step is held; gives what steps wrote, too.
    async fn run(&self, jobs: &[BuildJob], options: BuildOptions) -> (Vec<Outcome>, String) {
        let request = RunRequest {
            jobs: [&[self.holding()], jobs].concat(),
            parallel: 2,
            on_failure: OnFailure::KeepGoing,
            cancel: CancellationToken::new(),
        };
        let builder = testbed::engine().await.builder(options).expect("a builder");
        let recorded = Arc::new(testbed::RecordedEvents::default());
        let events = recorded.events();
        let over = async {
            let ended = || {
                let events = recorded.0.lock().expect("events");
                events.iter().filter(|event| event.ends_target()).count()
            };
            while ended() < jobs.len() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            self.hangs.release();
        };
        let (mut outcomes, ()) = tokio::join!(run(Arc::new(builder), request, &events), over);
        built(&outcomes.remove(0));
        (outcomes, recorded.log_lines().join("\n"))
    }
}

fn built(outcome: &Outcome) -> &BuiltImage {
    match outcome {
        Outcome::Built(image) => image,
        other => panic!("{other:?}"),
    }
}

/// The layer before the last, which is of a step that writes random bytes: where two images have
/// the same, it ran once for both.
async fn shared_layer(job: &BuildJob, outcome: &Outcome) -> String {
    let layers = testbed::layers(&testbed::pushed_manifest(job, built(outcome)).await);
    layers[layers.len() - 2].clone()
}

fn check(command: &str) -> Check {
    Check { name: "look".to_owned(), command: CheckCommand::Shell(command.to_owned()) }
}

const RANDOM: &str = "RUN echo it runs && head -c 8 /dev/urandom > /random\n";

fn variants(held: &Held) -> [BuildJob; 2] {
    ["turn-a", "turn-b"].map(|name| {
        let dockerfile = format!("{}{RANDOM}COPY {name} /own\n", held.base());
        testbed::job(name, &dockerfile, &[(name, name)])
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_runs_once_for_builds_that_follow_one_another() {
    for no_cache in [false, true] {
        let held = Held::new().await;
        let jobs = variants(&held);
        let options = BuildOptions { no_cache, ..BuildOptions::to(Destination::Registry) };
        let (outcomes, lines) = held.run(&jobs, options).await;
        let first = shared_layer(&jobs[0], &outcomes[0]).await;
        assert_eq!(first, shared_layer(&jobs[1], &outcomes[1]).await);
        assert_ne!(built(&outcomes[0]).digest, built(&outcomes[1]).digest);
        // It is told once, too.
        assert_eq!(lines.matches("it runs").count(), 1, "{lines}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_its_checks_has_made_its_steps_for_others() {
    let held = Held::new().await;
    let mut jobs = variants(&held);
    jobs[0].checks = vec![check("false")];
    let (outcomes, lines) = held.run(&jobs, BuildOptions::to(Destination::Registry)).await;
    assert!(matches!(outcomes[0], Outcome::Failed(_)), "{outcomes:?}");
    built(&outcomes[1]);
    assert_eq!(lines.matches("it runs").count(), 1, "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_has_failed_is_tried_again_for_others() {
    let held = Held::new().await;
    let mut jobs = variants(&held);
    for job in &mut jobs {
        job.context.dockerfile = format!("{}RUN echo it runs && false\n", held.base());
    }
    let (outcomes, lines) = held.run(&jobs, BuildOptions::to(Destination::Registry)).await;
    let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
    assert!(outcomes.iter().all(failed), "{outcomes:?}");
    assert_eq!(lines.matches("it runs").count(), 2, "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checked_image_is_made_once() {
    let held = Held::new().await;
    let mut job = testbed::job("held", &format!("{}{RANDOM}", held.base()), &[]);
    job.checks = vec![check("cat /word")];
    let builder = testbed::builder(Destination::Registry).await;
    let recorded = Arc::new(testbed::RecordedEvents::default());
    let holding = held.holding();
    let (first, ()) = tokio::join!(testbed::build(&builder, &holding), async {
        builder.build(&job, &recorded.events(), JobDependencies::none()).await.expect("an image");
        held.hangs.release();
    });
    first.expect("an image");
    let lines = recorded.log_lines();
    assert_eq!(lines.iter().filter(|line| *line == "it runs").count(), 1, "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_held_is_let_go_when_the_run_is_over() {
    let held = Held::new().await;
    let (outcomes, _) = held.run(&variants(&held), BuildOptions::to(Destination::Registry)).await;
    assert!(outcomes.iter().all(|outcome| !built(outcome).digest.hex().is_empty()));
    let in_use = async || {
        let records = testbed::build_cache().await;
        let ours = |record: &&Value| record["Description"].to_string().contains(&held.word);
        let ours: Vec<&Value> = records.iter().filter(ours).collect();
        assert!(!ours.is_empty(), "{records:?}");
        ours.iter().any(|record| record["InUse"] == true)
    };
    for _ in 0..50 {
        if !in_use().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("it is still in use");
}
