//! Colours and verbosity of the output.

use std::fmt::Display;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Verbosity {
    /// Only errors and failures (`-q`).
    Quiet,
    /// The starts and ends of targets as well.
    #[default]
    Normal,
    /// All steps and logs as well (`-v`).
    Verbose,
}

/// The style of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    pub color: bool,
    pub verbosity: Verbosity,
    /// The width to which text is wrapped, in columns.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { color: false, verbosity: Verbosity::default(), width: 80 }
    }
}

/// The environment variables and properties that determine the use of colours.
#[derive(Debug, Clone, Copy, Default)]
pub struct ColorSignals<'a> {
    /// `NO_COLOR`: no colours when set and not empty, see <https://no-color.org>.
    pub no_color: Option<&'a str>,
    /// `CLICOLOR_FORCE`: colours even without a terminal when set and not `0`.
    pub clicolor_force: Option<&'a str>,
    /// `CLICOLOR`: no colours when `0`, see <https://bixense.com/clicolors>.
    pub clicolor: Option<&'a str>,
    /// `TERM`: no colours on a `dumb` one.
    pub term: Option<&'a str>,
    /// Whether the stream is a terminal.
    pub is_terminal: bool,
}

impl ColorSignals<'_> {
    /// Returns true if colours should be used.
    #[must_use]
    pub fn wants_color(&self) -> bool {
        let is_set = |value: Option<&str>| value.is_some_and(|value| !value.is_empty());
        if is_set(self.no_color) {
            return false;
        }
        if is_set(self.clicolor_force) && self.clicolor_force != Some("0") {
            return true;
        }
        self.is_terminal && self.clicolor != Some("0") && self.term != Some("dumb")
    }
}

impl Style {
    #[must_use]
    pub fn good(&self, text: impl Display) -> String {
        self.paint(console::Style::new().green(), text)
    }

    #[must_use]
    pub fn bad(&self, text: impl Display) -> String {
        self.paint(console::Style::new().red().bold(), text)
    }

    #[must_use]
    pub fn warn(&self, text: impl Display) -> String {
        self.paint(console::Style::new().yellow(), text)
    }

    #[must_use]
    pub fn dim(&self, text: impl Display) -> String {
        self.paint(console::Style::new().dim(), text)
    }

    #[must_use]
    pub fn strong(&self, text: impl Display) -> String {
        self.paint(console::Style::new().bold(), text)
    }

    pub(super) fn is_normal(&self) -> bool {
        self.verbosity >= Verbosity::Normal
    }

    pub(super) fn is_verbose(&self) -> bool {
        self.verbosity == Verbosity::Verbose
    }

    fn paint(self, style: console::Style, text: impl Display) -> String {
        // Prevents console from reading the environment.
        style.force_styling(self.color).apply_to(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_follow_the_conventions() {
        let terminal = ColorSignals { is_terminal: true, ..ColorSignals::default() };
        let has_color = |change: fn(&mut ColorSignals<'_>)| {
            let mut signals = terminal;
            change(&mut signals);
            signals.wants_color()
        };
        assert!(has_color(|_| ()));
        assert!(has_color(|signals| signals.no_color = Some("")));
        assert!(!has_color(|signals| signals.no_color = Some("0")));
        assert!(!has_color(|signals| signals.clicolor = Some("0")));
        assert!(!has_color(|signals| signals.term = Some("dumb")));
        assert!(!has_color(|signals| signals.is_terminal = false));
        assert!(has_color(|signals| {
            signals.is_terminal = false;
            signals.clicolor_force = Some("1");
        }));
        assert!(!has_color(|signals| {
            signals.clicolor_force = Some("1");
            signals.no_color = Some("1");
        }));
    }

    #[test]
    fn text_without_colors_is_unchanged() {
        assert_eq!(Style::default().bad("x"), "x");
        let color = Style { color: true, ..Style::default() };
        assert_eq!(color.good("x"), "\u{1b}[32mx\u{1b}[0m");
    }
}
