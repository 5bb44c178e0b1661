use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::error::duration_text;

/// From when on a clock counts as wrong. Tokens are good for five minutes or more.
const TOLERANCE: Duration = Duration::from_secs(4 * 60);

/// What a registry's answers tell of this machine's clock.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<Option<Skew>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skew {
    Ahead(Duration),
    Behind(Duration),
}

impl Clock {
    /// Compares what a server says with our own time. Only what is off is noted: an answer of
    /// a cache may be old.
    pub(super) fn compare(&self, theirs: SystemTime, ours: SystemTime) {
        let skew = match ours.duration_since(theirs) {
            Ok(ahead) => Skew::Ahead(ahead),
            Err(error) => Skew::Behind(error.duration()),
        };
        let (Skew::Ahead(by) | Skew::Behind(by)) = skew;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (by > TOLERANCE).then_some(skew);
    }

    /// How far our clock is off, as a clause of an error.
    pub(super) fn problem(&self) -> Option<String> {
        let skew = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(match skew {
            Skew::Ahead(by) => {
                format!("this machine's clock is {} ahead of the registry's", duration_text(by))
            }
            Skew::Behind(by) => {
                format!("this machine's clock is {} behind the registry's", duration_text(by))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_told() {
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let hour = Duration::from_secs(3600);
        let clock = Clock::default();
        let told = |theirs, ours| {
            clock.compare(theirs, ours);
            clock.problem().unwrap_or_default()
        };
        assert_eq!(told(noon, noon + hour), "this machine's clock is 1h ahead of the registry's");
        assert_eq!(told(noon + hour, noon), "this machine's clock is 1h behind the registry's");
        assert_eq!(told(noon, noon + Duration::from_secs(60)), "");
    }
}
