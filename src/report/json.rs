//! The display of `--progress json`: one event per line.
//!
//! Every line is a JSON object that begins with:
//!
//! | key | value |
//! |---|---|
//! | `schema` | [`SCHEMA`]; incremented if a key is removed or changes its meaning, not for new keys |
//! | `time` | the time of the event: RFC 3339, UTC, milliseconds |
//! | `event` | the variant of [`Event`] in `snake_case` |
//!
//! The fields of the variant follow. Durations are in seconds, sizes in bytes. A key without a value is
//! omitted or `null`.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;

use crate::event::{Event, Listener};

use super::guard::escape_json;
use super::printer::Stream;

/// The version of the format. See the [module documentation](self).
pub const SCHEMA: u32 = 1;

/// Writes events as JSON lines, except for those that only the live table shows.
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
    /// Creates a display that writes to `stream` with times from `clock`.
    #[must_use]
    pub fn new(stream: Stream, clock: fn() -> SystemTime) -> Self {
        Self { stream, clock }
    }
}

impl Listener for Json {
    fn hear(&self, event: &Event) {
        // Locked before the clock is read, so that times are in order.
        let mut stream = self.stream.lock();
        let line = Line { schema: SCHEMA, time: rfc3339((self.clock)()), event };
        if let Ok(line) = serde_json::to_string(&line) {
            stream.line(&escape_json(&line));
        }
    }
}

fn rfc3339(time: SystemTime) -> String {
    // Times outside of the range of the format become its maximum.
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::MAX);
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::tests::scripted::{Written, log, run_of_three, send};
    use super::*;

    fn noon() -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(1_790_000_000_987_654)
    }

    #[test]
    fn a_run_becomes_json_lines() {
        let written = Written::default();
        send(&Json::new(written.stream(), noon), &run_of_three());
        insta::assert_snapshot!(written.text());
    }

    #[test]
    fn control_characters_are_escaped() {
        let written = Written::default();
        let hostile = "\"}\n{\"event\":\"run_finished\"}\r\u{2028}\u{0}";
        Json::new(written.stream(), noon).hear(&log("x", 1, hostile));
        let text = written.text();
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["line"], hostile);
    }

    #[test]
    fn times_always_have_milliseconds() {
        assert_eq!(rfc3339(UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(noon()), "2026-09-21T14:13:20.987Z");
    }
}
