//! The state of the live table, and its layout on a terminal of a given size.
//!
//! [`Board::update`] processes events; [`Board::frame`] renders the running targets and the progress bar
//! of the whole run.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use crate::event::{Event, WaitReason};
use crate::image;

use super::command::label;
use super::format;
use super::style::Style;
use super::text::{pad, shorten};

/// The display time of each picture of the spinner.
const SPIN: Duration = Duration::from_millis(100);
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// The picture of a target that waits.
const PAUSED: &str = "·";

/// The greatest width of the progress bar, in columns.
const MAX_GAUGE: usize = 24;

/// The rows of the terminal that show earlier output.
const SPARE_ROWS: usize = 4;

/// The width from which the table shows the steps and the transferred bytes of a target.
const MIN_DETAILS: usize = 60;

/// The room for a command from which its time is shown, in columns.
const MIN_STEP_TIME: usize = 30;

/// The running targets of a run, and the number of finished ones.
#[derive(Default)]
pub(super) struct Board {
    started: Option<Instant>,
    total: usize,
    finished: usize,
    failed: usize,
    cancelled: usize,
    /// The running targets, in the order in which they started.
    running: IndexMap<String, Row>,
}

struct Row {
    started: Instant,
    steps: usize,
    ended: HashSet<usize>,
    /// The command of the step that started last.
    command: String,
    /// The running steps, in the order in which they started.
    active: IndexMap<usize, ActiveStep>,
    /// Whether only the export is left, and other exports come first.
    waits_for_export: bool,
}

struct ActiveStep {
    command: String,
    started: Instant,
    /// The last line that it printed.
    output: String,
    /// The bytes done and the bytes in total of each item that is transferred.
    moved: HashMap<String, (u64, Option<u64>)>,
    /// The other target that started the step, if any.
    owner: Option<String>,
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Board {
    /// Processes `event`, which occurred at `now`.
    pub(super) fn update(&mut self, event: &Event, now: Instant) {
        match event {
            Event::RunStarted { targets, .. } => {
                *self = Self { started: Some(now), total: targets.len(), ..Self::default() };
            }
            Event::TargetStarted { target } => {
                self.running.insert(target.clone(), Row::new(now));
            }
            Event::TargetFailed { target, .. } => {
                self.running.shift_remove(target);
                self.failed += 1;
            }
            Event::TargetCancelled { target, .. } => {
                self.running.shift_remove(target);
                self.cancelled += 1;
            }
            Event::TargetFinished { target, .. } | Event::TargetChecked { target, .. } => {
                self.running.shift_remove(target);
                self.finished += 1;
            }
            _ => {
                let row = event.target().and_then(|target| self.running.get_mut(target));
                if let Some(row) = row {
                    row.update(event, now);
                }
            }
        }
    }

    /// Renders the running targets, as many as there is room for, and a line for the whole run.
    pub(super) fn frame(&self, now: Instant, size: Size, style: Style) -> String {
        let room = size.rows.saturating_sub(SPARE_ROWS).max(1);
        // The last column stays free: some terminals wrap as soon as it is written to.
        let columns = size.columns.saturating_sub(1);
        let shown = || self.running.iter().take(room);
        let names = shown().map(|(target, _)| console::measure_text_width(target));
        let name = names.max().unwrap_or(0).min(columns / 3);
        let spinner = SPINNER[self.turns(now) % SPINNER.len()];
        let has_output = 2 * self.running.len() < room;
        let mut lines = Vec::new();
        for (target, row) in shown() {
            let picture = if row.is_waiting() { style.dim(PAUSED) } else { style.good(spinner) };
            let head = format!("{picture} {}  ", pad(&shorten(target, name), name));
            lines.push(row.line(&head, now, columns, style));
            if let Some(output) = row.output().filter(|_| has_output) {
                let output = format!("    {}", shorten(output, columns.saturating_sub(4)));
                lines.push(style.dim(output));
            }
        }
        lines.push(self.overall(now, self.running.len().saturating_sub(room), columns, style));
        lines.join("\n")
    }

    fn overall(&self, now: Instant, hidden: usize, columns: usize, style: Style) -> String {
        let over = self.finished + self.failed + self.cancelled;
        let elapsed = format::duration(self.elapsed(now));
        let gauge = self.gauge((columns / 3).min(MAX_GAUGE), style);
        let mut text = format!("{gauge}  {over}/{}  {elapsed}", self.total);
        if self.failed > 0 {
            text.push_str(&style.bad(format!("  {} failed", self.failed)));
        }
        if self.cancelled > 0 {
            text.push_str(&style.warn(format!("  {} cancelled", self.cancelled)));
        }
        if hidden > 0 {
            let _ = write!(text, "  {hidden} more running");
        }
        let queued = self.total.saturating_sub(over + self.running.len());
        if queued > 0 {
            let _ = write!(text, "  {queued} waiting for a slot");
        }
        console::truncate_str(&text, columns, "…").into_owned()
    }

    fn gauge(&self, width: usize, style: Style) -> String {
        let part = |count: usize| (count * width).checked_div(self.total).unwrap_or(0).min(width);
        let good = part(self.finished);
        let over = part(self.finished + self.failed + self.cancelled);
        let rest = width - over;
        format!(
            "{}{}{}",
            style.good("━".repeat(good)),
            style.bad("━".repeat(over - good)),
            style.dim("─".repeat(rest)),
        )
    }

    fn elapsed(&self, now: Instant) -> Duration {
        let started = self.started.unwrap_or(now);
        now.saturating_duration_since(started)
    }

    fn turns(&self, now: Instant) -> usize {
        let turns = self.elapsed(now).as_millis() / SPIN.as_millis();
        usize::try_from(turns).unwrap_or(0)
    }
}

impl Row {
    fn new(started: Instant) -> Self {
        Self {
            started,
            steps: 0,
            ended: HashSet::new(),
            command: "starting".to_owned(),
            active: IndexMap::new(),
            waits_for_export: false,
        }
    }

