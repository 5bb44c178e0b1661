//! Builds of single images: reported steps, secrets, contexts, and steps that concurrent builds share.

use std::sync::Arc;

use basegen::engine::{BuildOptions, Destination, Engine, JobDependencies, Secret};
use basegen::event::Event;

use crate::harness::testbed;

const PYTHON: &str = "FROM python:3.11-slim-bookworm\n";

#[tokio::test(flavor = "multi_thread")]
async fn reports_the_name_platforms_and_mirrors_of_the_engine() {
    let engine = testbed::engine().await;
    assert!(engine.name().starts_with("Docker Engine 2"), "{}", engine.name());
    let platform = |text: &str| text.parse().expect("a platform");
    let own = [platform("linux/amd64")];
    engine.check_platforms([&own[..], &own]).expect("its own platform");
    // The check accepts other architectures, because a Dockerfile without RUN needs no emulation.
    engine.check_platforms([&[platform("linux/arm64")][..]]).expect("another architecture");
    let other = [platform("windows/amd64")];
    let error = engine.check_platforms([&other[..]]).expect_err("another system");
    assert!(error.to_string().contains("linux/amd64"), "{error}");
    assert!(!engine.registry_mirrors().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_steps_and_their_output() {
    let word = testbed::unique();
    let dockerfile = format!("{PYTHON}RUN echo {word} && printf '\\033[31mred\\033[0m\\n'\n");
    let job = testbed::job("steps", &dockerfile, &[]);
    let builder = testbed::builder(Destination::Registry).await;
    let recorded = Arc::new(testbed::RecordedEvents::default());
    let image =
        builder.build(&job, &recorded.events(), JobDependencies::none()).await.expect("an image");
    assert!(!image.cached);
    assert_eq!(recorded.log_lines(), [word, "red".to_owned()]);
    let events = std::mem::take(&mut *recorded.0.lock().expect("events"));
    let mut total = 0;
    for event in events {
        match event {
            Event::StepsKnown { total: known, .. } => total = known,
            Event::StepStarted { step, .. } | Event::StepFinished { step, .. } => {
                assert!((1..=total).contains(&step.number), "{step:?} of {total}");
                assert!(!step.name.contains("internal"), "{step:?}");
            }
            _ => {}
        }
    }
    // A build that starts before the engine has closed the previous one joins it, and gets the same reports of
    // its steps. A later build finds the steps in the cache.
    let mut cached = false;
    for _ in 0..3 {
        let again = testbed::build(&builder, &job).await.expect("an image");
        assert_eq!(again.digest, image.digest);
        cached |= again.cached;
    }
    assert!(cached);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_in_no_event_and_no_blob() {
    let secret = testbed::unique();
    let dockerfile = format!(
        "{PYTHON}RUN --mount=type=secret,id=token [ \"$(cat /run/secrets/token)\" = {} ] \
         && sha256sum /run/secrets/token > /sum\n",
        // The Dockerfile contains the secret only reversed.
        format_args!("\"$(printf %s {} | rev)\"", secret.chars().rev().collect::<String>())
    );
    let job = testbed::job("secret", &dockerfile, &[]);
    let mut options = BuildOptions::to(Destination::Registry);
    options.secrets =
        vec![Secret { id: "token".to_owned(), value: secret.clone().into_bytes().into() }];
    assert!(!format!("{options:?}").contains(&secret));
    let builder = testbed::engine().await.builder(options).expect("a builder");
    let recorded = Arc::new(testbed::RecordedEvents::default());
    let image =
        builder.build(&job, &recorded.events(), JobDependencies::none()).await.expect("an image");
    assert!(!recorded.to_json().contains(&secret));
    let manifest = testbed::pushed_manifest(&job, &image).await;
    let mut blobs = testbed::layers(&manifest);
    blobs.drain(..blobs.len() - 1);
    blobs.push(manifest["config"]["digest"].as_str().expect("a digest").to_owned());
    for digest in blobs {
        let repository = job.references[0].repository.path();
        let (_, blob) = testbed::fetch(&format!("/v2/{repository}/blobs/{digest}")).await;
        let has_secret = blob.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!has_secret, "the secret is in {digest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_small_and_large_contexts() {
    let builder = testbed::builder(Destination::Registry).await;
    for (name, size) in [("small", 10), ("large", 5 << 20)] {
        let text = testbed::unique().repeat(size / 12 + 1);
        let dockerfile = format!(
            "{PYTHON}COPY . /context\n\
             RUN cd /context && find . -type f | sort && stat -c '%s %a' deep/er/file run.sh\n"
        );
        let files = [("deep/er/file", text.as_str()), ("run.sh", "#!/bin/sh\n")];
        let mut job = testbed::job(&format!("context-{name}"), &dockerfile, &files);
        job.context.files[1].executable = true;
        let recorded = Arc::new(testbed::RecordedEvents::default());
        builder.build(&job, &recorded.events(), JobDependencies::none()).await.expect(name);
        let length = format!("{} 644", text.len());
        assert_eq!(recorded.log_lines(), ["./deep/er/file", "./run.sh", &length, "10 755"]);
        // The transfer of the context is not reported as a step.
        assert!(!recorded.to_json().contains("load build context"), "{}", recorded.to_json());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_builds_share_a_step() {
    let word = testbed::unique();
    let shared = format!(
        "{PYTHON}RUN sleep 1 && echo {word} > /shared && head -c 8 /dev/urandom > /random\n"
    );
    let builder = testbed::builder(Destination::Registry).await;
    let jobs = ["share-a", "share-b"].map(|name| {
        let dockerfile = format!("{shared}COPY {name} /own\n");
        testbed::job(name, &dockerfile, &[(name, name)])
    });
    let (first, second) =
        tokio::join!(testbed::build(&builder, &jobs[0]), testbed::build(&builder, &jobs[1]));
    let mut layers = Vec::new();
    for (job, image) in jobs.iter().zip([first, second]) {
        layers
            .push(testbed::layers(&testbed::pushed_manifest(job, &image.expect("an image")).await));
    }
    let above_base = layers[0].len() - 2;
    // The step writes random bytes: equal layers mean that it ran once.
    assert_eq!(layers[0][above_base], layers[1][above_base]);
    assert_ne!(layers[0].last(), layers[1].last());
}
