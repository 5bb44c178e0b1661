//! Translates `BuildKit`'s status messages into [events](Event) about Dockerfile steps.
//!
//! `BuildKit` reports vertices of a graph; [`Progress`] groups them into steps, hides internal ones, and
//! reports logs, times and errors in order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{
    StatusResponse, Vertex, VertexLog, VertexStatus, VertexWarning,
};

use super::reported::ReportedSteps;
use super::text::{Lines, clean, one_line_name};
use crate::event::{Event, Events, Step, WaitReason};
use crate::matrix::Check;
use crate::render::TemplateLine;
use crate::verify::{self, FailedCheck};

/// The end of the message about a full disk. Programs in Go begin it in lower case, others do not.
const NO_SPACE: &str = "o space left on device";

/// The beginning and the end of what runc writes to the output of a step whose container ended before it ran anything.
/// Nothing in the image causes this: runc 1.1 sometimes cannot clone its own program while other containers start.
const NOT_STARTED: [&str; 2] = [
    "runc run failed: unable to start container process: ",
    "read init-p: connection reset by peer",
];

/// Follows one build and emits its events.
pub(super) struct Progress {
    target: String,
    events: Events,
    /// The template line for each line of the Dockerfile.
    lines: Arc<[TemplateLine]>,
    /// The names of the checks of each step that runs some.
    checks: Vec<Vec<String>>,
    steps: Vec<StepState>,
    vertices: HashMap<String, VertexState>,
    groups: HashMap<String, usize>,
    warnings: HashSet<String>,
    reported: ReportedSteps,
}

/// A step. It consists of one vertex, or of several in the case of `COPY --link`.
struct StepState {
    step: Step,
    running: usize,
    finished: bool,
    all_cached: bool,
    intervals: Vec<(Duration, Duration)>,
    error: Option<String>,
    lines: Lines,
    failed_checks: Vec<FailedCheck>,
    /// The fault of the engine that its output reports.
    fault: Option<EngineFault>,
}

/// A fault of the engine in the output of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EngineFault {
    DiskFull,
    /// The container of the step did not start.
    NotStarted,
}

#[derive(Default)]
struct VertexState {
    /// The index of its step; `None` if it is internal.
    step: Option<usize>,
    running: bool,
    completed: Option<Duration>,
    /// Whether it ended before the build began. The engine reports it all the same.
    is_past: bool,
}

impl Progress {
    /// Creates the progress of the build of `target`. `reported` is a snapshot from the build's start.
    pub(super) fn new(target: &str, events: &Events, reported: ReportedSteps) -> Self {
        Self {
            target: target.to_owned(),
            lines: Arc::default(),
            checks: Vec::new(),
            events: events.clone(),
            steps: Vec::new(),
            vertices: HashMap::new(),
            groups: HashMap::new(),
            warnings: HashSet::new(),
            reported,
        }
    }

    /// Sets the template lines by which warnings name lines of the Dockerfile.
    pub(super) fn with_lines(self, lines: &Arc<[TemplateLine]>) -> Self {
        Self { lines: Arc::clone(lines), ..self }
    }

    /// Sets the checks of the image, divided by the steps that run them.
    pub(super) fn with_checks(self, runs: &[&[Check]]) -> Self {
        let names = |run: &&[Check]| run.iter().map(|check| check.name.clone()).collect();
        Self { checks: runs.iter().map(names).collect(), ..self }
    }

    /// Returns the sink of the build's events.
    pub(super) fn events(&self) -> Events {
        self.events.clone()
    }

    /// Processes a status message of the engine.
    pub(super) fn update(&mut self, response: &StatusResponse) {
        let known = self.steps.len();
        for vertex in &response.vertexes {
            self.add_vertex(vertex);
        }
        if self.steps.len() > known {
            self.emit_known();
        }
        for vertex in &response.vertexes {
            self.update_past(vertex);
            self.begin(vertex);
        }
        // A message that ends a step may contain its last output.
        for log in &response.logs {
            self.log(log);
        }
        for status in &response.statuses {
            self.status(status);
        }
        for vertex in &response.vertexes {
            self.end(vertex);
        }
        for warning in &response.warnings {
            self.warn(warning);
        }
    }

