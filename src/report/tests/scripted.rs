//! Scripted runs and recording streams for tests.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::event::{CancelReason, Event, Failure, FailureKind, Listener, SourceLine, Step};
use crate::image::Digest;

use crate::report::printer::{Printer, Stream, lock};

/// A stream that records its content.
#[derive(Clone, Default)]
pub(in crate::report) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    pub(in crate::report) fn stream(&self) -> Stream {
        Stream::new(self.clone())
    }

    pub(in crate::report) fn stream_for_actions(&self) -> Stream {
        let out = self.stream();
        Printer { err: out.clone(), out, quiet: false }.for_actions().out
    }

    pub(in crate::report) fn text(&self) -> String {
        String::from_utf8(lock(&self.0).clone()).expect("text")
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(in crate::report) fn send(listener: &dyn Listener, events: &[Event]) {
    for event in events {
        listener.hear(event);
    }
}

pub(in crate::report) fn run_started(targets: &[&str]) -> Event {
    Event::RunStarted {
        targets: targets.iter().map(ToString::to_string).collect(),
        engine: "Docker Engine 28.5.2 at unix:///var/run/docker.sock".to_owned(),
        jobs: 2,
    }
}

pub(in crate::report) fn started(target: &str, steps: usize) -> [Event; 2] {
    let target = target.to_owned();
    [Event::TargetStarted { target: target.clone() }, Event::StepsKnown { target, total: steps }]
}

pub(in crate::report) fn step(number: usize, name: &str) -> Step {
    Step { number, name: name.to_owned(), checks: Vec::new() }
}

pub(in crate::report) fn step_started(target: &str, number: usize, name: &str) -> Event {
    Event::StepStarted { target: target.to_owned(), step: step(number, name) }
}

pub(in crate::report) fn step_finished(
    target: &str,
    number: usize,
    name: &str,
    cached: bool,
) -> Event {
    Event::StepFinished {
        target: target.to_owned(),
        step: step(number, name),
        cached,
        elapsed: Duration::from_millis(if cached { 0 } else { 3400 }),
        error: None,
    }
}

pub(in crate::report) fn step_progress(
    target: &str,
    step: usize,
    item: &str,
    current: u64,
    total: u64,
) -> Event {
    Event::StepProgress {
        target: target.to_owned(),
        step,
        item: item.to_owned(),
        current,
        total: Some(total),
    }
}

pub(in crate::report) fn log(target: &str, step: usize, line: &str) -> Event {
    Event::Log { target: target.to_owned(), step, line: line.to_owned() }
}

pub(in crate::report) fn finished(target: &str, cached: bool) -> Event {
    let reference = format!("baseten/truss-server-base:{target}-v0.2.2");
    Event::TargetFinished {
        target: target.to_owned(),
        digest: Digest::of(target.as_bytes()),
        references: vec![reference.parse().expect("a reference")],
        cached,
        elapsed: Duration::from_millis(if cached { 420 } else { 12_340 }),
    }
}

pub(in crate::report) fn failure() -> Failure {
    Failure {
        kind: FailureKind::Build,
        message: "process \"/bin/sh -c pip install -r requirements.txt\" did not complete \
                  successfully: exit code: 1"
            .to_owned(),
        step: Some(step(3, "[server 3/4] RUN pip install -r requirements.txt")),
        source: Some(SourceLine {
            file: "dockerfiles/Dockerfile.hbs".to_owned(),
            line: 23,
            column: Some(1),
            text: "RUN pip install -r requirements.txt".to_owned(),
        }),
        exit_code: Some(1),
        platform: None,
        hint: None,
    }
}

pub(in crate::report) fn failed(target: &str, failure: Failure) -> Event {
    Event::TargetFailed { target: target.to_owned(), failure, elapsed: Duration::from_millis(8100) }
}

pub(in crate::report) fn cancelled(target: &str) -> Event {
    Event::TargetCancelled { target: target.to_owned(), reason: CancelReason::FailFast }
}

pub(in crate::report) fn warning(target: Option<&str>, message: &str) -> Event {
    Event::Warning { target: target.map(str::to_owned), message: message.to_owned() }
}

pub(in crate::report) fn run_finished() -> Event {
    Event::RunFinished { elapsed: Duration::from_secs(192) }
}

/// Returns the events of a run in which one variant succeeds, one fails and one is cancelled, two at a time.
pub(in crate::report) fn run_of_three() -> Vec<Event> {
    const GOOD: &str = "3.11-gpu-server";
    const BAD: &str = "3.9-server";
    const PIP: &str = "[server 3/4] RUN pip install -r requirements.txt";
    let mut events = vec![run_started(&[BAD, GOOD, "3.12-server"])];
    events.extend(started(GOOD, 4));
    events.extend(started(BAD, 4));
    events.extend([
        step_started(GOOD, 1, "[internal] load build definition from Dockerfile"),
        step_finished(GOOD, 1, "[internal] load build definition from Dockerfile", false),
        step_finished(GOOD, 2, "[server 1/4] FROM python:3.11-slim-bookworm", true),
        step_started(GOOD, 3, PIP),
        step_started(BAD, 3, PIP),
        warning(Some(GOOD), "the base image is 200 days old"),
    ]);
    for number in 1..=12 {
        events.push(log(BAD, 3, &format!("Collecting package-{number}")));
    }
    events.extend([
        log(BAD, 3, "ERROR: No matching distribution found for torch==9"),
        log(GOOD, 3, "Successfully installed truss"),
        Event::StepFinished {
            target: BAD.to_owned(),
            step: step(3, PIP),
            cached: false,
            elapsed: Duration::from_millis(5100),
            error: Some("exit code: 1".to_owned()),
        },
        failed(BAD, failure()),
        step_finished(GOOD, 3, PIP, false),
        step_started(GOOD, 4, "exporting to image"),
        step_progress(GOOD, 4, "sha256:aaa", 400_000_000, 1_000_000_000),
        step_progress(GOOD, 4, "sha256:bbb", 800_000_000, 1_200_000_000),
        step_finished(GOOD, 4, "exporting to image", false),
        finished(GOOD, false),
        cancelled("3.12-server"),
        run_finished(),
    ]);
    events
}
