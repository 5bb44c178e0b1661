//! `BuildKit`'s vertices as the steps of a Dockerfile.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{
    StatusResponse, Vertex, VertexLog, VertexStatus, VertexWarning,
};

use super::past::Before;
use super::text::{Lines, clean, one_line_name};
use crate::event::{Event, Events, Step};
use crate::render::TemplateLine;

/// How programs report a full disk; Go's write it in lower case.
const NO_SPACE: &str = "o space left on device";

/// Follows one build and tells its events.
pub(super) struct Progress {
    target: String,
    events: Events,
    /// The template's line of each line of the Dockerfile.
    lines: Arc<[TemplateLine]>,
    steps: Vec<StepState>,
    vertices: HashMap<String, VertexState>,
    groups: HashMap<String, usize>,
    before: Before,
}

/// A step: one vertex, or the several that a `--link` step is made of.
struct StepState {
    step: Step,
    running: usize,
    finished: bool,
    all_cached: bool,
    intervals: Vec<(Duration, Duration)>,
    error: Option<String>,
    lines: Lines,
    /// Whether it has written that a disk is full.
    is_disk_full: bool,
}

#[derive(Default)]
struct VertexState {
    /// The index of its step; `None` while it is not worth showing.
    step: Option<usize>,
    running: bool,
    completed: Option<Duration>,
    /// Whether it ended before the build began, and is told of all the same.
    is_past: bool,
}

impl Progress {
    /// `before` is what had run in this run already when the build began.
    pub(super) fn new(target: &str, events: &Events, before: Before) -> Self {
        Self {
            target: target.to_owned(),
            lines: Arc::default(),
            events: events.clone(),
            steps: Vec::new(),
            vertices: HashMap::new(),
            groups: HashMap::new(),
            before,
        }
    }

    /// Names lines of the Dockerfile by the templates that they come from.
    pub(super) fn with_lines(self, lines: &Arc<[TemplateLine]>) -> Self {
        Self { lines: Arc::clone(lines), ..self }
    }

    /// Takes in what the engine says has happened since last time.
    pub(super) fn update(&mut self, response: &StatusResponse) {
        let known = self.steps.len();
        for vertex in &response.vertexes {
            self.meet(vertex);
        }
        if self.steps.len() > known {
            self.emit_known();
        }
        for vertex in &response.vertexes {
            self.date(vertex);
            self.begin(vertex);
        }
        // What a step wrote comes in the message that ends it, or before.
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

    /// Hands out the ends of lines that were never ended.
    pub(super) fn finish(&mut self) {
        for index in 0..self.steps.len() {
            self.flush(index);
        }
    }

    /// Begins a step that the engine does beside its build, perhaps once more.
    pub(super) fn begin_own(&mut self, name: &str) -> OwnStep<'_> {
        let known = self.steps.len();
        let index = self.step_called(name, name);
        if self.steps.len() > known {
            self.emit_known();
        }
        let step = self.steps[index].step.clone();
        self.events.emit(&Event::StepStarted { target: self.target.clone(), step });
        OwnStep { progress: self, index, begun: Instant::now() }
    }

    /// Reports that the push failed with `problem` and is tried again: no step counts as failed.
    pub(super) fn try_again(&mut self, problem: &str) {
        for state in &mut self.steps {
            state.error = None;
        }
        self.events.emit(&Event::Warning {
            target: Some(self.target.clone()),
            message: format!("trying again after a network fault: {problem}"),
        });
    }

    /// The step that the vertex with this digest belongs to.
    pub(super) fn step_of(&self, vertex: &str) -> Option<&Step> {
        let index = self.vertices.get(vertex)?.step?;
        Some(&self.steps[index].step)
    }

    /// Whether `step` has written that a disk is full.
    pub(super) fn ran_out_of_space(&self, step: &Step) -> bool {
        let state = step.number.checked_sub(1).and_then(|index| self.steps.get(index));
        state.is_some_and(|state| state.is_disk_full)
    }

    /// Whether the engine has told of no step yet.
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The first step that failed.
    pub(super) fn failed_step(&self) -> Option<&Step> {
        let failed = self.steps.iter().find(|state| state.error.is_some());
        failed.map(|state| &state.step)
    }

    /// Whether every step of the Dockerfile was there already.
    pub(super) fn all_cached(&self) -> bool {
        let mut work = self.steps.iter().filter(|state| is_work(&state.step.name));
        work.all(|state| !state.finished || state.all_cached)
    }

    fn emit_known(&self) {
        let total = self.steps.len();
        self.events.emit(&Event::StepsKnown { target: self.target.clone(), total });
    }

