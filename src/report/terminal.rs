//! The live table: running variants, the progress of the run, and above them a line for each finished
//! variant.
//!
//! [`Terminal`] is the listener. A thread draws the frames of the [`Board`] with indicatif.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use crate::event::{Event, Listener};

use super::board::{Board, Size};
use super::lines;
use super::logs;
use super::printer::lock;
use super::screen::Screen;
use super::style::Style;
use super::text::{clean, pad};

const PERIOD: Duration = Duration::from_millis(100);

/// The maximum number of lines that wait to be printed. A paused terminal (Ctrl-S) must neither use up
/// memory nor block builds.
const MAX_WAITING: usize = 10_000;

/// Draws the live table, at most ten times per second.
pub struct Terminal {
    canvas: Arc<Canvas>,
    ticker: Mutex<Option<JoinHandle<()>>>,
}

struct Canvas {
    state: Mutex<State>,
    over: Condvar,
    bar: ProgressBar,
    size: Box<dyn Fn() -> Size + Send + Sync>,
    style: Style,
}

#[derive(Default)]
struct State {
    board: Board,
    name: usize,
    /// Lines to print above the table.
    waiting: Vec<String>,
    left_out: usize,
    is_over: bool,
}

impl Terminal {
    /// Creates a live table on stderr, which must be a terminal.
    #[must_use]
    pub fn stderr(style: Style) -> Self {
        Self::on(console::Term::buffered_stderr(), style)
    }

    /// Creates a live table on `term`.
    pub fn on(term: impl TermLike + Clone + 'static, style: Style) -> Self {
        Self { canvas: Arc::new(Canvas::new(term, style)), ticker: Mutex::default() }
    }

    fn start(&self) {
        lock(&self.canvas.state).is_over = false;
        self.canvas.bar.reset();
        let canvas = Arc::clone(&self.canvas);
        let thread = thread::Builder::new().name("progress".to_owned());
        // Without the thread, there is no table, and lines are printed at the end.
        *lock(&self.ticker) = thread.spawn(move || canvas.tick()).ok();
    }

    fn stop(&self) {
        lock(&self.canvas.state).is_over = true;
        self.canvas.over.notify_all();
        let ticker = lock(&self.ticker).take();
        if let Some(ticker) = ticker {
            // The only error is a panic, which has been printed.
            let _ = ticker.join();
        }
        if !self.canvas.bar.is_finished() {
            self.canvas.clear();
        }
    }
}

