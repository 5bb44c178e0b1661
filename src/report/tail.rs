//! The last output of running steps, bounded in number and length of lines.

use std::collections::{HashMap, VecDeque};

use super::text::shorten;

/// The maximum number of lines of a step.
const LINES: usize = 10;

/// The maximum length of a line: stored, in bytes, and shown, in columns.
const BYTES: usize = 2000;
const COLUMNS: usize = 500;

/// The last output of the steps of a target.
#[derive(Debug, Default)]
pub(super) struct Tail {
    steps: HashMap<usize, VecDeque<String>>,
}

impl Tail {
    /// Adds a line and drops the oldest one.
    pub(super) fn push(&mut self, step: usize, line: &str) {
        let lines = self.steps.entry(step).or_default();
        if lines.len() == LINES {
            lines.pop_front();
        }
        let mut end = line.len().min(BYTES);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        lines.push_back(line[..end].to_owned());
    }

    /// Drops the output of a successful step.
    pub(super) fn forget(&mut self, step: usize) {
        self.steps.remove(&step);
    }

    /// Removes and returns the lines of `step`, oldest first.
    pub(super) fn take(&mut self, step: usize) -> Vec<String> {
        let lines = self.steps.remove(&step).unwrap_or_default();
        // Only shown lines are cleaned, since steps may write thousands.
        lines.iter().map(|line| shorten(line, COLUMNS)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_lines_of_each_step() {
        let mut tail = Tail::default();
        for number in 0..100_000 {
            tail.push(1, &format!("one {number}"));
            tail.push(2, &"läng ".repeat(1000));
        }
        assert_eq!(tail.take(1).first().map(String::as_str), Some("one 99990"));
        let long = tail.take(2);
        assert_eq!(long.len(), LINES);
        assert!(long.iter().all(|line| line.chars().count() <= COLUMNS));
        tail.push(3, "x");
        tail.forget(3);
        assert!(tail.take(3).is_empty());
    }
}
