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

    /// Redacts secrets and the queries of URLs in place. Returns true if the text changed.
    fn apply(&self, text: &mut String, queries: Queries) -> bool {
        let masked = self.conceal(text);
        let redacted = redact_queries(masked.as_deref().unwrap_or(text), queries);
        match redacted.or(masked) {
            Some(shown) => {
                *text = shown;
                true
            }
            None => false,
        }
    }

    /// Returns the redacted event, or `None` if there was nothing to redact.
    fn event(&self, event: &Event) -> Option<Event> {
        let mut redacted = event.clone();
        let is_masked = match &mut redacted {
            Event::Log { line, .. } => self.apply(line, Queries::Secret),
            Event::Warning { message, .. } => self.apply(message, Queries::All),
            Event::StepStarted { step, .. } => self.apply(&mut step.name, Queries::Secret),
            Event::StepFinished { step, error, .. } => {
                let in_name = self.apply(&mut step.name, Queries::Secret);
                error.as_mut().is_some_and(|error| self.apply(error, Queries::All)) || in_name
            }
            Event::TargetFailed { failure, .. } => {
                let texts = [
                    Some(&mut failure.message),
                    failure.step.as_mut().map(|step| &mut step.name),
                    failure.source.as_mut().map(|source| &mut source.text),
                    failure.hint.as_mut(),
                ];
                let mut is_masked = false;
                for text in texts.into_iter().flatten() {
                    is_masked |= self.apply(text, Queries::All);
                }
                is_masked
            }
            _ => false,
        };
        is_masked.then_some(redacted)
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
        match self.mask.event(event) {
            Some(redacted) => self.listener.hear(&redacted),
            None => self.listener.hear(event),
        }
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
            let redacted = mask.event(&event).expect("a redacted event");
            let json = serde_json::to_string(&redacted).expect("JSON");
            assert!(!json.contains("hunter2") && json.contains('•'), "{json}");
        }
        assert!(mask.event(&log("a", 1, "nothing")).is_none());
    }
}