    fn update(&mut self, event: &Event, now: Instant) {
        match event {
            Event::StepsKnown { total, .. } => self.steps = *total,
            Event::StepStarted { step, .. } => {
                self.ended.remove(&step.number);
                self.command = label(step);
                self.waits_for_export = false;
                let active = ActiveStep::new(self.command.clone(), now);
                self.active.insert(step.number, active);
            }
            Event::TargetWaiting { reason: WaitReason::Export, .. } => self.waits_for_export = true,
            Event::TargetWaiting { reason: WaitReason::SharedStep { step, owner }, .. } => {
                if let Some(active) = self.active.get_mut(step) {
                    active.owner = Some(owner.clone());
                }
            }
            Event::StepProgress { step, item, current, total, .. } => {
                if let Some(active) = self.active.get_mut(step) {
                    active.moved.insert(item.clone(), (*current, *total));
                }
            }
            Event::Log { step, line, .. } => {
                if let Some(active) = self.active.get_mut(step)
                    && !line.trim().is_empty()
                {
                    active.output.clone_from(line);
                }
            }
            Event::StepFinished { step, .. } => {
                self.active.shift_remove(&step.number);
                self.ended.insert(step.number);
            }
            _ => {}
        }
    }

    fn active(&self) -> Option<&ActiveStep> {
        self.active.values().last()
    }

    fn is_waiting(&self) -> bool {
        self.waits_for_export || self.active().is_some_and(|step| step.owner.is_some())
    }

    /// Returns the last output of the active step, unless the row of another target shows it.
    fn output(&self) -> Option<&str> {
        let active = self.active().filter(|step| step.owner.is_none())?;
        (!active.output.is_empty()).then_some(&active.output)
    }

    /// Renders `head`, the number of steps, the command with its time and bytes, and the target's time.
    fn line(&self, head: &str, now: Instant, columns: usize, style: Style) -> String {
        let elapsed = format::duration(now.saturating_duration_since(self.started));
        let mut head = head.to_owned();
        let mut tail = format!("  {elapsed:>6}");
        let is_wide = columns + 1 >= MIN_DETAILS;
        if let Some(bytes) = self.active().and_then(ActiveStep::bytes).filter(|_| is_wide) {
            tail.insert_str(0, &format!("  {bytes}"));
        }
        if self.steps > 0 && is_wide {
            let step = (self.ended.len() + self.active.len()).min(self.steps);
            let position = format!("{step}/{}", self.steps);
            let _ = write!(head, "{}  ", style.dim(format!("{position:>5}")));
        }
        let used = console::measure_text_width(&head) + console::measure_text_width(&tail);
        let text = self.text(now, columns.saturating_sub(used));
        let line = format!("{head}{text}{}", style.dim(tail));
        console::truncate_str(&line, columns, "…").into_owned()
    }

    /// Renders the current activity in exactly `width` columns.
    fn text(&self, now: Instant, width: usize) -> String {
        let time = |step: &ActiveStep| {
            format!(" ({})", format::duration(now.saturating_duration_since(step.started)))
        };
        let (text, time) = match self.active() {
            Some(ActiveStep { command, owner: Some(owner), .. }) => {
                (format!("waiting for {owner}: {command}"), String::new())
            }
            Some(step) if width >= MIN_STEP_TIME => (step.command.clone(), time(step)),
            Some(step) => (step.command.clone(), String::new()),
            None if self.waits_for_export => {
                ("waiting for its turn to export".to_owned(), String::new())
            }
            None => (self.command.clone(), String::new()),
        };
        let text = shorten(&text, width.saturating_sub(console::measure_text_width(&time)));
        pad(&format!("{text}{time}"), width)
    }
}

impl ActiveStep {
    fn new(command: String, started: Instant) -> Self {
        Self { command, started, output: String::new(), moved: HashMap::new(), owner: None }
    }

    /// Returns the transferred bytes: `1.2 GB/2.2 GB`, or `1.2 GB` if the total is unknown.
    fn bytes(&self) -> Option<String> {
        let done: u64 = self.moved.values().map(|(current, _)| *current).sum();
        if done == 0 {
            return None;
        }
        let total: Option<u64> = self.moved.values().map(|(_, total)| *total).sum();
        let done = image::Size(done);
        Some(match total {
            Some(total) => format!("{done}/{}", image::Size(total)),
            None => done.to_string(),
        })
    }
}
