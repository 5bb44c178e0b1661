//! Listeners to events: what a person, a log or a machine sees of a run.
