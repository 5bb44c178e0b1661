//! Redacts secrets in events, whatever their source: a step that prints its secret, or a registry that
//! repeats a password.

use std::fmt;
use std::sync::Arc;

use crate::error::{Queries, redact_queries};
use crate::event::{Event, Listener};

/// A function that redacts secrets in texts.
#[derive(Clone)]
pub struct Mask(Arc<Conceal>);

type Conceal = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Mask {
    /// Creates a mask from a function that returns the redacted text, or `None` if there was nothing to redact.
    pub fn new(conceal: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(conceal))
    }

    /// Creates a mask that redacts nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_| None)
    }

    /// Returns the redacted text, or `None` if there was nothing to redact.
    pub(super) fn conceal(&self, text: &str) -> Option<String> {
        (self.0)(text)
    }

    /// Redacts secrets and the queries of URLs in place.
    fn apply(&self, text: &mut String, queries: Queries) {
        if let Some(masked) = self.conceal(text) {
            *text = masked;
        }
        if let Some(redacted) = redact_queries(text, queries) {
            *text = redacted;
        }
    }

    /// Redacts secrets in all texts of an event.
    fn event(&self, mut event: Event) -> Event {
        match &mut event {
            Event::Log { line, .. } => self.apply(line, Queries::Secret),
            Event::Warning { message, .. } => self.apply(message, Queries::All),
            Event::StepStarted { step, .. } => self.apply(&mut step.name, Queries::Secret),
            Event::StepFinished { step, error, .. } => {
                self.apply(&mut step.name, Queries::Secret);
                if let Some(error) = error {
                    self.apply(error, Queries::All);
                }
            }
            Event::TargetFailed { failure, .. } => {
                let texts = [
                    Some(&mut failure.message),
                    failure.step.as_mut().map(|step| &mut step.name),
                    failure.source.as_mut().map(|source| &mut source.text),
                    failure.hint.as_mut(),
                ];
                for text in texts.into_iter().flatten() {
                    self.apply(text, Queries::All);
                }
            }
            _ => {}
        }
        event
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Mask")
    }
}

pub(super) struct Masked {
    pub(super) mask: Mask,
    pub(super) listener: Arc<dyn Listener>,
}

impl Listener for Masked {
    fn hear(&self, event: &Event) {
        self.listener.hear(&self.mask.event(event.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::scripted::{failed, failure, log, step_started, warning};
    use super::*;

    #[test]
    fn secrets_are_redacted_in_all_events() {
        let mask = Mask::new(|text| text.contains("hunter2").then(|| text.replace("hunter2", "•")));
        let mut broken = failure();
        broken.message = "hunter2 and no more".to_owned();
        let events = [
            log("a", 1, "the password is hunter2"),
            warning(None, "hunter2"),
            step_started("a", 1, "RUN echo hunter2"),
            failed("a", broken),
        ];
        for event in events {
            let redacted = mask.event(event);
            let json = serde_json::to_string(&redacted).expect("JSON");
            assert!(!json.contains("hunter2") && json.contains('•'), "{json}");
        }
        let unchanged = mask.event(log("a", 1, "nothing"));
        assert!(matches!(unchanged, Event::Log { line, .. } if line == "nothing"));
    }
}
