//! `--progress json`: one event a line, for programs.
//!
//! Every line is one JSON object and holds, first of all:
//!
//! | key | value |
//! |---|---|
//! | `schema` | [`SCHEMA`]; raised when a key changes its meaning or goes away, not when one is added |
//! | `time` | when it happened: RFC 3339, UTC, milliseconds |
//! | `event` | what happened: a variant of [`Event`] in `snake_case` |
//!
//! and after them the fields of that variant under their own names. Durations are
//! seconds, sizes are bytes, and a key without a value is left out or `null`.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;

use crate::event::{Event, Listener};

use super::guard::escape_json;
use super::printer::Stream;

/// The version of the format.
pub const SCHEMA: u32 = 1;

/// Writes events as lines of JSON.
pub struct Json {
    stream: Stream,
    clock: fn() -> SystemTime,
}

#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    time: String,
    #[serde(flatten)]
    event: &'a Event,
}

impl Json {
    /// Lines go to `stream`, their times come from `clock`.
    #[must_use]
    pub fn new(stream: Stream, clock: fn() -> SystemTime) -> Self {
        Self { stream, clock }
    }
}

impl Listener for Json {
    fn hear(&self, event: &Event) {
        // The lock comes first, so that times never run backwards from line to line.
        let mut stream = self.stream.lock();
        let line = Line { schema: SCHEMA, time: rfc3339((self.clock)()), event };
        if let Ok(line) = serde_json::to_string(&line) {
            stream.line(&escape_json(&line));
        }
    }
}

fn rfc3339(time: SystemTime) -> String {
    // A clock outside the years that the format can write is shown as its nearest end.
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::MAX);
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::testing::{Written, log, run_of_three, tell};
    use super::*;

    fn noon() -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(1_790_000_000_987_654)
    }

    #[test]
    fn a_whole_run_is_told() {
        let written = Written::default();
        tell(&Json::new(written.stream(), noon), &run_of_three());
        insta::assert_snapshot!(written.text());
    }

    #[test]
    fn a_hostile_line_stays_one_line_of_json() {
        let written = Written::default();
        let hostile = "\"}\n{\"event\":\"run_finished\"}\r\u{2028}\u{0}";
        Json::new(written.stream(), noon).hear(&log("x", 1, hostile));
        let text = written.text();
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["line"], hostile);
    }

    #[test]
    fn times_have_milliseconds_always() {
        assert_eq!(rfc3339(UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(noon()), "2026-09-21T14:13:20.987Z");
    }
}
