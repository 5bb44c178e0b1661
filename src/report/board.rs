//! What runs now, and how that reads on a terminal of a given size.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use crate::event::Event;

use super::format;
use super::style::Style;
use super::text::{pad, shorten};

/// How long each of the spinner's pictures is shown.
const SPIN: Duration = Duration::from_millis(100);
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// How many columns the bar over all variants has.
const GAUGE: usize = 24;

/// The rows of the terminal that are left for what was printed before.
const SPARE_ROWS: usize = 4;

/// What runs, and how much of the run is over.
#[derive(Default)]
pub(super) struct Board {
    started: Option<Instant>,
    total: usize,
    finished: usize,
    failed: usize,
    cancelled: usize,
    /// The targets that run, in the order in which they started.
    running: IndexMap<String, Row>,
}

struct Row {
    started: Instant,
    steps: usize,
    ended: HashSet<usize>,
    /// What started last.
    name: String,
    /// The steps that run, in the order in which they started.
    active: IndexMap<usize, Active>,
}

#[derive(Default)]
struct Active {
    name: String,
    /// Bytes moved and bytes in all of each thing that moves.
    moved: HashMap<String, (u64, Option<u64>)>,
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Board {
    /// Takes note of `event`, which happened at `now`.
    pub(super) fn note(&mut self, event: &Event, now: Instant) {
        match event {
            Event::RunStarted { targets, .. } => {
                *self = Self { started: Some(now), total: targets.len(), ..Self::default() };
            }
            Event::TargetStarted { target } => {
                let row = Row {
                    started: now,
                    steps: 0,
                    ended: HashSet::new(),
                    name: "starting".to_owned(),
                    active: IndexMap::new(),
                };
                self.running.insert(target.clone(), row);
            }
            _ if event.ends_target() => self.end(event),
            _ => {
                let row = event.target().and_then(|target| self.running.get_mut(target));
                if let Some(row) = row {
                    row.note(event);
                }
            }
        }
    }

    /// Whether `target` has started and not ended.
    pub(super) fn runs(&self, target: &str) -> bool {
        self.running.contains_key(target)
    }

    fn end(&mut self, event: &Event) {
        if let Some(target) = event.target() {
            self.running.shift_remove(target);
        }
        match event {
            Event::TargetFailed { .. } => self.failed += 1,
            Event::TargetCancelled { .. } => self.cancelled += 1,
            _ => self.finished += 1,
        }
    }

    /// A line for each target that runs, as many as there is room for, and one for all.
    pub(super) fn frame(&self, now: Instant, size: Size, style: Style) -> String {
        let room = size.rows.saturating_sub(SPARE_ROWS).max(1);
        // The last column stays free: some terminals wrap as soon as it is written to.
        let columns = size.columns.saturating_sub(1);
        let shown = || self.running.iter().take(room);
        let names = shown().map(|(target, _)| console::measure_text_width(target));
        let name = names.max().unwrap_or(0).min(columns / 3);
        let spinner = SPINNER[self.turns(now) % SPINNER.len()];
        let mut lines: Vec<String> = shown()
            .map(|(target, row)| {
                let head =
                    format!("{} {}  ", style.good(spinner), pad(&shorten(target, name), name));
                row.line(&head, now, columns, style)
            })
            .collect();
        lines.push(self.overall(now, self.running.len().saturating_sub(room), columns, style));
        lines.join("\n")
    }

    fn overall(&self, now: Instant, hidden: usize, columns: usize, style: Style) -> String {
        let over = self.finished + self.failed + self.cancelled;
        let mut text = format!("{}  {over}/{}", self.gauge(style), self.total);
        if self.failed > 0 {
            text.push_str(&style.bad(format!("  {} failed", self.failed)));
        }
        if self.cancelled > 0 {
            text.push_str(&style.warn(format!("  {} cancelled", self.cancelled)));
        }
        if hidden > 0 {
            let _ = write!(text, "  {hidden} more running");
        }
        text.push_str("  ");
        text.push_str(&format::duration(self.elapsed(now)));
        console::truncate_str(&text, columns, "…").into_owned()
    }

    fn gauge(&self, style: Style) -> String {
        let part = |count: usize| (count * GAUGE).checked_div(self.total).unwrap_or(0).min(GAUGE);
        let good = part(self.finished);
        let over = part(self.finished + self.failed + self.cancelled);
        let rest = GAUGE - over;
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
    fn note(&mut self, event: &Event) {
        match event {
            Event::StepsKnown { total, .. } => self.steps = *total,
            Event::StepStarted { step, .. } => {
                self.ended.remove(&step.number);
                let active = self.active.entry(step.number).or_default();
                active.name.clone_from(&step.name);
                self.name.clone_from(&step.name);
            }
            Event::StepProgress { step, item, current, total, .. } => {
                if let Some(active) = self.active.get_mut(step) {
                    active.moved.insert(item.clone(), (*current, *total));
                }
            }
            Event::StepFinished { step, .. } => {
                self.active.shift_remove(&step.number);
                self.ended.insert(step.number);
            }
            _ => {}
        }
    }

    /// `head`, how far it is, what it does, what it has moved, how long it runs.
    fn line(&self, head: &str, now: Instant, columns: usize, style: Style) -> String {
        let elapsed = format::duration(now.saturating_duration_since(self.started));
        let active = self.active.values().last();
        let moved = active.and_then(Active::bytes);
        let moved = moved.map(|moved| format!("  {moved}")).unwrap_or_default();
        let tail = format!("{moved}  {elapsed:>6}");
        let head = match self.steps {
            0 => head.to_owned(),
            steps => {
                let step = (self.ended.len() + self.active.len()).min(steps);
                let position = format!("{step}/{steps}");
                format!("{head}{}  ", style.dim(format!("{position:>5}")))
            }
        };
        let used = console::measure_text_width(&head) + console::measure_text_width(&tail);
        let room = columns.saturating_sub(used);
        let name = active.map_or(&self.name, |active| &active.name);
        let line = format!("{head}{}{}", pad(&shorten(name, room), room), style.dim(tail));
        console::truncate_str(&line, columns, "…").into_owned()
    }
}

impl Active {
    /// `1.2 GB/2.2 GB`, or `1.2 GB` while the whole is not known.
    fn bytes(&self) -> Option<String> {
        if self.moved.is_empty() {
            return None;
        }
        let done = self.moved.values().map(|(current, _)| *current).sum();
        let total: Option<u64> = self.moved.values().map(|(_, total)| *total).sum();
        let done = format::bytes(done);
        Some(match total {
            Some(total) => format!("{done}/{}", format::bytes(total)),
            None => done,
        })
    }
}
