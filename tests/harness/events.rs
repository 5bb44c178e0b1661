//! A listener that records the events of a run.

use std::sync::{Arc, Mutex};

use basegen::event::{Event, Events, Listener};

#[derive(Default)]
pub struct RecordedEvents(pub Mutex<Vec<Event>>);

impl Listener for RecordedEvents {
    fn hear(&self, event: &Event) {
        self.0.lock().expect("events").push(event.clone());
    }
}

impl RecordedEvents {
    /// Returns an event sink that records to `self`.
    pub fn events(self: &Arc<Self>) -> Events {
        let listener: Arc<dyn Listener> = Arc::<Self>::clone(self);
        Events::to(listener)
    }

    /// Returns the lines that build steps printed.
    pub fn log_lines(&self) -> Vec<String> {
        self.collect(|event| match event {
            Event::Log { line, .. } => Some(line.clone()),
            _ => None,
        })
    }

    pub fn warnings(&self) -> Vec<String> {
        self.collect(|event| match event {
            Event::Warning { message, .. } => Some(message.clone()),
            _ => None,
        })
    }

    fn collect(&self, text: impl Fn(&Event) -> Option<String>) -> Vec<String> {
        self.0.lock().expect("events").iter().filter_map(text).collect()
    }

    /// Returns all events in the format of `--progress json`.
    pub fn to_json(&self) -> String {
        let events = self.0.lock().expect("events");
        serde_json::to_string(&*events).expect("JSON")
    }
}