impl Listener for Terminal {
    fn hear(&self, event: &Event) {
        self.canvas.update(event, Instant::now());
        match event {
            Event::RunStarted { .. } => self.start(),
            Event::RunFinished { .. } => self.stop(),
            _ => {
                // Without the thread, nothing else prints the line.
                if lock(&self.ticker).is_none() {
                    self.canvas.clear();
                }
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Terminal")
    }
}

impl Canvas {
    fn new(term: impl TermLike + Clone + 'static, style: Style) -> Self {
        let target = ProgressDrawTarget::term_like(Box::new(Screen::new(term.clone())));
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(message) = ProgressStyle::with_template("{msg}") {
            bar.set_style(message);
        }
        let size = move || Size { rows: term.height().into(), columns: term.width().into() };
        Self { state: Mutex::default(), over: Condvar::new(), bar, size: Box::new(size), style }
    }

    fn update(&self, event: &Event, now: Instant) {
        let mut state = lock(&self.state);
        if let Event::RunStarted { targets, .. } = event {
            state.name = lines::name_width(targets);
        }
        if let Some(line) = self.line(&state, event) {
            state.print(line, matches!(event, Event::Log { .. }));
        }
        state.board.update(event, now);
    }

    /// Returns the line to print above the table for `event`, if any.
    fn line(&self, state: &State, event: &Event) -> Option<String> {
        if let Some(line) = lines::of_run(event, self.style) {
            return Some(line);
        }
        let target = event.target()?;
        if matches!(event, Event::TargetCancelled { .. }) {
            // The end of the report lists all cancelled targets.
            return None;
        }
        let target = pad(&clean(target), state.name);
        if let Some((mark, text)) = lines::ending(event, self.style) {
            return Some(format!("{mark} {target}  {text}"));
        }
        if !self.style.is_verbose() {
            return None;
        }
        let entry = logs::entry(event)?;
        Some(format!("{} {entry}", self.style.dim(format!("{target} |"))))
    }

    fn tick(&self) {
        let mut state = lock(&self.state);
        while !state.is_over {
            drop(state);
            self.draw(Instant::now());
            state = lock(&self.state);
            if !state.is_over {
                let waited = self.over.wait_timeout(state, PERIOD);
                (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn draw(&self, now: Instant) {
        let size = (self.size)();
        let (waiting, frame) = {
            let mut state = lock(&self.state);
            let frame = state.board.frame(now, size, self.style);
            (state.take(), frame)
        };
        self.print(&waiting);
        self.bar.set_message(frame);
    }

    /// Prints the remaining lines and removes the table.
    fn clear(&self) {
        let waiting = lock(&self.state).take();
        self.print(&waiting);
        self.bar.finish_and_clear();
    }

    fn print(&self, lines: &[String]) {
        if !lines.is_empty() {
            self.bar.println(lines.join("\n"));
        }
    }
}

impl State {
    fn print(&mut self, line: String, may_be_left_out: bool) {
        if may_be_left_out && self.waiting.len() >= MAX_WAITING {
            self.left_out += 1;
        } else {
            self.waiting.push(line);
        }
    }

    fn take(&mut self) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.waiting);
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            lines.push(format!("… {left_out} more lines, see the logs"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::super::style::Verbosity;
    use super::super::tests::scripted::{
        cancelled, failed, failure, finished, log, run_of_three, run_started, send, started,
        step_finished, step_progress, step_started, warning,
    };
    use super::*;
    use crate::event::WaitReason;

    struct TestTerminal {
        term: InMemoryTerm,
        canvas: Canvas,
        started: Instant,
    }

    impl TestTerminal {
        fn new(rows: u16, columns: u16, verbosity: Verbosity) -> Self {
            let term = InMemoryTerm::new(rows, columns);
            let style = Style { verbosity, ..Style::default() };
            Self { canvas: Canvas::new(term.clone(), style), term, started: Instant::now() }
        }

        /// Updates the table after a number of seconds. Returns the contents of the terminal.
        fn update(&self, seconds: u64, events: &[Event]) -> String {
            let now = self.started + Duration::from_secs(seconds);
            for event in events {
                self.canvas.update(event, now);
            }
            self.canvas.draw(now);
            self.term.contents()
        }
    }

    fn ids(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("3.{number}-gpu-reload-server")).collect()
    }

    fn names(ids: &[String]) -> Vec<&str> {
        ids.iter().map(String::as_str).collect()
    }

    #[test]
    fn running_targets_show_their_command_and_bytes() {
        let terminal = TestTerminal::new(12, 80, Verbosity::Normal);
        terminal.update(0, &[run_started(&["3.11-gpu-server", "3.9-server", "3.12-server"])]);
        let mut events = started("3.11-gpu-server", 21).to_vec();
        events.extend([
            step_finished("3.11-gpu-server", 1, "FROM python", true),
            step_started(
                "3.11-gpu-server",
                2,
                "[server 3/9] RUN apt-get update && apt-get install -y curl git",
            ),
        ]);
        events.extend(started("3.9-server", 9));
        events.extend([
            step_started("3.9-server", 9, "exporting to image"),
            step_progress("3.9-server", 9, "sha256:a", 400_000_000, 1_000_000_000),
            step_progress("3.9-server", 9, "sha256:b", 800_000_000, 1_200_000_000),
            step_progress("3.9-server", 9, "sha256:a", 900_000_000, 1_000_000_000),
        ]);
        terminal.update(1, &events);
        insta::assert_snapshot!(terminal.update(75, &[]));
    }

    /// Draws a run of six targets: one installs packages, one waits for the same step, one exports, one waits
    /// for its export, and two wait for a slot.
    fn frame(rows: u16, columns: u16) -> String {
        let terminal = TestTerminal::new(rows, columns, Verbosity::Normal);
        let [apt, shared, exporting, queued] =
            ["3.11-gpu-server", "3.12-gpu-server", "3.9-server", "3.10-server"];
        let targets = [apt, shared, exporting, queued, "3.13-server", "3.14-server"];
        terminal.update(0, &[run_started(&targets)]);
        for target in &targets[..4] {
            terminal.update(1, &started(target, 21));
        }
        let step = "[basegen-image 2/3] RUN --mount=type=bind,source=a,target=/a apt-get update \
                    && apt-get install -y --no-install-recommends curl git";
        let waiting =
            |target: &str, reason| Event::TargetWaiting { target: target.to_owned(), reason };
        let owner = apt.to_owned();
        terminal.update(
            30,
            &[
                step_finished(apt, 1, "[basegen-image 1/3] FROM python", true),
                step_started(apt, 2, step),
                log(
                    apt,
                    2,
                    "Get:14 http://deb.debian.org/debian bookworm/main amd64 libcurl4 amd64 7.88.1",
                ),
                log(apt, 2, " "),
                step_started(shared, 2, step),
                waiting(shared, WaitReason::SharedStep { step: 2, owner }),
                step_started(exporting, 9, "exporting to image"),
                step_progress(exporting, 9, "sha256:a", 900_000_000, 2_200_000_000),
                waiting(queued, WaitReason::Export),
            ],
        );
        terminal.update(75, &[])
    }

    #[test]
    fn a_frame_of_80_columns() {
        insta::assert_snapshot!(frame(24, 80));
    }

    #[test]
    fn a_frame_of_120_columns() {
        insta::assert_snapshot!(frame(24, 120));
    }

    #[test]
    fn a_frame_of_40_columns() {
        insta::assert_snapshot!(frame(24, 40));
    }

    #[test]
    fn a_low_terminal_shows_no_output_of_steps() {
        insta::assert_snapshot!(frame(10, 80));
    }

    #[test]
    fn cancelled_targets_leave_no_line() {
        let terminal = TestTerminal::new(24, 80, Verbosity::Normal);
        terminal.update(0, &[run_started(&["3.9-server", "3.12-server"])]);
        terminal.update(1, &started("3.9-server", 3));
        let frame = terminal.update(2, &[cancelled("3.9-server"), cancelled("3.12-server")]);
        assert_eq!(frame.matches("cancelled").count(), 1, "{frame}");
        assert!(frame.ends_with("2 cancelled"), "{frame}");
    }

    #[test]
    fn finished_targets_stay_above_the_table() {
        let terminal = TestTerminal::new(16, 100, Verbosity::Normal);
        terminal.update(0, &[run_started(&["3.11-gpu-server", "3.9-server", "3.12-server"])]);
        terminal.update(1, &started("3.11-gpu-server", 3));
        terminal.update(2, &[warning(None, "the base image is 200 days old")]);
        terminal.update(3, &[finished("3.11-gpu-server", false), failed("3.9-server", failure())]);
        let mut during = terminal.update(4, &started("3.12-server", 3));
        terminal.update(5, &[finished("3.12-server", true)]);
        terminal.canvas.clear();
        during.push_str("\n\n");
        during.push_str(&terminal.term.contents());
        insta::assert_snapshot!(during);
    }

    #[test]
    fn the_total_is_visible_with_more_targets_than_rows() {
        let ids = ids(48);
        let terminal = TestTerminal::new(12, 60, Verbosity::Normal);
        terminal.update(0, &[run_started(&names(&ids))]);
        let events: Vec<Event> = ids.iter().flat_map(|id| started(id, 9)).collect();
        insta::assert_snapshot!(terminal.update(30, &events));
    }

    #[test]
    fn a_matrix_of_48_fits_24_rows() {
        let ids = ids(48);
        let terminal = TestTerminal::new(24, 80, Verbosity::Normal);
        terminal.update(0, &[run_started(&names(&ids))]);
        for id in &ids[..30] {
            terminal.update(10, &[finished(id, false)]);
        }
        let mut events = Vec::new();
        for id in &ids[30..38] {
            events.extend(started(id, 21));
            events.push(step_started(id, 4, "[server 3/9] RUN pip install -r requirements.txt"));
        }
        insta::assert_snapshot!(terminal.update(200, &events));
    }

    #[test]
    fn hostile_text_and_narrow_terminals_break_no_line() {
        let terminal = TestTerminal::new(8, 30, Verbosity::Normal);
        terminal.update(0, &[run_started(&["x\u{1b}[2Jy\r\nz"])]);
        let mut events = started("x\u{1b}[2Jy\r\nz", 9).to_vec();
        events.push(step_started(
            "x\u{1b}[2Jy\r\nz",
            1,
            "RUN\t国国国国国国\u{1b}]0;t\u{7}\r\n\u{9b}2Kb",
        ));
        insta::assert_snapshot!(terminal.update(3, &events));
        for columns in [1, 2, 5] {
            let terminal = TestTerminal::new(4, columns, Verbosity::Normal);
            let frame = lock(&terminal.canvas.state).board.frame(
                terminal.started,
                Size { rows: 4, columns: columns.into() },
                Style::default(),
            );
            assert!(console::measure_text_width(&frame) < usize::from(columns).max(2));
        }
    }

    #[test]
    fn a_paused_terminal_drops_log_lines() {
        let terminal = TestTerminal::new(10, 60, Verbosity::Verbose);
        let lines: Vec<Event> = (0..MAX_WAITING + 5).map(|n| log("x", 1, &n.to_string())).collect();
        let text = terminal.update(0, &lines);
        assert!(text.contains("x | #1 9999\n… 5 more lines, see the logs\n"), "{text}");
    }

    #[test]
    fn a_second_run_starts_with_an_empty_table() {
        let term = InMemoryTerm::new(40, 100);
        let terminal = Terminal::on(term.clone(), Style::default());
        send(&terminal, &run_of_three());
        let once = term.contents();
        send(&terminal, &run_of_three());
        assert_eq!(term.contents(), format!("{once}\n{once}"));
        assert!(terminal.canvas.bar.is_finished());
    }

    #[test]
    fn a_warning_after_the_last_build_is_printed_at_once() {
        let term = InMemoryTerm::new(40, 100);
        let terminal = Terminal::on(term.clone(), Style::default());
        send(&terminal, &run_of_three());
        let run = term.contents();
        terminal.hear(&warning(None, "no tags were set"));
        assert_eq!(term.contents(), format!("{run}\nwarning: no tags were set"));
    }

    #[test]
    fn the_thread_stops_at_the_end_of_the_run() {
        let term = InMemoryTerm::new(24, 100);
        let terminal = Terminal::on(term.clone(), Style::default());
        send(&terminal, &run_of_three());
        assert!(lock(&terminal.ticker).is_none());
        insta::assert_snapshot!(term.contents());
    }
}