    /// Emits the last lines of output that have no line end.
    pub(super) fn finish(&mut self) {
        for index in 0..self.steps.len() {
            self.flush(index);
        }
    }

    /// Starts or restarts a step that runs outside of the engine's build.
    pub(super) fn begin_client_step(&mut self, name: &str) -> ClientStep<'_> {
        let known = self.steps.len();
        let index = self.step_index(name, name);
        if self.steps.len() > known {
            self.emit_known();
        }
        let step = self.steps[index].step.clone();
        self.events.emit(&Event::StepStarted { target: self.target.clone(), step });
        ClientStep { progress: self, index, begun: Instant::now() }
    }

    /// Reports a new attempt after a temporary `fault`, and clears the errors of all steps.
    pub(super) fn report_retry(&mut self, fault: &str, problem: &str) {
        for state in &mut self.steps {
            (state.error, state.fault) = (None, None);
        }
        self.events.emit(&Event::Warning {
            target: Some(self.target.clone()),
            message: format!("retrying after {fault}: {problem}"),
        });
    }

    /// Returns the step of the vertex with this digest.
    pub(super) fn step_of(&self, vertex: &str) -> Option<&Step> {
        let index = self.vertices.get(vertex)?.step?;
        Some(&self.steps[index].step)
    }

    /// Returns true if the output of `step` reports a full disk.
    pub(super) fn ran_out_of_space(&self, step: &Step) -> bool {
        self.state(step).is_some_and(|state| state.fault == Some(EngineFault::DiskFull))
    }

    /// Returns true if the engine has not started the container of a step.
    pub(super) fn has_unstarted_step(&self) -> bool {
        let is_fault = |state: &StepState| state.fault == Some(EngineFault::NotStarted);
        self.steps.iter().any(|state| state.error.is_some() && is_fault(state))
    }

    /// Returns the failed checks of a step that runs several, in the order of their output.
    pub(super) fn failed_checks(&self, step: &Step) -> &[FailedCheck] {
        self.state(step).map_or(&[], |state| &state.failed_checks)
    }

    fn state(&self, step: &Step) -> Option<&StepState> {
        self.steps.get(step.number.checked_sub(1)?)
    }

    /// Returns true if the engine has reported no step yet.
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns the first step that failed.
    pub(super) fn failed_step(&self) -> Option<&Step> {
        let failed = self.steps.iter().find(|state| state.error.is_some());
        failed.map(|state| &state.step)
    }

    /// Returns true if every step of the Dockerfile was cached.
    pub(super) fn all_cached(&self) -> bool {
        let mut work = self.steps.iter().filter(|state| is_work(&state.step.name));
        work.all(|state| !state.finished || state.all_cached)
    }

    fn emit_known(&self) {
        let total = self.steps.len();
        self.events.emit(&Event::StepsKnown { target: self.target.clone(), total });
    }

    /// Assigns a new vertex to its step.
    fn add_vertex(&mut self, vertex: &Vertex) {
        let known = self.vertices.get(&vertex.digest);
        let has_step = known.is_some_and(|state| state.step.is_some());
        if has_step || (known.is_some() && vertex.error.is_empty()) {
            return;
        }
        let (key, name) = match &vertex.progress_group {
            Some(group) if !group.weak => (group.id.as_str(), group.name.as_str()),
            _ => (vertex.digest.as_str(), vertex.name.as_str()),
        };
        let shown = !is_internal(name) || !vertex.error.is_empty();
        let step = shown.then(|| self.step_index(key, name));
        let state = self.vertices.entry(vertex.digest.clone()).or_default();
        state.step = step;
    }

    /// Updates whether a vertex ended before the build began.
    fn update_past(&mut self, vertex: &Vertex) {
        let state = self.vertices.get_mut(&vertex.digest);
        if let (Some(state), Some(started)) = (state, vertex.started.as_ref().map(time)) {
            state.is_past = self.reported.ended_before_build(&vertex.digest, started);
        }
    }

    /// Returns the index of the step with `key`, and adds the step if it is new.
    fn step_index(&mut self, key: &str, name: &str) -> usize {
        if let Some(index) = self.groups.get(key) {
            return *index;
        }
        let index = self.steps.len();
        self.groups.insert(key.to_owned(), index);
        let name = one_line_name(name);
        let checks = verify::run_of(&name, &self.checks).cloned().unwrap_or_default();
        self.steps.push(StepState::new(Step { number: index + 1, name, checks }));
        index
    }

    fn begin(&mut self, vertex: &Vertex) {
        let (Some(state), Some(started), None) =
            (self.vertices.get_mut(&vertex.digest), &vertex.started, &vertex.completed)
        else {
            return;
        };
        let Some(index) = state.step.filter(|_| !state.running && !state.is_past) else { return };
        state.running = true;
        let step = &mut self.steps[index];
        step.running += 1;
        step.finished = false;
        if step.running > 1 {
            return;
        }
        let (target, number) = (self.target.clone(), step.step.number);
        self.events.emit(&Event::StepStarted { target: target.clone(), step: step.step.clone() });
        if let Some(owner) = self.reported.start(&vertex.digest, time(started), &target) {
            let reason = WaitReason::SharedStep { step: number, owner };
            self.events.emit(&Event::TargetWaiting { target, reason });
        }
    }

    fn end(&mut self, vertex: &Vertex) {
        let (Some(state), Some(completed)) =
            (self.vertices.get_mut(&vertex.digest), vertex.completed.as_ref().map(time))
        else {
            return;
        };
        let Some(index) = state.step else { return };
        if state.completed.replace(completed) == Some(completed) && !state.running {
            return;
        }
        let was_running = std::mem::take(&mut state.running);
        let step = &mut self.steps[index];
        step.running -= usize::from(was_running);
        step.all_cached &= vertex.cached || state.is_past;
        if let Some(started) = vertex.started.as_ref().map(time).filter(|_| !state.is_past) {
            step.intervals.push((started, completed));
            if !vertex.cached && vertex.error.is_empty() {
                self.reported.end(&vertex.digest, started, &self.target);
            }
        }
        if !vertex.error.is_empty() {
            step.error.get_or_insert_with(|| one_line_name(&vertex.error));
        }
        if step.running == 0 {
            step.finished = true;
            self.flush(index);
            self.emit_finished(index);
        }
    }

    fn emit_finished(&self, index: usize) {
        let state = &self.steps[index];
        self.events.emit(&Event::StepFinished {
            target: self.target.clone(),
            step: state.step.clone(),
            cached: state.all_cached,
            elapsed: covered(&state.intervals),
            error: state.error.clone(),
        });
    }

    fn log(&mut self, log: &VertexLog) {
        let Some(index) = self.visible_step(&log.vertex) else { return };
        for line in self.steps[index].lines.push(&log.msg) {
            let line = self.steps[index].read(line);
            self.emit_line(index, line);
        }
    }

    /// Returns the index of the step of `vertex`, unless the vertex is internal or past.
    fn visible_step(&self, vertex: &str) -> Option<usize> {
        self.vertices.get(vertex).filter(|state| !state.is_past)?.step
    }

    fn flush(&mut self, index: usize) {
        if let Some(line) = self.steps[index].lines.finish() {
            self.emit_line(index, line);
        }
    }

    fn emit_line(&self, index: usize, line: String) {
        self.events.emit(&Event::Log {
            target: self.target.clone(),
            step: self.steps[index].step.number,
            line,
        });
    }

    fn status(&self, status: &VertexStatus) {
        let Some(index) = self.visible_step(&status.vertex) else { return };
        let name = if status.name.is_empty() { &status.id } else { &status.name };
        self.events.emit(&Event::StepProgress {
            target: self.target.clone(),
            step: self.steps[index].step.number,
            item: one_line_name(name),
            current: u64::try_from(status.current).unwrap_or_default(),
            total: u64::try_from(status.total).ok().filter(|total| *total > 0),
        });
    }

    /// Reports a warning once. The frontend repeats it for each part of the job.
    fn warn(&mut self, warning: &VertexWarning) {
        let message = clean(&warning.short);
        let line = warning.ranges.first().and_then(|range| range.start);
        let line = line.and_then(|start| usize::try_from(start.line).ok()?.checked_sub(1));
        let place = line.map(|line| match self.lines.get(line) {
            Some(TemplateLine { file, line, column }) => format!("{file}:{line}:{column}"),
            None => format!("Dockerfile line {}", line + 1),
        });
        let message = match place {
            Some(place) => format!("{message} ({place})"),
            None => message,
        };
        if self.warnings.insert(message.clone()) {
            self.events.emit(&Event::Warning { target: Some(self.target.clone()), message });
        }
    }
}

