//! The display for log files and pipes: prefixed lines such as `3.11-gpu-server | [server 4/9] RUN …`.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use crate::event::{Event, Listener, Step};

use super::command::line;
use super::lines;
use super::logs;
use super::printer::{Stream, lock};
use super::style::Style;
use super::text::{clean, pad};

/// Writes one line for each shown event.
pub struct Plain {
    stream: Stream,
    style: Style,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    prefix: usize,
    /// The steps that were shown for each running target. A step may start several times.
    shown: HashMap<String, HashSet<usize>>,
}

impl Plain {
    /// Creates a display that writes to `stream`.
    #[must_use]
    pub fn new(stream: Stream, style: Style) -> Self {
        Self { stream, style, state: Mutex::default() }
    }

    fn line(&self, state: &mut State, event: &Event) -> Option<String> {
        if let Event::RunStarted { targets, .. } = event {
            state.prefix = lines::name_width(targets);
        }
        if let Some(line) = lines::of_run(event, self.style) {
            return Some(line);
        }
        let target = event.target()?;
        let text = self.text(state, target, event)?;
        let prefix = pad(&clean(target), state.prefix);
        Some(format!("{} {text}", self.style.dim(format!("{prefix} |"))))
    }

    fn text(&self, state: &mut State, target: &str, event: &Event) -> Option<String> {
        if event.ends_target() {
            let has_run = state.shown.remove(target).is_some();
            if matches!(event, Event::TargetCancelled { .. }) && !has_run {
                // The end of the run lists targets that never started.
                return None;
            }
            let (mark, text) = lines::ending(event, self.style)?;
            return Some(format!("{mark} {text}"));
        }
        match event {
            Event::TargetStarted { .. } => {
                state.shown.insert(target.to_owned(), HashSet::new());
                Some("started".to_owned())
            }
            _ if self.style.is_verbose() => logs::entry(event),
            Event::StepStarted { step, .. } if is_visible(step) => {
                let shown = state.shown.entry(target.to_owned()).or_default();
                let is_new = shown.insert(step.number);
                is_new.then(|| line(step))
            }
            _ => None,
        }
    }
}

impl Listener for Plain {
    fn hear(&self, event: &Event) {
        if !self.style.is_normal() {
            return;
        }
        // The state stays locked during the write, so that lines are in order.
        let mut state = lock(&self.state);
        if let Some(line) = self.line(&mut state, event) {
            self.stream.lock().line(&line);
        }
    }
}

/// Returns true unless a step is an internal one of BuildKit.
fn is_visible(step: &Step) -> bool {
    !step.name.starts_with("[internal]")
}

#[cfg(test)]
mod tests {
    use super::super::style::Verbosity;
    use super::super::tests::scripted::{
        Written, cancelled, log, run_of_three, send, started, step_started, warning,
    };
    use super::*;

    fn output(verbosity: Verbosity, color: bool, events: &[Event]) -> String {
        let written = Written::default();
        let style = Style { color, verbosity, ..Style::default() };
        send(&Plain::new(written.stream(), style), events);
        written.text()
    }

    #[test]
    fn a_run_becomes_lines() {
        insta::assert_snapshot!(output(Verbosity::Normal, false, &run_of_three()));
    }

    #[test]
    fn verbose_shows_logs() {
        insta::assert_snapshot!(output(Verbosity::Verbose, false, &run_of_three()));
    }

    #[test]
    fn quiet_shows_nothing() {
        assert_eq!(output(Verbosity::Quiet, false, &run_of_three()), "");
    }

    #[test]
    fn control_characters_are_removed() {
        let events = [
            step_started("a\rb", 1, "RUN \u{1b}[2J\u{1b}]0;title\u{7}rm\r\n-rf"),
            log("a\rb", 1, "50%\rdone\u{8}\u{202e}txet"),
            warning(None, "two\nlines"),
        ];
        insta::assert_snapshot!(output(Verbosity::Verbose, false, &events));
    }

    #[test]
    fn only_started_targets_show_their_cancellation() {
        let [start, _] = started("x", 1);
        let events = [start, cancelled("y"), cancelled("x")];
        let text = output(Verbosity::Normal, false, &events);
        assert_eq!(text, "x | started\nx | - cancelled: another variant failed\n");
    }

    #[test]
    fn a_restarted_step_is_shown_once() {
        let events = [step_started("x", 1, "RUN a"), step_started("x", 1, "RUN a")];
        assert_eq!(output(Verbosity::Normal, false, &events), "x | RUN a\n");
    }

    #[test]
    fn colors_are_reset_before_the_end_of_a_line() {
        let text = output(Verbosity::Normal, true, &run_of_three());
        assert!(text.contains("\u{1b}[32m✓\u{1b}[0m"));
        assert_eq!(
            console::strip_ansi_codes(&text),
            output(Verbosity::Normal, false, &run_of_three())
        );
    }
}
