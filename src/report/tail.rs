//! The last lines of each step that runs, bounded in number and in length.

use std::collections::{HashMap, VecDeque};

use super::text::shorten;

/// How many lines of a failing step are kept.
const LINES: usize = 10;

/// How much of a line is kept, in bytes, and how much of that is shown, in columns.
const BYTES: usize = 2000;
const COLUMNS: usize = 500;

/// What the steps of one target wrote last.
#[derive(Debug, Default)]
pub(super) struct Tail {
    steps: HashMap<usize, VecDeque<String>>,
}

impl Tail {
    /// Keeps `line` and forgets the oldest.
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

    /// Forgets a step that succeeded.
    pub(super) fn forget(&mut self, step: usize) {
        self.steps.remove(&step);
    }

    /// The lines of `step`, oldest first.
    pub(super) fn take(&mut self, step: usize) -> Vec<String> {
        let lines = self.steps.remove(&step).unwrap_or_default();
        // Lines come by the thousand and few are shown: only those are made fit to be.
        lines.iter().map(|line| shorten(line, COLUMNS)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_each_step_are_kept_apart() {
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