/// A step that this process runs itself, such as a push through the Engine API.
pub(super) struct ClientStep<'a> {
    progress: &'a mut Progress,
    index: usize,
    begun: Instant,
}

impl ClientStep<'_> {
    /// Reports the bytes of `item` that were transferred.
    pub(super) fn moved(&self, item: &str, current: u64, total: u64) {
        self.progress.events.emit(&Event::StepProgress {
            target: self.progress.target.clone(),
            step: self.progress.steps[self.index].step.number,
            item: item.to_owned(),
            current,
            total: Some(total),
        });
    }

    /// Ends the step, with an error if it failed.
    pub(super) fn end(self, error: Option<&str>) {
        let state = &mut self.progress.steps[self.index];
        let before = covered(&state.intervals);
        state.intervals.push((before, before + self.begun.elapsed()));
        self.progress.events.emit(&Event::StepFinished {
            target: self.progress.target.clone(),
            step: state.step.clone(),
            cached: false,
            elapsed: covered(&state.intervals),
            // Not stored in the step: a later attempt may fail for a different reason.
            error: error.map(one_line_name),
        });
    }
}

impl EngineFault {
    /// Returns the fault that a line of output reports.
    fn in_output(line: &str) -> Option<Self> {
        let [begin, end] = NOT_STARTED;
        if line.contains(NO_SPACE) {
            Some(Self::DiskFull)
        } else {
            (line.starts_with(begin) && line.ends_with(end)).then_some(Self::NotStarted)
        }
    }
}

