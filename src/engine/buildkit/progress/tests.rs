use std::sync::{Arc, Mutex};

use bollard_buildkit_proto::pb::ProgressGroup;

use super::*;
use crate::engine::buildkit::reported::ReportedSteps;
use crate::event::Listener;

/// Records a short description of each event.
#[derive(Default)]
struct RecordedEvents(Mutex<Vec<String>>);

impl Listener for RecordedEvents {
    fn hear(&self, event: &Event) {
        let text = match event {
            Event::StepsKnown { total, .. } => format!("known {total}"),
            Event::StepStarted { step, .. } => format!("start {} {}", step.number, step.name),
            Event::Log { step, line, .. } => format!("log {step} {line}"),
            Event::StepProgress { step, item, current, total, .. } => {
                format!("move {step} {item} {current}/{total:?}")
            }
            Event::StepFinished { step, cached, elapsed, error, .. } => {
                format!("end {} cached={cached} {}s {error:?}", step.number, elapsed.as_secs())
            }
            Event::Warning { message, .. } => format!("warning {message}"),
            Event::TargetWaiting { reason, .. } => format!("wait {reason:?}"),
            _ => "other".to_owned(),
        };
        self.0.lock().expect("events").push(text);
    }
}

fn follow(responses: Vec<StatusResponse>) -> (Progress, Vec<String>) {
    follow_after(&ReportedSteps::default(), responses)
}

fn follow_after(
    reported: &ReportedSteps,
    responses: Vec<StatusResponse>,
) -> (Progress, Vec<String>) {
    let recorded = Arc::new(RecordedEvents::default());
    let listener: Arc<dyn Listener> = Arc::<RecordedEvents>::clone(&recorded);
    let mut progress = Progress::new("t", &Events::to(listener), reported.snapshot());
    for response in responses {
        progress.update(&response);
    }
    progress.finish();
    let events = std::mem::take(&mut *recorded.0.lock().expect("events"));
    (progress, events)
}

/// Returns a timestamp, or `None` for 0.
fn at(seconds: i64) -> Option<Timestamp> {
    (seconds > 0).then_some(Timestamp { seconds, nanos: 0 })
}

fn vertex(
    digest: &str,
    name: &str,
    started: Option<Timestamp>,
    completed: Option<Timestamp>,
) -> Vertex {
    Vertex {
        digest: digest.to_owned(),
        name: name.to_owned(),
        started,
        completed,
        ..Vertex::default()
    }
}

fn vertices(vertexes: Vec<Vertex>) -> StatusResponse {
    StatusResponse { vertexes, ..StatusResponse::default() }
}

fn log(vertex: &str, text: &str) -> StatusResponse {
    StatusResponse {
        logs: vec![VertexLog {
            vertex: vertex.to_owned(),
            msg: text.as_bytes().to_vec(),
            ..VertexLog::default()
        }],
        ..StatusResponse::default()
    }
}

#[test]
fn internal_vertices_have_no_number() {
    let (progress, events) = follow(vec![vertices(vec![
        vertex("i", "[internal] load build definition", at(1), at(2)),
        vertex("a", "[1/2] FROM python", at(0), at(0)),
        vertex("b", "[2/2] RUN true", at(1), None),
    ])]);
    assert_eq!(events, ["known 2", "start 2 [2/2] RUN true"]);
    assert!(progress.step_of("i").is_none());
}

#[test]
fn an_internal_vertex_that_fails_becomes_a_step() {
    let name = "[internal] load metadata for docker.io/library/nothing";
    let failed = Vertex { error: "not found".to_owned(), ..vertex("i", name, at(1), at(2)) };
    let (progress, events) =
        follow(vec![vertices(vec![vertex("i", name, at(1), None)]), vertices(vec![failed])]);
    assert_eq!(events, ["known 1", "end 1 cached=false 1s Some(\"not found\")"]);
    assert_eq!(progress.failed_step().map(|step| step.number), Some(1));
}

#[test]
fn the_times_of_a_repeated_step_add_up() {
    let run = "[2/2] RUN true";
    let (_, events) = follow(vec![
        vertices(vec![vertex("b", run, at(10), None)]),
        vertices(vec![vertex("b", run, at(10), at(12))]),
        vertices(vec![vertex("b", run, at(20), None)]),
        vertices(vec![vertex("b", run, at(20), at(23))]),
        vertices(vec![vertex("b", run, at(20), at(23))]),
    ]);
    let expected = [
        "known 1",
        "start 1 [2/2] RUN true",
        "end 1 cached=false 2s None",
        "start 1 [2/2] RUN true",
        "end 1 cached=false 5s None",
    ];
    assert_eq!(events, expected);
}