    /// Gives a vertex its step when it is new.
    fn meet(&mut self, vertex: &Vertex) {
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
        let step = shown.then(|| self.step_called(key, name));
        let state = self.vertices.entry(vertex.digest.clone()).or_default();
        state.step = step;
    }

    /// Notes whether a vertex ended before the build began.
    fn date(&mut self, vertex: &Vertex) {
        let state = self.vertices.get_mut(&vertex.digest);
        if let (Some(state), Some(started)) = (state, vertex.started.as_ref().map(time)) {
            state.is_past = self.before.has(&vertex.digest, started);
        }
    }

    /// The index of the step known by `key`, which is new if it was not.
    fn step_called(&mut self, key: &str, name: &str) -> usize {
        if let Some(index) = self.groups.get(key) {
            return *index;
        }
        let index = self.steps.len();
        self.groups.insert(key.to_owned(), index);
        self.steps.push(StepState::new(index + 1, one_line_name(name)));
        index
    }

    fn begin(&mut self, vertex: &Vertex) {
        let Some(state) = self.vertices.get_mut(&vertex.digest) else {
            return;
        };
        let starts = vertex.started.is_some() && vertex.completed.is_none() && !state.running;
        let (true, Some(index)) = (starts && !state.is_past, state.step) else {
            return;
        };
        state.running = true;
        let step = &mut self.steps[index];
        step.running += 1;
        step.finished = false;
        if step.running == 1 {
            self.events
                .emit(&Event::StepStarted { target: self.target.clone(), step: step.step.clone() });
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
                self.before.add(&vertex.digest, started);
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
        let Some(index) = self.told(&log.vertex) else { return };
        for line in self.steps[index].lines.push(&log.msg) {
            self.steps[index].is_disk_full |= line.contains(NO_SPACE);
            self.emit_line(index, line);
        }
    }

    /// The index of the step of `vertex`, where what it does is worth telling.
    fn told(&self, vertex: &str) -> Option<usize> {
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
        let Some(index) = self.told(&status.vertex) else { return };
        let name = if status.name.is_empty() { &status.id } else { &status.name };
        self.events.emit(&Event::StepProgress {
            target: self.target.clone(),
            step: self.steps[index].step.number,
            item: one_line_name(name),
            current: u64::try_from(status.current).unwrap_or_default(),
            total: u64::try_from(status.total).ok().filter(|total| *total > 0),
        });
    }

    fn warn(&self, warning: &VertexWarning) {
        let message = clean(&warning.short);
        let line = warning.ranges.first().and_then(|range| range.start);
        let line = line.and_then(|start| usize::try_from(start.line).ok()?.checked_sub(1));
        let place = line.map(|line| match self.lines.get(line) {
            Some(TemplateLine { file, line, column }) => format!("{file}:{line}:{column}"),
            None => format!("Dockerfile line {}", line + 1),
        });
        self.events.emit(&Event::Warning {
            target: Some(self.target.clone()),
            message: match place {
                Some(place) => format!("{message} ({place})"),
                None => message,
            },
        });
    }
}

/// A step that is not one of the build's, and that no vertex tells of.
pub(super) struct OwnStep<'a> {
    progress: &'a mut Progress,
    index: usize,
    begun: Instant,
}

impl OwnStep<'_> {
    /// Tells how many bytes of `item` have moved, of how many.
    pub(super) fn moved(&self, item: &str, current: u64, total: u64) {
        self.progress.events.emit(&Event::StepProgress {
            target: self.progress.target.clone(),
            step: self.progress.steps[self.index].step.number,
            item: item.to_owned(),
            current,
            total: Some(total),
        });
    }

    /// Ends it; `error` is why it failed, where it did.
    pub(super) fn end(self, error: Option<&str>) {
        let state = &mut self.progress.steps[self.index];
        let before = covered(&state.intervals);
        state.intervals.push((before, before + self.begun.elapsed()));
        self.progress.events.emit(&Event::StepFinished {
            target: self.progress.target.clone(),
            step: state.step.clone(),
            cached: false,
            elapsed: covered(&state.intervals),
            // It is not kept: what is done anew after it may fail for another reason.
            error: error.map(one_line_name),
        });
    }
}

impl StepState {
    fn new(number: usize, name: String) -> Self {
        Self {
            step: Step { number, name },
            running: 0,
            finished: false,
            all_cached: true,
            intervals: Vec::new(),
            error: None,
            lines: Lines::default(),
            is_disk_full: false,
        }
    }
}

/// Whether a vertex is the engine's own business, such as reading the Dockerfile.
fn is_internal(name: &str) -> bool {
    name.starts_with("[internal]")
}

/// Whether a step is an instruction that makes something: `[server 3/9] RUN …`.
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

/// The time that the intervals cover, where they overlap counted once.
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