impl StepState {
    fn new(step: Step) -> Self {
        Self {
            step,
            running: 0,
            finished: false,
            all_cached: true,
            intervals: Vec::new(),
            error: None,
            lines: Lines::default(),
            failed_checks: Vec::new(),
            fault: None,
        }
    }

    /// Reads a line of output. Returns the line to show, with the name of a failed check instead of its number.
    fn read(&mut self, line: String) -> String {
        self.fault = EngineFault::in_output(&line).or(self.fault);
        let failed = FailedCheck::parse(&line);
        let Some((failed, name)) =
            failed.and_then(|failed| Some((failed, self.step.checks.get(failed.index)?)))
        else {
            return line;
        };
        let line = format!("the check `{name}` failed with exit code {}", failed.exit_code);
        self.failed_checks.push(failed);
        line
    }
}

/// Returns true for the engine's own tasks, such as reading the Dockerfile.
fn is_internal(name: &str) -> bool {
    name.starts_with("[internal]")
}

/// Returns true for Dockerfile instructions other than `FROM`: `[server 3/9] RUN …`.
fn is_work(name: &str) -> bool {
    let instruction = name.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    instruction.is_some_and(|(_, instruction)| !instruction.starts_with("FROM "))
}

fn time(timestamp: &Timestamp) -> Duration {
    Duration::new(
        u64::try_from(timestamp.seconds).unwrap_or_default(),
        u32::try_from(timestamp.nanos).unwrap_or_default(),
    )
}

/// Returns the total time that the intervals cover. Overlaps count once.
fn covered(intervals: &[(Duration, Duration)]) -> Duration {
    let mut sorted = intervals.to_vec();
    sorted.sort_unstable();
    let mut total = Duration::ZERO;
    let mut reached = Duration::ZERO;
    for (start, end) in sorted {
        total += end.saturating_sub(start.max(reached));
        reached = reached.max(end);
    }
    total
}

#[cfg(test)]
mod tests;
