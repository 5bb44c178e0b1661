//! What may not be shown, wherever it comes from: a step that prints its secret, a registry that
//! repeats a password.

use std::fmt;
use std::sync::Arc;

use crate::error::{Queries, redact_queries};
use crate::event::{Event, Listener};

/// Tells what of a text may not be shown.
///
/// It gives the text with something else in place of that, or nothing where all of it may be.
#[derive(Clone)]
pub struct Mask(Arc<Conceal>);

type Conceal = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Mask {
    /// Masks what `conceal` does.
    pub fn new(conceal: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(conceal))
    }

    /// A mask that hides nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_| None)
    }

    /// Returns `text` without what may not be shown; `None` where all of it may be.
    pub(super) fn conceal(&self, text: &str) -> Option<String> {
        (self.0)(text)
    }

    /// Masks a text in its place, queries of URLs too; returns true if there was anything to mask.
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

    /// The event as it may be told, where that differs from how it happened.
    fn event(&self, event: &Event) -> Option<Event> {
        let mut told = event.clone();
        let is_masked = match &mut told {
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
                // Counted, since each of them must be masked.
                texts
                    .into_iter()
                    .flatten()
                    .map(|text| usize::from(self.apply(text, Queries::All)))
                    .sum::<usize>()
                    > 0
            }
            _ => false,
        };
        is_masked.then_some(told)
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Mask")
    }
}

/// A listener that hears only what may be told.
pub(super) struct Masked {
    pub(super) mask: Mask,
    pub(super) listener: Arc<dyn Listener>,
}

impl Listener for Masked {
    fn hear(&self, event: &Event) {
        match self.mask.event(event) {
            Some(told) => self.listener.hear(&told),
            None => self.listener.hear(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{failed, failure, log, step_started, warning};
    use super::*;

    #[test]
    fn whatever_holds_a_secret_is_told_without_it() {
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
            let told = mask.event(&event).expect("something to mask");
            let told = serde_json::to_string(&told).expect("JSON");
            assert!(!told.contains("hunter2") && told.contains('•'), "{told}");
        }
        assert!(mask.event(&log("a", 1, "nothing")).is_none());
    }
}