#[test]
fn steps_that_ended_before_the_build_are_cached() {
    let executed = |from, to| {
        let log =
            VertexLog { vertex: "a".to_owned(), msg: b"hello\n".to_vec(), ..VertexLog::default() };
        let step = vec![
            vertex("a", "[2/2] RUN true", at(from), None),
            vertex("a", "[2/2] RUN true", at(from), at(to)),
        ];
        vec![StatusResponse { logs: vec![log], ..vertices(step) }]
    };
    let reported = ReportedSteps::default();
    let executed_events =
        ["known 1", "start 1 [2/2] RUN true", "log 1 hello", "end 1 cached=false 2s None"];
    let early = reported.snapshot();
    assert_eq!(follow_after(&reported, executed(10, 12)).1, executed_events);
    let (progress, events) = follow_after(&reported, executed(10, 12));
    assert_eq!(events, ["known 1", "end 1 cached=true 0s None"]);
    assert!(progress.all_cached());
    // The step runs again.
    assert_eq!(follow_after(&reported, executed(20, 22)).1, executed_events);
    // A build that started before the step ended shares this execution.
    assert!(!early.ended_before_build("a", Duration::from_secs(10)));
}

#[test]
fn a_build_waits_for_a_step_that_another_build_started() {
    let reported = ReportedSteps::default();
    let other = ReportedSteps::default();
    let start = || vec![vertices(vec![vertex("b", "[2/2] RUN true", at(10), None)])];
    reported.start("b", Duration::from_secs(10), "other");
    let expected =
        ["known 1", "start 1 [2/2] RUN true", "wait SharedStep { step: 1, owner: \"other\" }"];
    assert_eq!(follow_after(&reported, start()).1, expected);
    assert_eq!(follow_after(&other, start()).1, expected[..2]);
    assert_eq!(follow_after(&other, start()).1, expected[..2], "the build started the step itself");
}

#[test]
fn the_vertices_of_a_linked_copy_are_one_step() {
    let member = |digest: &str, started, completed| Vertex {
        progress_group: Some(ProgressGroup {
            id: "group".to_owned(),
            name: "[2/2] COPY --link a b".to_owned(),
            weak: false,
        }),
        ..vertex(digest, "a member", started, completed)
    };
    let (progress, events) = follow(vec![
        vertices(vec![member("a", at(1), None), member("b", at(2), None)]),
        vertices(vec![member("a", at(1), at(4))]),
        vertices(vec![member("b", at(2), at(5))]),
    ]);
    let expected = ["known 1", "start 1 [2/2] COPY --link a b", "end 1 cached=false 4s None"];
    assert_eq!(events, expected);
    assert!(!progress.all_cached());
}

#[test]
fn cached_steps_finish_without_a_start() {
    let cached = Vertex { cached: true, ..vertex("b", "[2/2] RUN true", at(1), at(1)) };
    let from = vertex("a", "[1/2] FROM python", at(1), at(2));
    let (progress, events) = follow(vec![vertices(vec![from, cached])]);
    let expected = ["known 2", "end 1 cached=false 1s None", "end 2 cached=true 0s None"];
    assert_eq!(events, expected);
    assert!(progress.all_cached());
}

#[test]
fn all_lines_of_a_step_are_reported_before_its_end() {
    let run = "[2/2] RUN true";
    let mut last = log("b", "lf\nrest");
    last.vertexes = vec![vertex("b", run, at(1), at(2))];
    last.statuses = vec![VertexStatus {
        id: "sha256:1".to_owned(),
        vertex: "b".to_owned(),
        current: 5,
        ..VertexStatus::default()
    }];
    let (_, events) =
        follow(vec![vertices(vec![vertex("b", run, at(1), None)]), log("b", "ha"), last]);
    let expected = [
        "known 1",
        "start 1 [2/2] RUN true",
        "log 1 half",
        "move 1 sha256:1 5/None",
        "log 1 rest",
        "end 1 cached=false 1s None",
    ];
    assert_eq!(events, expected);
}

#[test]
fn a_repeated_warning_is_reported_once() {
    let warning = |text: &str| VertexWarning { short: text.into(), ..VertexWarning::default() };
    let message = |text| StatusResponse { warnings: vec![warning(text)], ..Default::default() };
    let (_, events) = follow(vec![message("one"), message("two"), message("one")]);
    assert_eq!(events, ["warning one", "warning two"]);
}
