//! Steps that several variants of a run share.
//!
//! A build that was the first to run the step below them stays open during each test. As long as it is open, `BuildKit`
//! does not find the shared steps in its cache.

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

/// A build that is the first to run a step, and then waits for a download.
struct OpenBuild {
    word: String,
    registry: FakeRegistry,
    hangs: FaultHandle,
}

const DOWNLOAD: &str = "/v2/acme/word/manifests/1";

impl OpenBuild {
    async fn new() -> Self {
        let (word, registry) = (testbed::unique(), FakeRegistry::start().await);
        registry.add_manifest("acme/word", "1", "text/plain", word.clone());
        let hangs = registry.fail(Rule::every("*", DOWNLOAD, Fault::Hang));
        Self { word, registry, hangs }
    }

    fn base(&self) -> String {
        format!("FROM python:3.11-slim-bookworm\nRUN echo {} > /word\n", self.word)
    }

    /// Returns the job of the build that stays open.
    fn job(&self) -> BuildJob {
        let source = format!("{}{DOWNLOAD}", self.registry.origin());
        testbed::job("open", &format!("{}ADD {source} /download\n", self.base()), &[])
    }

    /// Runs `jobs` one after the other while the build is open. Returns their outcomes, and the output of all steps.
    async fn run(&self, jobs: &[BuildJob], options: BuildOptions) -> (Vec<Outcome>, String) {
        let request = RunRequest {
            jobs: [&[self.job()], jobs].concat(),
            parallel: 2,
            on_failure: OnFailure::KeepGoing,
            cancel: CancellationToken::new(),
        };
        let builder = testbed::engine().await.builder(options).expect("a builder");
        let recorded = Arc::new(testbed::RecordedEvents::default());
        let events = recorded.events();
        let close = async {
            let ended = || {
                let events = recorded.0.lock().expect("events");
                events.iter().filter(|event| event.ends_target()).count()
            };
            while ended() < jobs.len() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            self.hangs.release();
        };
        let (mut outcomes, ()) = tokio::join!(run(Arc::new(builder), request, &events), close);
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

/// Returns the last layer but one. Its step writes random bytes, so it ran only once if two images have the same layer.
async fn shared_layer(job: &BuildJob, outcome: &Outcome) -> String {
    let layers = testbed::layers(&testbed::pushed_manifest(job, built(outcome)).await);
    layers[layers.len() - 2].clone()
}

fn check(command: &str) -> Check {
    Check { name: "look".to_owned(), command: CheckCommand::Shell(command.to_owned()) }
}

const RANDOM: &str = "RUN echo it runs && head -c 8 /dev/urandom > /random\n";

fn variants(open: &OpenBuild) -> [BuildJob; 2] {
    ["shared-a", "shared-b"].map(|name| {
        let dockerfile = format!("{}{RANDOM}COPY {name} /own\n", open.base());
        testbed::job(name, &dockerfile, &[(name, name)])
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_runs_once_for_consecutive_builds() {
    for no_cache in [false, true] {
        let open = OpenBuild::new().await;
        let jobs = variants(&open);
        let options = BuildOptions { no_cache, ..BuildOptions::to(Destination::Registry) };
        let (outcomes, lines) = open.run(&jobs, options).await;
        let first = shared_layer(&jobs[0], &outcomes[0]).await;
        assert_eq!(first, shared_layer(&jobs[1], &outcomes[1]).await);
        assert_ne!(built(&outcomes[0]).digest, built(&outcomes[1]).digest);
        // Its output is reported once, too.
        assert_eq!(lines.matches("it runs").count(), 1, "{lines}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_of_an_image_that_fails_its_checks_are_reused() {
    let open = OpenBuild::new().await;
    let mut jobs = variants(&open);
    jobs[0].checks = vec![check("false")];
    let (outcomes, lines) = open.run(&jobs, BuildOptions::to(Destination::Registry)).await;
    assert!(matches!(outcomes[0], Outcome::Failed(_)), "{outcomes:?}");
    built(&outcomes[1]);
    assert_eq!(lines.matches("it runs").count(), 1, "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_step_runs_again_in_other_builds() {
    let open = OpenBuild::new().await;
    let mut jobs = variants(&open);
    for job in &mut jobs {
        job.context.dockerfile = format!("{}RUN echo it runs && false\n", open.base());
    }
    let (outcomes, lines) = open.run(&jobs, BuildOptions::to(Destination::Registry)).await;
    let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
    assert!(outcomes.iter().all(failed), "{outcomes:?}");
    assert_eq!(lines.matches("it runs").count(), 2, "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_with_checks_runs_its_steps_once() {
    let open = OpenBuild::new().await;
    let mut job = testbed::job("checked", &format!("{}{RANDOM}", open.base()), &[]);
    job.checks = vec![check("cat /word")];
    let builder = testbed::builder(Destination::Registry).await;
    let recorded = Arc::new(testbed::RecordedEvents::default());
    let first = open.job();
    let (first, ()) = tokio::join!(testbed::build(&builder, &first), async {
        builder.build(&job, &recorded.events(), JobDependencies::none()).await.expect("an image");
        open.hangs.release();
    });
    first.expect("an image");
    let lines = recorded.log_lines();
    assert_eq!(lines.iter().filter(|line| *line == "it runs").count(), 1, "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_end_with_their_run() {
    let open = OpenBuild::new().await;
    let (outcomes, _) = open.run(&variants(&open), BuildOptions::to(Destination::Registry)).await;
    assert!(outcomes.iter().all(|outcome| !built(outcome).digest.hex().is_empty()));
    let in_use = async || {
        let records = testbed::build_cache().await;
        let ours = |record: &&Value| record["Description"].to_string().contains(&open.word);
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
    panic!("records of the build cache are still in use");
}
